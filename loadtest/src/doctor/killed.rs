//! Measures the time until the port of a killed server is free.
//!
//! The kernel destroys the ring of a killed process asynchronously, and the sockets in the ring
//! stay open until then. A supervisor that restarts the server at once gets EADDRINUSE.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::base::driver::Driver;

/// Limit of the wait for the port.
const HELD_MAX: Duration = Duration::from_secs(1);

/// Limit of the wait for the server's start.
const START_TIMEOUT: Duration = Duration::from_secs(3);

const RETRY_PAUSE: Duration = Duration::from_micros(200);

/// Connections of the server when it is killed. Each one prolongs the destruction of the ring.
const CONNECTIONS: usize = 16;

/// Result of killing a built-in server.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KilledServer {
    /// Time until its port could be bound again. `None` if not within a second.
    pub(crate) port_held_ms: Option<f64>,
    /// Reason of a failed measurement.
    pub(crate) error: Option<String>,
}

impl KilledServer {
    /// Starts `program serve echo` on a free port, kills it, and binds the port.
    pub(super) fn measure(program: &Path, driver: Driver) -> KilledServer {
        match held(program, driver) {
            Ok(held) => KilledServer {
                port_held_ms: held.map(|held| held.as_secs_f64() * 1e3),
                error: None,
            },
            Err(error) => KilledServer { port_held_ms: None, error: Some(error) },
        }
    }

    pub(super) fn describe(&self) -> String {
        match (&self.error, self.port_held_ms) {
            (Some(error), _) => format!("not measured: {error}"),
            (None, Some(ms)) => format!("its port is free {ms:.1} ms after the kill"),
            (None, None) => "its port is not free a second after the kill".to_owned(),
        }
    }
}

/// A server that is killed and reaped on drop, so that no failure leaves it running.
struct ProbeServer(Child);

impl Drop for ProbeServer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn held(program: &Path, driver: Driver) -> Result<Option<Duration>, String> {
    let mut command = Command::new(program);
    command.args(["serve", "echo", "--listen", "127.0.0.1:0", "--exit-with-stdin"]);
    command.args(["--driver", driver.name()]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let server = command.spawn().map_err(|error| format!("cannot start a server: {error}"))?;
    let mut server = ProbeServer(server);
    let stdout = server.0.stdout.take().expect("it is piped");
    let address = address(stdout).ok_or("the server did not start listening")?;
    let connect = |_| TcpStream::connect(address);
    let connections: Result<Vec<_>, _> = (0..CONNECTIONS).map(connect).collect();
    let connections = connections.map_err(|error| format!("cannot connect: {error}"))?;

    server.0.kill().map_err(|error| format!("cannot kill the server: {error}"))?;
    let killed_at = Instant::now();
    server.0.wait().map_err(|error| format!("cannot wait for the server: {error}"))?;
    drop(connections);
    loop {
        match TcpListener::bind(address) {
            Ok(_listener) => return Ok(Some(killed_at.elapsed())),
            Err(error) if error.kind() != std::io::ErrorKind::AddrInUse => {
                return Err(format!("cannot bind {address}: {error}"));
            }
            Err(_in_use) if killed_at.elapsed() > HELD_MAX => return Ok(None),
            Err(_in_use) => thread::sleep(RETRY_PAUSE),
        }
    }
}

/// The address in the server's first line.
fn address(stdout: ChildStdout) -> Option<SocketAddr> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        let _ = sender.send(line);
    });
    let line = receiver.recv_timeout(START_TIMEOUT).ok()?;
    line.trim_end().strip_prefix("listening on ")?.parse().ok()
}
