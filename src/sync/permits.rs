//! The state machine of a counting semaphore, on which the other primitives are built.
//!
//! One waiter:
//!
//! ```text
//!         poll              wake              poll, takes its permits
//!  absent ─────▶ waiting ─────────▶ awake ──────────────────────────────▶ absent
//!                 ▲   ▲               │ │
//!                 │   └─ poll, none ──┘ │ not polled before the recheck
//!                 │                     ▼
//!                 └─── poll, none ─── passed ── poll, takes its permits ──▶ absent
//! ```
//!
//! A waiter may leave in every state.
//!
//! **A woken waiter reserves nothing.** Its future may be alive and never be polled again, as in
//! the losing arm of a select. So the first poll that finds enough permits takes them.
//!
//! **The order is fair nevertheless.** A poll takes permits only if those that are free suffice for
//! the waiters before it too: for those that wait, and for those that are awake. So neither a
//! newcomer nor a task that releases and acquires in a loop overtakes a waiter that is about to be
//! polled. A waiter that is awake and has had time to be polled is passed over by the recheck
//! ([`recheck`](Permits::recheck)), and is before no other from then on. It keeps its number, and
//! with it its place if it ever waits again.
//!
//! **A large request in front blocks smaller ones** while it waits for enough permits. As its
//! future may not be polled either, it is woken when a smaller one behind it could be satisfied. If
//! it is polled, it waits again; if not, it is passed over.
//!
//! **Absent on purpose.** User code and the ready queue. The owner
//! ([`Gate`](super::gate::Gate)) wakes and drops wakers when its borrow has ended, and queues the
//! recheck.

use std::task::Waker;

use super::numbered::Numbered;
use super::wait_list::{WaitList, WaiterId, Woken};

/// The greatest number of permits, as in tokio: 2^61 - 1 on 64-bit systems.
pub(super) const PERMITS_MAX: usize = usize::MAX >> 3;

/// Permits, and the waiters for them.
pub(super) struct Permits {
    available: usize,
    /// If the permits are notifications: how many may be stored without a waiter.
    spare: Option<usize>,
    /// Waiters that have not been woken, with the numbers of permits that they need.
    waiting: WaitList<usize>,
    /// Waiters that were woken and have not been polled since.
    awake: Numbered<Awake>,
    /// The sum of what the waiters in `awake` need.
    awake_need: usize,
    /// Waiters that were passed over and have neither been polled nor left since.
    passed_count: usize,
    /// An event has occurred after which a request in front may block a smaller one.
    is_probe_due: bool,
    /// What an attempt needed that failed because of waiters before it, not for lack of permits.
    refused_need: Option<usize>,
    is_closed: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Awake {
    need: usize,
    /// A recheck has run since it was woken. The task that woke it may have been the one that is to
    /// poll it, and is queued only when its poll ends. So the first recheck may precede that task,
    /// and the second does not.
    is_rechecked: bool,
    /// [`Permits::dismiss_all`] has ended its wait, so it is no waiter when it is passed over.
    is_dismissed: bool,
}

/// The outcome of a poll. The wakers were on the list; dropping them is user code.
#[must_use = "a waker is dropped when the borrow has ended"]
pub(super) enum Polled {
    /// The permits now belong to the caller.
    Taken(Option<Waker>),
    Closed(Option<Waker>),
    /// The caller waits, by [`Permits::wait`].
    Unavailable,
}

/// The reason for which an attempt failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Refusal {
    Unavailable,
    Closed,
}

/// Where a waiter is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Place {
    Absent,
    Waiting,
    Awake,
    Passed,
    /// Woken by [`Permits::dismiss_all`].
    Dismissed,
}

impl Permits {
    pub(super) fn new(available: usize) -> Permits {
        Permits {
            available,
            spare: None,
            waiting: WaitList::default(),
            awake: Numbered::default(),
            awake_need: 0,
            passed_count: 0,
            is_probe_due: false,
            refused_need: None,
            is_closed: false,
        }
    }

