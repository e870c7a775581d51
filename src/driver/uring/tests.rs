//! The driver's bookkeeping on a ring whose kernel is a script.

use std::rc::Rc;
use std::sync::Arc;

use super::entry::{Cqe, Entry};
use super::scripted::ring::ScriptedRing;
use super::scripted::{CancelPolicy, FailAt, Script};
use super::{Drained, Uring, internal};
use crate::buf::Pool;
use crate::driver::request::{Completion, Flags, Key, OpKind, Request, Wait};
use crate::driver::{PushOutcome, RingSizes};
use crate::sys::errno;
use crate::sys::eventfd::EventFd;

const MS: u64 = 1_000_000;

struct Rig {
    script: Script,
    pool: Rc<Pool>,
    wake_fd: Arc<EventFd>,
    driver: Uring<ScriptedRing>,
    /// Everything that `wait` has returned.
    out: Vec<Completion>,
    next_index: u32,
}

impl Rig {
    fn new(sq_entries: u32, cq_entries: u32) -> Rig {
        let script = Script::new();
        let pool = Pool::new(4, 64).unwrap();
        let wake_fd = Arc::new(EventFd::new().unwrap());
        let ring = script.ring(RingSizes { sq_entries, cq_entries });
        let driver = Uring::new(ring, Rc::clone(&pool), Arc::clone(&wake_fd)).unwrap();
        Rig { script, pool, wake_fd, driver, out: Vec::new(), next_index: 0 }
    }

    /// Pushes a receive under a key of its own.
    #[track_caller]
    fn push(&mut self) -> Key {
        let key = Key::new(self.next_index, 7, 1);
        self.next_index += 1;
        assert_eq!(
            self.driver.push(key, Request::Recv { fd: -1, poll_first: false }),
            PushOutcome::Taken
        );
        key
    }

    #[track_caller]
    fn wait(&mut self, wait: Wait) {
        self.driver.wait(wait, &mut self.out).expect("a whole ring");
    }

    /// Sleeps until `deadline_ns`; panics if nothing ends the sleep.
    #[track_caller]
    fn sleep_until(&mut self, deadline_ns: u64) {
        while self.script.now_ns() < deadline_ns {
            self.wait(Wait::Until(deadline_ns));
        }
    }

    fn end_all(&self) {
        for op in self.script.in_flight() {
            self.script.complete(op, 0, Flags::NONE);
        }
    }

    fn arms(&self) -> (usize, usize) {
        let timeouts = self.script.count(|entry| matches!(entry, Entry::Timeout { .. }));
        let updates = |entry: &Entry| matches!(entry, Entry::TimeoutUpdate { .. });
        (timeouts, self.script.count(updates))
    }

    fn wake_polls(&self) -> usize {
        self.script.count(|entry| matches!(entry, Entry::WakePoll { .. }))
    }
}

/// Goal: completions that found the queue full are all collected, without a sleep (H01).
/// Method: 40 completions on a queue of 4, one wait, then another for the rest of the bound.
/// Kills: one reap per wait; looking at the queue's count instead of the flag.
#[test]
fn an_overflowed_queue_is_flushed() {
    let mut rig = Rig::new(8, 4);
    for _ in 0..5 {
        for _ in 0..8 {
            rig.push();
        }
        rig.driver.flush().unwrap();
    }
    rig.end_all();
    rig.wait(Wait::Forever);
    assert_eq!(rig.out.len(), 40);
    assert_eq!(rig.driver.stats().cq_overflows, 9);
}

/// Goal: the next wait collects without sleeping what one wait has to leave (H01, bounded).
/// Method: more than 16 queues full; two waits, `Forever`. Kills: an unbounded flush; sleeping
/// while the flag is set (the scripted ring would panic).
#[test]
fn a_long_overflow_takes_several_waits() {
    let mut rig = Rig::new(8, 2);
    for _ in 0..10 {
        for _ in 0..8 {
            rig.push();
        }
        rig.driver.flush().unwrap();
    }
    rig.end_all();
    rig.wait(Wait::Forever);
    let first_count = rig.out.len();
    assert!((32..80).contains(&first_count), "{first_count} in one wait");
    for _ in 0..3 {
        rig.wait(Wait::Poll);
    }
    assert_eq!(rig.out.len(), 80);
}

