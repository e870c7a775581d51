//! The scripted kernel keeps to the rules of the real one.

use super::ring::ScriptedRing;
use super::*;
use crate::driver::RingSizes;
use crate::driver::request::Key;
use crate::driver::uring::entry::{Enter, Ring};

const NO_OP: Entry = Entry::Nop;

struct Rig {
    script: Script,
    ring: ScriptedRing,
    reaped: Vec<Cqe>,
}

impl Rig {
    fn new(profile: Profile) -> Rig {
        let script = Script::new();
        script.set_profile(profile);
        let ring = script.ring(RingSizes { sq_entries: 256, cq_entries: 1024 });
        Rig { script, ring, reaped: Vec::new() }
    }

    /// Submits `count` receives and lets all of them complete, hidden.
    fn complete_receives(&mut self, count: u32) {
        for index in 0..count {
            let key = Key::new(index, 1, 1).raw();
            self.ring.push(key, Entry::Op(Request::Recv { fd: -1, poll_first: false })).unwrap();
        }
        self.ring.enter(Enter::Submit).unwrap();
        for op in self.script.in_flight() {
            self.script.complete(op, 0, Flags::NONE);
        }
    }

    /// Enters and returns how many completions the queue then had.
    fn enter(&mut self, enter: Enter) -> usize {
        self.ring.enter(enter).expect("an enter that succeeds");
        self.reap()
    }

    fn reap(&mut self) -> usize {
        self.reaped.clear();
        self.ring.reap(&mut self.reaped, usize::MAX);
        self.reaped.len()
    }

    fn taskrun(&mut self) -> bool {
        self.ring.flags().taskrun
    }

    /// A receive whose completion the kernel has lost.
    fn lose_one(&mut self) {
        self.ring.push(9, Entry::Op(Request::Recv { fd: -1, poll_first: false })).unwrap();
        self.ring.enter(Enter::Submit).unwrap();
        self.script.drop_completion(self.script.the(OpKind::Recv));
    }
}

/// Goal: an enter brings as many completions as Linux 6.13 does: 20 with nothing to submit, 40 when
/// it also submits, none without `GETEVENTS`, and `TASKRUN` stays set for the rest (H08, H09, H81).
///
/// Method: 130 hidden completions; one enter of each kind. Kills: one run for an enter that
/// submits; a flag that is cleared by the first batch; an `Enter::Submit` that runs task work.
#[test]
fn an_enter_returns_twenty_or_forty_completions() {
    let mut rig = Rig::new(Profile::Capped);
    rig.complete_receives(130);
    assert_eq!(rig.enter(Enter::Submit), 0);
    assert_eq!(rig.enter(Enter::Collect), 20);
    assert_eq!(rig.enter(Enter::Sleep), 20, "it found something and did not sleep");
    rig.ring.push(7, NO_OP).unwrap();
    assert_eq!(rig.enter(Enter::Collect), 40);
    rig.ring.push(8, NO_OP).unwrap();
    assert_eq!(rig.enter(Enter::Sleep), 40);
    assert!(rig.taskrun());
    assert_eq!(rig.enter(Enter::Collect), 12, "the last ten, and two no-ops");
    assert!(!rig.taskrun());
}

/// Goal: a sleep that really slept brings exactly one completion, the one it waited for (H81).
///
/// Method: fifty completions arrive during the sleep. Kills: a full batch after a sleep.
#[test]
fn a_sleep_returns_one_completion() {
    let mut rig = Rig::new(Profile::Capped);
    rig.script.direct(|script| (0..50).for_each(|user_data| script.post_result(user_data, 0)));
    assert_eq!(rig.enter(Enter::Sleep), 1);
    assert!(rig.taskrun());
    assert_eq!(rig.enter(Enter::Sleep), 20);
}

/// Goal: kernels before 6.13 bring everything at once, also after a sleep.
///
/// Method: the same fifty; then 130 that were hidden. Kills: a cap that the profile does not lift.
#[test]
fn old_kernels_return_every_completion() {
    let mut rig = Rig::new(Profile::All);
    rig.script.direct(|script| (0..50).for_each(|user_data| script.post_result(user_data, 0)));
    assert_eq!(rig.enter(Enter::Sleep), 50);
    rig.complete_receives(130);
    assert_eq!(rig.enter(Enter::Collect), 130);
    assert!(!rig.taskrun());
}

/// Goal: a submission that is cut short brings nothing and does not sleep (H04).
///
/// Method: two entries, one per enter, and completions that wait. Kills: task work behind it.
#[test]
fn a_short_submission_runs_nothing() {
    let mut rig = Rig::new(Profile::Capped);
    rig.complete_receives(5);
    rig.script.set_consume_max(Some(1));
    rig.ring.push(7, NO_OP).unwrap();
    rig.ring.push(8, NO_OP).unwrap();
    assert_eq!(rig.enter(Enter::Sleep), 0);
    assert_eq!(rig.enter(Enter::Sleep), 7);
}

/// Goal: a lost completion is counted at once. `EBADR` comes once, and only from an enter that
/// submits nothing, is to sleep and finds the queue empty; none of the enters before it sleeps
/// (H02).
///
/// Method: lose one; then every other kind of enter; then that one; then a sleep until a timeout.
/// Kills: a count that waits for the error; an error with entries submitted, with completions in
/// the queue, or from an enter that does not wait; an error that comes again; a sleep over a loss.
#[test]
fn a_loss_is_counted_at_once_and_reported_late() {
    let mut rig = Rig::new(Profile::Capped);
    assert_eq!(rig.ring.dropped_count(), 0);
    rig.lose_one();
    assert_eq!(rig.ring.dropped_count(), 1);
    let deadline_ns = rig.script.now_ns() + 1_000;
    assert_eq!(rig.enter(Enter::Collect), 0, "does not wait, so it does not look");
    rig.ring.push(7, Entry::Timeout { deadline_ns }).unwrap();
    assert_eq!(rig.enter(Enter::Sleep), 0, "the count of one entry is returned");
    rig.script.post_result(8, 0);
    assert_eq!(rig.enter(Enter::Sleep), 1, "the queue is not empty");
    assert!(rig.script.now_ns() < deadline_ns, "slept with a loss that was not reported");
    let error = rig.ring.enter(Enter::Sleep).expect_err("the loss");
    assert_eq!(error.raw_os_error(), Some(libc::EBADR));
    assert_eq!(rig.enter(Enter::Sleep), 1, "the timeout");
    assert_eq!((rig.script.now_ns(), rig.ring.dropped_count()), (deadline_ns, 1));
}

/// Goal: a loss during a sleep ends it, and a completion that came as well hides it once more.
///
/// Method: a sleep in which the one completion is lost, with nothing else to come (which would be a
/// panic), and one in which another arrives. Kills: a sleep that only completions end; an error
/// although the queue has an entry.
#[test]
fn a_loss_ends_a_sleep() {
    for others in [0, 1] {
        let mut rig = Rig::new(Profile::Capped);
        rig.ring.push(9, Entry::Op(Request::Recv { fd: -1, poll_first: false })).unwrap();
        rig.ring.enter(Enter::Submit).unwrap();
        rig.script.direct(move |script| {
            script.all(OpKind::Recv).into_iter().for_each(|op| script.drop_completion(op));
            (0..others).for_each(|user_data| script.post_result(user_data, 0));
        });
        if others > 0 {
            assert_eq!(rig.enter(Enter::Sleep), 1);
            rig.script.direct(|_script| {});
        }
        let error = rig.ring.enter(Enter::Sleep).expect_err("the loss");
        assert_eq!(error.raw_os_error(), Some(libc::EBADR));
    }
}