    /// Permits that are notifications: there are at most as many as waiters and `spare`.
    pub(super) fn of_notifications(spare: usize) -> Permits {
        Permits { spare: Some(spare), ..Permits::new(0) }
    }

    pub(super) fn available(&self) -> usize {
        self.available
    }

    pub(super) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Takes `need` permits, if that overtakes no waiter.
    pub(super) fn attempt(&mut self, need: usize) -> Result<(), Refusal> {
        match self.poll(&mut WaiterId::default(), need) {
            Polled::Taken(_) => Ok(()),
            Polled::Closed(_) => Err(Refusal::Closed),
            Polled::Unavailable => {
                if need <= self.available {
                    let former = self.refused_need.unwrap_or(need);
                    self.refused_need = Some(need.min(former));
                    self.is_probe_due = true;
                }
                Err(Refusal::Unavailable)
            }
        }
    }

    /// Takes `need` permits for a waiter that is polled, if that overtakes no waiter before it.
    pub(super) fn poll(&mut self, waiter_id: &mut WaiterId, need: usize) -> Polled {
        if self.is_closed {
            return Polled::Closed(self.remove(waiter_id));
        }
        let needed_before = self.needed_before(waiter_id).unwrap_or(usize::MAX);
        if need > 0 && needed_before.saturating_add(need) > self.available {
            return Polled::Unavailable;
        }
        self.available -= need;
        Polled::Taken(self.remove(waiter_id))
    }

    /// Polls a waiter for one notification. `is_dismissed`: its wait ends, also without one.
    ///
    /// A waiter that [`dismiss_all`](Permits::dismiss_all) has woken takes none. One that was woken
    /// for a notification before takes it, and ends its wait too if another one has taken it.
    pub(super) fn poll_notified(&mut self, waiter_id: &mut WaiterId, is_dismissed: bool) -> Polled {
        let awake = waiter_id.number().and_then(|number| self.awake.get(number));
        let is_dismissed = is_dismissed || awake.is_some_and(|awake| awake.is_dismissed);
        let polled = match self.place(waiter_id) {
            Place::Dismissed => Polled::Taken(self.remove(waiter_id)),
            _ => match self.poll(waiter_id, 1) {
                Polled::Unavailable if is_dismissed => Polled::Taken(self.remove(waiter_id)),
                polled => polled,
            },
        };
        self.limit();
        polled
    }

    /// Adds a notification, unless there are as many as there may be.
    pub(super) fn notify(&mut self) {
        self.available += 1;
        self.limit();
    }

    /// Removes the notifications beyond one for each waiter and the spare ones. Called when there
    /// are fewer waiters.
    fn limit(&mut self) {
        if let Some(spare) = self.spare {
            let waiters_count = self.waiting.len() + self.awake.len() + self.passed_count;
            self.available = self.available.min(waiters_count + spare);
        }
    }

    /// Whether this waiter waits with a waker of the same task.
    pub(super) fn is_waiting_with(&self, waiter_id: &WaiterId, waker: &Waker) -> bool {
        self.waiting.is_waiting_with(waiter_id, waker)
    }

    /// Whether this waiter waits, with any waker.
    pub(super) fn is_waiting(&self, waiter_id: &WaiterId) -> bool {
        self.waiting.is_waiting_at(waiter_id)
    }

    /// Makes the waiter wait, at the end or at the place that it has. Returns the waker that this
    /// one replaces.
    #[must_use = "dropping it is user code"]
    pub(super) fn wait(
        &mut self,
        waiter_id: &mut WaiterId,
        need: usize,
        waker: Waker,
    ) -> Option<Waker> {
        // The first waiter itself has just been polled. One behind it may wait for a future that
        // nothing polls.
        self.is_probe_due |= !self.is_first(waiter_id);
        match self.place(waiter_id) {
            Place::Absent => {}
            Place::Awake => self.remove_awake(waiter_id),
            Place::Passed => self.passed_count -= 1,
            Place::Waiting => {}
            Place::Dismissed => unreachable!("a dismissed waiter does not wait again"),
        }
        self.waiting.wait_for(need, waiter_id, waker)
    }

