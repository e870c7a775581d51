//! The state of the scripted kernel: entries, operations in flight, completions at their stages.
//!
//! ```text
//!  pushed ── submit ──▶ in flight ── complete ──▶ hidden ── run ──▶ queue ── reap ──▶ driver
//!                                                             │ queue full ▲
//!                                                             ▼            │
//!                                                          overflow ── run ┘
//! ```

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use super::in_flight::{InFlight, Submitted, received_from};
use crate::buf::Loan;
use crate::driver::request::Flags;
use crate::driver::uring::entry::{Cqe, Entry, TimeoutForm};
use crate::sys::{errno, eventfd};

/// The result of a poll for reading.
const POLLIN: i32 = libc::POLLIN as i32;

/// What cancels do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum CancelPolicy {
    /// The target ends with `ECANCELED`; a missing target answers the cancel with `ENOENT`.
    #[default]
    Obey,
    /// Cancels of operations are noted and nothing happens: the test completes the target as it
    /// likes. The driver's own entries obey.
    Ignore,
    /// No cancel has an effect.
    Lose,
}

/// How many hidden completions one enter brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Profile {
    /// Linux 6.13 and later: [`BATCH`] with nothing to submit, twice that when the enter also
    /// submits, and one after a real sleep (`min_complete`, less what is in the queue).
    #[default]
    Capped,
    /// Linux before 6.13: all of them, also after a sleep.
    All,
}

/// `IO_LOCAL_TW_DEFAULT_MAX` of the kernel.
const BATCH: usize = 20;

/// When a scripted enter fails: the difference that H05 is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FailAt {
    BeforeSubmission,
    AfterSubmission,
}

/// What an observer sees.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Seen {
    /// An entry was pushed. From now on the kernel owns what it names (H05).
    Pushed(u64, Entry),
    /// It was submitted.
    Submitted(u64, Entry),
    /// The receiving side of a socket was shut down.
    ShutDown(RawFd),
}

pub(super) type Observer = Box<dyn FnMut(Seen)>;

#[derive(Default)]
pub(super) struct World {
    pub(super) pushed: VecDeque<(u64, Entry)>,
    pub(super) in_flight: InFlight,
    /// Every entry in the order in which it was consumed.
    pub(super) log: Vec<(u64, Entry)>,
    pub(super) hidden: VecDeque<Cqe>,
    pub(super) queue: VecDeque<Cqe>,
    pub(super) overflow: VecDeque<Cqe>,
    timeouts: Vec<(u64, u64)>,
    pub(super) timeout_form: TimeoutForm,
    /// How much later than meant absolute timeouts fire.
    pub(super) timeout_shift_ns: i64,
    /// Timeouts never fire.
    pub(super) loses_timeouts: bool,
    wake_poll: Option<(u64, RawFd)>,
    pub(super) provided: VecDeque<Loan>,
    pub(super) unpublished: Vec<Loan>,
    pub(super) enter_failures: VecDeque<(FailAt, i32)>,
    /// Every enter fails with this.
    pub(super) forbidden: Option<i32>,
    /// The next timeout update fails with this and moves nothing.
    pub(super) update_failure: Option<i32>,
    pub(super) cancels: Vec<u64>,
    pub(super) shutdowns: Vec<RawFd>,
    /// Receives that were pushed and not yet submitted when their socket was shut down.
    ended: Vec<u64>,
    pub(super) cancel_policy: CancelPolicy,
    pub(super) profile: Profile,
    /// Completions lost since the beginning: `cq.overflow`.
    pub(super) dropped_count: u32,
    /// A loss that no enter has reported.
    has_unreported_loss: bool,
    pub(super) consume_max: Option<usize>,
    pub(super) observer: Option<Observer>,
    pub(super) enter_calls: u64,
    pub(super) is_leaked: bool,
    pub(super) loses_wake_ups: bool,
}

