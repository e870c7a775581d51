//! The probe on a ring whose kernel is a script, and on the kernel's own.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{IntoRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::*;
use crate::driver::request::{OpKind, Wait};
use crate::driver::steps::Steps;
use crate::driver::uring::Uring;
use crate::driver::uring::ring::KernelRing;
use crate::driver::uring::scripted::ring::ScriptedRing;
use crate::driver::uring::scripted::{CancelPolicy, Script};
use crate::driver::{DriverKind, RingSizes};
use crate::sys::eventfd::EventFd;

const SIZES: RingSizes = RingSizes { sq_entries: 8, cq_entries: 16 };

/// A prober whose timeout has been armed, as that of a driver's start is.
fn prober(script: &Script) -> Prober<ScriptedRing> {
    let mut prober = Prober::new(script.ring(SIZES));
    prober.arm_timeout().unwrap();
    prober
}

fn timeouts(script: &Script) -> usize {
    script.count(|entry| matches!(entry, Entry::Timeout { .. }))
}

/// A descriptor that an accept may bring, and the other end, which sees when it is closed.
fn connection() -> (RawFd, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    theirs.set_nonblocking(true).unwrap();
    (ours.into_raw_fd(), theirs)
}

fn is_closed(mut theirs: &UnixStream) -> bool {
    match theirs.read(&mut [0]) {
        Ok(count) => count == 0,
        Err(error) if error.kind() == ErrorKind::WouldBlock => false,
        Err(error) => panic!("{error}"),
    }
}

/// Goal: a probe whose answers have come does not wait for its own timeout.
///
/// Method: a scripted kernel that posts the bytes and the end of a receive together, as those
/// up to 6.12 do. Its clock moves only when a sleep has nothing to come.
///
/// Kills: entering before looking at what was reaped.
#[test]
fn answers_that_come_together_are_both_taken() {
    let script = Script::new();
    script.direct(|script| {
        for recv in script.all(OpKind::Recv) {
            assert!(script.deliver(recv, b"?", true), "the probe lends a buffer");
            script.complete(recv, -errno::ENOBUFS, Flags::NONE);
        }
    });
    let mut prober = prober(&script);
    let began_ns = script.now_ns();
    prober.multishot_recv().expect("a receive that works");
    assert_eq!(script.now_ns(), began_ns, "slept until the timeout");
}

/// Goal: a receive that outlives its probe writes into memory that nothing else uses.
///
/// Method: a scripted kernel that answers nothing until the probe has given up; then the allocator
/// is asked for pages, and the bytes arrive. Kills: a pool that is given back after a failure (also
/// found by AddressSanitizer, or by a fault); a receive that is not cancelled.
#[test]
fn a_receive_may_outlive_its_probe() {
    let script = Script::new();
    script.set_cancel_policy(CancelPolicy::Ignore);
    let mut prober = prober(&script);
    assert!(prober.multishot_recv().is_err(), "it has no answer");
    assert_eq!(script.cancels(), [ProbeStep::Recv.user_data()]);
    drop(prober);
    let busy: Vec<_> = (0..64).map(|_| Pool::new(1, PROBE_BUFFER_LEN).unwrap()).collect();
    assert!(script.deliver(script.the(OpKind::Recv), &[0x55; 64], false));
    for pool in busy {
        assert!(pool.lend().is_some());
        assert_eq!(*pool.filled(0, 64), [0; 64], "written to memory in use");
    }
}

/// Goal: a probe leaves nothing behind: no entry, no completion, no operation in flight.
///
/// Method: a scripted kernel that performs every step. Kills: a timeout that is not cancelled; an
/// accept that is left armed; a timeout per step.
#[test]
fn a_probe_leaves_nothing_behind() {
    let script = Script::new();
    script.direct(perform);
    let mut steps = Steps::new(DriverKind::Uring);
    let mut ring = prove(script.ring(SIZES), &mut steps).expect("a ring that works");
    assert_nothing_is_left(&script, &mut ring);
    assert_eq!(timeouts(&script), 1, "one for the whole probe");
}