    /// Removes a waiter whose future is dropped, and returns its waker.
    #[must_use = "dropping it is user code"]
    pub(super) fn leave(&mut self, waiter_id: &mut WaiterId) -> Option<Waker> {
        self.is_probe_due = true; // one behind it may be the first now
        let waker = self.remove(waiter_id);
        self.limit();
        waker
    }

    /// Adds `count` permits.
    ///
    /// # Panics
    ///
    /// If there are more than [`PERMITS_MAX`] then.
    #[track_caller]
    pub(super) fn release(&mut self, count: usize) {
        let available = self.available.checked_add(count).filter(|sum| *sum <= PERMITS_MAX);
        let Some(available) = available else {
            panic!("{} permits and {count} more exceed {PERMITS_MAX}", self.available);
        };
        self.available = available;
        self.is_probe_due = true;
    }

    /// Removes up to `count` of the available permits. Returns how many were removed.
    pub(super) fn remove_available(&mut self, count: usize) -> usize {
        let removed = count.min(self.available);
        self.available -= removed;
        removed
    }

    /// Takes the next waiter off the list that a free permit is for, to be woken. The owner calls
    /// this after every other operation, until it returns `None`.
    #[must_use = "the waiter is not on the list any more"]
    pub(super) fn next_to_wake(&mut self) -> Option<Waker> {
        let free = self.available.saturating_sub(self.awake_need);
        let is_probe_due = std::mem::take(&mut self.is_probe_due) && self.is_any_satisfied(free);
        let next = self.waiting.wake_first_if(|need| *need <= free || is_probe_due);
        let Some((number, need, waker)) = next else {
            self.end_refusal();
            return None;
        };
        self.is_probe_due = is_probe_due && need <= free;
        self.awake.insert(number, Awake { need, is_rechecked: false, is_dismissed: false });
        self.awake_need += need;
        Some(waker)
    }

    /// Whether the owner must queue a recheck: a waiter that is awake may be in front of another.
    pub(super) fn needs_recheck(&self) -> bool {
        !self.awake.is_empty() && (self.waiting.is_waiting() || self.refused_need.is_some())
    }

    /// Passes over the waiters that are awake and have had time to be polled.
    pub(super) fn recheck(&mut self) {
        self.pass_over(|awake| std::mem::replace(&mut awake.is_rechecked, true));
    }

    /// Passes over all waiters that are awake, where no recheck can run.
    pub(super) fn pass_over_all(&mut self) {
        self.pass_over(|_| true);
    }

    /// Ends all waits. The waiters find the permits closed.
    pub(super) fn close(&mut self) -> Woken<usize> {
        self.is_closed = true;
        self.awake.retain(|_| false);
        self.awake_need = 0;
        self.dismiss_all()
    }

    /// Ends all waits without permits. Waiters that were woken for a permit may still take it.
    pub(super) fn dismiss_all(&mut self) -> Woken<usize> {
        self.passed_count = 0;
        self.awake.retain(|awake| {
            awake.is_dismissed = true;
            true
        });
        let woken = self.waiting.wake_all();
        self.limit();
        woken
    }

    /// Whether no other waiter waits before this one.
    fn is_first(&self, waiter_id: &WaiterId) -> bool {
        match (self.waiting.first_number(), waiter_id.number()) {
            (None, _) => true,
            (Some(first), number) => number.is_some_and(|number| number <= first),
        }
    }

    fn is_any_satisfied(&self, free: usize) -> bool {
        let mut needs = self.waiting.values().chain(&self.refused_need);
        free > 0 && self.waiting.is_waiting() && needs.any(|need| *need <= free)
    }

