//! The `timespec` of timeout entries, which the kernel reads when an entry is submitted.

use io_uring::types::{TimeoutFlags, Timespec};

use super::entry::TimeoutForm;
use crate::sys::clock::{self, NS_PER_S};

/// One for each ring: the latest deadline replaces an earlier one that was not submitted.
#[derive(Default)]
pub(super) struct Timeouts {
    pub(super) timespec: Timespec,
    pub(super) form: TimeoutForm,
    /// The deadline of a timeout that was pushed and may not have been submitted.
    pub(super) pushed_ns: Option<u64>,
}

impl Timeouts {
    pub(super) fn flags(&self) -> TimeoutFlags {
        match self.form {
            TimeoutForm::Absolute => TimeoutFlags::ABS,
            TimeoutForm::Relative => TimeoutFlags::empty(),
        }
    }

    pub(super) fn push(&mut self, deadline_ns: u64) -> *const Timespec {
        self.pushed_ns = Some(deadline_ns);
        self.set(deadline_ns); // `renew` replaces it in the relative form
        &self.timespec
    }

    /// Writes the time that is left of a relative timeout, for the kernel to read in this enter.
    pub(super) fn renew(&mut self) {
        if let (TimeoutForm::Relative, Some(deadline_ns)) = (self.form, self.pushed_ns) {
            self.set(deadline_ns.saturating_sub(clock::monotonic_ns()));
        }
    }

    fn set(&mut self, ns: u64) {
        self.timespec = Timespec::new().sec(ns / NS_PER_S).nsec((ns % NS_PER_S) as u32);
    }
}
