//! Built-in echo server: this program as a child process on a free loopback port.
//!
//! Client and server are two processes because the limit of open files applies to each process:
//! with a limit of 20 000, one process cannot hold both ends of 10 000 connections.
//!
//! **Invariant.** The child never outlives this process. It watches its stdin, whose other end only
//! this process holds, so it ends even when this process is killed
//! (`own_server::it_dies_with_its_parent`).

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::base::address::Address;
use crate::base::driver::{Driver, DriverUsed};
use crate::base::exit::Error;
use crate::base::print::to_stderr;
use crate::serve::announcement::Announcement;

/// Limit of the wait until the child listens.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Limit of the wait until the child exits after its stdin is closed.
const EXIT_TIMEOUT: Duration = Duration::from_secs(5);

/// A running child. Dropping it stops the process.
#[derive(Debug)]
pub(crate) struct OwnServer {
    child: Child,
    announced: Announcement,
    /// One message with the first two lines of the child's stdout, then a disconnect when it exits.
    stdout: Receiver<String>,
}

impl OwnServer {
    /// Starts the server and waits until it listens.
    pub(crate) fn start(connections: u32, driver: Driver) -> Result<OwnServer, Error> {
        let program = std::env::current_exe().map_err(|error| {
            Error::could_not_run(format!("cannot find the loadtest program file: {error}"))
        })?;
        let mut child = Command::new(&program)
            .args(["serve", "echo", "--exit-with-stdin", "--listen", "127.0.0.1:0"])
            .args(["--driver", driver.name(), "--connections", &connections.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A separate process group, so that the terminal's Ctrl-C does not reach the server: it
            // must live until the last reply, or the report would be full of resets.
            .process_group(0)
            .spawn()
            .map_err(|error| {
                let program = program.display();
                Error::could_not_run(format!("cannot start {program} serve echo: {error}"))
            })?;
        let stdout = watch(child.stdout.take().expect("stdout is piped"));
        match stdout.recv_timeout(START_TIMEOUT) {
            Ok(text) => match text.parse() {
                Ok(announced) => Ok(OwnServer { child, announced, stdout }),
                Err(()) => {
                    end(&mut child);
                    Err(Error::could_not_run(format!("built-in echo server printed {text:?}")))
                }
            },
            Err(reason) => {
                let line = match (reason, end(&mut child)) {
                    (RecvTimeoutError::Timeout, _) => {
                        "built-in echo server does not start".to_owned()
                    }
                    (RecvTimeoutError::Disconnected, Some(status)) => {
                        format!("built-in echo server did not start ({status})")
                    }
                    (RecvTimeoutError::Disconnected, None) => {
                        "built-in echo server did not start".to_owned()
                    }
                };
                Err(Error::could_not_run(line))
            }
        }
    }

    pub(crate) fn addr(&self) -> &Address {
        &self.announced.addr
    }

    pub(crate) fn driver(&self) -> &DriverUsed {
        &self.announced.driver
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The exit status, if the server has ended unexpectedly.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // The reader thread disconnects when the child exits and its stdout ends.
        if let Err(RecvTimeoutError::Timeout) = self.stdout.recv_timeout(EXIT_TIMEOUT) {
            to_stderr("loadtest: built-in echo server did not stop: killed");
        }
        end(&mut self.child);
    }
}

/// Reads the first two lines, then waits for the end of the stream.
fn watch(stdout: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::sync_channel(1);
    thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut text = String::new();
        let lines = [reader.read_line(&mut text), reader.read_line(&mut text)];
        if lines.iter().all(Result::is_ok) && !text.is_empty() {
            let _ = sender.send(text);
        }
        let mut scratch = [0; 256];
        while reader.read(&mut scratch).is_ok_and(|len| len > 0) {}
    });
    receiver
}

/// Kills the process unless it has exited, and collects its status.
fn end(child: &mut Child) -> Option<ExitStatus> {
    let _ = child.kill();
    child.wait().ok()
}
