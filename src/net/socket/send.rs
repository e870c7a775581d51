//! The writing side of a socket.
//!
//! Bytes queue here and leave in order, one send in flight at a time (H42). Small writes of one
//! turn share a buffer and go out in one send, because the request is made when the loop is about
//! to enter the kernel ([`Owner::prepare`](crate::reactor::Owner::prepare)), not at each write.
//!
//! ```text
//!  queue:  [ chunk 0 ] [ chunk 1 ] [ chunk 2: Shared, still growing ]
//!            ▲ in flight, from `head_sent`      ▲ write_all appends here
//! ```
//!
//! **Invariant.** While a send is in flight, chunk 0 is neither changed nor dropped nor moved out
//! of its allocation: writes append to the last chunk only, and only if it is not chunk 0 or no
//! send is in flight (`appendable`).
//!
//! An error ends the side for good: what was queued is gone, and every later write, `flush` and
//! `close` returns the error. So does a cancelled send, as what went out is not known (H32).

use std::io::{self, IoSlice};
use std::num::NonZeroU16;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use super::stream::{Socket, SocketOp};
use crate::buf::{OutBuf, OutBytes, ShortQueue};
use crate::driver::request::Key;
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
pub(super) struct Writing {
    queue: ShortQueue<OutBytes>,
    /// Bytes of chunk 0 that the kernel has taken.
    head_sent: usize,
    queued_bytes: usize,
    in_flight: Option<Key>,
    /// Whether `prepare` is due.
    is_dirty: bool,
    /// An errno, in as few bytes as it needs: every idle socket has this.
    failed: Option<NonZeroU16>,
    fin: Fin,
    writer: Option<Waker>,
}

/// What is left to write of several slices.
pub(super) struct Slices<'a> {
    slices: &'a [IoSlice<'a>],
    /// Bytes of the first slice that have been taken.
    taken: usize,
}

impl<'a> Slices<'a> {
    pub(super) fn new(slices: &'a [IoSlice<'a>]) -> Slices<'a> {
        let mut rest = Slices { slices, taken: 0 };
        rest.skip_empty();
        rest
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// The next bytes of one slice, at most `len_max`. `None` if there are none, or none are
    /// wanted.
    fn next(&mut self, len_max: usize) -> Option<&'a [u8]> {
        let slices = self.slices;
        let rest = &slices.first()?[self.taken..];
        let piece = &rest[..rest.len().min(len_max)];
        self.taken += piece.len();
        self.skip_empty();
        (!piece.is_empty()).then_some(piece)
    }

    fn skip_empty(&mut self) {
        while self.slices.first().is_some_and(|slice| slice.len() == self.taken) {
            self.slices = &self.slices[1..];
            self.taken = 0;
        }
    }
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