/// Goal: completions that are hidden behind the cap of one enter are brought by later polls, though
/// nothing is to be submitted (H08, H09).
/// Method: 50 completions, 20 per enter; three polls. Kills: gating "is there more" on an empty
/// queue; a poll that does not enter.
#[test]
fn capped_enters_leave_nothing_behind() {
    let mut rig = Rig::new(64, 64);
    for _ in 0..50 {
        rig.push();
    }
    rig.wait(Wait::Poll);
    rig.end_all();
    for count in [20, 40, 50] {
        rig.wait(Wait::Poll);
        assert_eq!(rig.out.len(), count);
    }
    let enters = rig.script.enter_calls();
    rig.wait(Wait::Poll);
    assert_eq!(rig.script.enter_calls(), enters, "entered with nothing to do");
}

/// Goal: what a sleep leaves behind is brought by the next waits, which do not sleep (H81).
/// Method: fifty completions arrive during one sleep, which brings one; then only what is hidden
/// can end a wait. Kills: completions that are left in the queue; an enter more than one per wait.
#[test]
fn what_a_sleep_leaves_comes_with_the_next_waits() {
    let mut rig = Rig::new(64, 64);
    for _ in 0..50 {
        rig.push();
    }
    rig.wait(Wait::Poll);
    rig.script.direct(|script| {
        script.in_flight().into_iter().for_each(|op| script.complete(op, 0, Flags::NONE));
    });
    for count in [1, 21, 41, 50] {
        rig.wait(Wait::Forever);
        assert_eq!(rig.out.len(), count);
    }
    assert_eq!(rig.script.enter_calls(), 1 + 4);
}

/// Goal: the return of a wait is no information; what completed is in the queue (H03, H06).
/// Method: an enter that fails with each passing errno after it has submitted; the completion and
/// the timeout arrive with the next. Kills: an error that loses the turn; EINTR that extends a
/// deadline.
#[test]
fn a_failed_enter_loses_nothing() {
    for code in
        [errno::EINTR, errno::EAGAIN, errno::EBUSY, errno::ENOMEM, errno::ETIME, errno::EBADR]
    {
        for at in [FailAt::BeforeSubmission, FailAt::AfterSubmission] {
            let mut rig = Rig::new(8, 16);
            let key = rig.push();
            let deadline_ns = rig.script.now_ns() + 10 * MS;
            rig.script.fail_enter(at, code);
            rig.wait(Wait::Until(deadline_ns));
            assert_eq!(rig.driver.stats().enter_retries, 1);
            rig.wait(Wait::Poll);
            let op = rig.script.the(OpKind::Recv);
            assert_eq!(op.user_data, key.raw(), "submitted once (H05)");
            rig.sleep_until(deadline_ns);
            assert_eq!(rig.script.now_ns(), deadline_ns, "it slept longer");
            assert_eq!(rig.arms(), (1, 0));
            rig.script.complete(op, 3, Flags::NONE);
            rig.wait(Wait::Poll);
            assert_eq!(rig.out.len(), 1);
        }
    }
}

/// Goal: errors that mean a broken ring are not retried (H25).
/// Method: EBADF and what a sandbox returns. Kills: a catch-all that retries, the silent spin.
#[test]
fn a_broken_ring_is_an_error() {
    for code in [libc::EBADF, errno::ENOSYS, errno::EPERM] {
        let mut rig = Rig::new(8, 16);
        rig.push();
        rig.script.fail_enter(FailAt::BeforeSubmission, code);
        let error = rig.driver.wait(Wait::Forever, &mut rig.out).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(code));
    }
}

