//! The receiving side of a socket: a state machine without a reactor.
//!
//! One multishot receive, armed at the first read and owned by the socket. Filled buffers queue
//! here until a reader takes them; dropping a reader loses nothing.
//!
//! ```text
//!         arm                  armed                            final completion
//!  Idle ───────▶ (submitting) ───────▶ Multishot { key } ────────────────────────────▶ Idle
//!   ▲ │                                  │ full queue, stop, leave: cancel             ▲
//!   │ │                                  ▼                                             │
//!   │ │                                Multishot { no key } ── final completion ───────┤
//!   │ │   after ENOBUFS                                                                │
//!   │ └─────────▶ (submitting) ───────▶ Private { key, target } ── completion ─────────┘
//!   └── the submission failed
//!
//!   which receive is next       polls first?  after
//!   Shared    multishot         if the pool   the start, bytes
//!                               is empty
//!   Private   RecvInto          no: at once   ENOBUFS; a private buffer filled, and no pool
//!   Quiet     multishot         yes           a private receive that found nothing (EAGAIN)
//! ```
//!
//! The transitions are the methods of [`RecvSide`]. They return what is left to do: a waker to
//! wake, an operation to cancel, a receive to arm. [`Socket`](super::stream::Socket) performs that
//! once its borrow of this value has ended. A key is in the state while a cancel is possible, and
//! the cancel takes it: so a receive is cancelled at most once.
//!
//! - **Backpressure.** When the queue is full ([`RecvQueue::is_full`]) and still is after the ready
//!   tasks have run, the receive is cancelled, and armed again when the reader has taken all of it,
//!   so a slow reader closes TCP's window instead of eating the pool (H53). What lands until the
//!   cancel has taken effect is what one enter brings: no more than the buffers that are lent.
//! - **An empty pool** ends the multishot (H47), perhaps hiding the end of the stream (H48). The
//!   next receive goes into a buffer of the socket's own, so reading goes on even if the program
//!   holds every buffer of the pool. That receive never waits. If nothing was there, the multishot
//!   is armed again and polls first: it looks for a buffer only when bytes have come. So an idle
//!   socket holds no memory, and an empty pool makes no socket spin.
//! - **A final completion may carry bytes** (H49). The state does not depend on the result.
//!
//! **Invariant.** At most one receive is in flight per socket (H43): `arm` returns a request in
//! `Idle` only. While `Private`, its buffer is neither touched nor dropped. Both are checked in all
//! reachable states (`tests::receiving_keeps_its_invariants_in_every_state`).
//!
//! **Absent on purpose.** The reactor, and user code: wakers are returned, never woken, cloned or
//! dropped here.

use std::os::fd::BorrowedFd;
use std::task::Waker;

use super::idle::{IdleFired, IdleTimeout};
use super::recv_queue::RecvQueue;
use crate::buf::{Pool, RecvBuf};
use crate::driver::request::{Key, Request};
use crate::op::OpResult;
use crate::op::recv::{self, Received};
use crate::reactor::TimerKey;

/// Buffers that the kernel fills for one multishot receive before it waits for the socket again
/// (`MULTISHOT_MAX_RETRY`, H53).
///
/// On a Unix socket it may then miss the end: up to 6.12.85 and 6.18.44 at least, a wake-up that
/// came before the last of the bytes were read is not looked for again (H54). So a receive that has
/// filled as many in a row is armed anew there, which makes the kernel look.
const MULTISHOT_RETRIES: u8 = 32;

#[derive(Default)]
pub(super) struct RecvSide {
    queue: RecvQueue,
    state: RecvState,
    next: NextRecv,
    /// Whether a call of `settle` is due.
    is_settling: bool,
    /// Completions of the multishot since the reader last took something.
    burst_count: u8,
    /// A burst has reached [`MULTISHOT_RETRIES`].
    is_spent: bool,
    /// There will be no reader: what still arrives is thrown away.
    is_unwanted: bool,
    /// The descriptor is about to be handed over: no further receive is armed.
    is_leaving: bool,
    end: Option<RecvEnd>,
    reader: Option<Waker>,
    /// Boxed, as most streams have none.
    idle: Option<Box<IdleTimeout>>,
}

/// What is in flight. Without a key it is being submitted, or has been cancelled.
#[derive(Default)]
enum RecvState {
    #[default]
    Idle,
    Multishot {
        key: Option<Key>,
    },
    /// A receive into `target`, which belongs to the kernel until the completion.
    Private {
        key: Option<Key>,
        target: Vec<u8>,
    },
}