impl Socket {
    /// Waits for room, then queues a copy of a piece of `bytes`; returns its length. All of it, up
    /// to [`HIGH_WATER_BYTES`].
    pub(super) fn poll_write(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_room(cx))?;
        let piece = &bytes[..bytes.len().min(HIGH_WATER_BYTES)];
        if !piece.is_empty() {
            self.append(piece);
        }
        Poll::Ready(Ok(piece.len()))
    }

    /// Waits for room, then queues copies of the next bytes of `rest`, in one go: all of them, up
    /// to [`HIGH_WATER_BYTES`].
    pub(super) fn poll_write_slices(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        rest: &mut Slices<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_room(cx))?;
        let mut room_bytes = HIGH_WATER_BYTES;
        while let Some(piece) = rest.next(room_bytes) {
            self.append(piece);
            room_bytes -= piece.len();
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for room, then queues `buf`: as it is, or as a copy if it is short and must wait for
    /// others. Leaves `None` behind.
    pub(in crate::net) fn poll_send(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        buf: &mut Option<OutBuf>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_room(cx))?;
        let OutBuf(bytes) = buf.take().expect("polled after completion");
        let len = bytes.as_slice().len();
        if len == 0 {
            return Poll::Ready(Ok(()));
        }
        let must_wait = !self.writing.borrow().queue.is_empty();
        if must_wait && is_short(&bytes) {
            self.append(bytes.as_slice());
        } else {
            let mut writing = self.writing.borrow_mut();
            writing.queued_bytes += len;
            writing.queue.push_back(bytes);
            drop(writing);
            self.send_soon();
        }
        Poll::Ready(Ok(()))
    }

    /// Waits until the kernel has taken everything.
    pub(in crate::net) fn poll_flush(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_until(cx, |writing| writing.queue.is_empty() && writing.fin != Fin::Queued)
    }

    /// Orders the end of our sending behind what is queued.
    pub(in crate::net) fn queue_fin(self: &Rc<Self>) {
        if self.reactor.is_of_parent() {
            return; // a forked child: `shutdown(2)` would end what the parent sends
        }
        let mut writing = self.writing.borrow_mut();
        if writing.fin == Fin::None {
            writing.fin = Fin::Queued;
        }
        self.send_fin_if_due(writing);
    }

    /// Submits a send of chunk 0, unless one is in flight or there is none.
    pub(super) fn start_send(self: &Rc<Self>) {
        let mut writing = self.writing.borrow_mut();
        writing.is_dirty = false;
        if writing.in_flight.is_some() || writing.failed.is_some() {
            return;
        }
        let Some(chunk) = writing.queue.front() else {
            return;
        };
        let request = send::request(&**self, &chunk.as_slice()[writing.head_sent..]);
        match self.reactor.submit(Rc::clone(self) as Rc<_>, SocketOp::Send.tag(), request) {
            Ok(key) => writing.in_flight = Some(key),
            Err(error) => {
                let waste = writing.fail(error.raw_os_error().unwrap_or(errno::ECANCELED));
                self.after_failure(writing, waste);
            }
        }
    }

    /// The send in flight has ended.
    pub(super) fn sent(self: &Rc<Self>, answer: OpResult) {
        let mut writing = self.writing.borrow_mut();
        writing.in_flight = None;
        let waste = match send::finish(answer) {
            Sent::Bytes(count) => writing.advance(count),
            Sent::Nothing => None,
            Sent::Cancelled => {
                let waste = writing.fail(errno::ECANCELED);
                return self.after_failure(writing, waste);
            }
            Sent::Failed(code) => {
                let waste = writing.fail(self.connection_error(code));
                return self.after_failure(writing, waste);
            }
        };
        if let Some(OutBytes::Vec(buffer)) = waste {
            self.reactor.give_spare(buffer);
        }
        if !writing.queue.is_empty() && writing.failed.is_none() {
            self.mark_dirty(&mut writing);
        }
        let has_room = writing.queued_bytes < HIGH_WATER_BYTES;
        let writer = if has_room { writing.writer.take() } else { None };
        self.reactor.wake_deferred(writer);
        self.send_fin_if_due(writing);
        self.finish_closing_if_due();
    }

    /// The send in flight will never end: chunk 0 is the kernel's for good.
    pub(super) fn send_abandoned(self: &Rc<Self>, code: i32) {
        let mut writing = self.writing.borrow_mut();
        writing.in_flight = None;
        std::mem::forget(writing.queue.pop_front());
        let waste = writing.fail(code);
        self.after_failure(writing, waste);
    }

    /// Drops what is queued and cancels what is in flight.
    pub(super) fn stop_writing(self: &Rc<Self>) {
        let mut writing = self.writing.borrow_mut();
        let key = writing.in_flight;
        // Chunk 0 belongs to the kernel until the send has ended, so it stays.
        let waste = writing.queue.take_all(key.is_some());
        writing.set_failed(errno::ECANCELED);
        drop(writing);
        drop(waste);
        if let Some(key) = key {
            self.reactor.cancel(key);
        }
    }

    /// What has been queued and not been taken by the kernel.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.writing.borrow().queued_bytes
    }

    /// Whether the kernel still has something to send, or we something to give it.
    pub(super) fn is_writing(&self) -> bool {
        let writing = self.writing.borrow();
        writing.in_flight.is_some() || (writing.failed.is_none() && !writing.queue.is_empty())
    }

    pub(super) fn write_error(&self) -> Option<io::Error> {
        self.writing.borrow().failure().map(|code| self.reactor.error_of(code))
    }

    fn append(self: &Rc<Self>, piece: &[u8]) {
        let mut writing = self.writing.borrow_mut();
        writing.queued_bytes += piece.len();
        if let Some(buffer) = writing.appendable() {
            buffer.extend_from_slice(piece);
        } else {
            let mut buffer = self.reactor.take_spare();
            buffer.extend_from_slice(piece);
            writing.queue.push_back(OutBytes::Vec(buffer));
        }
        drop(writing);
        self.send_soon();
    }

    fn send_soon(self: &Rc<Self>) {
        let mut writing = self.writing.borrow_mut();
        if writing.in_flight.is_none() {
            self.mark_dirty(&mut writing);
        }
    }

    fn mark_dirty(self: &Rc<Self>, writing: &mut Writing) {
        if !writing.is_dirty {
            writing.is_dirty = true;
            self.reactor.prepare_later(Rc::clone(self) as Rc<_>);
        }
    }

    fn poll_room(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.reactor.is_accepting() {
            return Poll::Ready(Err(self.reactor.refusal()));
        }
        if self.writing.borrow().fin != Fin::None {
            return Poll::Ready(Err(io::Error::from_raw_os_error(errno::EPIPE)));
        }
        self.poll_until(cx, |writing| writing.queued_bytes < HIGH_WATER_BYTES)
    }

    fn poll_until(
        &self,
        cx: &mut Context<'_>,
        is_done: impl Fn(&Writing) -> bool,
    ) -> Poll<io::Result<()>> {
        {
            let writing = self.writing.borrow();
            if let Some(code) = writing.failure() {
                return Poll::Ready(Err(self.reactor.error_of(code)));
            }
            if is_done(&writing) {
                return Poll::Ready(Ok(()));
            }
        }
        let waker = cx.waker().clone(); // user code: not under the borrow
        let former = self.writing.borrow_mut().writer.replace(waker);
        drop(former);
        Poll::Pending
    }

    fn after_failure(
        self: &Rc<Self>,
        mut writing: std::cell::RefMut<'_, Writing>,
        waste: ShortQueue<OutBytes>,
    ) {
        let writer = writing.writer.take();
        drop(writing);
        // Bytes that were promised are lost. Whatever closes the socket, the peer must not take
        // that for an orderly end. A socket that cannot be set to reset closes in the ordinary way.
        let _ = self.options().set_linger(Some(Duration::ZERO));
        drop(waste);
        self.reactor.wake_deferred(writer);
        self.finish_closing_if_due();
    }

    fn send_fin_if_due(&self, mut writing: std::cell::RefMut<'_, Writing>) {
        if writing.fin != Fin::Queued || !writing.queue.is_empty() || writing.failed.is_some() {
            return;
        }
        writing.fin = Fin::Sent;
        match self.shutdown_write().map_err(|error| error.raw_os_error()) {
            // Not connected: the peer has reset the connection. The direction is over, which is
            // what was asked for, and nothing was queued. The reset itself is read by `recv`.
            Ok(()) | Err(Some(errno::ENOTCONN)) => {}
            Err(code) => writing.set_failed(code.unwrap_or(errno::EPIPE)),
        }
        let writer = writing.writer.take();
        drop(writing);
        self.reactor.wake_deferred(writer);
    }
}

