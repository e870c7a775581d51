//! Socket activation, with the tests as the supervisor.
//!
//! This binary starts itself again, through a shell that puts two sockets at the descriptors 3 and
//! 4 and its own number into `LISTEN_PID`, as systemd does. The child is the example
//! `socket_activation`, or prints what `activated()` returns.

mod common;
#[allow(dead_code, reason = "the child calls its `main`")]
#[path = "../examples/socket_activation.rs"]
mod example;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Child, Command, Stdio};

use common::{LIMIT, any_addr, any_name, blocking_pair, within};
use ringloop::net::{ActivatedListener, activated};
use ringloop::{DriverChoice, Runtime};

/// The role of the child.
const ROLE: &str = "RINGLOOP_ACTIVATION_ROLE";

const SHELL: &str = "exec 3<&0 4<&1 1>&2 0</dev/null; export LISTEN_PID=$$; exec \"$@\"";

/// The test that is started again for each role.
const ENTRY: &str = "an_activated_program_serves_its_sockets";

fn play(role: &str) {
    match role {
        "serve" => example::main().unwrap(),
        "take" => take(),
        "fail" => fail(),
        role => panic!("{role}"),
    }
}

/// Takes both sockets, and then none.
fn take() {
    let taken = activated().unwrap();
    let names: Vec<&str> = taken.iter().map(|activated| &*activated.name).collect();
    assert_eq!(names, ["web", "local"]);
    for (activated, is_tcp) in taken.iter().zip([true, false]) {
        let number = match &activated.listener {
            ActivatedListener::Tcp(listener) if is_tcp => listener.as_raw_fd(),
            ActivatedListener::Unix(listener) if !is_tcp => listener.as_raw_fd(),
            other => panic!("{other:?}"),
        };
        assert!(is_close_on_exec(number), "{number}");
    }
    assert_eq!(activated().unwrap_err().kind(), ErrorKind::AlreadyExists);
    drop(taken);
    assert_eq!(activated().unwrap_err().kind(), ErrorKind::AlreadyExists);
    eprintln!("taken");
}

fn is_close_on_exec(number: RawFd) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).unwrap();
    i32::from_str_radix(flags.trim(), 8).unwrap() & libc::O_CLOEXEC != 0
}

/// Takes nothing, however often it tries, and leaves the descriptors open.
fn fail() {
    for _ in 0..2 {
        let error = activated().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
        eprintln!("refused: {error}");
    }
    for number in [3, 4] {
        assert!(std::fs::exists(format!("/proc/self/fd/{number}")).unwrap(), "{number} is closed");
    }
}