/// Which receive fits when the next is armed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
enum NextRecv {
    /// The multishot.
    #[default]
    Shared,
    /// One into a buffer of the socket's own: something is there, and the pool was empty.
    Private,
    /// The multishot, looking for a buffer only when something is there: nothing was just now.
    Quiet,
}

/// Why there will be no more bytes, once the queue is empty.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum RecvEnd {
    Eof,
    Failed(i32),
}

/// What a read finds.
#[must_use]
pub(super) enum RecvPoll {
    Bytes(RecvBuf),
    /// The peer has finished sending, and all of it has been read.
    Eof,
    /// The errno that has ended the connection.
    Failed(i32),
    /// The idle timeout has expired.
    TimedOut,
    Wait(RecvWait),
}

/// What a reader that has to wait still needs.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct RecvWait {
    /// No receive is in flight: arm one first, and call `set_reader` only if that succeeds.
    pub(super) must_arm: bool,
    /// The waker that is kept is another one: call `set_reader` with a clone.
    pub(super) is_new_reader: bool,
    /// The idle timeout counts from now: call `idle_began`.
    pub(super) begins_idle: bool,
}

/// What a completion leaves to do.
#[must_use]
#[derive(Default, Debug)]
pub(super) struct RecvEffects {
    pub(super) wake: Option<Waker>,
    /// Call `settle` before the next enter.
    pub(super) must_settle: bool,
    /// The reader waits on: arm a receive, and call `take_reader` and wake it if that fails.
    pub(super) must_arm: bool,
}

/// What the end of reading leaves to do.
#[must_use]
#[derive(Default, Debug)]
pub(super) struct RecvStop {
    pub(super) wake: Option<Waker>,
    pub(super) cancel: Option<Key>,
    pub(super) remove_timer: Option<TimerKey>,
}

/// What is to be done before the next enter.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RecvSettle {
    Nothing,
    /// Tasks are still to run. Call `settle` again.
    Later,
    Cancel(Key),
}

/// How far the end of receiving before a handover has come.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RecvLeave {
    /// Nothing is in flight.
    Done,
    /// Cancel this, unless it was before, and wait for the final completion.
    Wait {
        cancel: Option<Key>,
        /// The waker that is kept is another one: call `set_reader` with a clone.
        is_new_reader: bool,
    },
}

impl RecvSide {
    // ---- readers ---------------------------------------------------------------------------

    /// Takes the next filled buffer, or prepares to wait for it.
    pub(super) fn poll(&mut self, waker: &Waker) -> RecvPoll {
        if let Some(buffer) = self.queue.pop() {
            self.burst_count = 0;
            return RecvPoll::Bytes(buffer);
        }
        match self.end {
            Some(RecvEnd::Eof) => RecvPoll::Eof,
            Some(RecvEnd::Failed(code)) => RecvPoll::Failed(code),
            None if self.idle.as_mut().is_some_and(|idle| idle.take_expiry()) => RecvPoll::TimedOut,
            None => RecvPoll::Wait(RecvWait {
                must_arm: matches!(self.state, RecvState::Idle),
                is_new_reader: self.is_new_reader(waker),
                begins_idle: self.idle.is_some() && self.reader.is_none(),
            }),
        }
    }

    /// Whether [`poll`](Self::poll) would return bytes, the end or an error.
    pub(super) fn is_readable(&self) -> bool {
        !self.queue.is_empty() || self.end.is_some()
    }

    /// Copies the first bytes into `target` and leaves them in place. Fails with the errno that has
    /// ended the connection if there are none.
    pub(super) fn peek(&self, target: &mut [u8]) -> Result<usize, i32> {
        match (self.queue.copy_to(target), self.end) {
            (0, Some(RecvEnd::Failed(code))) => Err(code),
            (count, _) => Ok(count),
        }
    }

    /// Puts back what a reader has not used, to be read next.
    pub(super) fn unread(&mut self, buffer: RecvBuf, pool: &Pool) {
        self.queue.unread(buffer, !pool.is_scarce());
    }

    /// Puts back a copy of what a reader has copied and not used.
    pub(super) fn unread_copy(&mut self, bytes: &[u8]) {
        self.queue.unread_copy(bytes);
    }

    /// Takes all that no reader has taken.
    pub(super) fn take_received(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(buffer) = self.queue.pop() {
            bytes.extend_from_slice(&buffer);
        }
        bytes
    }

