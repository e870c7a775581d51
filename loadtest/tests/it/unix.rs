//! Runs over Unix sockets.

use std::io::{BufRead, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;

use crate::common::{PROGRAM, assert_exit, json, kill, loadtest, stderr, stdout, within};

/// A free path for a socket. It is short and does not depend on the build directory, because paths
/// of sockets have a limit.
fn any_path() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let (process, count) = (std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(format!("loadtest-{process}-{count}"));
    path.into_os_string().into_string().expect("a path in UTF-8")
}

/// A `loadtest serve` on a Unix socket. Killed when dropped.
struct Server {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Option<BufReader<std::process::ChildStdout>>,
}

impl Server {
    fn start(arguments: &[&str], url: &str) -> Server {
        let mut child = Command::new(PROGRAM)
            .arg("serve")
            .args(arguments)
            .args(["--listen", url, "--exit-with-stdin"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert_eq!(line, format!("listening on {url}\n"));
        stdout.read_line(&mut line).unwrap();
        Server { stdin: child.stdin.take(), stdout: Some(stdout), child }
    }

    /// Stops the server. Returns its counters.
    fn stop(mut self) -> Value {
        drop(self.stdin.take());
        let mut stdout = self.stdout.take().unwrap();
        let pid = self.child.id();
        let read = move || {
            let mut line = String::new();
            stdout.read_line(&mut line).unwrap();
            line
        };
        let line = within("it does not end", read, || kill(pid, "KILL"));
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        serde_json::from_str(&line).expect("one line of JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Goal: an echo and HTTP work over a Unix socket as over TCP, on each driver. Every message is
/// answered and counted at both ends, and the report has the target and needs no port. A stopped
/// server removes its file.
///
/// Method: a server and a run per driver, at a path and at an abstract name with colons; the
/// server's counters against the report's.
///
/// Kills: options of TCP set on a Unix socket; a preflight that counts ports; another name of the
/// target in the report; a file that is left.
#[test]
fn echo_and_http_work_over_unix_sockets() {
    for driver in ["uring", "epoll"] {
        let path = any_path();
        let url = format!("unix:{path}");
        let server = Server::start(&["echo", "--driver", driver], &url);
        let run = [&url, "-c", "7", "-n", "500", "--verify", "--driver", driver];
        let output = loadtest(&[&run[..], &["--warmup", "0", "--format", "json"]].concat());
        assert_exit(&output, 0);
        let report = json(&output);
        assert_eq!(report["load"]["completed"], 500);
        assert_eq!(report["target"]["url"], *url);
        assert_eq!(report["target"]["address"], *url);
        assert_eq!(report["target"]["protocol"], "unix echo");
        assert_eq!(report["config"]["nodelay"], false);
        assert_eq!(report["env"]["limits"]["ports_needed"], 0);
        assert_eq!(report["env"]["limits"]["ports_available"], Value::Null);
        assert_eq!(report["connections"]["served"], 7);
        let counters = server.stop();
        assert_eq!((&counters["messages"], &counters["connections"]), (&500.into(), &7.into()));
        assert!(!std::fs::exists(&path).unwrap(), "the server has left {path} behind");

        let listen = format!("unix:@{}", any_path().replace('/', ":"));
        let server = Server::start(&["http", "--driver", driver], &listen);
        let url = format!("{listen}:http/bytes/100");
        let run = [&url, "-c", "3", "-n", "60", "--driver", driver, "--warmup", "0"];
        let output = loadtest(&[&run[..], &["--format", "json"]].concat());
        assert_exit(&output, 0);
        let report = json(&output);
        assert_eq!(report["load"]["completed"], 60);
        assert_eq!(report["target"]["url"], *url);
        assert_eq!(report["target"]["address"], *listen);
        assert_eq!(report["target"]["protocol"], "http/1.1");
        assert!(report["load"]["bytes_received"].as_u64().unwrap() > 60 * 100);
        assert_eq!(server.stop()["messages"], 60);
    }
}

/// Goal: the text summary names the Unix socket, and has neither ports nor Nagle.
///
/// Method: a run as text, with a relative path; a checkup of the same target.
///
/// Kills: `TCP_NODELAY` or a number of ports.
#[test]
fn the_summary_names_the_socket() {
    let path = any_path();
    let (directory, name) = path.rsplit_once('/').unwrap();
    let _server = Server::start(&["echo"], &format!("unix:{path}"));
    let here = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        let output = command.args(arguments).current_dir(directory).stdin(Stdio::null()).output();
        output.unwrap()
    };
    let url = format!("unix:{name}");
    let output = here(&[&url, "-c", "2", "-n", "10", "--warmup", "0"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    for wanted in [&url, "   Unix socket   2 conns", "\nports none   fds "] {
        assert!(text.contains(wanted), "no '{wanted}' in:\n{text}");
    }
    let output = here(&["doctor", &url, "-c", "2"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(text.contains("none needed\n"), "{text}");
    assert!(text.contains(&url), "{text}");
}

/// Goal: a missing target is exit code 3, and the line has the errno: a path that does not exist,
/// or one without a listener.
///
/// Method: a run and a checkup for each.
///
/// Kills: `io` without a reason; exit code 1; a summary of zeros.
#[test]
fn a_missing_socket_is_unreachable() {
    let (missing, left) = (any_path(), any_path());
    drop(UnixListener::bind(&left).unwrap());
    for (path, errno) in [(&missing, "ENOENT"), (&left, "ECONNREFUSED")] {
        let url = format!("unix:{path}");
        let output = loadtest(&[&url, "-c", "300"]);
        assert_exit(&output, 3);
        assert_eq!(stdout(&output), "");
        let line = stderr(&output);
        assert!(line.starts_with(&format!("loadtest: no answer from {url}: ")), "{line}");
        assert!(line.contains(errno) && line.lines().count() == 1, "{line}");
        assert_exit(&loadtest(&["doctor", &url]), 3);
    }
    std::fs::remove_file(&left).unwrap();
}

/// Goal: a connect waits for a full backlog, until the connect timeout.
///
/// Method: a listener with room for one connection, which is used, and which never accepts.
///
/// Kills: `EAGAIN` as a failure of the target; a connect without a timeout.
#[test]
fn a_full_backlog_times_out() {
    let path = any_path();
    let listener =
        socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    listener.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    listener.listen(0).unwrap(); // room for one
    let _first = UnixStream::connect(&path).unwrap();
    let output = loadtest(&[&format!("unix:{path}"), "-c", "1", "--connect-timeout", "50ms"]);
    assert_exit(&output, 3);
    assert!(stderr(&output).contains("timeout"), "{}", stderr(&output));
    std::fs::remove_file(&path).unwrap();
}

/// Goal: a path that is in use is refused in one line, and its file is unchanged.
///
/// Method: serve at the path of a file.
///
/// Kills: removing the file.
#[test]
fn a_path_in_use_is_refused() {
    let path = any_path();
    std::fs::write(&path, "mine").unwrap();
    let output = loadtest(&["serve", "echo", "--listen", &format!("unix:{path}")]);
    assert_exit(&output, 1);
    let line = format!("loadtest: cannot listen on unix:{path}: Address already in use");
    assert!(stderr(&output).starts_with(&line), "{}", stderr(&output));
    assert_eq!((stderr(&output).lines().count(), stdout(&output)), (1, ""));
    assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    std::fs::remove_file(&path).unwrap();
}