impl Writing {
    /// The errno that has ended the side.
    fn failure(&self) -> Option<i32> {
        self.failed.map(|code| i32::from(code.get()))
    }

    /// Notes why the side has ended. The first reason stays.
    fn set_failed(&mut self, code: i32) {
        let code = u16::try_from(code).ok().and_then(NonZeroU16::new);
        self.failed = self.failed.or(Some(code.expect("an errno")));
    }

    pub(super) fn take_writer(&mut self) -> Option<Waker> {
        self.writer.take()
    }

    /// The buffer that further small writes may join.
    fn appendable(&mut self) -> Option<&mut Vec<u8>> {
        let is_lent = self.in_flight.is_some() && self.queue.len() == 1;
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

    /// Ends the side. Returns what was queued, for the caller to drop. Call with nothing in flight.
    #[must_use]
    fn fail(&mut self, code: i32) -> ShortQueue<OutBytes> {
        assert!(self.in_flight.is_none(), "chunk 0 is still lent");
        self.set_failed(code);
        std::mem::take(&mut self.queue)
    }
}

/// Whether a copy of the bytes costs less than keeping their owner until they can be sent.
fn is_short(bytes: &OutBytes) -> bool {
    match bytes {
        OutBytes::Recv(buffer) => buffer.is_short(),
        _owned => bytes.as_slice().len() <= COPIED_BYTES_MAX,
    }
}