/// Goal: a probe whose thread was stopped for longer than its timeout has its answers, goes on, and
/// leaves nothing behind.
///
/// Method: a scripted kernel whose timeout fires together with the answers of the second step.
/// Kills: a step that fails because the timeout has fired; a cancel of a timeout that has been seen
/// to end.
#[test]
fn a_stopped_probe_goes_on() {
    let script = Script::new();
    script.direct(|script| {
        perform(script);
        script.stall_ns(clock::monotonic_ns() + 2 * PROBE_TIMEOUT_NS);
    });
    let mut prober = prober(&script);
    prober.multishot_recv().expect("a receive that works");
    assert!(!prober.is_timeout_armed);
    prober.no_op().expect("a ring that works");
    prober.end_timeout().unwrap();
    assert_nothing_is_left(&script, &mut prober.ring);
}

#[track_caller]
fn assert_nothing_is_left(script: &Script, ring: &mut ScriptedRing) {
    assert_eq!(ring.unsubmitted_count(), 0, "an entry is left for the driver");
    script.stall_ns(clock::monotonic_ns() + 2 * PROBE_TIMEOUT_NS); // a timeout that is left fires
    ring.enter(Enter::Collect).unwrap();
    assert_eq!(ring.reapable_count(), 0, "a completion is left for the driver");
    assert!(script.in_flight().is_empty());
}

/// What a working kernel does with what is in flight: a byte and the end, or a connection.
fn perform(script: &Script) {
    for recv in script.all(OpKind::Recv) {
        assert!(script.deliver(recv, b"?", true), "the probe lends a buffer");
        script.complete(recv, 0, Flags::NONE);
    }
    for accept in script.all(OpKind::Accept) {
        script.complete(accept, connection().0, Flags::NONE.with_more());
    }
}

/// Goal: every descriptor that the accept brings is closed: one beside the first, one that comes
/// after the cancel, and one that comes with the final completion.
///
/// Method: two connections at once; then a kernel that is slow to obey the cancel and brings two
/// more, the last without MORE. Kills: a second completion that is left in the queue; a stop at the
/// first completion after the cancel; a final completion taken for an error without a descriptor.
#[test]
fn every_accepted_descriptor_is_closed() {
    let script = Script::new();
    script.set_cancel_policy(CancelPolicy::Ignore);
    let (fds, peers): (Vec<RawFd>, Vec<UnixStream>) = (0..4).map(|_| connection()).unzip();
    let more = Flags::NONE.with_more();
    script.direct(move |script| {
        let op = script.the(OpKind::Accept);
        let rest = if script.cancels().is_empty() { &fds[..2] } else { &fds[2..] };
        script.complete(op, rest[0], more);
        let last = if script.cancels().is_empty() { more } else { Flags::NONE };
        script.complete(op, rest[1], last);
    });
    let mut prober = prober(&script);
    prober.multishot_accept().expect("an accept that works");
    assert_eq!(peers.iter().filter(|peer| is_closed(peer)).count(), 4);
    assert!(script.in_flight().is_empty());
}

/// Goal: a kernel whose accept ends with its first connection is refused, and keeps no descriptor.
///
/// Method: one completion without MORE. Kills: a check of the result alone; a descriptor that is
/// owned only where the step succeeds.
#[test]
fn an_accept_that_ends_at_once_is_no_multishot() {
    let script = Script::new();
    let (fd, peer) = connection();
    script.direct(move |script| script.complete(script.the(OpKind::Accept), fd, Flags::NONE));
    let error = prober(&script).multishot_accept().expect_err("it does not go on");
    assert_eq!(error.raw_os_error(), Some(errno::EOPNOTSUPP));
    assert!(is_closed(&peer));
}

/// Goal: a probe that is not answered ends after one second in all, however many steps wait.
///
/// Method: a scripted kernel that ignores everything; its clock moves only by sleeping. Kills: a
/// timeout per wait; a sleep after the timeout (the script would panic).
#[test]
fn an_unanswered_probe_ends_in_time() {
    let script = Script::new();
    script.set_cancel_policy(CancelPolicy::Ignore);
    let mut prober = prober(&script);
    let error = prober.multishot_accept().expect_err("no answer");
    assert_eq!(error.raw_os_error(), Some(errno::ETIMEDOUT));
    assert_eq!(timeouts(&script), 1);
    assert!(script.enter_calls() <= u64::from(2 * PROBE_ENTERS_MAX) + 1);
    assert!(script.now_ns() <= clock::monotonic_ns() + PROBE_TIMEOUT_NS);
}