    /// Keeps the waker of the reader that waits. Returns the former one.
    #[must_use = "dropping a waker is user code"]
    pub(super) fn set_reader(&mut self, waker: Waker) -> Option<Waker> {
        self.reader.replace(waker)
    }

    pub(super) fn take_reader(&mut self) -> Option<Waker> {
        self.reader.take()
    }

    /// Whether the connection is known to have ended, for reading.
    pub(super) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    // ---- receives --------------------------------------------------------------------------

    /// The receive that fits, to be submitted at once. `None` if one is in flight: its final
    /// completion arms again.
    ///
    /// Call [`armed`](Self::armed) with the outcome.
    pub(super) fn arm(&mut self, fd: BorrowedFd<'_>, pool: &Pool) -> Option<Request> {
        if !matches!(self.state, RecvState::Idle) {
            return None;
        }
        let next = std::mem::take(&mut self.next);
        if next == NextRecv::Private {
            let mut target = vec![0; pool.buffer_len() as usize];
            let request = recv::request_into(&fd, &mut target); // moving the `Vec` moves no byte
            self.state = RecvState::Private { key: None, target };
            return Some(request);
        }
        self.state = RecvState::Multishot { key: None };
        let poll_first = next == NextRecv::Quiet || pool.available_count() == 0;
        Some(recv::request(&fd, poll_first))
    }

    /// The request of [`arm`](Self::arm) has been submitted, or could not be.
    pub(super) fn armed(&mut self, submitted: Option<Key>) {
        match (&mut self.state, submitted) {
            (state, None) => *state = RecvState::Idle,
            (RecvState::Multishot { key } | RecvState::Private { key, .. }, Some(_)) => {
                assert!(key.is_none(), "two receives in flight");
                *key = submitted;
            }
            (RecvState::Idle, Some(key)) => unreachable!("{key:?} was not asked for"),
        }
    }

    /// One completion of the receive in flight.
    pub(super) fn complete(&mut self, answer: OpResult, pool: &Pool) -> RecvEffects {
        match &mut self.state {
            RecvState::Multishot { .. } if answer.more => {
                self.burst_count = self.burst_count.saturating_add(1);
                self.is_spent |= self.burst_count == MULTISHOT_RETRIES;
                self.take_in(recv::finish(answer), pool);
            }
            RecvState::Multishot { .. } => {
                self.state = RecvState::Idle;
                (self.burst_count, self.is_spent) = (0, false);
                self.take_in(recv::finish(answer), pool);
            }
            // A cancel leaves the buffer alone, so that it stays where the kernel writes.
            RecvState::Private { target, .. } => {
                let target = std::mem::take(target);
                self.state = RecvState::Idle;
                self.take_in_private(answer, target, pool);
            }
            RecvState::Idle => unreachable!("{answer:?} without a receive in flight"),
        }
        self.after_completion()
    }

    /// The receive in flight will never complete: a private buffer is the kernel's for good.
    pub(super) fn abandon(&mut self, answer: OpResult, pool: &Pool) -> RecvEffects {
        if let RecvState::Private { target, .. } = &mut self.state {
            std::mem::forget(std::mem::take(target));
        }
        self.complete(answer, pool)
    }

    /// Cancels the receive if more is queued than should be, now that the ready tasks have run, or
    /// if the kernel may not look at the socket again.
    pub(super) fn settle(
        &mut self,
        have_tasks_run: bool,
        is_unix: impl FnOnce() -> bool,
    ) -> RecvSettle {
        if !self.is_settling {
            return RecvSettle::Nothing;
        }
        if !have_tasks_run {
            return RecvSettle::Later; // a flush between two polls: the reader's may be to come
        }
        self.is_settling = false;
        let is_spent = std::mem::take(&mut self.is_spent);
        let RecvState::Multishot { key } = &mut self.state else { return RecvSettle::Nothing };
        if key.is_some() && (self.queue.is_full() || (is_spent && is_unix())) {
            return key.take().map_or(RecvSettle::Nothing, RecvSettle::Cancel);
        }
        RecvSettle::Nothing
    }

    /// Throws away what was queued and what still arrives: there will be no reader. Idempotent.
    pub(super) fn stop(&mut self) -> RecvStop {
        self.is_unwanted = true;
        self.queue = RecvQueue::default(); // buffers go back to the pool
        RecvStop {
            wake: self.reader.take(),
            cancel: self.state.take_key(),
            remove_timer: self.remove_idle(),
        }
    }

