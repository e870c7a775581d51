//! Environments that deny io_uring, memory, descriptors or `/proc`.
//!
//! Each cell is a process of its own, because a denial cannot be undone: this binary starts its
//! test [`ENTRY`] again with the cell in the environment. That process becomes a server that
//! restricts itself, prints its driver and the reason, echoes, and idles (`denied/server.rs`). The
//! test is its parent and observes it from outside (`denied/parent.rs`), with a tracer that counts
//! the system calls of the loop's thread (`denied/syscalls.rs`).
//!
//! Where the parent has no permission for a denial (most need root), the cell prints that, with a
//! count, on standard error, which the harness does not capture.

mod common;
#[path = "denied/later.rs"]
mod later;
#[path = "denied/parent.rs"]
mod parent;
#[path = "denied/server.rs"]
mod server;
#[path = "denied/syscalls.rs"]
mod syscalls;

use std::collections::VecDeque;
use std::os::unix::process::ExitStatusExt;
use std::sync::OnceLock;
use std::time::Duration;

use common::{LIMIT, within};
use parent::{Peer, Server, Started, skip};
use syscalls::Tracer;

/// The greatest number of system calls of an idle loop in [`WINDOW`]. A loop that spins makes ten
/// thousands; one that sleeps makes a few, because the tracer interrupts its sleep.
const IDLE_CALLS_MAX: usize = 50;
const WINDOW: Duration = Duration::from_secs(1);

/// A listener without descriptors retries ten times a second, with some calls each.
const SHORTAGE_CALLS_MAX: usize = 200;

/// The greatest number of refused enters of a loop that ends.
const REFUSALS_MAX: usize = 10;

/// The test that is started again for each cell.
const ENTRY: &str = "a_server_that_is_denied_nothing_serves_and_sleeps";

/// The expected driver of a cell.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Expect {
    /// epoll, and a reason with the text of this errno.
    Epoll(i32),
    /// epoll, and a reason with these words.
    EpollBecause(&'static str),
    /// The driver of an unrestricted process on this machine.
    AsEver,
    /// The same, or epoll with the text of this errno.
    AsEverOrEpoll(i32),
}

/// Runs cells side by side, each with its own process and tracer.
fn each(cells: &[(&str, Expect)]) {
    within(LIMIT, || {
        std::thread::scope(|scope| {
            for (cell, expect) in cells {
                scope.spawn(move || {
                    if let Some(server) = started(cell, *expect) {
                        serves_and_idles(server);
                    }
                });
            }
        });
    });
}

/// Starts a cell and checks its report.
fn started(cell: &str, expect: Expect) -> Option<Server> {
    let server = match Server::start(cell, None) {
        Started::Serving(server) => server,
        Started::Skipped(why) => {
            skip(cell, &why);
            return None;
        }
        Started::Dead(status, words) => panic!("{cell}: {status}\n{words}"),
    };
    server.has(expect);
    Some(server)
}

impl Server {
    fn has(&self, expect: Expect) {
        let Server { cell, kind, reason, .. } = self;
        let is_epoll_for = |why: &str| kind == "epoll" && reason.contains(why);
        let text = |errno| std::io::Error::from_raw_os_error(errno).to_string();
        let is_as_expected = match expect {
            Expect::Epoll(errno) => is_epoll_for(&text(errno)),
            Expect::EpollBecause(why) => is_epoll_for(why),
            Expect::AsEver => kind == ever(),
            Expect::AsEverOrEpoll(errno) => kind == ever() || is_epoll_for(&text(errno)),
        };
        assert!(is_as_expected, "{cell}: {kind} ({reason}), not {expect:?}");
        assert_eq!(kind == "epoll", !reason.is_empty(), "{cell}: {kind} ({reason})");
    }
}

/// The driver of an unrestricted process.
fn ever() -> &'static str {
    static KIND: OnceLock<String> = OnceLock::new();
    KIND.get_or_init(|| {
        let Started::Serving(server) = Server::start("nothing", None) else {
            panic!("does not start though nothing is denied");
        };
        let kind = server.kind.clone();
        server.stop();
        kind
    })
}

/// An echo; an idle window with an open connection; an echo that the counter must see; an orderly
/// end.
fn serves_and_idles(server: Server) {
    let mut peer = server.connect();
    peer.echo(10_000);
    match Tracer::attach(server.loop_thread) {
        Ok(mut tracer) => {
            let idle = tracer.calls_in(WINDOW);
            assert!(
                idle.len() < IDLE_CALLS_MAX,
                "{}: idle on {}, {} system calls in {WINDOW:?}: {:?}",
                server.cell,
                server.kind,
                idle.len(),
                &idle[..20]
            );
            // A counter that does not count would pass the check above too.
            peer.start_echo(100);
            let busy = tracer.calls_until(|| peer.has_echo());
            assert!(!busy.is_empty(), "{}: an echo without a system call", server.cell);
        }
        Err(error) => skip(&server.cell, &format!("cannot count system calls: {error}")),
    }
    drop(peer);
    server.stop();
}

