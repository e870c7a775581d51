//! What the scripted kernel knows: entries, operations in flight, completions at their stages.
//!
//! ```text
//!  pushed ── consume ──▶ in flight ── complete ──▶ hidden ── collect ──▶ queue ── reap ──▶ driver
//!                                                              │ queue full ▲
//!                                                              ▼            │
//!                                                           overflow ── collect
//! ```

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;

use super::Director;
use crate::buf::Loan;
use crate::driver::request::Request;
use crate::driver::uring::entry::{Cqe, Entry};
use crate::sys::{errno, eventfd};

/// What cancels do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum CancelPolicy {
    /// The target ends with `ECANCELED`; a missing target answers the cancel with `ENOENT`.
    #[default]
    Obey,
    /// Cancels are noted and nothing happens: the test completes the target as it likes.
    Ignore,
}

/// When a scripted enter fails: the difference that H05 is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FailAt {
    BeforeSubmission,
    AfterSubmission,
}

/// One operation that the world knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Submitted {
    pub(crate) user_data: u64,
    pub(crate) request: Request,
}

#[derive(Default)]
pub(super) struct World {
    pub(super) pushed: VecDeque<(u64, Entry)>,
    pub(super) in_flight: Vec<Submitted>,
    /// Every entry in the order in which it was consumed.
    pub(super) log: Vec<(u64, Entry)>,
    pub(super) hidden: VecDeque<Cqe>,
    pub(super) queue: VecDeque<Cqe>,
    pub(super) overflow: VecDeque<Cqe>,
    timeouts: Vec<(u64, u64)>,
    wake_read: Option<(u64, RawFd)>,
    pub(super) provided: VecDeque<Loan>,
    pub(super) unpublished: Vec<Loan>,
    pub(super) enter_failures: VecDeque<(FailAt, i32)>,
    /// The next timeout update fails with this and moves nothing.
    pub(super) update_failure: Option<i32>,
    pub(super) cancels: Vec<u64>,
    pub(super) cancel_policy: CancelPolicy,
    pub(super) batch_max: Option<usize>,
    pub(super) consume_max: Option<usize>,
    pub(super) director: Option<Director>,
    pub(super) enters: u64,
    pub(super) is_leaked: bool,
}

impl World {
    pub(super) fn post(&mut self, user_data: u64, result: i32) {
        self.hidden.push_back(Cqe { user_data, result, flags: 0 });
    }

    pub(super) fn is_collectable(&self) -> bool {
        !(self.hidden.is_empty() && self.queue.is_empty() && self.overflow.is_empty())
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

    pub(super) fn answer_bell(&mut self) -> bool {
        let Some((_, fd)) = self.wake_read else {
            return false;
        };
        if !eventfd::try_take(fd) {
            return false;
        }
        self.answer_wake_read();
        true
    }

    pub(super) fn answer_wake_read(&mut self) {
        let (user_data, _fd) = self.wake_read.take().expect("armed before the first sleep");
        self.post(user_data, 8);
    }

    pub(super) fn consume(&mut self, user_data: u64, entry: Entry) {
        self.log.push((user_data, entry));
        match entry {
            Entry::Nop => self.post(user_data, 0),
            Entry::Op(request) => {
                let is_known = self.in_flight.iter().any(|op| op.user_data == user_data);
                assert!(!is_known, "{user_data:#x} is in flight twice (H35)");
                self.in_flight.push(Submitted { user_data, request });
            }
            Entry::Cancel { target } => {
                self.cancels.push(target);
                if self.cancel_policy == CancelPolicy::Obey {
                    self.obey_cancel(user_data, target);
                }
            }
            Entry::Timeout { deadline_ns } => self.timeouts.push((user_data, deadline_ns)),
            Entry::TimeoutUpdate { target, deadline_ns } => {
                self.update_timeout(user_data, target, deadline_ns)
            }
            Entry::WakeRead { fd, target: _ } => self.wake_read = Some((user_data, fd)),
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

    fn obey_cancel(&mut self, user_data: u64, target: u64) {
        if let Some(place) = self.in_flight.iter().position(|op| op.user_data == target) {
            self.in_flight.remove(place);
            self.post(target, -errno::ECANCELED);
        } else if let Some(place) = self.timeouts.iter().position(|&(known, _)| known == target) {
            self.timeouts.remove(place);
            self.post(target, -errno::ECANCELED);
        } else {
            self.post(user_data, -errno::ENOENT);
        }
    }

    pub(super) fn collect(&mut self, cq_entries: usize) {
        while self.queue.len() < cq_entries {
            let Some(cqe) = self.overflow.pop_front() else {
                break;
            };
            self.queue.push_back(cqe);
        }
        for _ in 0..self.batch_max.unwrap_or(usize::MAX) {
            let Some(cqe) = self.hidden.pop_front() else {
                break;
            };
            match self.queue.len() < cq_entries && self.overflow.is_empty() {
                true => self.queue.push_back(cqe),
                false => self.overflow.push_back(cqe),
            }
        }
    }

    pub(super) fn take_failure(&mut self, at: FailAt) -> io::Result<()> {
        match self.enter_failures.front() {
            Some(&(when, code)) if when == at => {
                self.enter_failures.pop_front();
                Err(io::Error::from_raw_os_error(code))
            }
            _ => Ok(()),
        }
    }
}