    /// What the waiters before this one need that were woken. `None` if one before it waits.
    fn needed_before(&self, waiter_id: &WaiterId) -> Option<usize> {
        let Some(number) = waiter_id.number() else {
            return self.is_first(waiter_id).then_some(self.awake_need);
        };
        if !self.is_first(waiter_id) {
            return None;
        }
        let before = self.awake.iter().take_while(|(other, _)| *other < number);
        Some(before.map(|(_, awake)| awake.need).sum())
    }

    fn place(&self, waiter_id: &WaiterId) -> Place {
        match waiter_id.number() {
            None => Place::Absent,
            Some(number) if self.awake.get(number).is_some() => Place::Awake,
            Some(_) if self.waiting.is_waiting_at(waiter_id) => Place::Waiting,
            Some(_) if self.waiting.was_in_wake_all(waiter_id) => Place::Dismissed,
            Some(_) => Place::Passed,
        }
    }

    fn remove(&mut self, waiter_id: &mut WaiterId) -> Option<Waker> {
        match self.place(waiter_id) {
            Place::Awake => self.remove_awake(waiter_id),
            Place::Passed => self.passed_count -= 1,
            Place::Absent | Place::Waiting | Place::Dismissed => {}
        }
        self.waiting.leave(waiter_id)
    }

    fn remove_awake(&mut self, waiter_id: &WaiterId) {
        let awake = waiter_id.number().and_then(|number| self.awake.remove(number));
        self.awake_need -= awake.expect("a waiter that is awake").need;
        self.end_refusal();
    }

    /// Ends the effect of a refused attempt: no waiter is before the next one.
    fn end_refusal(&mut self) {
        if self.awake.is_empty() {
            self.refused_need = None;
        }
    }

    fn pass_over(&mut self, mut is_due: impl FnMut(&mut Awake) -> bool) {
        let count = self.awake.len();
        let passed_count = &mut self.passed_count;
        self.awake.retain(|awake| {
            let is_passed = is_due(awake);
            *passed_count += usize::from(is_passed && !awake.is_dismissed);
            !is_passed
        });
        self.awake_need = self.awake.iter().map(|(_, awake)| awake.need).sum();
        // The refusal of an attempt lasts until `next_to_wake` has looked for the next request that
        // is in front of it.
        self.is_probe_due |= count > self.awake.len();
        self.limit();
    }
}

/// The state of the machine, with labels in place of the numbers of waiters.
#[cfg(test)]
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Snapshot {
    available: usize,
    waiting: Vec<(u64, usize)>,
    awake: Vec<(u64, Awake)>,
    awake_need: usize,
    passed_count: usize,
    is_probe_due: bool,
    refused_need: Option<usize>,
    is_closed: bool,
}

#[cfg(test)]
impl Permits {
    pub(super) fn snapshot(&self, label: impl Fn(u64) -> u64) -> Snapshot {
        let waiting = self.waiting.numbers().zip(self.waiting.values());
        Snapshot {
            available: self.available,
            waiting: waiting.map(|(number, need)| (label(number), *need)).collect(),
            awake: self.awake.iter().map(|(number, awake)| (label(number), *awake)).collect(),
            awake_need: self.awake_need,
            passed_count: self.passed_count,
            is_probe_due: self.is_probe_due,
            refused_need: self.refused_need,
            is_closed: self.is_closed,
        }
    }

    /// The number of the waiter that was the last one to begin to wait.
    pub(super) fn newest_number(&self) -> Option<u64> {
        self.waiting.newest_number()
    }

    pub(super) fn numbers(&self) -> super::tests::waits::Numbers {
        self.waiting.all_numbers()
    }

    pub(super) fn is_awake(&self, number: u64) -> bool {
        self.awake.get(number).is_some()
    }
}
