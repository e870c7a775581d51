//! Starting a runtime while other processes connect to its sockets.

mod common;

use std::fs;
use std::io;
use std::net::{Ipv4Addr, TcpStream as StdStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{LIMIT, open_fds, scaled, within};
use ringloop::Runtime;
use ringloop::net::TcpListener;
use ringloop::time::timeout;
use socket2::{Domain, SockAddr, Socket, Type};

const RUNTIMES: u64 = 300;
const CONNECTIONS: u64 = 3;
/// The limit for a connection that is in the backlog already.
const ACCEPT_LIMIT: Duration = Duration::from_secs(20);

/// Goal: a runtime starts, keeps its connections and its descriptors while another process connects
/// to every name that the start makes visible.
///
/// Method: a thread reads `/proc/net/unix` and connects to each listening name that the kernel
/// chose, as fast as it can, while runtimes are built, accept, and are dropped. Names of other
/// forms belong to other programs. How often it connects to a probe is random, and printed; a unit
/// test of the probe has the order in which a stranger is first
/// (`connections_of_others_do_not_fail_the_probe`).
///
/// Kills: an accepted connection of the probe that stays open; one whose completion is taken for
/// that of an operation; a probe that assumes that no other process connects.
#[test]
fn strangers_do_not_disturb_a_start() {
    let ours_before = open_fds();
    let (is_over, meetings) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                meetings.fetch_add(connect_to_all().expect("/proc/net/unix"), Ordering::Relaxed);
            }
        });
        let outcome = std::panic::catch_unwind(|| within(LIMIT, start_and_serve));
        is_over.store(true, Ordering::Relaxed); // also after a failure: the scope joins the thread
        outcome.unwrap_or_else(|payload| std::panic::resume_unwind(payload));
    });
    println!("{} connections to names that the kernel chose", meetings.into_inner());
    assert_eq!(open_fds(), ours_before);
}

fn start_and_serve() {
    for round in 0..scaled(RUNTIMES) {
        let runtime = Runtime::new().unwrap_or_else(|error| panic!("round {round}: {error}"));
        runtime.block_on(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let addr = listener.local_addr().unwrap();
            for number in 0..CONNECTIONS {
                let _client = StdStream::connect(addr).unwrap();
                let accepted = timeout(ACCEPT_LIMIT, listener.accept()).await;
                accepted.unwrap_or_else(|_| panic!("round {round}: {number} is lost")).unwrap();
            }
        });
        assert_eq!(runtime.handle().metrics().stale_completions, 0, "round {round}");
    }
}

/// Connects to each listener with a name that the kernel chose: `@` and five hexadecimal digits.
/// Returns the number of successes.
fn connect_to_all() -> io::Result<u64> {
    const ACCEPTS_CONNECTIONS: &str = "00010000";
    let mut count = 0;
    for line in fs::read_to_string("/proc/net/unix")?.lines().skip(1) {
        let mut words = line.split_ascii_whitespace();
        let (flags, name) = (words.nth(3), words.nth(3));
        let Some(name) = name.and_then(|name| name.strip_prefix('@')) else { continue };
        let is_chosen = name.len() == 5 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_chosen && flags == Some(ACCEPTS_CONNECTIONS) {
            // Not `std`'s connect: it waits while the backlog is full.
            let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
            count += u64::from(socket.connect(&SockAddr::unix(format!("\0{name}"))?).is_ok());
        }
    }
    Ok(count)
}