fn start(role: &str, sockets: [OwnedFd; 2], settings: &[(&str, &str)]) -> Child {
    let [third, fourth] = sockets;
    Command::new("sh")
        .args(["-c", SHELL, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", ENTRY, "--nocapture"])
        .env(ROLE, role)
        .envs(settings.iter().copied())
        .stdin(third)
        .stdout(fourth)
        .stderr(if role == "serve" { Stdio::inherit() } else { Stdio::piped() })
        .spawn()
        .unwrap()
}

/// A child that is killed when this value is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Runs a child to its end and returns what it has printed.
fn output(role: &str, sockets: [OwnedFd; 2], settings: &[(&str, &str)]) -> String {
    let output = start(role, sockets, settings).wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

fn is_served(mut stream: impl Read + Write, name: &str) {
    let mut greeting = vec![0; name.len() + 1];
    stream.read_exact(&mut greeting).unwrap();
    assert_eq!(greeting, format!("{name}\n").as_bytes());
    stream.write_all(b"echo").unwrap();
    let mut echo = [0; 4];
    stream.read_exact(&mut echo).unwrap();
    assert_eq!(&echo, b"echo");
}

/// Goal: an activated program serves the sockets of its supervisor by their names, also connections
/// from before its start; after it is killed, its successor serves them.
///
/// Method: the example, twice on each driver, with the sockets held here. A connection of each kind
/// waits before each start. With a role in the environment this is the child.
///
/// Kills: a listener whose end acts on the supervisor's socket; a file that is removed; exchanged
/// names; a socket that is accepted from only if it is new.
#[test]
fn an_activated_program_serves_its_sockets() {
    if let Ok(role) = std::env::var(ROLE) {
        return play(&role);
    }
    within(LIMIT, || {
        let path = std::env::temp_dir().join(any_name().trim_start_matches('@'));
        let tcp = TcpListener::bind(any_addr()).unwrap();
        let local = UnixListener::bind(&path).unwrap();
        for (driver, choice) in [("uring", DriverChoice::Uring), ("epoll", DriverChoice::Epoll)] {
            if let Err(error) = Runtime::builder().driver(choice).build() {
                println!("SKIP {driver}: {error}");
                continue;
            }
            for _ in 0..2 {
                let waiting = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
                let waiting_too = UnixStream::connect(&path).unwrap();
                let sockets = [tcp.try_clone().unwrap().into(), local.try_clone().unwrap().into()];
                let settings = [
                    ("LISTEN_FDS", "2"),
                    ("LISTEN_FDNAMES", "web:local"),
                    ("RINGLOOP_DRIVER", driver),
                ];
                let child = Running(start("serve", sockets, &settings));
                is_served(waiting, "web");
                is_served(waiting_too, "local");
                is_served(TcpStream::connect(tcp.local_addr().unwrap()).unwrap(), "web");
                is_served(UnixStream::connect(&path).unwrap(), "local");
                drop(child);
            }
        }
        std::fs::remove_file(&path).unwrap();
    });
}

/// Goal: the sockets are typed, named, close-on-exec, and taken once.
/// Method: a child that takes them twice. Kills: a second owner of a descriptor.
#[test]
fn sockets_are_taken_once() {
    within(LIMIT, || {
        let tcp = TcpListener::bind(any_addr()).unwrap();
        let name = any_name();
        let addr = socket2::SockAddr::unix(std::env::temp_dir().join(&name[1..])).unwrap();
        let local =
            socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
        local.bind(&addr).unwrap();
        local.listen(1).unwrap();
        std::fs::remove_file(addr.as_pathname().unwrap()).unwrap();
        let settings = [("LISTEN_FDS", "2"), ("LISTEN_FDNAMES", "web:local")];
        assert!(output("take", [tcp.into(), local.into()], &settings).contains("taken"));
    });
}

/// Goal: a descriptor that is not a listening stream socket is refused with a text that names it;
/// no descriptor is taken or closed.
///
/// Method: a datagram socket, a connected one, a file and a number that is not open, each as the
/// second descriptor, and bad variables.
///
/// Kills: a listener made of any descriptor; the first socket closed or lost because of the second.
#[test]
fn what_does_not_listen_is_refused() {
    within(LIMIT, || {
        let tcp = TcpListener::bind(any_addr()).unwrap();
        let (connected, _peer) = blocking_pair();
        let file = std::fs::File::open("/dev/null").unwrap();
        let datagram = UdpSocket::bind(any_addr()).unwrap();
        let seconds: [(OwnedFd, &str); 3] = [
            (datagram.into(), "descriptor 4 of LISTEN_FDS (unknown) is not a stream socket"),
            (connected.into(), "descriptor 4 of LISTEN_FDS (unknown) does not listen"),
            (file.into(), "descriptor 4 of LISTEN_FDS (unknown) is not a socket"),
        ];
        for (second, expected) in seconds {
            let sockets = [tcp.try_clone().unwrap().into(), second];
            let text = output("fail", sockets, &[("LISTEN_FDS", "2")]);
            assert_eq!(text.matches(expected).count(), 2, "{text}");
        }
        let both = || [tcp.try_clone().unwrap().into(), tcp.try_clone().unwrap().into()];
        for (count, names, expected) in [
            ("900", None, "of LISTEN_FDS (unknown)"),
            ("two", None, "LISTEN_FDS=two: not a number"),
            ("2", Some("web"), "LISTEN_FDNAMES=web: 1 names for LISTEN_FDS=2"),
        ] {
            let names = names.map(|names| ("LISTEN_FDNAMES", names));
            let settings: Vec<_> = [("LISTEN_FDS", count)].into_iter().chain(names).collect();
            let text = output("fail", both(), &settings);
            assert_eq!(text.matches(expected).count(), 2, "{text}");
        }
    });
}
