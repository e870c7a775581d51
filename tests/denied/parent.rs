//! The side of the test: a server process, and blocking peers of it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::common::{assert_coded, coded_bytes};
use crate::server::MARK;

/// The environment variable that makes a server of the test [`ENTRY`](crate::ENTRY).
pub(crate) const CELL: &str = "RINGLOOP_DENIED_CELL";

/// Prints that a cell, or a part of one, was skipped. The harness does not capture it.
pub(crate) fn skip(cell: &str, why: &str) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1; // ordered with nothing
    let text = format!("SKIP ({count}): {cell}: {why}\n");
    std::io::stderr().write_all(text.as_bytes()).expect("standard error");
}

/// The outcome of a start.
pub(crate) enum Started {
    Serving(Server),
    /// The process was not able to restrict itself as the cell requires.
    Skipped(String),
    /// The process has ended. Its status and its standard error.
    Dead(ExitStatus, String),
}

/// A server process. Killed if it is dropped without [`stop`](Server::stop).
pub(crate) struct Server {
    pub(crate) cell: String,
    pub(crate) kind: String,
    pub(crate) reason: String,
    pub(crate) loop_thread: libc::pid_t,
    addr: SocketAddr,
    process: Process,
}

struct Process {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Server {
    /// Starts this binary again, with `driver` as `RINGLOOP_DRIVER`.
    pub(crate) fn start(cell: &str, driver: Option<&str>) -> Started {
        let mut command = Command::new(std::env::current_exe().expect("this binary"));
        command.args([crate::ENTRY, "--exact", "--nocapture"]);
        command.env(CELL, cell).env_remove("RINGLOOP_DRIVER");
        // The leak check of a sanitizer needs /proc and ptrace, which some cells deny.
        let asan = std::env::var("ASAN_OPTIONS").unwrap_or_default();
        command.env("ASAN_OPTIONS", format!("{asan}:detect_leaks=0"));
        if let Some(driver) = driver {
            command.env("RINGLOOP_DRIVER", driver);
        }
        let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = pipes.spawn().expect("a process");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        let mut process = Process { child, lines };

        let Some((word, first)) = process.next() else {
            let status = process.child.wait().expect("a process that ends");
            return Started::Dead(status, process.last_words());
        };
        if word == "skip" {
            return Started::Skipped(first);
        }
        assert_eq!(word, "thread", "{cell}");
        Started::Serving(Server {
            cell: cell.to_owned(),
            loop_thread: first.parse().expect("a number"),
            kind: process.expect("kind"),
            reason: process.expect("reason"),
            addr: process.expect("listening").parse().expect("an address"),
            process,
        })
    }

    pub(crate) fn connect(&self) -> Peer {
        let stream = TcpStream::connect(self.addr).expect("a server");
        stream.set_nodelay(true).expect("an option");
        Peer { stream, sent: 0, received: 0 }
    }

    /// The next line, which begins with `word`.
    pub(crate) fn next_line(&mut self, word: &str) -> String {
        self.process.expect(word)
    }

    /// Writes a byte to it.
    pub(crate) fn tell(&mut self, byte: u8) {
        let stdin = self.process.child.stdin.as_mut().expect("open until it is stopped");
        stdin.write_all(&[byte]).expect("a server that reads");
    }

    /// Its lines up to the one that begins with `last`.
    pub(crate) fn lines_until(&mut self, last: &str) -> Vec<(String, String)> {
        let next = || self.process.next().unwrap_or_else(|| panic!("the end instead of {last}"));
        let lines = std::iter::repeat_with(next).take_while(|(word, _)| word != last);
        lines.collect()
    }

    /// Waits until it has ended by itself, without an error.
    pub(crate) fn await_end(mut self) {
        let status = self.process.child.wait().expect("a process that ends");
        assert!(status.success(), "{}: {status}", self.cell);
    }

    /// Ends it by its standard input, and waits until it has ended without an error.
    pub(crate) fn stop(mut self) {
        drop(self.process.child.stdin.take());
        loop {
            match self.process.next() {
                Some((word, _)) if word == "ended" => break,
                Some((word, _)) if word == "unhandled" => {}
                other => panic!("{}: {other:?} instead of an end", self.cell),
            }
        }
        self.await_end();
    }
}

impl Process {
    fn next(&mut self) -> Option<(String, String)> {
        let mut line = String::new();
        while self.lines.read_line(&mut line).expect("a pipe") > 0 {
            if let Some(said) = line.trim_end().strip_prefix(MARK.trim_end()) {
                let (word, rest) = said.trim_start().split_once(' ').unwrap_or((said.trim(), ""));
                return Some((word.to_owned(), rest.to_owned()));
            }
            line.clear();
        }
        None
    }

    fn expect(&mut self, expected: &str) -> String {
        let (word, rest) = self.next().unwrap_or_else(|| panic!("the end instead of {expected}"));
        assert_eq!(word, expected, "{rest}");
        rest
    }

    /// The standard error of a process that has ended.
    fn last_words(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            let _ = stderr.read_to_string(&mut text);
        }
        text
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill(); // it may have ended
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("the server's standard error:\n{}", self.last_words());
        }
    }
}

/// A connection to a server.
pub(crate) struct Peer {
    stream: TcpStream,
    sent: u64,
    received: u64,
}

impl Peer {
    /// Sends `len` bytes and checks that they come back.
    pub(crate) fn echo(&mut self, len: usize) {
        self.start_echo(len);
        self.await_echo();
    }

    /// Sends `len` bytes, few enough for the socket to take.
    pub(crate) fn start_echo(&mut self, len: usize) {
        self.stream.write_all(&coded_bytes(self.sent, len)).expect("an open connection");
        self.sent += len as u64;
    }

    pub(crate) fn await_echo(&mut self) {
        while self.received < self.sent {
            self.receive().expect("an open connection");
        }
    }

    /// Waits until the other side has ended the connection, in any way.
    pub(crate) fn await_end(&mut self) {
        match self.stream.read(&mut [0]) {
            Ok(count) => assert_eq!(count, 0, "bytes instead of the end"),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
        }
    }

    /// Whether all sent bytes have come back. Does not wait.
    pub(crate) fn has_echo(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("an option");
        match self.receive() {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error}"),
        }
        self.stream.set_nonblocking(false).expect("an option");
        self.received == self.sent
    }

    fn receive(&mut self) -> std::io::Result<()> {
        let mut bytes = [0; 4096];
        let count = self.stream.read(&mut bytes)?;
        assert_ne!(count, 0, "the end after {} of {} bytes", self.received, self.sent);
        assert_coded(self.received, &bytes[..count]);
        self.received += count as u64;
        Ok(())
    }
}
