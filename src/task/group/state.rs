//! The state of a group, as plain data.
//!
//! ```text
//!            cancel               fail, stop
//!   Open ──────────────▶ Cancelled ─────────▶ Failed
//!     │ └───────────────────│─────────────────▶ │
//!     │      fail, stop     │                   │   the body and all children have ended,
//!     └──────────┬──────────┴───────────────────┘   or the group's future is dropped
//!                ▼
//!              Ended
//! ```
//!
//! Only `Open` admits children. Leaving it, all children are aborted, once. A child is in the table
//! until its locals have been dropped.
//!
//! **Absent on purpose.** User code: wakers and values of the program leave through the results.

use slab::Slab;

use super::error::GroupFailure;
use crate::sync::wait_list::{WaitList, Woken};
use crate::task::abort::AbortHandle;

pub(super) struct State<E> {
    phase: Phase,
    has_body: bool,
    /// Children that have not ended. The handle is added when the task has been spawned.
    children: Slab<Option<AbortHandle>>,
    failures: Vec<GroupFailure<E>>,
    /// Tasks that wait until the group is not open.
    closed_waiters: WaitList,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Phase {
    Open,
    Cancelled,
    Failed,
    Ended,
}

/// What is done when a group stops to be open.
#[must_use = "children run on, and waiters wait on"]
pub(super) struct Closing {
    /// The children, to be aborted.
    pub(super) children: Vec<AbortHandle>,
    /// Those that waited for it.
    pub(super) waiters: Woken,
}

/// What follows from a failure.
#[must_use = "a body or children may have to end"]
pub(super) enum FailOutcome<E> {
    /// It is the first. The body must be dropped, if there is one, so the group's future is woken.
    First { closing: Closing, wakes_group: bool },
    /// It was added to the others.
    Further,
    /// The group has ended, so the failure must be reported.
    TooLate(GroupFailure<E>),
}

/// What follows from the end of a child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the group may wait for this child"]
pub(super) enum LeaveOutcome {
    /// It was the last one that the group waited for.
    WakesGroup,
    /// The group does not wait, or waits for others.
    Nothing,
}

impl<E> State<E> {
    pub(super) fn new() -> State<E> {
        State {
            phase: Phase::Open,
            has_body: true,
            children: Slab::new(),
            failures: Vec::new(),
            closed_waiters: WaitList::default(),
        }
    }

    /// Adds a child, unless the group is closed. Its task is spawned after that.
    pub(super) fn admit(&mut self) -> Option<usize> {
        self.is_open().then(|| self.children.insert(None))
    }

    /// Stores the handle of the child's task, unless the child has ended already, as on a loop that
    /// takes no tasks.
    pub(super) fn set_task(&mut self, index: usize, task: AbortHandle) {
        if let Some(child) = self.children.get_mut(index) {
            *child = Some(task);
        }
    }

    /// Removes a child, whose locals have been dropped.
    pub(super) fn leave(&mut self, index: usize) -> LeaveOutcome {
        let _task = self.children.remove(index);
        let is_waiting = !self.has_body && self.phase != Phase::Ended;
        if is_waiting && self.children.is_empty() {
            LeaveOutcome::WakesGroup
        } else {
            LeaveOutcome::Nothing
        }
    }

    /// Records that the body has ended or was dropped.
    pub(super) fn leave_body(&mut self) {
        self.has_body = false;
    }

    /// Adds a failure. The first one closes the group.
    pub(super) fn fail(&mut self, failure: GroupFailure<E>) -> FailOutcome<E> {
        match self.phase {
            Phase::Ended => return FailOutcome::TooLate(failure),
            Phase::Failed => {
                self.failures.push(failure);
                return FailOutcome::Further;
            }
            Phase::Open | Phase::Cancelled => self.failures.push(failure),
        }
        FailOutcome::First { closing: self.close(Phase::Failed), wakes_group: self.has_body }
    }

    /// Closes the group because its body has panicked.
    pub(super) fn stop(&mut self) -> Closing {
        self.close(Phase::Failed)
    }

    /// Closes the group without a failure. The body runs on.
    pub(super) fn cancel(&mut self) -> Closing {
        self.close(Phase::Cancelled)
    }

    /// Ends the group. All children have left. Returns the failures.
    pub(super) fn end(&mut self) -> (Closing, Vec<GroupFailure<E>>) {
        let children_count = self.children.len();
        assert!(!self.has_body && children_count == 0, "{children_count} children are left");
        (self.close(Phase::Ended), std::mem::take(&mut self.failures))
    }

    /// Ends the group before its children. They are aborted, and their failures reported.
    pub(super) fn abandon(&mut self) -> (Closing, Vec<GroupFailure<E>>) {
        (self.close(Phase::Ended), std::mem::take(&mut self.failures))
    }

    /// Moves on to `phase`. If the group was open, its children are aborted.
    fn close(&mut self, phase: Phase) -> Closing {
        let was_open = self.is_open();
        self.phase = self.phase.max(phase);
        if !was_open {
            return Closing { children: Vec::new(), waiters: Woken::default() };
        }
        let children = self.children.iter().filter_map(|(_, task)| task.clone()).collect();
        Closing { children, waiters: self.closed_waiters.wake_all() }
    }

    pub(super) fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the body must be dropped.
    pub(super) fn has_failed(&self) -> bool {
        self.phase == Phase::Failed
    }

    pub(super) fn children_count(&self) -> usize {
        self.children.len()
    }

