//! The sending side of a socket: a state machine without a reactor.
//!
//! Bytes queue here and leave in order, one send in flight at a time (H42). Small writes of one
//! turn share a buffer and go out in one send, because the request is made when the loop is about
//! to enter the kernel ([`Owner::prepare`](crate::reactor::Owner::prepare)), not at each write.
//!
//! ```text
//!         append, push               begin, begun                  completion, bytes left
//!  empty ──────────────▶ dirty ──────────────────────▶ in flight ─────────────────────────▶ dirty
//!    ▲                                                    │   │
//!    └────────────── completion, all taken ───────────────┘   │ an error, a cancel, no key, stop
//!    │ the end is queued: fin                                 ▼
//!    ▼                                                     failed, for good
//!   ended
//!
//!  queue:  [ chunk 0 ] [ chunk 1 ] [ chunk 2: Vec, still growing ]
//!            ▲ in flight, from `head_sent`      ▲ append
//! ```
//!
//! The transitions are the methods of [`SendSide`]. They return what is left to do, and
//! [`Socket`](super::stream::Socket) performs it once its borrow of this value has ended. The key
//! of a send is kept while a cancel is possible, and the cancel takes it.
//!
//! **Invariant.** While a send is in flight, chunk 0 is neither changed nor dropped nor moved out
//! of its allocation: writes append to the last chunk only, and only if it is not chunk 0 or no
//! send is in flight (`appendable`). Checked in all reachable states
//! (`tests::sending_keeps_its_invariants_in_every_state`).
//!
//! An error ends the side for good: what was queued is gone, and every later write, `flush` and
//! `close` returns the error. So does a cancelled send, as what went out is not known (H32).
//!
//! **Absent on purpose.** The reactor, and user code: wakers are returned, never woken, cloned or
//! dropped here.

use std::num::NonZeroU16;
use std::os::fd::BorrowedFd;
use std::task::Waker;

use crate::buf::{OutBytes, ShortQueue};
use crate::driver::request::{Key, Request};
use crate::op::OpResult;
use crate::op::send::{self, Sent};
use crate::sys::errno;

/// Queued bytes from which on writers wait. A writer below it may queue one more piece of up to
/// this size, so twice this is the most that `write_all` queues.
pub(in crate::net) const HIGH_WATER_BYTES: usize = 64 * 1024;

/// Pieces up to this length are copied together when they wait behind others. Else a peer that does
/// not read would make the queue hold a chunk, or a whole receive buffer, for every byte.
const COPIED_BYTES_MAX: usize = 512;

#[derive(Default)]
pub(super) struct SendSide {
    queue: ShortQueue<OutBytes>,
    /// Bytes of chunk 0 that the kernel has taken.
    head_sent: usize,
    queued_bytes: usize,
    is_in_flight: bool,
    /// Of the send in flight, once it was submitted and until it is cancelled.
    key: Option<Key>,
    /// Whether a call of `begin` is due.
    is_dirty: bool,
    /// An errno, in as few bytes as it needs: every idle socket has this.
    failed: Option<NonZeroU16>,
    fin: Fin,
    writer: Option<Waker>,
}

/// How far the end of our sending has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Fin {
    #[default]
    None,
    /// Ordered behind the queued bytes.
    Queued,
    Sent,
}

/// What a write or a flush finds.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SendPoll {
    Ready,
    /// The errno that has ended the side.
    Failed(i32),
    Wait {
        /// The waker that is kept is another one: call `set_writer` with a clone.
        is_new_writer: bool,
    },
}

/// What queueing bytes leaves to do.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SendQueued {
    /// A send is in flight, or `begin` is due already.
    NothingToDo,
    /// Call `begin` before the next enter.
    MustPrepare,
}

/// What the end of a send leaves to do.
#[must_use]
#[derive(Default, Debug)]
pub(super) struct SendEffects {
    pub(super) wake: Option<Waker>,
    /// A buffer that was sent, for the next writer.
    pub(super) spare: Option<Vec<u8>>,
    /// Call `begin` before the next enter.
    pub(super) must_prepare: bool,
    /// Shut the sending side down, and call `fin_sent`.
    pub(super) must_send_fin: bool,
    /// Bytes that were promised are lost. The peer must not take that for an orderly end, whatever
    /// closes the socket: make it a reset.
    pub(super) must_reset: bool,
}