/// Goal: a kernel that takes only some entries gets the rest later, and the loop does not count
/// on the sleep that such an enter leaves out (H04).
/// Method: five entries, two per enter. Kills: taking the queue for empty after an enter; a lost
/// entry.
#[test]
fn a_short_submission_is_continued() {
    let mut rig = Rig::new(8, 16);
    let keys: Vec<u64> = (0..5).map(|_| rig.push().raw()).collect();
    rig.script.set_consume_max(Some(2));
    rig.wait(Wait::Forever); // would panic if it slept: there is nothing to come
    rig.wait(Wait::Poll);
    rig.wait(Wait::Poll);
    let in_flight: Vec<u64> = rig.script.in_flight().iter().map(|op| op.user_data).collect();
    assert_eq!(in_flight, keys, "all of them, in order");
}

/// Goal: a full queue refuses, and takes again after a flush. Method: a queue of 1 and of 2. Kills:
/// an entry overwritten; a push that returns Taken and does nothing.
#[test]
fn a_full_queue_refuses() {
    for sq_entries in [1, 2] {
        let mut rig = Rig::new(sq_entries, 16);
        for _ in 0..sq_entries {
            rig.push();
        }
        assert!(rig.driver.is_half_full());
        let key = Key::new(99, 0, 1);
        let request = Request::Recv { fd: -1, poll_first: false };
        assert_eq!(rig.driver.push(key, request), PushOutcome::Full);
        rig.driver.flush().unwrap();
        assert_eq!(rig.driver.push(key, request), PushOutcome::Taken);
        rig.wait(Wait::Poll);
        assert_eq!(rig.script.in_flight().len() as u32, sq_entries + 1);
    }
}

/// Goal: cancels beyond the queue's size are all submitted, and a ring that takes nothing loses
/// none and is not slept on.
/// Method: three queues full cancelled at once, first while the kernel consumes nothing.
/// Kills: a cancel dropped when the queue is full; a sleep with cancels waiting.
#[test]
fn cancels_wait_for_room() {
    let mut rig = Rig::new(2, 16);
    let keys: Vec<Key> = (0..6)
        .map(|_| {
            let key = rig.push();
            rig.driver.flush().unwrap();
            key
        })
        .collect();
    rig.script.set_consume_max(Some(0));
    for &key in &keys {
        rig.driver.cancel(key);
    }
    rig.wait(Wait::Forever);
    rig.wait(Wait::Forever);
    assert!(rig.script.cancels().is_empty() && rig.out.is_empty());
    rig.script.set_consume_max(None);
    rig.wait(Wait::Forever);
    let raw: Vec<u64> = keys.iter().map(|key| key.raw()).collect();
    assert_eq!(rig.script.cancels(), raw);
    assert_eq!(rig.out.len(), 6);
}

/// Goal: one timeout entry carries the deadline, and only an earlier one touches it (H40).
/// Method: later, equal and earlier deadlines; then the entry fires and another is armed.
/// Kills: an update per wait; no update for an earlier deadline; one entry per deadline.
#[test]
fn the_timeout_moves_only_to_earlier() {
    let mut rig = Rig::new(8, 16);
    let start_ns = rig.script.now_ns();
    let key = rig.push();
    let touch = |rig: &mut Rig, deadline_ns| {
        let op = rig.script.in_flight().first().copied();
        let op = op.unwrap_or_else(|| panic!("{key:?} ended"));
        rig.script.complete(op, 1, Flags::NONE.with_more());
        rig.wait(Wait::Until(deadline_ns));
    };
    rig.wait(Wait::Poll);
    touch(&mut rig, start_ns + 30 * MS);
    assert_eq!(rig.arms(), (1, 0));
    for later in [30, 40, 90] {
        touch(&mut rig, start_ns + later * MS);
    }
    assert_eq!(rig.arms(), (1, 0), "later deadlines leave it alone");
    touch(&mut rig, start_ns + 20 * MS);
    touch(&mut rig, start_ns + 10 * MS);
    touch(&mut rig, start_ns + 15 * MS);
    assert_eq!(rig.arms(), (1, 2));
    rig.wait(Wait::Until(start_ns + 50 * MS));
    assert_eq!(rig.script.now_ns(), start_ns + 10 * MS, "early, and only a turn");
    rig.sleep_until(start_ns + 50 * MS);
    assert_eq!(rig.arms(), (2, 2));
    assert_eq!(rig.driver.stats().stale_completions, 0);
}

