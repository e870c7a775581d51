//! How long a killed server holds its port.
//!
//! The kernel tears the ring of a killed process down in a worker of its own, and the sockets that the
//! ring knows live until then. A supervisor that starts the server again at once gets EADDRINUSE.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::base::driver::Driver;

/// How long the port is tried for.
const HELD_MAX: Duration = Duration::from_secs(1);

/// How long the server may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(3);

const RETRY_PAUSE: Duration = Duration::from_micros(200);

/// Connections of the server when it is killed. Each makes the end of a ring longer.
const CONNECTIONS: usize = 16;

/// What a server of this program did when it was killed.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct KilledServer {
    /// Until its port could be bound again. `None`: not within a second.
    pub(crate) port_held_ms: Option<f64>,
    /// Why nothing was measured.
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

/// Killed and awaited when dropped, so that no failure leaves a server behind.
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
    let server = command.spawn().map_err(|error| format!("no server: {error}"))?;
    let mut server = ProbeServer(server);
    let stdout = server.0.stdout.take().expect("it is piped");
    let address = address(stdout).ok_or("the server does not start")?;
    let connect = |_| TcpStream::connect(address);
    let connections: Result<Vec<_>, _> = (0..CONNECTIONS).map(connect).collect();
    let connections = connections.map_err(|error| format!("no connection: {error}"))?;

    server.0.kill().map_err(|error| format!("no kill: {error}"))?;
    let killed_at = Instant::now();
    server.0.wait().map_err(|error| format!("no end: {error}"))?;
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