impl SendSide {
    // ---- writers ---------------------------------------------------------------------------

    /// Whether there is room for another piece.
    pub(super) fn poll_room(&self, waker: &Waker) -> SendPoll {
        if self.fin != Fin::None {
            return SendPoll::Failed(errno::EPIPE);
        }
        self.poll_until(self.queued_bytes < HIGH_WATER_BYTES, waker)
    }

    /// Whether the kernel has taken everything.
    pub(super) fn poll_flushed(&self, waker: &Waker) -> SendPoll {
        self.poll_until(self.queue.is_empty() && self.fin != Fin::Queued, waker)
    }

    fn poll_until(&self, is_done: bool, waker: &Waker) -> SendPoll {
        match self.failure() {
            Some(code) => SendPoll::Failed(code),
            None if is_done => SendPoll::Ready,
            None => {
                let is_known = self.writer.as_ref().is_some_and(|writer| writer.will_wake(waker));
                SendPoll::Wait { is_new_writer: !is_known }
            }
        }
    }

    /// Keeps the waker of the writer that waits. Returns the former one.
    #[must_use = "dropping a waker is user code"]
    pub(super) fn set_writer(&mut self, waker: Waker) -> Option<Waker> {
        self.writer.replace(waker)
    }

    pub(super) fn take_writer(&mut self) -> Option<Waker> {
        self.writer.take()
    }

    /// Queues a copy of `piece`, in a buffer from `spare` if it needs one of its own.
    pub(super) fn append(&mut self, piece: &[u8], spare: impl FnOnce() -> Vec<u8>) -> SendQueued {
        self.queued_bytes += piece.len();
        if let Some(buffer) = self.appendable() {
            buffer.extend_from_slice(piece);
        } else {
            let mut buffer = spare();
            buffer.extend_from_slice(piece);
            self.queue.push_back(OutBytes::Vec(buffer));
        }
        self.send_soon()
    }

    /// Queues `bytes`: as they are, or as a copy if they are short and must wait for others.
    pub(super) fn push(&mut self, bytes: OutBytes, spare: impl FnOnce() -> Vec<u8>) -> SendQueued {
        let len = bytes.as_slice().len();
        if len == 0 {
            return SendQueued::NothingToDo;
        }
        if !self.queue.is_empty() && is_short(&bytes) {
            return self.append(bytes.as_slice(), spare);
        }
        self.queued_bytes += len;
        self.queue.push_back(bytes);
        self.send_soon()
    }

    /// Orders the end of our sending behind what is queued.
    pub(super) fn queue_fin(&mut self) -> SendEffects {
        if self.fin == Fin::None {
            self.fin = Fin::Queued;
        }
        SendEffects { must_send_fin: self.take_due_fin(), ..SendEffects::default() }
    }

    /// The sending side was shut down, or could not be. Returns the writer to wake.
    #[must_use]
    pub(super) fn fin_sent(&mut self, failure: Option<i32>) -> Option<Waker> {
        if let Some(code) = failure {
            self.set_failed(code);
        }
        self.writer.take()
    }

    // ---- sends -----------------------------------------------------------------------------

    /// A send of chunk 0, to be submitted at once. `None` if one is in flight, or there is nothing
    /// to send.
    ///
    /// Call [`begun`](Self::begun) with the outcome.
    pub(super) fn begin(&mut self, fd: BorrowedFd<'_>) -> Option<Request> {
        self.is_dirty = false;
        if self.is_in_flight || self.failed.is_some() {
            return None;
        }
        let chunk = self.queue.front()?;
        self.is_in_flight = true;
        Some(send::request(&fd, &chunk.as_slice()[self.head_sent..]))
    }

    /// The request of [`begin`](Self::begin) has been submitted, or could not be for this errno.
    pub(super) fn begun(&mut self, submitted: Result<Key, i32>) -> SendEffects {
        match submitted {
            Ok(key) => {
                self.key = Some(key);
                SendEffects::default()
            }
            Err(code) => self.fail(code),
        }
    }