    /// Ends receiving without throwing anything away. From now on the reader is woken when nothing
    /// is in flight.
    pub(super) fn leave(&mut self, waker: &Waker) -> RecvLeave {
        self.is_leaving = true;
        if matches!(self.state, RecvState::Idle) {
            return RecvLeave::Done;
        }
        let (cancel, is_new_reader) = (self.state.take_key(), self.is_new_reader(waker));
        RecvLeave::Wait { cancel, is_new_reader }
    }

    fn is_new_reader(&self, waker: &Waker) -> bool {
        !self.reader.as_ref().is_some_and(|reader| reader.will_wake(waker))
    }

    fn take_in(&mut self, received: Received, pool: &Pool) {
        match received {
            // A reader that waits takes the buffer in this turn, most probably. It waits only while
            // the queue is empty, so this is at most one buffer, and of all of them no more than
            // half of the pool.
            Received::Bytes(buffer) => {
                let may_keep = self.reader.is_some() && !pool.is_scarce();
                self.queue.push(buffer, may_keep);
            }
            Received::End => self.end = Some(RecvEnd::Eof),
            Received::NoBuffers => self.next = NextRecv::Private,
            Received::Nothing => {}
            Received::Failed(code) => self.end = Some(RecvEnd::Failed(code)),
        }
    }

    fn take_in_private(&mut self, answer: OpResult, target: Vec<u8>, pool: &Pool) {
        let is_filled = answer.result == target.len() as i32;
        let received = recv::finish_into(answer, target);
        let next = match &received {
            Received::Bytes(_) if is_filled && pool.available_count() == 0 => NextRecv::Private,
            Received::Bytes(_) => NextRecv::Shared,
            _nothing => NextRecv::Quiet,
        };
        self.take_in(received, pool);
        self.next = next;
    }

    /// Wakes the reader if it has something to take; arms again if it still waits; slows down if
    /// too much is queued.
    fn after_completion(&mut self) -> RecvEffects {
        if self.is_unwanted {
            self.queue = RecvQueue::default(); // buffers go back to the pool
            return RecvEffects::default();
        }
        if !self.queue.is_empty()
            && let Some(idle) = &mut self.idle
        {
            idle.bytes_came();
        }
        let is_crowded = (self.queue.is_full() || self.is_spent)
            && matches!(self.state, RecvState::Multishot { key: Some(_) });
        let is_idle = matches!(self.state, RecvState::Idle);
        let must_wake = if self.is_leaving { is_idle } else { self.is_readable() };
        let wake = if must_wake { self.reader.take() } else { None };
        RecvEffects {
            wake,
            must_settle: is_crowded && !std::mem::replace(&mut self.is_settling, true),
            must_arm: is_idle && self.reader.is_some(),
        }
    }

    // ---- the idle timeout ------------------------------------------------------------------

    /// Limits how long a read may wait from now on. Returns whether one waits already: then call
    /// [`idle_began`](Self::idle_began). A former limit must have been removed.
    #[must_use]
    pub(super) fn set_idle(&mut self, idle: IdleTimeout) -> bool {
        self.idle = Some(Box::new(idle));
        self.reader.is_some()
    }

    /// Ends the limit. Returns the timer to remove: it holds the socket.
    #[must_use]
    pub(super) fn remove_idle(&mut self) -> Option<TimerKey> {
        self.idle.take().and_then(|idle| idle.into_timer())
    }

    /// A read begins to wait. Returns when a timer is to fire: set it and call
    /// [`idle_timer_set`](Self::idle_timer_set).
    #[must_use]
    pub(super) fn idle_began(&mut self, now_ns: u64) -> Option<u64> {
        self.idle.as_mut()?.began(now_ns)
    }

    pub(super) fn idle_timer_set(&mut self, timer: TimerKey) {
        self.idle.as_mut().expect("it has asked for the timer").timer_set(timer);
    }

    /// The timer has fired, in a turn at `turn_ns`. At the end of the loop no read times out: the
    /// receive fails, and with it the read.
    pub(super) fn idle_fired(&mut self, turn_ns: u64, has_loop_ended: bool) -> IdleFired {
        let is_waiting = self.reader.is_some() && !has_loop_ended;
        self.idle.as_mut().map_or(IdleFired::Nothing, |idle| idle.fired(turn_ns, is_waiting))
    }
}

impl RecvState {
    /// What a cancel names, once.
    fn take_key(&mut self) -> Option<Key> {
        match self {
            RecvState::Idle => None,
            RecvState::Multishot { key } | RecvState::Private { key, .. } => key.take(),
        }
    }
}

#[cfg(test)]
mod tests;