impl World {
    pub(super) fn post(&mut self, user_data: u64, result: i32) {
        self.hidden.push_back(Cqe { user_data, result, flags: 0 });
    }

    /// Posts a completion after which the entry stays in flight.
    fn post_more(&mut self, user_data: u64, result: i32) {
        self.hidden.push_back(Cqe { user_data, result, flags: Flags::NONE.with_more().raw() });
    }

    /// Whether a sleep would end at once.
    pub(super) fn can_wake(&self) -> bool {
        !self.hidden.is_empty() || !self.overflow.is_empty() || self.has_unreported_loss
    }

    pub(super) fn lose_one(&mut self) {
        self.dropped_count = self.dropped_count.wrapping_add(1);
        self.has_unreported_loss = true;
    }

    /// The error of an enter that was ready to sleep, after a loss. Not before it finds an empty
    /// queue, and a count of submitted entries hides it.
    pub(super) fn take_loss(&mut self, submitted_count: usize) -> io::Result<()> {
        if !self.has_unreported_loss || !self.queue.is_empty() || submitted_count > 0 {
            return Ok(());
        }
        self.has_unreported_loss = false;
        Err(io::Error::from_raw_os_error(libc::EBADR))
    }

    /// As `shutdown(2)`: under [`CancelPolicy::Obey`] receives on the socket read the end at once.
    pub(super) fn shut_down_reading(&mut self, socket: RawFd) {
        self.shutdowns.push(socket);
        if let Some(observer) = &mut self.observer {
            observer(Seen::ShutDown(socket));
        }
        if self.cancel_policy != CancelPolicy::Obey {
            return;
        }
        let ended = self.in_flight.take_receives(socket);
        ended.into_iter().for_each(|op| self.post(op.user_data, 0));
        for (user_data, entry) in &self.pushed {
            if matches!(entry, Entry::Op(request) if received_from(request) == Some(socket)) {
                self.ended.push(*user_data);
            }
        }
    }

    pub(super) fn next_timeout_ns(&self) -> Option<u64> {
        self.timeouts.iter().map(|&(_, at_ns)| at_ns).min()
    }

    pub(super) fn expire(&mut self, now_ns: u64) {
        let timeouts = std::mem::take(&mut self.timeouts);
        for (user_data, at_ns) in timeouts {
            if at_ns <= now_ns {
                self.post(user_data, -errno::ETIME);
            } else {
                self.timeouts.push((user_data, at_ns));
            }
        }
    }

    pub(super) fn complete_wake_poll(&mut self) -> bool {
        let Some((_, fd)) = self.wake_poll else {
            return false;
        };
        if self.loses_wake_ups || !eventfd::try_take(fd) {
            return false;
        }
        self.answer_wake_poll();
        true
    }

    pub(super) fn answer_wake_poll(&mut self) {
        let (user_data, _fd) = self.wake_poll.expect("armed before the first sleep");
        self.post_more(user_data, POLLIN);
    }

    pub(super) fn end_wake_poll(&mut self) {
        let (user_data, _fd) = self.wake_poll.take().expect("armed before the first sleep");
        self.post(user_data, POLLIN);
    }

    /// Consumes what was pushed, and returns how much.
    pub(super) fn submit(&mut self) -> usize {
        let count = self.pushed.len().min(self.consume_max.unwrap_or(usize::MAX));
        for _ in 0..count {
            let (user_data, entry) = self.pushed.pop_front().expect("counted above");
            self.consume(user_data, entry);
        }
        count
    }

