//! The epoll driver alone, on real descriptors.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;

use socket2::{Domain, Protocol, Socket as Socket2, Type};

use super::interest::ShortRead;
use super::perform::SHOTS_PER_TRY_MAX;
use super::*;
use crate::driver::request::Interest;

fn driver(timer: Option<TimerFd>) -> Epoll {
    let pool = Pool::new(4, 64).expect("memory");
    let wake_fd = Arc::new(EventFd::new().expect("an eventfd"));
    let epoll = epoll::Epoll::new().expect("an epoll instance");
    Epoll::with(epoll, timer, pool, wake_fd).expect("an empty interest list")
}

fn key(index: u32) -> Key {
    Key::new(index, 0, 1)
}

fn waited(driver: &mut Epoll, wait: Wait) -> Vec<Completion> {
    let mut out = Vec::new();
    driver.wait(wait, &mut out).expect("a wait");
    out
}

/// Goal: a descriptor that is closed here wakes this loop no more, even if a duplicate of it lives
/// on in another process.
///
/// Method: a receive, its cancel, `deregister`; then bytes come for the duplicate, and the kernel
/// is asked for events. Kills: relying on close(2) to end the interest.
#[test]
fn a_duplicate_of_a_closed_socket_is_not_watched() {
    let mut driver = driver(None);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let fd = ours.as_raw_fd();
    let _ = driver.push(key(0), Request::Recv { fd, poll_first: false });
    assert_eq!(waited(&mut driver, Wait::Poll), []);
    driver.cancel(key(0));
    assert_eq!(waited(&mut driver, Wait::Poll)[0].result, -errno::ECANCELED);

    let duplicate = ours.as_fd().try_clone_to_owned().unwrap();
    driver.deregister(fd);
    drop(ours);
    theirs.write_all(b"late").unwrap();
    let mut events = Vec::new();
    driver.interests.epoll.wait(Some(0), &mut events).unwrap();
    assert!(events.is_empty(), "{events:?} for a descriptor that is closed");
    drop(duplicate);
}

/// Goal: without `epoll_pwait2` a sleep ends at its deadline, never before; an earlier deadline
/// moves it, a notification ends it, and a poll does not sleep.
///
/// Method: a driver with a timerfd, deadlines a few milliseconds away, one after a later one.
///
/// Kills: a timer that is not set again; one in milliseconds, rounded down; a count left unread
/// (the next sleep would end at once).
#[test]
fn a_timerfd_ends_sleeps() {
    let mut driver = driver(Some(TimerFd::new().unwrap()));
    assert_eq!(driver.features(), ["timerfd"]);
    let notifier = Arc::clone(driver.wake_fd());
    assert_eq!(waited(&mut driver, Wait::Poll), []);
    for after_ns in [3_000_000, 1_000_001, 2_500_000] {
        let deadline_ns = clock::monotonic_ns() + after_ns;
        while clock::monotonic_ns() < deadline_ns {
            let before_sleeps = driver.stats().sleeps;
            waited(&mut driver, Wait::Until(deadline_ns));
            assert_eq!(driver.stats().sleeps, before_sleeps + 1);
            assert!(clock::monotonic_ns() >= deadline_ns, "a sleep of {after_ns} ns ended early");
        }
        let mut events = Vec::new();
        driver.interests.epoll.wait_plain(false, &mut events).unwrap();
        assert!(events.is_empty(), "{events:?}: the next sleep would end at once");
        let far_ns = clock::monotonic_ns() + 3_600_000_000_000;
        notifier.notify();
        waited(&mut driver, Wait::Until(far_ns)); // the wake fd ends it, an hour early
    }
}

