//! The server of a contestant: starts it on its core, reads its address, ends it when dropped.

use std::io::{self, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use peers::sys;

const START_LIMIT: Duration = Duration::from_secs(10);
const FIRST_LINE_LEN_MAX: usize = 1024;

pub(crate) struct Server {
    child: Child,
    addr: String,
}

impl Server {
    /// Starts `command` on `core` and waits for its first line.
    pub(crate) fn start(command: &[String], core: usize) -> io::Result<Self> {
        let (program, args) = command.split_first().expect("a command that is not empty");
        let mut command = Command::new(program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        sys::bind_child(&mut command, core);
        let child = command
            .spawn()
            .map_err(|error| io::Error::other(format!("{program} on core {core}: {error}")))?;

        // From here on, `drop` ends the process after a failure.
        let mut server = Self {
            child,
            addr: String::new(),
        };
        let mut stdout = server.child.stdout.take().expect("stdout is a pipe");
        let line = first_line(&mut stdout)?;
        server.addr = addr_in(&line).ok_or_else(|| {
            io::Error::other(format!(
                "{program} printed {line:?}, not `listening on HOST:PORT`"
            ))
        })?;
        // Reads the rest of its output, so that the pipe does not fill. Ends with the server.
        thread::spawn(move || io::copy(&mut stdout, &mut io::sink()));
        Ok(server)
    }

    pub(crate) fn addr(&self) -> &str {
        &self.addr
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGKILL: some contestants need longer for an orderly end than for the run. Both calls
        // fail only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn first_line(stdout: &mut ChildStdout) -> io::Result<String> {
    let deadline = Instant::now() + START_LIMIT;
    let mut line = Vec::new();
    // One byte at a time, so that the bytes after the line stay in the pipe.
    let mut byte = [0];
    while line.len() < FIRST_LINE_LEN_MAX {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !sys::wait_readable(stdout, left)? {
            return Err(io::Error::other("no first line in time"));
        }
        match stdout.read(&mut byte)? {
            0 => return Err(io::Error::other("it ended before its first line")),
            _ if byte[0] == b'\n' => break,
            _ => line.push(byte[0]),
        }
    }
    Ok(String::from_utf8_lossy(&line).into_owned())
}

fn addr_in(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("listening on ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the address is found anywhere in the line.
    ///
    /// Method: the bare line, one with a log prefix and a tail, one without.
    ///
    /// Kills: expecting the words at the start of the line, or the address at its end.
    #[test]
    fn the_address_is_found_in_the_first_line() {
        let found = |line| addr_in(line).unwrap_or_default();
        assert_eq!(found("listening on 127.0.0.1:80"), "127.0.0.1:80");
        assert_eq!(
            found("INFO: listening on 127.0.0.1:80 (uring)"),
            "127.0.0.1:80"
        );
        assert_eq!(found("ready"), "");
    }

    /// Goal: a command that fails gives an error, not a wait.
    ///
    /// Method: one that does not exist, one that ends at once, one that prints another line.
    ///
    /// Kills: reading the first line without looking for the end of the pipe.
    #[test]
    fn a_command_that_does_not_listen_is_an_error() {
        for command in [vec!["/nonexistent"], vec!["true"], vec!["echo", "hello"]] {
            let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
            assert!(Server::start(&command, 0).is_err(), "{command:?}");
        }
    }
}
