//! `loadtest serve`: the behaviour of each reference server, and its counters.
//!
//! The clients are plain blocking sockets of std, so no code under test checks itself.

mod echo;
mod http;
mod lossy;
mod refusals;
mod sink;
mod stall;
mod ws;

use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use serde_json::Value;

use crate::common::{HUNG, PROGRAM, kill, within};

/// The drivers that every target must work on.
pub(crate) const DRIVERS: [&str; 2] = ["uring", "epoll"];

/// A running target. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Target {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<ChildStdout>>,
    pub(crate) addr: SocketAddr,
}

impl Target {
    /// Starts `loadtest serve` with these arguments on a free port and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Target {
        Target::start_with(arguments, Stdio::inherit())
    }

    fn start_with(arguments: &[&str], stderr: Stdio) -> Target {
        let mut child = Command::new(PROGRAM)
            .arg("serve")
            .args(arguments)
            .args(["--listen", "127.0.0.1:0", "--exit-with-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .expect("the program starts");
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().map(BufReader::new);
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        let mut target = Target { child, stdin, stdout, addr: nowhere };
        let line = target.line();
        let addr =
            line.strip_prefix("listening on ").unwrap_or_else(|| panic!("first line: '{line}'"));
        target.addr = addr.parse().expect("an address");
        assert!(target.line().starts_with("driver "));
        target
    }

    /// Reads the next line of stdout.
    pub(crate) fn line(&mut self) -> String {
        let mut stdout = self.stdout.take().unwrap();
        let pid = self.child.id();
        let read = move || {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            (stdout, line.trim_end().to_owned())
        };
        let (stdout, line) = within("no line on stdout", read, || kill(pid, "KILL"));
        self.stdout = Some(stdout);
        line
    }

    /// Connects, with timeouts for reads and writes.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(HUNG)).unwrap();
        stream.set_write_timeout(Some(HUNG)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    pub(crate) fn signal(&self, signal: &str) {
        kill(self.child.id(), signal);
    }

    /// Stops the target by the end of its stdin. Returns its counters.
    pub(crate) fn stop(mut self) -> Value {
        drop(self.stdin.take());
        let (status, counters) = self.end();
        assert_eq!(status.code(), Some(0));
        counters
    }

    /// Waits for the end of the target. Returns its status and its counters.
    pub(crate) fn end(mut self) -> (ExitStatus, Value) {
        let mut stdout = self.stdout.take().unwrap();
        let pid = self.child.id();
        let read = move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        };
        let text = within("it does not end", read, || kill(pid, "KILL"));
        let status = self.child.wait().unwrap();
        assert_eq!(text.lines().count(), 1, "{text}");
        (status, serde_json::from_str(&text).expect("one line of JSON"))
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Bytes that depend on their position.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at % 251) as u8).collect()
}