/// Goal: the completion of an update that came too late does not concern the next timeout.
/// Method: ENOENT for the armed round, for the last round and for one long past; the armed entry
/// stays and fires on time. Kills: giving up the entry on ENOENT; a completion without a round.
#[test]
fn a_late_update_is_ignored() {
    let mut rig = Rig::new(8, 16);
    let first_ns = rig.script.now_ns() + MS;
    rig.sleep_until(first_ns);
    let second_ns = first_ns + MS;
    rig.push();
    rig.wait(Wait::Poll);
    for (round, code) in [(0, errno::ENOENT), (0, errno::EINVAL), (1, errno::ENOENT)] {
        rig.script.post(Cqe {
            user_data: internal::user_data(internal::TIMEOUT_UPDATE, round),
            result: -code,
            flags: 0,
        });
        rig.wait(Wait::Until(second_ns));
        assert_eq!(rig.arms(), (2, 0));
    }
    rig.sleep_until(second_ns);
    assert_eq!(rig.script.now_ns(), second_ns);
    assert_eq!((rig.arms(), rig.driver.stats().stale_completions), ((2, 0), 0));
}

/// Goal: an update that the kernel refuses does not make the loop sleep too long.
/// Method: arm late, refuse the update to earlier; the earlier deadline is kept by another entry.
/// Kills: taking every failed update for a late one.
#[test]
fn a_refused_update_arms_another() {
    let mut rig = Rig::new(8, 16);
    let start_ns = rig.script.now_ns();
    rig.push();
    rig.wait(Wait::Poll);
    let op = rig.script.the(OpKind::Recv);
    rig.script.complete(op, 1, Flags::NONE.with_more());
    rig.wait(Wait::Until(start_ns + 90 * MS));
    rig.script.fail_timeout_update(errno::EINVAL);
    rig.sleep_until(start_ns + 10 * MS);
    assert_eq!(rig.script.now_ns(), start_ns + 10 * MS);
    assert_eq!(rig.arms(), (2, 1));
}

/// Goal: another thread's wake ends a sleep, and the next one as well.
/// Method: the poll is submitted with the first sleep; notify before and during; then the poll
/// ends, as on an overflow. Kills: arming after the sleep; arming once; arming per wait.
#[test]
fn the_wake_fd_is_armed_before_every_sleep() {
    let mut rig = Rig::new(8, 16);
    for round in 1..=3 {
        if round == 2 {
            rig.wake_fd.notify(); // before the enter
        } else {
            let wake_fd = Arc::clone(&rig.wake_fd);
            rig.script.direct(move |_| wake_fd.notify());
        }
        rig.wait(Wait::Forever);
        assert_eq!(rig.wake_polls(), 1);
        rig.script.direct(|_| {});
    }
    rig.script.end_wake_poll();
    rig.wait(Wait::Poll);
    assert_eq!(rig.wake_polls(), 1, "the end is not known before it is reaped");
    rig.wait(Wait::Poll);
    rig.wait(Wait::Poll);
    assert_eq!(rig.wake_polls(), 2, "armed again, once");
    assert!(rig.out.is_empty(), "an internal completion is not returned");
}

/// Goal: a closed driver has taken back its own operations, and the pool its buffers.
/// Method: arm timeout and wake_fd, drain, close. Kills: a drain that leaves out one of the two (it
/// would run into its deadline); buffers that stay with the kernel.
#[test]
fn a_drained_driver_leaves_nothing() {
    let mut rig = Rig::new(8, 16);
    let start_ns = rig.script.now_ns();
    rig.push();
    rig.wait(Wait::Poll);
    rig.end_all();
    rig.wait(Wait::Until(start_ns + 90 * MS));
    assert_eq!(rig.script.provided_count(), 4);
    let Rig { script, pool, mut driver, .. } = rig;
    let clock = script.clone();
    let drained = driver.drain(start_ns + 50 * MS, || clock.now_ns());
    assert_eq!(drained, Drained::Yes);
    assert!(script.now_ns() < start_ns + 50 * MS);
    driver.close(drained);
    assert!(!script.is_leaked());
    let lent: Vec<u16> = std::iter::from_fn(|| pool.lend()).map(|loan| loan.id).collect();
    assert_eq!(lent.len(), 4, "reclaimed");
    assert_eq!(Rc::strong_count(&pool), 1);
}

