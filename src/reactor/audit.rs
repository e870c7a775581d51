//! Looking after operations that a kernel has forgotten (H55).
//!
//! Some kernels lose a wake-up now and then: bytes lie in a socket, a receive is armed for them, and
//! no completion ever comes. (Seen on Linux 6.1.192 about once in some thousand connections, with
//! the receive in the ring's poll list and nothing queued; fixed in part in 6.12.115.) A server then
//! has a connection that hangs for ever, and nothing in it is wrong.
//!
//! So once a second, as long as something passive is in flight, a few operations are looked at with
//! one `poll(2)`. One that has been ready for two looks in a row, without a completion in between,
//! is cancelled, and its owner asks again, which loses nothing: what is read by then has been
//! reported, and the rest is still in the socket. A false alarm costs one operation.
//!
//! Sends and connects are not looked at: a send that is cancelled ends its stream (H32).

use super::Reactor;
use crate::driver;
use crate::driver::request::Key;

/// Between two looks.
const AUDIT_NS: u64 = 1_000_000_000;

/// Operations looked at each time, besides those that were suspect. Ten thousand take 40 s.
const AUDIT_OPS_MAX: usize = 256;

/// Where the audit is.
#[derive(Default)]
pub(super) struct Audit {
    /// `None` for drivers that forget nothing.
    due_ns: Option<u64>,
    /// The slot that is next.
    cursor: usize,
    /// Ready at the last look.
    suspects: Vec<Key>,
    lost_count: u64,
}

impl Audit {
    pub(super) fn new(is_wanted: bool) -> Audit {
        Audit { due_ns: is_wanted.then_some(0), ..Audit::default() }
    }

    pub(super) fn lost_count(&self) -> u64 {
        self.lost_count
    }
}

impl Reactor {
    /// When a sleep has to end for the next look, if anything is there to be looked at.
    pub(super) fn audit_due_ns(&self) -> Option<u64> {
        let due_ns = self.audit.borrow().due_ns?;
        if self.slots.borrow().len() == 0 {
            return None;
        }
        // The first operations after a time without any are given a second, like all others.
        Some(if due_ns == 0 { self.clock.now_ns() + AUDIT_NS } else { due_ns })
    }

    /// Looks, if it is time.
    pub(super) fn audit_if_due(&self, now_ns: u64) {
        let mut audit = self.audit.borrow_mut();
        let Some(due_ns) = audit.due_ns else { return };
        if due_ns != 0 && now_ns < due_ns {
            return;
        }
        audit.due_ns = Some(now_ns + AUDIT_NS);
        if due_ns == 0 {
            return;
        }
        let suspects = std::mem::take(&mut audit.suspects);
        let cursor = audit.cursor;
        drop(audit);
        let (looked_at, next) = self.slots.borrow().watched(&suspects, cursor, AUDIT_OPS_MAX);
        let ready = driver::are_ready(looked_at.iter().map(|&(_, fd, interest)| (fd, interest)));
        let mut lost = Vec::new();
        let mut suspects = Vec::new();
        for (&(key, ..), is_ready) in looked_at.iter().zip(ready) {
            if !is_ready {
                continue;
            }
            match self.slots.borrow_mut().suspect(key) {
                true => lost.push(key),
                false => suspects.push(key),
            }
        }
        {
            let mut audit = self.audit.borrow_mut();
            audit.suspects = suspects;
            audit.cursor = next;
            audit.lost_count += lost.len() as u64;
        }
        for key in lost {
            self.cancel(key);
        }
    }

    #[cfg(test)]
    pub(crate) fn audit_from_now_on(&self) {
        *self.audit.borrow_mut() = Audit::new(true);
    }
}