/// Goal: what counts as much to do is what was pushed, not what multishot operations have left
/// over: a busy receive must not make every poll of a task flush.
///
/// Method: fill the count, try once. Kills: a count that is never taken back.
#[test]
fn half_full_is_about_what_is_new() {
    let mut driver = driver(None);
    let pairs: Vec<_> = (0..TRIES_PER_WAIT_MAX / 2).map(|_| UnixStream::pair().unwrap()).collect();
    for (index, (ours, theirs)) in pairs.iter().enumerate() {
        assert!(!driver.is_half_full());
        (&*theirs).write_all(&[7; 64 * 8]).unwrap(); // more than one try takes
        let _ = driver
            .push(key(index as u32), Request::Recv { fd: ours.as_raw_fd(), poll_first: false });
    }
    assert!(driver.is_half_full());
    assert!(!waited(&mut driver, Wait::Poll).is_empty());
    assert!(!driver.is_half_full());
    for index in 0..pairs.len() {
        driver.cancel(key(index as u32));
    }
    driver.close();
}

/// Goal: a file that others go on using wakes this loop no more than once when nothing waits for
/// it, and again when something does.
///
/// Method: a poll that is answered; then bytes come a hundred times, and the kernel is asked for
/// events each time. Then a poll for the same descriptor.
///
/// Kills: an interest that outlives its operations (a sleep that each of those bytes ends, and a
/// spin in the eyes of the turn); one that is not renewed.
#[test]
fn a_file_that_nothing_waits_for_is_let_go() {
    let mut driver = driver(None);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let fd = ours.as_raw_fd();
    let _ = driver.push(key(0), Request::Poll { fd, interest: Interest::Readable });
    theirs.write_all(b"1").unwrap();
    assert_eq!(waited(&mut driver, Wait::Poll).len(), 1);
    theirs.write_all(b"2").unwrap();
    assert_eq!(waited(&mut driver, Wait::Poll).len(), 0);
    for _ in 0..100 {
        theirs.write_all(b"3").unwrap();
        let mut events = Vec::new();
        driver.interests.epoll.wait(Some(0), &mut events).unwrap();
        assert!(events.is_empty(), "{events:?} with nothing pending");
    }
    (&ours).read_exact(&mut [0; 102]).unwrap();
    let _ = driver.push(key(1), Request::Poll { fd, interest: Interest::Readable });
    assert_eq!(waited(&mut driver, Wait::Poll).len(), 0);
    theirs.write_all(b"4").unwrap();
    assert_eq!(waited(&mut driver, Wait::Poll).len(), 1);
}

/// Goal: a busy socket gets its share of the pool once a turn, however often tasks make the turn
/// flush.
///
/// Method: more bytes than the pool holds, twenty flushes, one wait. Kills: a flush that goes on
/// with what the last one has left over.
#[test]
fn a_flush_tries_only_what_is_new() {
    let pool = Pool::new(64, 64).unwrap();
    let wake_fd = Arc::new(EventFd::new().unwrap());
    let epoll = epoll::Epoll::new().unwrap();
    let mut driver = Epoll::with(epoll, None, pool, wake_fd).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(&[7; 64 * 100]).unwrap();
    let _ = driver.push(key(0), Request::Recv { fd: ours.as_raw_fd(), poll_first: false });
    for _ in 0..20 {
        driver.flush();
    }
    let got = waited(&mut driver, Wait::Poll);
    // One try in the first flush, and one before and one after the wait has looked for events.
    assert_eq!(got.len(), 3 * SHOTS_PER_TRY_MAX, "last {:?}", got.last());
}