/// Goal: a lost wake-up of the eventfd's poll is found at the second look, and repaired (H55).
/// Method: the wake fd is notified and the poll does not complete; two looks; then a completion
/// between two looks.
/// Kills: cancelling at the first look; a suspicion that a completion does not end; a poll that is
/// not armed again; a count that stays.
#[test]
fn a_lost_wake_up_of_the_wake_fd_is_mended() {
    let mut rig = Rig::new(8, 16);
    rig.script.lose_wake_ups();
    rig.wait(Wait::Poll);
    assert!(!rig.driver.look_at_wake_poll(), "nothing was written");
    rig.wake_fd.notify();
    assert!(!rig.driver.look_at_wake_poll(), "one look is not enough");
    rig.script.notify();
    rig.wait(Wait::Poll); // the completion comes late
    assert!(!rig.driver.look_at_wake_poll(), "the completion has ended the suspicion");
    rig.wake_fd.notify();
    assert!(!rig.driver.look_at_wake_poll());
    assert!(rig.driver.look_at_wake_poll());
    assert_eq!(rig.wake_polls(), 1);
    rig.wait(Wait::Poll);
    rig.wait(Wait::Poll);
    assert_eq!(rig.wake_polls(), 2, "armed again");
    assert!(!rig.driver.look_at_wake_poll(), "the count is not reported twice");
    assert!(!rig.driver.look_at_wake_poll());
    assert!(rig.out.is_empty());
}

/// Goal: a drain cancels the poll of the wake fd, and one that even this does not end keeps its
/// deadline.
/// Method: the wake fd's wake-ups are lost; cancels obeyed, then lost. Kills: a sleep of the
/// drain that nothing bounds (the scripted ring would panic).
#[test]
fn a_drain_keeps_its_deadline_without_wake_ups() {
    for policy in [CancelPolicy::Obey, CancelPolicy::Lose] {
        let mut rig = Rig::new(8, 16);
        rig.script.lose_wake_ups();
        rig.script.set_cancel_policy(policy);
        rig.wait(Wait::Poll);
        let Rig { script, mut driver, .. } = rig;
        let deadline_ns = script.now_ns() + 1_000 * MS;
        let clock = script.clone();
        let drained = driver.drain(deadline_ns, || clock.now_ns());
        let (expected, latest_ns) = match policy {
            CancelPolicy::Obey => (Drained::Yes, deadline_ns - 800 * MS),
            CancelPolicy::Ignore | CancelPolicy::Lose => (Drained::No, deadline_ns),
        };
        assert_eq!(drained, expected);
        assert!(script.now_ns() <= latest_ns, "{} ns too late", script.now_ns() - latest_ns);
        driver.close(drained);
    }
}

/// Goal: a driver that could not be drained keeps all memory that the kernel may write to (H15).
/// Method: cancels ignored and a deadline that has passed. Kills: dropping the pool or the ring.
#[test]
fn an_undrained_driver_leaks() {
    let mut rig = Rig::new(8, 16);
    rig.script.set_cancel_policy(CancelPolicy::Ignore);
    let start_ns = rig.script.now_ns();
    rig.push();
    rig.wait(Wait::Poll);
    let Rig { script, pool, mut driver, .. } = rig;
    let drained = driver.drain(start_ns, || start_ns);
    assert_eq!(drained, Drained::No);
    driver.close(drained);
    assert!(script.is_leaked());
    assert_eq!(pool.lend(), None, "still with the kernel");
    assert_eq!(Rc::strong_count(&pool), 2, "and leaked with it");
}