/// Goal: an unrestricted server serves and sleeps. The other tests compare with it.
///
/// Method: no denial, on each driver. With a cell in the environment this is the cell's process.
///
/// Kills: a loop that polls.
#[test]
fn a_server_that_is_denied_nothing_serves_and_sleeps() {
    if let Ok(cell) = std::env::var(parent::CELL) {
        return within(LIMIT, || server::run(&cell));
    }
    within(LIMIT, || {
        let ours = Expect::EpollBecause("RINGLOOP_DRIVER");
        for (driver, expect) in [("auto", Expect::AsEver), ("epoll", ours)] {
            let Started::Serving(server) = Server::start("nothing", Some(driver)) else {
                panic!("does not start on {driver}");
            };
            server.has(expect);
            serves_and_idles(server);
        }
    });
}

/// Goal: where io_uring is refused, at any call and with any errno, a server starts on epoll,
/// reports the reason, serves, and sleeps when it is idle.
///
/// Method: a filter, installed before the start, that makes one system call fail with an errno.
///
/// Kills: a fallback for `EPERM` only; a probe that tries `io_uring_setup` only; a lost reason; a
/// loop that polls because its driver cannot sleep.
#[test]
fn a_refusal_at_the_start_leads_to_epoll() {
    each(&[
        ("refuse io_uring_setup EPERM", Expect::Epoll(libc::EPERM)),
        ("refuse io_uring_setup ENOSYS", Expect::Epoll(libc::ENOSYS)),
        ("refuse io_uring_setup EACCES", Expect::Epoll(libc::EACCES)),
        ("refuse io_uring_setup EOPNOTSUPP", Expect::Epoll(libc::EOPNOTSUPP)),
        ("refuse io_uring_register EPERM", Expect::Epoll(libc::EPERM)),
        ("refuse io_uring_enter EPERM", Expect::Epoll(libc::EPERM)),
    ]);
}

/// Goal: where an io_uring call kills the process, a server with `RINGLOOP_DRIVER=epoll` makes
/// none.
///
/// Method: a filter that kills the process at any of the three calls; with the variable it serves,
/// and without it the same process is killed, which shows that the filter works.
///
/// Kills: trying io_uring before reading the environment.
#[test]
fn the_variable_avoids_a_filter_that_kills() {
    within(LIMIT, || {
        let cell = "kill";
        let Started::Serving(server) = Server::start(cell, Some("epoll")) else {
            panic!("{cell}: died in spite of the variable");
        };
        server.has(Expect::EpollBecause("RINGLOOP_DRIVER"));
        serves_and_idles(server);

        let Started::Dead(status, _) = Server::start(cell, None) else {
            panic!("the filter does not kill");
        };
        assert_eq!(status.signal(), Some(libc::SIGSYS), "{status}");
    });
}

/// Goal: a runtime starts for an ordinary user with a small or zero limit of locked memory.
///
/// Method: set the limit, then change the user, as the memory of root is not limited.
///
/// Kills: an error of setup that does not lead to epoll; a ring that is charged and does not
/// shrink.
#[test]
fn little_lockable_memory_is_enough() {
    each(&[
        ("memlock 0", Expect::AsEverOrEpoll(libc::ENOMEM)),
        ("memlock 65536", Expect::AsEverOrEpoll(libc::ENOMEM)),
    ]);
}

/// Goal: a loop does not need `/proc`.
///
/// Method: a mount namespace whose `/proc` is empty. Kills: reading limits, descriptors or
/// thresholds from there.
#[test]
fn a_loop_works_without_proc() {
    each(&[("no-proc", Expect::AsEver)]);
}

/// Goal: with few descriptors a server starts and serves; with none left it pauses, reports that,
/// does not spin, and serves the waiting connections after others have ended.
///
/// Method: more connections than descriptors, each with bytes sent. After the report and an idle
/// window, receive the echoes one by one and end each connection, which frees a descriptor for the
/// next. On both drivers.
///
/// Kills: an accept that is tried again at once; one that is not tried again; a connection that
/// is lost with a failed accept; a probe that keeps its descriptors.
#[test]
fn a_server_with_few_descriptors_recovers() {
    within(LIMIT, || {
        for (cell, limit) in [("nofile 16", 16), ("nofile 64", 64)] {
            let ours = Expect::EpollBecause("RINGLOOP_DRIVER");
            for (driver, expect) in [("auto", Expect::AsEver), ("epoll", ours)] {
                let Started::Serving(server) = Server::start(cell, Some(driver)) else {
                    panic!("{cell} on {driver} does not start");
                };
                server.has(expect);
                out_of_descriptors(server, limit);
            }
        }
    });
}

