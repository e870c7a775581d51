//! Tests of the floors under conditions that break echo servers: few buffers, small queues, no
//! descriptors, peers that close early or read late.
//!
//! Each test runs the real binaries. The generator checks every byte, so a floor that mixes up
//! buffers fails.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use peers::process;
use peers::report::Report;

const FLOORS: [&str; 2] = [
    env!("CARGO_BIN_EXE_ring_floor"),
    env!("CARGO_BIN_EXE_epoll_floor"),
];
const RING_FLOOR: &str = FLOORS[0];

/// More bytes than the kernel buffers for one connection whose peer does not read.
const FLOOD_LEN: usize = 16 * 1024 * 1024;

struct Floor {
    child: Child,
    addr: String,
}

impl Floor {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let addr = line
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        Self { child, addr }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        stream
    }

    fn drive(&self, args: &str) -> Report {
        let output = Command::new(env!("CARGO_BIN_EXE_drive"))
            .arg(&self.addr)
            .args(args.split_whitespace())
            .args(["--pid", &self.child.id().to_string()])
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        Report::from_json(&String::from_utf8(output.stdout).unwrap()).unwrap()
    }

    fn check_drive(&self, args: &str) {
        let report = self.drive(args);
        assert_eq!(
            (report.errors, report.served),
            (0, report.connections),
            "{args}: {report:?}"
        );
        assert!(report.messages > 0, "{args}: {report:?}");
    }

    /// The CPU time of the server while `stream` receives no byte.
    fn cpu_ns_while_silent(&self, mut stream: &TcpStream, silence: Duration) -> u64 {
        let before_ns = process::cpu_ns(self.child.id()).unwrap();
        stream.set_read_timeout(Some(silence)).unwrap();
        let error = stream
            .read(&mut [0])
            .expect_err("a byte where there should be none");
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        process::cpu_ns(self.child.id()).unwrap() - before_ns
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn echo_once(mut stream: &TcpStream) {
    stream.write_all(b"hello").unwrap();
    expect_echo(stream);
}

fn expect_echo(mut stream: &TcpStream) {
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
}

/// Goal: both floors echo messages of every size.
///
/// Method: messages of 1 B, of 64 B, and of many buffers, over several connections.
///
/// Kills: forgetting the rest of a short send; sending a buffer before the one received earlier.
#[test]
fn messages_of_any_size_come_back() {
    for path in FLOORS {
        let floor = Floor::start(&mut Command::new(path));
        floor.check_drive("-c 1 -s 1 -d 0.1 --warmup 0");
        floor.check_drive("-c 50 -s 64 -d 0.1 --warmup 0");
        floor.check_drive("-c 4 -s 9000 -d 0.1 --warmup 0");
        floor.check_drive("-c 2 -s 3000000 -d 0.5 --warmup 0");
    }
}

/// Goal: a reply that does not fit into the socket waits, and no byte of it is lost.
///
/// Method: a client sends without reading until it blocks, so that the server blocks too; then it
/// reads everything, and compares.
///
/// Kills: dropping the rest of a short send; not resuming when there is room again.
#[test]
fn replies_wait_for_a_slow_reader() {
    for path in FLOORS {
        let floor = Floor::start(&mut Command::new(path));
        let client = floor.connect();
        client
            .set_write_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        let byte_at = |index: usize| (index % 251) as u8;
        let flood: Vec<u8> = (0..FLOOD_LEN).map(byte_at).collect();
        let mut sent_len = 0;
        while sent_len < FLOOD_LEN {
            match (&client).write(&flood[sent_len..]) {
                Ok(len) => sent_len += len,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(
            sent_len < FLOOD_LEN,
            "the kernel took it all: make the flood larger"
        );
        client.shutdown(Shutdown::Write).unwrap();

        let mut echo = Vec::new();
        (&client).read_to_end(&mut echo).unwrap();
        assert_eq!(echo.len(), sent_len, "{path}");
        assert!(echo == flood[..sent_len], "{path}");
    }
}

/// Goal: the ring floor works with fewer buffers than connections, and with queues that overflow in
/// every turn.
///
/// Method: pools of 1 and of 4 buffers for 200 connections; then a completion queue of 8 entries.
///
/// Kills: leaving a starved connection unarmed although buffers are back; a full submission queue
/// that loses an entry; sleeping while completions wait outside the queue.
#[test]
fn the_ring_floor_serves_from_little() {
    for args in [
        "--buffers 1",
        "--buffers 4",
        "--sq 2 --cq 8",
        "--buffers 1 --sq 1 --cq 2",
    ] {
        let floor = Floor::start(Command::new(RING_FLOOR).args(args.split(' ')));
        floor.check_drive("-c 200 -s 64 -d 0.3 --warmup 0");
        floor.check_drive("-c 3 -s 50000 -d 0.3 --warmup 0");
    }
}

/// Goal: connections that wait for a buffer use no CPU, and are served when one is returned.
///
/// Method: one client floods and does not read, which takes both buffers. The message of a second
/// client must wait, and the server must sleep. Then the first reads, and the second is served.
///
/// Kills: arming at once on `ENOBUFS`, which spins; arming only connections that have data.
#[test]
fn starved_connections_wait_asleep() {
    let floor = Floor::start(Command::new(RING_FLOOR).args(["--buffers", "2"]));
    let hog = floor.connect();
    let mut writer = hog.try_clone().unwrap();
    let flood = std::thread::spawn(move || {
        writer.write_all(&vec![7; FLOOD_LEN]).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });

    let idle: Vec<TcpStream> = (0..20).map(|_| floor.connect()).collect();
    // Until the flood is stuck, which a connection that is not served within the wait proves.
    let stuck = loop {
        let mut probe = floor.connect();
        probe
            .set_read_timeout(Some(Duration::from_millis(300)))
            .unwrap();
        probe.write_all(b"hello").unwrap();
        if probe.read_exact(&mut [0; 5]).is_err() {
            break probe;
        }
    };
    let cpu_ns = floor.cpu_ns_while_silent(&stuck, Duration::from_millis(500));
    assert!(
        cpu_ns < 50_000_000,
        "{cpu_ns} ns of CPU in half a second of waiting"
    );

    let mut echoed_len = 0;
    let mut chunk = vec![0; 1 << 20];
    loop {
        match (&hog).read(&mut chunk).unwrap() {
            0 => break,
            len => echoed_len += len,
        }
    }
    flood.join().unwrap();
    assert_eq!(echoed_len, FLOOD_LEN);
    expect_echo(&stuck);
    idle.iter().for_each(echo_once);
}

/// Goal: a server without descriptors sleeps, and accepts again when one is free.
///
/// Method: a limit of 24 files and 40 clients: the first are served, the last one waits, and the
/// server uses no CPU. Then the first clients leave, and the last must be served.
///
/// Kills: arming accept at once on `EMFILE`; forgetting to arm it when a connection closes.
#[test]
fn out_of_descriptors_the_floors_wait_asleep() {
    for path in FLOORS {
        let floor = Floor::start(
            Command::new("sh")
                .args(["-c", "ulimit -n 24; exec \"$0\""])
                .arg(path),
        );
        let mut clients: Vec<TcpStream> = (0..40).map(|_| floor.connect()).collect();
        echo_once(&clients[0]);
        let last = clients.pop().unwrap();
        (&last).write_all(b"hello").unwrap();
        let cpu_ns = floor.cpu_ns_while_silent(&last, Duration::from_millis(500));
        assert!(
            cpu_ns < 50_000_000,
            "{path}: {cpu_ns} ns of CPU in half a second of waiting"
        );

        drop(clients);
        expect_echo(&last);
        floor.check_drive("-c 10 -d 0.1 --warmup 0");
    }
}

/// Goal: peers that leave in any way leave no descriptor or buffer behind.
///
/// Method: clients that finish sending and then read; that leave without reading, so that the
/// server's send fails; that reset at once. A server limited to 64 files must survive 1000 of them.
///
/// Kills: a close that is missed when the end comes with the last bytes; buffers lost with their
/// connection. It cannot kill the missing `shutdown` of a failed send: after a reset, which is the
/// only failure a peer can cause, the receive ends by itself.
#[test]
fn peers_may_leave_as_they_like() {
    for path in FLOORS {
        let floor = Floor::start(
            Command::new("sh")
                .args(["-c", "ulimit -n 64; exec \"$0\""])
                .arg(path),
        );
        for round in 0..1000 {
            let mut client = floor.connect();
            match round % 4 {
                0 => {
                    client.write_all(b"hello").unwrap();
                    client.shutdown(Shutdown::Write).unwrap();
                    let mut answer = Vec::new();
                    client.read_to_end(&mut answer).unwrap();
                    assert_eq!(answer, b"hello");
                }
                // Closing with the echo unread is a reset.
                1 => client.write_all(&[1; 20_000]).unwrap(),
                2 => client.write_all(b"hello").unwrap(),
                _ => {}
            }
        }
        floor.check_drive("-c 40 -d 0.1 --warmup 0");
    }
}