    /// The send in flight has ended.
    pub(super) fn complete(&mut self, answer: OpResult) -> SendEffects {
        let sent = match send::finish(answer) {
            Sent::Bytes(count) => self.advance(count),
            Sent::Nothing => None,
            Sent::Cancelled => return self.fail(errno::ECANCELED),
            Sent::Failed(code) => return self.fail(code),
        };
        (self.is_in_flight, self.key) = (false, None);
        let has_more = !self.queue.is_empty() && self.failed.is_none();
        let has_room = self.queued_bytes < HIGH_WATER_BYTES;
        SendEffects {
            wake: if has_room { self.writer.take() } else { None },
            spare: match sent {
                Some(OutBytes::Vec(buffer)) => Some(buffer),
                _other => None,
            },
            must_prepare: has_more && self.send_soon() == SendQueued::MustPrepare,
            must_send_fin: self.take_due_fin(),
            must_reset: false,
        }
    }

    /// The send in flight will never end: chunk 0 is the kernel's for good.
    pub(super) fn abandon(&mut self, code: i32) -> SendEffects {
        std::mem::forget(self.queue.pop_front());
        self.fail(code)
    }

    /// Drops what is queued and ends the side. Returns the send to cancel.
    #[must_use]
    pub(super) fn stop(&mut self) -> Option<Key> {
        // Chunk 0 belongs to the kernel until the send has ended, so it stays.
        drop(self.queue.take_all(self.is_in_flight));
        self.set_failed(errno::ECANCELED);
        self.key.take()
    }

    // ---- what is left ----------------------------------------------------------------------

    /// What has been queued and not been taken by the kernel.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether the kernel still has something to send, or we something to give it.
    pub(super) fn is_sending(&self) -> bool {
        self.is_in_flight || (self.failed.is_none() && !self.queue.is_empty())
    }

    /// The errno that has ended the side.
    pub(super) fn failure(&self) -> Option<i32> {
        self.failed.map(|code| i32::from(code.get()))
    }

    /// Notes why the side has ended. The first reason stays.
    fn set_failed(&mut self, code: i32) {
        let code = u16::try_from(code).ok().and_then(NonZeroU16::new);
        self.failed = self.failed.or(Some(code.expect("an errno")));
    }

    /// Ends the side, with nothing in flight any more. Drops what was queued.
    fn fail(&mut self, code: i32) -> SendEffects {
        (self.is_in_flight, self.key) = (false, None);
        self.queue = ShortQueue::default();
        self.head_sent = 0;
        self.set_failed(code);
        SendEffects { wake: self.writer.take(), must_reset: true, ..SendEffects::default() }
    }

    fn send_soon(&mut self) -> SendQueued {
        if self.is_in_flight || std::mem::replace(&mut self.is_dirty, true) {
            return SendQueued::NothingToDo;
        }
        SendQueued::MustPrepare
    }

    /// Whether the end goes out now.
    fn take_due_fin(&mut self) -> bool {
        let is_due = self.fin == Fin::Queued && self.queue.is_empty() && self.failed.is_none();
        if is_due {
            self.fin = Fin::Sent;
        }
        is_due
    }

    /// The buffer that further small writes may join.
    fn appendable(&mut self) -> Option<&mut Vec<u8>> {
        let is_lent = self.is_in_flight && self.queue.len() == 1;
        match self.queue.back_mut() {
            Some(OutBytes::Vec(buffer)) if !is_lent && buffer.len() < HIGH_WATER_BYTES => {
                Some(buffer)
            }
            _ => None,
        }
    }

    /// The kernel has taken `count` bytes of chunk 0. Returns the chunk if that was the last of it.
    fn advance(&mut self, count: usize) -> Option<OutBytes> {
        let len = self.queue.front().map_or(0, |chunk| chunk.as_slice().len());
        assert!(
            self.head_sent + count <= len,
            "{count} bytes were sent of {} of {len}",
            len - self.head_sent
        );
        self.head_sent += count;
        self.queued_bytes -= count;
        if self.head_sent < len {
            return None; // a short send (H44): the rest goes next
        }
        self.head_sent = 0;
        self.queue.pop_front()
    }
}

/// Whether a copy of the bytes costs less than keeping their owner until they can be sent.
fn is_short(bytes: &OutBytes) -> bool {
    match bytes {
        OutBytes::Recv(buffer) => buffer.is_short(),
        _owned => bytes.as_slice().len() <= COPIED_BYTES_MAX,
    }
}

#[cfg(test)]
mod tests;
