//! Starts the program, reads its output, and ends it if it hangs.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_loadtest");

/// Time after which the program counts as hung. A test that passes never waits this long.
pub(crate) const HUNG: Duration = Duration::from_secs(120);

/// Runs the program to its end.
pub(crate) fn loadtest(arguments: &[&str]) -> Output {
    output(Command::new(PROGRAM).args(arguments))
}

/// Runs the program under a lower limit of open files.
pub(crate) fn loadtest_with_files(limit: u32, arguments: &[&str]) -> Output {
    let script = format!("ulimit -n {limit}; exec \"$0\" \"$@\"");
    output(Command::new("sh").args(["-c", &script, PROGRAM]).args(arguments))
}

fn output(command: &mut Command) -> Output {
    let child = command
        .env("RINGLOOP_DEBUG", "0") // no lines about slow polls, which load causes
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let pid = child.id();
    within(
        "the program does not end",
        move || child.wait_with_output().unwrap(),
        || kill(pid, "KILL"),
    )
}

/// Runs `work` on another thread. After [`HUNG`], calls `clean_up` and panics.
pub(crate) fn within<T: Send + 'static>(
    what: &str,
    work: impl FnOnce() -> T + Send + 'static,
    clean_up: impl FnOnce(),
) -> T {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || _ = sender.send(work()));
    receiver.recv_timeout(HUNG).unwrap_or_else(|_| {
        clean_up();
        panic!("{what}");
    })
}

/// Sends a signal by name.
pub(crate) fn kill(pid: u32, signal: &str) {
    let script = format!("kill -{signal} {pid}");
    let _ = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
}

/// A program that runs while the test watches its stderr. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Option<Child>,
    /// Lines of stderr. Disconnected when no process has it open any more.
    stderr: Receiver<String>,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Running {
        let mut child = Command::new(PROGRAM)
            .args(arguments)
            .env("RINGLOOP_DEBUG", "0") // no lines about slow polls, which load causes
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0) // as a shell does, so that a Ctrl-C of the tests does not reach it
            .spawn()
            .expect("the program starts");
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let (sender, stderr) = mpsc::channel();
        thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Running { child: Some(child), stderr }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Signals the whole process group, as a terminal does for Ctrl-C.
    pub(crate) fn signal_group(&self, signal: &str) {
        let script = format!("kill -{signal} -{}", self.pid());
        let status = Command::new("sh").args(["-c", &script]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.as_mut().unwrap().try_wait().unwrap().is_none()
    }

    /// Reads stderr up to a line that contains `part`.
    pub(crate) fn wait_for_line(&mut self, part: &str) {
        let mut seen = Vec::new();
        while seen.last().is_none_or(|line: &String| !line.contains(part)) {
            match self.stderr.recv_timeout(HUNG) {
                Ok(line) => seen.push(line),
                Err(error) => panic!("no line with '{part}': {error}: {seen:?}"),
            }
        }
    }

    /// Waits for the end. Returns the status and the text of stdout.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let child = self.child.take().unwrap();
        let pid = child.id();
        let output = within(
            "it does not end",
            move || child.wait_with_output().unwrap(),
            || kill(pid, "KILL"),
        );
        (output.status, String::from_utf8(output.stdout).unwrap())
    }

    /// Kills the program and waits until no process has its stderr open. Returns the rest of it.
    pub(crate) fn kill_and_wait_for_stderr(mut self) -> Vec<String> {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        let mut lines = Vec::new();
        loop {
            match self.stderr.recv_timeout(HUNG) {
                Ok(line) => lines.push(line),
                Err(RecvTimeoutError::Disconnected) => return lines,
                Err(RecvTimeoutError::Timeout) => panic!("a child process still runs"),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A server started with `loadtest serve echo`. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Server {
    pub(crate) fn start() -> Server {
        let mut child = Command::new(PROGRAM)
            .args(["serve", "echo", "--listen", "127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let addr = line.trim().strip_prefix("listening on ").expect("the address").to_owned();
        Server { child, url: format!("tcp://{addr}") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A URL without a listener. The port was just free, and no test listens at this address. At
/// 127.0.0.1, another test could have taken the port meanwhile.
pub(crate) fn unused_url() -> String {
    let listener = TcpListener::bind("127.0.0.2:0").unwrap();
    format!("tcp://{}", listener.local_addr().unwrap())
}

/// A free file name in the directory for test files.
pub(crate) fn scratch_file(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let path = directory.join(format!("{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

pub(crate) fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

pub(crate) fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Checks the exit code. If it differs, the panic contains the output.
#[track_caller]
pub(crate) fn assert_exit(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "{}\n{}", stdout(output), stderr(output));
}

/// The report of a run with `--format json`.
#[track_caller]
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}\n{}\n{}", stdout(output), stderr(output)))
}

/// The number after `label` in a text, with digits that are grouped by spaces.
#[track_caller]
pub(crate) fn number_after(text: &str, label: &str) -> u64 {
    let Some((_, rest)) = text.split_once(label) else { panic!("no '{label}' in:\n{text}") };
    grouped_number(rest).unwrap_or_else(|| panic!("no number after '{label}' in:\n{text}"))
}

fn grouped_number(text: &str) -> Option<u64> {
    let mut digits = String::new();
    let mut chars = text.chars().peekable();
    while let Some(next) = chars.next() {
        match next {
            '0'..='9' => digits.push(next),
            ' ' if !digits.is_empty() && chars.peek().is_some_and(char::is_ascii_digit) => {}
            _ => break,
        }
    }
    digits.parse().ok()
}