fn out_of_descriptors(mut server: Server, limit: u64) {
    server.connect().echo(100);
    let mut peers = VecDeque::<Peer>::new();
    for _ in 0..limit + 8 {
        let mut peer = server.connect();
        peer.start_echo(100);
        peers.push_back(peer);
    }
    let report = server.next_line("unhandled");
    let why = std::io::Error::from_raw_os_error(libc::EMFILE).to_string();
    assert!(report.contains(&why), "{report}");
    match Tracer::attach(server.loop_thread) {
        Ok(mut tracer) => {
            let calls = tracer.calls_in(WINDOW);
            assert!(calls.len() < SHORTAGE_CALLS_MAX, "{}: {} calls", server.cell, calls.len());
        }
        Err(error) => skip(&server.cell, &format!("cannot count system calls: {error}")),
    }
    // Accepted in the order of arrival, so the first remaining one is always being served.
    for mut peer in peers {
        peer.await_echo();
    }
    serves_and_idles(server);
}

/// Goal: where `io_uring_enter` is refused after the start, every operation ends with the reason,
/// in flight or new; timers, tasks and wakes go on; the loop sleeps, reports the failure once, and
/// ends.
///
/// Method: an echo through the ring; then one operation of each kind in flight, and a filter. The
/// process checks its operations itself (`denied/later.rs`). The parent's connection must end, too.
///
/// Kills: a panic; an operation that hangs, or is accepted after the failure; a failed driver that
/// is entered repeatedly; a report per operation.
#[test]
fn an_enter_refused_later_ends_every_operation() {
    within(LIMIT, || {
        for errno in ["EPERM", "EACCES", "ENOSYS"] {
            let Some((mut server, mut peer)) = on_a_ring(&format!("later {errno}")) else { return };
            server.tell(later::NOW);
            let lines = server.lines_until("broken");
            let cause = std::io::Error::from_raw_os_error(server::code(errno));
            let failed = format!("the io_uring driver failed: {cause}");
            for word in ["unhandled", "refused"] {
                let is_it =
                    |said: &&(String, String)| said.0 == word && said.1.starts_with(&failed);
                assert_eq!(lines.iter().filter(is_it).count(), 1, "{word} {failed}: {lines:?}");
            }
            peer.await_end();
            match Tracer::attach(server.loop_thread) {
                Ok(mut tracer) => {
                    let idle = tracer.calls_in(WINDOW);
                    assert!(idle.len() < IDLE_CALLS_MAX, "{} calls without a driver", idle.len());
                    server.tell(later::ASK);
                    let busy = tracer.calls_in(WINDOW);
                    assert!(!busy.is_empty(), "woken without a system call");
                }
                Err(error) => {
                    skip(&server.cell, &format!("cannot count system calls: {error}"));
                    server.tell(later::ASK);
                }
            }
            server.next_line("heard");
            server.stop();
        }
    });
}

/// Goal: a loop whose last enters are refused ends soon, and leaks the memory that the kernel may
/// still write to.
///
/// Method: one operation of each kind in flight, a filter, and the runtime is dropped. The calls
/// that it makes after it has installed the filter are counted.
///
/// Kills: a drop that waits for completions that cannot be collected, or enters until its deadline;
/// memory that is freed while the kernel may write to it.
#[test]
fn an_enter_refused_at_the_end_ends_the_loop() {
    within(LIMIT, || {
        let Some((mut server, mut peer)) = on_a_ring("last EPERM") else { return };
        match Tracer::attach(server.loop_thread) {
            Ok(mut tracer) => {
                server.tell(later::NOW);
                let calls = tracer.calls_until(|| false);
                let is = |number: libc::c_long| move |call: &u64| *call == number as u64;
                let installed = calls.iter().rposition(is(libc::SYS_seccomp)).expect("a filter");
                let enters = calls[installed..].iter().filter(|c| is(libc::SYS_io_uring_enter)(c));
                let enters_count = enters.count();
                assert!(
                    (1..=REFUSALS_MAX).contains(&enters_count),
                    "{enters_count} refused enters"
                );
            }
            Err(error) => {
                skip(&server.cell, &format!("cannot count system calls: {error}"));
                server.tell(later::NOW);
            }
        }
        let lines = server.lines_until("ended");
        let (leak, losses) = lines.split_last().expect("reports");
        assert!(leak.1.contains("outlived the runtime; their memory was leaked"), "{lines:?}");
        assert!(
            losses.iter().all(|(_, text)| text.starts_with("a dropped stream lost")),
            "{lines:?}"
        );
        peer.await_end();
        server.await_end();
    });
}

/// Starts a cell that needs a ring, and exchanges an echo with it.
fn on_a_ring(cell: &str) -> Option<(Server, Peer)> {
    let server = started(cell, Expect::AsEver)?;
    if server.kind != "io_uring" {
        skip(cell, "no io_uring here");
        server.stop();
        return None;
    }
    let mut peer = server.connect();
    peer.echo(10_000);
    Some((server, peer))
}
