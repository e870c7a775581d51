//! A server under test that a command of the user starts.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::base::exit::Error;
use crate::host::sys;
use crate::plan::target_url::Url;
use crate::series::Runner;

/// Limit of the wait for a server's start, and for its end.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(20);

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// A running command with its process group. Dropping it ends the group.
#[derive(Debug)]
pub(super) struct CommandServer {
    child: Child,
    url: Url,
    /// The runner's record of the process group, for the signal handler that ends the program.
    noted: Arc<AtomicU32>,
}

impl CommandServer {
    /// Starts `command` and waits until it listens at `url`.
    pub(super) fn start(command: &str, url: &Url, runner: &Runner) -> Result<CommandServer, Error> {
        if is_open(url)? {
            let line = format!("{url} is in use: the test would not reach '{command}'");
            return Err(Error::could_not_run(line));
        }
        let child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            // A separate process group, so that it can be ended as a whole and the terminal's
            // Ctrl-C does not reach it.
            .process_group(0)
            .spawn()
            .map_err(|error| Error::could_not_run(format!("cannot start '{command}': {error}")))?;
        let noted = Arc::clone(&runner.server);
        noted.store(child.id(), Ordering::SeqCst);
        let mut server = CommandServer { child, url: url.clone(), noted };
        let begun = Instant::now();
        while !is_open(url)? {
            let failed = |why: String| Err(Error::could_not_run(format!("'{command}' {why}")));
            if let Ok(Some(status)) = server.child.try_wait() {
                return failed(format!("ended before it listened at {url} ({status})"));
            }
            if begun.elapsed() > TIMEOUT {
                return failed(format!("did not listen at {url} within {TIMEOUT:?}"));
            }
            if runner.interrupted().is_some() {
                return failed("was interrupted during its start".to_owned());
            }
            thread::sleep(PAUSE);
        }
        Ok(server)
    }
}

impl CommandServer {
    /// Waits until the command has ended and the address is free. The shell may end before the
    /// server that it started.
    fn wait_for_end(&mut self) {
        let begun = Instant::now();
        while begun.elapsed() < TIMEOUT
            && (matches!(self.child.try_wait(), Ok(None)) || is_open(&self.url).unwrap_or(false))
        {
            thread::sleep(PAUSE);
        }
    }
}

/// Whether a server listens at `url`.
fn is_open(url: &Url) -> Result<bool, Error> {
    Ok(url.resolve(CONNECT_TIMEOUT)?.try_connect(CONNECT_TIMEOUT).is_ok())
}

impl Drop for CommandServer {
    fn drop(&mut self) {
        sys::signal_group(self.child.id(), libc::SIGTERM);
        self.wait_for_end();
        // SIGKILL also ends processes of the group that outlived the command.
        sys::signal_group(self.child.id(), libc::SIGKILL);
        self.wait_for_end();
        self.noted.store(0, Ordering::SeqCst);
        let _ = self.child.wait();
    }
}
