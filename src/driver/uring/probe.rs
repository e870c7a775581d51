//! The probe: a fresh ring proves with real operations that it works (H25, H28).
//!
//! A no-op makes the round trip, a multishot receive fills a provided buffer on a socket pair, and
//! a multishot accept accepts. What the kernel reports about itself is not enough: sandboxes forbid
//! single operations, and distributions back-port some.
//!
//! **What other processes can reach.** The accept needs a listening socket, and that needs a name.
//! The kernel chooses a free abstract one, but every process of the network namespace can read it
//! in `/proc/net/unix` and connect to it. So the probe works whatever other processes do:
//!
//! - All sockets are non-blocking, and no call waits. A backlog that is full when the probe
//!   connects holds a connection of another process, which proves as much as the probe's own.
//! - The accept is armed before the name is connected to, and each descriptor that it brings is
//!   closed. There may be several before its cancel is obeyed; the probe takes all completions to
//!   the final one.
//! - One timeout covers the whole probe ([`PROBE_TIMEOUT_NS`]). Nothing sleeps after it.
//!
//! **No completion of a probe names an operation.** Its entries have `user_data` of their own kinds
//! (`super::internal`), and a driver that meets one closes its descriptor, if there is one, and
//! counts it (`tests::late_completions_of_a_probe_are_ignored`).

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd;
use std::rc::Rc;

use socket2::{Domain, SockAddr, Socket, Type};

use super::entry::{Cqe, Enter, Entry, Ring, is_passing};
use super::internal;
use crate::buf::Pool;
use crate::driver::request::{Flags, Request};
use crate::driver::setup_error::{SetupError, SetupStep};
use crate::driver::steps::Steps;
use crate::sys::clock;
use crate::sys::errno;

/// How long the probe of one ring may sleep in all.
const PROBE_TIMEOUT_NS: u64 = 1_000_000_000;

/// Enters for one completion, or for the final one. Each brings something or fails temporarily, so
/// more are not needed.
const PROBE_ENTERS_MAX: u32 = 8;

const PROBE_BUFFER_LEN: u32 = 64;

/// Connections that may wait for the probe's accept.
const PROBE_BACKLOG: i32 = 1;

/// Runs every step and returns the ring with nothing in flight.
pub(super) fn prove<R: Ring>(ring: R, steps: &mut Steps) -> Result<R, SetupError> {
    let mut prober = Prober::new(ring);
    let no_op = prober.arm_timeout().and_then(|()| prober.no_op());
    steps.need(SetupStep::ProbeNop, no_op)?;
    steps.need(SetupStep::ProbeRecv, prober.multishot_recv())?;
    steps.need(SetupStep::ProbeAccept, prober.multishot_accept())?;
    match prober.end_timeout() {
        Ok(()) => Ok(prober.ring),
        Err(error) => Err(steps.fail(SetupStep::ProbeEnd, error)),
    }
}

/// Owns the descriptor that a completion of a probe's accept carries, and closes it.
pub(super) fn close_accepted(cqe: Cqe) {
    if internal::round(cqe.user_data) == ProbeStep::Accept as u32 && cqe.result >= 0 {
        drop(crate::op::accept::adopt(cqe.result));
    }
}

/// A step of the probe. Part of the `user_data` of the probing entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
enum ProbeStep {
    NoOp = 1,
    Recv = 2,
    Accept = 3,
}

impl ProbeStep {
    fn user_data(self) -> u64 {
        internal::user_data(internal::PROBE, self as u32)
    }
}

/// A completion of the probing entry. A descriptor that it carried is closed already.
struct ProbeResult {
    result: i32,
    flags: Flags,
}

impl ProbeResult {
    fn check(&self) -> io::Result<()> {
        match self.result {
            result if result < 0 => Err(io::Error::from_raw_os_error(errno::from_result(result))),
            _ => Ok(()),
        }
    }