/// Goal: a receive into a private buffer never waits, and an empty pool is no answer to a receive
/// for which nothing has come; the invariant of edges holds for both.
///
/// Method: both kinds on an empty socket while every buffer of the pool is out; then a byte.
///
/// Kills: a private receive that waits for an edge; `ENOBUFS` without a byte; a wait for an edge
/// that has come before.
#[test]
fn a_receive_without_a_pool_never_waits() {
    let mut driver = driver(None);
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let fd = ours.as_raw_fd();
    while driver.performer.pool.lend().is_some() {}
    let mut buffer = [0; 8];
    let (target, target_len) = (buffer.as_mut_ptr(), 8);
    let into = Request::RecvInto { fd, target, target_len };
    let _ = driver.push(key(0), into);
    assert_eq!(waited(&mut driver, Wait::Poll)[0].result, -errno::EAGAIN);
    for poll_first in [true, false] {
        let _ = driver.push(key(1), Request::Recv { fd, poll_first });
        assert_eq!(waited(&mut driver, Wait::Poll), []);
        theirs.write_all(b"!").unwrap();
        assert_eq!(waited(&mut driver, Wait::Poll)[0].result, -errno::ENOBUFS);
        let _ = driver.push(key(0), into);
        assert_eq!(waited(&mut driver, Wait::Poll)[0].result, 1);
    }
    driver.deregister(fd);
}

/// The kernel's number of MPTCP, which a kernel may lack or refuse.
const IPPROTO_MPTCP: i32 = 262;

fn short_read_means_empty(driver: &mut Epoll, ours: &impl AsRawFd, theirs: &Socket2) -> bool {
    let fd = ours.as_raw_fd();
    let _ = driver.push(key(0), Request::Recv { fd, poll_first: false });
    theirs.send(b"bytes").unwrap();
    let got = waited(driver, Wait::Forever);
    assert_eq!(got[0].result, 5);
    drop(driver.performer.pool.filled(got[0].flags.buffer().expect("one of the pool"), 5));
    driver.cancel(key(0));
    assert_eq!(waited(driver, Wait::Poll)[0].result, -errno::ECANCELED);
    let socket = driver.interests.socket(fd);
    let is_empty = matches!(socket.short_read, ShortRead::Empty);
    assert_eq!(socket.is_empty_after_short_read(fd), is_empty, "asked by the receive");
    driver.deregister(fd);
    is_empty
}

/// Goal: only plain TCP is spared the receive that returns `EAGAIN`, and only while the program has
/// not seen the descriptor.
///
/// Method: one message over TCP of both families, over an exposed TCP socket, over MPTCP where the
/// kernel has it, over a Unix socket.
///
/// Kills: an extra receive for each message of a TCP connection; a short read that is trusted on
/// another kind of socket, or after the program may have set `TCP_ULP`.
#[test]
fn a_short_read_means_empty_on_plain_tcp_only() {
    let connected = |domain: Domain, protocol: Option<i32>, addr: SocketAddr| {
        let new = || Socket2::new(domain, Type::STREAM, protocol.map(Protocol::from));
        let listener = new()?;
        listener.bind(&addr.into())?;
        listener.listen(1)?;
        let client = new()?;
        client.connect(&listener.local_addr()?)?;
        io::Result::Ok((listener.accept()?.0, client))
    };
    let ipv4 = (Ipv4Addr::LOCALHOST, 0).into();
    let mut driver = driver(None);
    let (ours, theirs) = connected(Domain::IPV4, None, ipv4).unwrap();
    assert!(short_read_means_empty(&mut driver, &ours, &theirs));
    driver.expose(ours.as_raw_fd());
    assert!(!short_read_means_empty(&mut driver, &ours, &theirs));
    // `deregister` was called: the number stands for a new socket.
    assert!(short_read_means_empty(&mut driver, &ours, &theirs));
    if let Ok((ours, theirs)) = connected(Domain::IPV6, None, (Ipv6Addr::LOCALHOST, 0).into()) {
        assert!(short_read_means_empty(&mut driver, &ours, &theirs));
    }
    if let Ok((ours, theirs)) = connected(Domain::IPV4, Some(IPPROTO_MPTCP), ipv4) {
        assert!(!short_read_means_empty(&mut driver, &ours, &theirs));
    }
    let (ours, theirs) = Socket2::pair(Domain::UNIX, Type::STREAM, None).unwrap();
    assert!(!short_read_means_empty(&mut driver, &ours, &theirs));
}