    pub(super) fn closed_waiters(&mut self) -> &mut WaitList {
        &mut self.closed_waiters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enumeration::visit_all;

    const CHILDREN: usize = 3;

    #[derive(Clone, Copy, Debug)]
    enum Event {
        Spawn,
        /// The child with this number ends.
        Leave(usize),
        Fail(usize),
        BodyEnds,
        BodyFails,
        BodyPanics,
        Cancel,
        Drop,
    }

    #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
    struct Model {
        /// Living children, by their indices.
        children: Vec<usize>,
        has_body: bool,
        is_closed: bool,
        has_failed: bool,
        has_ended: bool,
        failures: usize,
    }

    /// How often each effect came.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
    struct Effects {
        closings: u8,
        wakes: u8,
        late: u8,
    }

    struct Machine {
        state: State<u8>,
        model: Model,
        effects: Effects,
    }

    impl Machine {
        fn closed(&mut self, closing: Closing) {
            // No task has a handle here, so a closing is seen by its waiters: the list is empty
            // after it, and full before.
            self.effects.closings += u8::from(closing.waiters.count() > 0);
        }

        fn fail(&mut self) {
            let (was_failed, has_body) = (self.model.has_failed, self.model.has_body);
            match self.state.fail(GroupFailure::Error(0)) {
                FailOutcome::First { closing, wakes_group } => {
                    assert!(!was_failed && !self.model.has_ended);
                    assert_eq!(wakes_group, has_body);
                    self.closed(closing);
                }
                FailOutcome::Further => assert!(was_failed && !self.model.has_ended),
                FailOutcome::TooLate(_) => {
                    assert!(self.model.has_ended);
                    self.effects.late += 1;
                    return;
                }
            }
            self.model.failures += 1;
            (self.model.is_closed, self.model.has_failed) = (true, true);
        }

        /// Ends the group if it can end, as its future does when it is polled.
        fn poll(&mut self) {
            let Model { has_body, has_ended, .. } = self.model;
            if has_body && self.state.has_failed() {
                self.state.leave_body();
                self.model.has_body = false;
            }
            if !self.model.has_body && self.model.children.is_empty() && !has_ended {
                let (closing, failures) = self.state.end();
                self.closed(closing);
                assert_eq!(failures.len(), self.model.failures);
                (self.model.is_closed, self.model.has_ended) = (true, true);
            }
        }

        fn apply(&mut self, event: Event) -> Option<()> {
            let has_body = self.model.has_body && !self.model.has_ended;
            match event {
                Event::Spawn => {
                    if self.model.children.len() == CHILDREN {
                        return None;
                    }
                    let index = self.state.admit();
                    assert_eq!(index.is_none(), self.model.is_closed);
                    self.model.children.extend(index);
                }
                Event::Leave(child) => {
                    let at = self.model.children.iter().position(|&index| index == child)?;
                    self.model.children.remove(at);
                    let Model { has_body, has_ended, .. } = self.model;
                    let is_last = self.model.children.is_empty() && !has_body && !has_ended;
                    let outcome = self.state.leave(child);
                    assert_eq!(outcome == LeaveOutcome::WakesGroup, is_last);
                    self.effects.wakes += u8::from(is_last);
                }
                Event::Fail(child) => {
                    self.model.children.contains(&child).then_some(())?;
                    (self.effects.late < 2 && self.model.failures < 3).then_some(())?;
                    self.fail();
                }
                Event::BodyEnds | Event::BodyFails | Event::BodyPanics if has_body => {
                    self.state.leave_body();
                    self.model.has_body = false;
                    match event {
                        Event::BodyFails => self.fail(),
                        Event::BodyPanics => {
                            let closing = self.state.stop();
                            self.closed(closing);
                            (self.model.is_closed, self.model.has_failed) = (true, true);
                        }
                        _ => {}
                    }
                }
                Event::BodyEnds | Event::BodyFails | Event::BodyPanics => return None,
                Event::Cancel => {
                    let closing = self.state.cancel();
                    self.closed(closing);
                    self.model.is_closed = true;
                }
                Event::Drop if !self.model.has_ended => {
                    let (closing, failures) = self.state.abandon();
                    self.closed(closing);
                    assert_eq!(failures.len(), self.model.failures);
                    (self.model.is_closed, self.model.has_ended) = (true, true);
                }
                Event::Drop => return None,
            }
            self.poll();
            Some(())
        }
    }

    /// Goal: a group admits children while it is open, closes once, keeps every failure, wakes its
    /// future when the last child has left, and ends when nothing is left.
    ///
    /// Method: every order of spawns, ends, failures, cancels and the drop of the group's future,
    /// with three children, against a model.
    ///
    /// Kills: a cancel after a failure that hides it; a child that a closed group admits; a wake
    /// for a child of a group that has ended; a failure that is lost after a cancel.
    #[test]
    fn every_order_of_events_keeps_the_failures() {
        let mut events = vec![Event::Spawn, Event::BodyEnds, Event::BodyFails, Event::BodyPanics];
        events.extend([Event::Cancel, Event::Drop]);
        for child in 0..CHILDREN {
            events.extend([Event::Leave(child), Event::Fail(child)]);
        }
        let visited = visit_all(&events, |path| {
            let mut state = State::new();
            let waker = std::task::Waker::noop().clone();
            drop(state.closed_waiters().wait(&mut Default::default(), waker));
            let model = Model {
                children: Vec::new(),
                has_body: true,
                is_closed: false,
                has_failed: false,
                has_ended: false,
                failures: 0,
            };
            let mut machine = Machine { state, model, effects: Effects::default() };
            for &event in path {
                machine.apply(event)?;
                let Machine { state, model, effects } = &machine;
                assert_eq!(state.is_open(), !model.is_closed, "{event:?} in {model:?}");
                assert_eq!(effects.closings, u8::from(model.is_closed), "{event:?} in {model:?}");
                assert_eq!(state.children_count(), model.children.len());
            }
            Some((machine.state.phase, machine.model, machine.effects.late))
        });
        assert!(visited.states > 100, "{visited:?}");
    }
}