    fn consume(&mut self, user_data: u64, entry: Entry) {
        self.log.push((user_data, entry));
        if let Some(observer) = &mut self.observer {
            observer(Seen::Submitted(user_data, entry));
        }
        match entry {
            Entry::Nop => self.post(user_data, 0),
            Entry::Op(request) => {
                let is_known = self.in_flight.contains(user_data);
                assert!(!is_known, "{user_data:#x} is in flight twice (H35)");
                match self.ended.iter().position(|&ended| ended == user_data) {
                    Some(place) => {
                        self.ended.swap_remove(place);
                        self.post(user_data, 0);
                    }
                    None => self.in_flight.push(Submitted { user_data, request }),
                }
            }
            Entry::Cancel { target } => {
                self.cancels.push(target);
                let is_own = self.wake_poll.is_some_and(|(known, _)| known == target);
                match self.cancel_policy {
                    CancelPolicy::Obey => self.obey_cancel(user_data, target),
                    CancelPolicy::Ignore if is_own => self.obey_cancel(user_data, target),
                    CancelPolicy::Ignore | CancelPolicy::Lose => {}
                }
            }
            Entry::Timeout { deadline_ns } => {
                let at_ns = self.fires_at_ns(deadline_ns);
                self.timeouts.push((user_data, at_ns));
            }
            Entry::TimeoutUpdate { target, deadline_ns } => {
                let at_ns = self.fires_at_ns(deadline_ns);
                self.update_timeout(user_data, target, at_ns)
            }
            Entry::WakePoll { fd } => self.wake_poll = Some((user_data, fd)),
        }
    }

    fn fires_at_ns(&self, deadline_ns: u64) -> u64 {
        match self.timeout_form {
            _ if self.loses_timeouts => u64::MAX,
            TimeoutForm::Absolute => deadline_ns.saturating_add_signed(self.timeout_shift_ns),
            TimeoutForm::Relative => deadline_ns,
        }
    }

    fn update_timeout(&mut self, user_data: u64, target: u64, deadline_ns: u64) {
        if let Some(code) = self.update_failure.take() {
            return self.post(user_data, -code);
        }
        let pending = self.timeouts.iter_mut().find(|(known, _)| *known == target);
        match pending {
            Some((_, at_ns)) => *at_ns = deadline_ns,
            None => self.post(user_data, -errno::ENOENT),
        }
    }

    pub(super) fn obey_cancel(&mut self, user_data: u64, target: u64) {
        if self.in_flight.remove(target).is_some() {
            self.post(target, -errno::ECANCELED);
        } else if let Some(place) = self.timeouts.iter().position(|&(known, _)| known == target) {
            self.timeouts.remove(place);
            self.post(target, -errno::ECANCELED);
        } else if self.wake_poll.take_if(|(known, _)| *known == target).is_some() {
            self.post(target, -errno::ECANCELED);
        } else {
            self.post(user_data, -errno::ENOENT);
        }
    }

    /// Runs one batch of task work.
    pub(super) fn run(&mut self, cq_entries: usize) {
        let count_max = match self.profile {
            Profile::Capped => BATCH,
            Profile::All => usize::MAX,
        };
        self.run_up_to(count_max, cq_entries);
    }

    /// Runs what the kernel runs between a sleep and its return.
    pub(super) fn run_after_sleep(&mut self, cq_entries: usize) {
        let count_max = match self.profile {
            Profile::Capped => 1,
            Profile::All => usize::MAX,
        };
        self.run_up_to(count_max, cq_entries);
    }

    pub(super) fn run_all(&mut self) {
        self.run_up_to(usize::MAX, usize::MAX);
    }

    fn run_up_to(&mut self, count_max: usize, cq_entries: usize) {
        let count = count_max.min(self.hidden.len());
        self.overflow.extend(self.hidden.drain(..count));
        let count = cq_entries.saturating_sub(self.queue.len()).min(self.overflow.len());
        self.queue.extend(self.overflow.drain(..count));
    }

    pub(super) fn take_failure(&mut self, at: FailAt) -> io::Result<()> {
        if let Some(code) = self.forbidden {
            return Err(io::Error::from_raw_os_error(code));
        }
        match self.enter_failures.front() {
            Some(&(when, code)) if when == at => {
                self.enter_failures.pop_front();
                Err(io::Error::from_raw_os_error(code))
            }
            _ => Ok(()),
        }
    }
}