/// Goal: a full backlog does not make the probe wait.
///
/// Method: a listener that does not accept, with a backlog that others have filled. Kills: a
/// blocking connect (the test would hang); `EAGAIN` taken for a failure.
#[test]
fn a_full_backlog_is_no_wait() {
    let listener = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
    listener.bind(&SockAddr::unix("").unwrap()).unwrap();
    listener.listen(PROBE_BACKLOG).unwrap();
    let addr = listener.local_addr().unwrap();
    let connected: Vec<Socket> =
        (0..2 + PROBE_BACKLOG).map(|_| connect_without_waiting(&addr).unwrap()).collect();
    let unconnected = connected.iter().filter(|client| client.peer_addr().is_err());
    assert_eq!(unconnected.count(), 1, "the backlog was not full");
}

/// Goal: on the kernel's ring, connections of other processes serve as well as the probe's own, and
/// each is closed.
///
/// Method: a listener whose backlog others have filled before the probe. Kills: a probe that waits
/// for its own connection; a descriptor that stays open.
#[test]
fn connections_of_others_do_not_fail_the_probe() {
    let Some(ring) = kernel_ring() else { return };
    let mut prober = Prober::new(ring);
    let listener = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None).unwrap();
    listener.bind(&SockAddr::unix("").unwrap()).unwrap();
    listener.listen(PROBE_BACKLOG).unwrap();
    let addr = listener.local_addr().unwrap();
    let strangers: Vec<Socket> =
        (0..=PROBE_BACKLOG).map(|_| connect_without_waiting(&addr).unwrap()).collect();
    prober.arm_timeout().unwrap();
    prober.multishot_accept_from(&listener).expect("an accept that works");
    prober.end_timeout().unwrap();
    drop(listener); // closes those that were not accepted
    for mut stranger in strangers {
        match stranger.read(&mut [0]) {
            Ok(count) => assert_eq!(count, 0),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
        }
    }
}

/// Goal: a driver that meets a late completion of the probe counts it, closes the descriptor of an
/// accept, and hands nothing to an operation.
///
/// Method: one of each kind, with results that are descriptors; that of a receive is a length and
/// names no descriptor. Kills: a completion that is taken for an operation's; a descriptor that is
/// leaked; a length that closes a descriptor of the program.
#[test]
fn late_completions_of_a_probe_are_ignored() {
    let script = Script::new();
    let (pool, wake_fd) = (Pool::new(4, 64).unwrap(), Arc::new(EventFd::new().unwrap()));
    let mut driver = Uring::new(script.ring(SIZES), pool, wake_fd).unwrap();
    let (accepted, accepted_peer) = connection();
    let (other, other_peer) = connection();
    let timeout = internal::user_data(internal::PROBE_TIMEOUT, 0);
    script.post_result(ProbeStep::Accept.user_data(), accepted);
    script.post_result(ProbeStep::Accept.user_data(), -errno::ECANCELED);
    script.post_result(ProbeStep::Recv.user_data(), other);
    script.post_result(timeout, other);
    script
        .post_result(internal::user_data(internal::PROBE_CANCEL, ProbeStep::Accept as u32), other);
    let mut out = Vec::new();
    driver.wait(Wait::Poll, &mut out).unwrap();
    assert!(out.is_empty(), "{out:?}");
    assert_eq!((driver.stats().stale_completions, driver.stats().cancels_missed), (4, 1));
    assert!(is_closed(&accepted_peer));
    assert!(!is_closed(&other_peer));
    drop(crate::op::accept::adopt(other));
}

/// `None` where io_uring cannot be used, which is printed.
fn kernel_ring() -> Option<KernelRing> {
    let uring = io_uring::IoUring::new(SIZES.sq_entries);
    match uring.and_then(|uring| KernelRing::new(uring, 1)) {
        Ok(ring) => Some(ring),
        Err(error) => {
            let _ = writeln!(io::stderr(), "SKIP: no io_uring here: {error}");
            None
        }
    }
}