    /// Whether the entry succeeded and goes on.
    fn check_multishot(&self) -> io::Result<()> {
        self.check()?;
        match self.flags.more() {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(errno::EOPNOTSUPP)),
        }
    }
}

/// Runs operations on a ring that has no driver yet.
struct Prober<R: Ring> {
    ring: R,
    reaped: Vec<Cqe>,
    /// Of the step in flight, oldest first.
    completions: VecDeque<ProbeResult>,
    /// The step whose entry has been pushed and has not had its final completion.
    armed: Option<ProbeStep>,
    is_timeout_armed: bool,
}

impl<R: Ring> Prober<R> {
    fn new(ring: R) -> Prober<R> {
        let (reaped, completions) = (Vec::new(), VecDeque::new());
        Prober { ring, reaped, completions, armed: None, is_timeout_armed: false }
    }

    fn no_op(&mut self) -> io::Result<()> {
        self.arm(ProbeStep::NoOp, Entry::Nop)?;
        self.next_answer()?.check()
    }

    /// Into a pool of its own. A receive that has not ended when the probe fails may write to it
    /// later, even after the ring is closed (H15): then its page is leaked, and nothing else.
    fn multishot_recv(&mut self) -> io::Result<()> {
        // Before a buffer is lent, so that running out of descriptors leaks nothing.
        let (ours, theirs) = Socket::pair(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        let pool = Pool::new(1, PROBE_BUFFER_LEN)?;
        let outcome = self.multishot_recv_into(&pool, &ours, theirs);
        let outcome = outcome.and(self.disarm()); // `ours` is open until the entry has ended (H37)
        if outcome.is_err() {
            std::mem::forget(pool);
        }
        outcome
    }

    fn multishot_recv_into(
        &mut self,
        pool: &Rc<Pool>,
        ours: &Socket,
        theirs: Socket,
    ) -> io::Result<()> {
        let loan = pool.lend().expect("a fresh pool has a free buffer");
        self.ring.provide(loan);
        self.ring.publish();
        self.arm(
            ProbeStep::Recv,
            Entry::Op(Request::Recv { fd: ours.as_raw_fd(), poll_first: false }),
        )?;
        theirs.send(b"?")?;
        let first = self.next_answer();
        // The peer's end makes the receive finish in any case, so there is nothing to cancel.
        drop(theirs);
        let first = first?;
        if first.flags.more() {
            self.next_answer()?;
        }
        let Some(id) = first.flags.buffer() else {
            first.check()?;
            return Err(io::Error::from_raw_os_error(errno::EOPNOTSUPP));
        };
        drop(pool.filled(id, 1));
        first.check_multishot()
    }

    fn multishot_accept(&mut self) -> io::Result<()> {
        let listener = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
        listener.bind(&SockAddr::unix("")?)?; // the family alone: the kernel chooses a free name
        listener.listen(PROBE_BACKLOG)?;
        self.multishot_accept_from(&listener)
    }

    fn multishot_accept_from(&mut self, listener: &Socket) -> io::Result<()> {
        let outcome = self.accept_one(listener);
        outcome.and(self.disarm()) // `listener` is open until the entry has ended (H37)
    }

    fn accept_one(&mut self, listener: &Socket) -> io::Result<()> {
        self.arm(
            ProbeStep::Accept,
            Entry::Op(Request::Accept { fd: listener.as_raw_fd(), is_multishot: true }),
        )?;
        self.enter(Enter::Submit)?;
        let client = connect_without_waiting(&listener.local_addr()?)?;
        let first = self.next_answer();
        drop(client);
        first?.check_multishot()
    }

    /// Pushes the entry of a step.
    fn arm(&mut self, step: ProbeStep, entry: Entry) -> io::Result<()> {
        assert_eq!(self.armed, None, "{step:?} begins before the last step has ended");
        self.completions.clear();
        self.push(step.user_data(), entry)?;
        self.armed = Some(step);
        Ok(())
    }

    /// Cancels the entry of a step if it is in flight, and takes its completions to the final one.
    fn disarm(&mut self) -> io::Result<()> {
        let Some(step) = self.armed else {
            return Ok(());
        };
        let cancel = internal::user_data(internal::PROBE_CANCEL, step as u32);
        self.push(cancel, Entry::Cancel { target: step.user_data() })?;
        self.collect_until(|prober| prober.armed.is_none())
    }

    /// The next completion of the step in flight.
    fn next_answer(&mut self) -> io::Result<ProbeResult> {
        self.collect_until(|prober| !prober.completions.is_empty())?;
        Ok(self.completions.pop_front().expect("checked above"))
    }

    fn arm_timeout(&mut self) -> io::Result<()> {
        let deadline_ns = clock::monotonic_ns() + PROBE_TIMEOUT_NS;
        let user_data = internal::user_data(internal::PROBE_TIMEOUT, 0);
        self.push(user_data, Entry::Timeout { deadline_ns })?;
        self.is_timeout_armed = true;
        Ok(())
    }

    fn end_timeout(&mut self) -> io::Result<()> {
        if !self.is_timeout_armed {
            return Ok(()); // it has fired, after the last completion that was needed
        }
        let target = internal::user_data(internal::PROBE_TIMEOUT, 0);
        let cancel = internal::user_data(internal::PROBE_CANCEL, 0);
        self.push(cancel, Entry::Cancel { target })?;
        self.collect_until(|prober| !prober.is_timeout_armed)
    }

    fn push(&mut self, user_data: u64, entry: Entry) -> io::Result<()> {
        if self.ring.push(user_data, entry).is_ok() {
            return Ok(());
        }
        self.enter(Enter::Submit)?; // a queue of one entry is full with the first
        let pushed = self.ring.push(user_data, entry);
        pushed.map_err(|_full| io::Error::from_raw_os_error(errno::EAGAIN))
    }

    /// Enters until `is_done`. Sleeps only while the timeout is armed. After that, what is ready is
    /// still taken, so that a thread that was stopped for a second has a working ring.
    fn collect_until(&mut self, is_done: impl Fn(&Self) -> bool) -> io::Result<()> {
        for _ in 0..PROBE_ENTERS_MAX {
            if is_done(self) {
                return Ok(());
            }
            self.enter(if self.is_timeout_armed { Enter::Sleep } else { Enter::Collect })?;
            self.reap();
        }
        match is_done(self) {
            true => Ok(()),
            false => Err(io::Error::from_raw_os_error(errno::ETIMEDOUT)),
        }
    }

    fn enter(&mut self, enter: Enter) -> io::Result<()> {
        match self.ring.enter(enter) {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn reap(&mut self) {
        let mut reaped = std::mem::take(&mut self.reaped);
        self.ring.reap(&mut reaped, usize::MAX);
        reaped.drain(..).for_each(|cqe| self.note(cqe));
        self.reaped = reaped;
    }

    fn note(&mut self, cqe: Cqe) {
        match cqe.user_data as u8 {
            internal::PROBE => close_accepted(cqe),
            internal::PROBE_TIMEOUT => return self.is_timeout_armed = false,
            internal::TIMING => return, // of a measurement that has ended
            internal::PROBE_CANCEL => return, // only the target's final completion counts (H30)
            _ => unreachable!("{cqe:?} on a ring that has no driver"),
        }
        if self.armed.map(ProbeStep::user_data) == Some(cqe.user_data) {
            let flags = Flags::from_raw(cqe.flags);
            self.completions.push_back(ProbeResult { result: cqe.result, flags });
            if !flags.more() {
                self.armed = None;
            }
        }
    }
}

/// Connects, or finds that another process has filled the backlog: then its connection is accepted.
fn connect_without_waiting(addr: &SockAddr) -> io::Result<Socket> {
    let client = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    match client.connect(addr) {
        Err(error) if error.raw_os_error() != Some(errno::EAGAIN) => Err(error),
        _ => Ok(client),
    }
}

#[cfg(test)]
mod tests;
