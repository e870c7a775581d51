//! The sending operations of a socket.
//!
//! [`SendSide`](super::send::SendSide) holds the queue and decides. The reactor and the kernel are
//! called here, once the borrow of the side has ended.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use super::send::{HIGH_WATER_BYTES, SendEffects, SendPoll, SendQueued};
use super::stream::{Socket, SocketOp};
use super::transfer::Slices;
use crate::buf::OutBuf;
use crate::op::OpResult;
use crate::sys::errno;

impl Socket {
    /// Waits for room, then queues a copy of the first bytes of `bytes`, at most
    /// [`HIGH_WATER_BYTES`]. Returns their number.
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

    /// Waits for room, then queues copies of the next bytes of `rest`, at most
    /// [`HIGH_WATER_BYTES`].
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

    /// Waits for room, then queues the bytes of `buf` and leaves `None` in it. Short bytes that
    /// wait behind others are copied; others are queued without a copy.
    pub(in crate::net) fn poll_send(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        buf: &mut Option<OutBuf>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_room(cx))?;
        let OutBuf(bytes) = buf.take().expect("polled after completion");
        let queued = self.send.borrow_mut().push(bytes, || self.reactor.take_spare());
        self.prepare_to_send(queued);
        Poll::Ready(Ok(()))
    }

    /// Waits until the kernel has taken all queued bytes.
    pub(in crate::net) fn poll_flush(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let found = self.send.borrow().poll_flushed(cx.waker());
        self.wait_to_send(found, cx)
    }

    /// Queues the end of sending behind the queued bytes.
    pub(in crate::net) fn queue_fin(self: &Rc<Self>) {
        if self.reactor.is_of_parent() {
            return; // in a forked child: `shutdown(2)` would end the parent's sending
        }
        let effects = self.send.borrow_mut().queue_fin();
        self.perform_send(effects);
    }

    /// Submits a send of queued bytes, unless one is in flight.
    pub(super) fn begin_send(self: &Rc<Self>) {
        let request = self.send.borrow_mut().begin(self.as_fd());
        let Some(request) = request else { return };
        let submitted =
            self.reactor.submit(Rc::clone(self) as Rc<_>, SocketOp::Send.tag(), request);
        let submitted = submitted.map_err(|error| error.raw_os_error().unwrap_or(errno::ECANCELED));
        let effects = self.send.borrow_mut().begun(submitted);
        if submitted.is_err() {
            self.perform_send(effects);
            self.finish_closing_if_due();
        }
    }

    /// Handles the completion of the send in flight.
    pub(super) fn complete_send(self: &Rc<Self>, answer: OpResult) {
        let result = self.descriptor.known_result(answer.result);
        let effects = self.send.borrow_mut().complete(OpResult { result, ..answer });
        self.perform_send(effects);
        self.finish_closing_if_due();
    }

    /// Fails the send in flight, which will not complete.
    pub(super) fn abandon_send(self: &Rc<Self>, code: i32) {
        let effects = self.send.borrow_mut().abandon(code);
        self.perform_send(effects);
        self.finish_closing_if_due();
    }

    /// Drops the queued bytes and cancels the send in flight.
    pub(super) fn stop_sending(&self) {
        let cancel = self.send.borrow_mut().stop();
        if let Some(key) = cancel {
            self.reactor.cancel(key);
        }
    }

    /// Returns the number of queued bytes that the kernel has not taken.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.send.borrow().unsent_bytes()
    }

    /// Whether a send is in flight, or bytes are queued that can still be sent.
    pub(super) fn is_sending(&self) -> bool {
        self.send.borrow().is_sending()
    }

    pub(super) fn send_error(&self) -> Option<io::Error> {
        self.send.borrow().failure().map(|code| self.reactor.error_of(code))
    }

    fn append(self: &Rc<Self>, piece: &[u8]) {
        let queued = self.send.borrow_mut().append(piece, || self.reactor.take_spare());
        self.prepare_to_send(queued);
    }

    fn prepare_to_send(self: &Rc<Self>, queued: SendQueued) {
        if queued == SendQueued::MustPrepare {
            self.reactor.prepare_later(Rc::clone(self) as Rc<_>);
        }
    }

    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.reactor.is_accepting() {
            return Poll::Ready(Err(self.reactor.refusal()));
        }
        let found = self.send.borrow().poll_room(cx.waker());
        self.wait_to_send(found, cx)
    }

    fn wait_to_send(&self, found: SendPoll, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match found {
            SendPoll::Ready => Poll::Ready(Ok(())),
            SendPoll::Failed(code) => Poll::Ready(Err(self.reactor.error_of(code))),
            SendPoll::Wait { is_new_writer } => {
                if is_new_writer {
                    let waker = cx.waker().clone(); // user code: not under the borrow
                    let former = self.send.borrow_mut().set_writer(waker);
                    drop(former);
                }
                Poll::Pending
            }
        }
    }

    fn perform_send(self: &Rc<Self>, effects: SendEffects) {
        if effects.must_reset {
            // A socket that cannot be set to reset closes in the ordinary way.
            let _ = self.options().set_linger(Some(Duration::ZERO));
        }
        if let Some(buffer) = effects.spare {
            self.reactor.give_spare(buffer);
        }
        if effects.must_prepare {
            self.reactor.prepare_later(Rc::clone(self) as Rc<_>);
        }
        self.reactor.wake_deferred(effects.wake);
        if effects.must_send_fin {
            self.send_fin();
        }
    }

    fn send_fin(&self) {
        let outcome = self.options().shutdown(std::net::Shutdown::Write);
        let failure = match outcome.map_err(|error| error.raw_os_error()) {
            // The peer has reset the connection. The direction has ended, as requested, and nothing
            // was queued. `recv` returns the reset itself.
            Ok(()) | Err(Some(errno::ENOTCONN)) => None,
            Err(code) => Some(code.unwrap_or(errno::EPIPE)),
        };
        let writer = self.send.borrow_mut().fin_sent(failure);
        self.reactor.wake_deferred(writer);
    }
}
