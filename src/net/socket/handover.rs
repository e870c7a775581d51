//! Handover of a stream's descriptor to the program.
//!
//! Queued bytes are sent first. Then the receive is cancelled. It is not ended by `shutdown(2)`,
//! which acts on the open file. The program gets the bytes that no reader has taken, including
//! those that arrive until the final completion. The descriptor keeps its number: it is taken out
//! of the socket when nothing else holds the socket.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::recv::RecvLeave;
use super::stream::Socket;
use crate::task::{coop, yield_now};

/// The turns within which only the caller holds a socket that has nothing in flight.
const TURNS_MAX: u32 = 100;

/// Sends the queued bytes and ends the operations in flight. Returns the bytes that no reader has
/// taken.
///
/// Dropping the future leaves a socket that no longer receives. The caller closes it.
pub(in crate::net) async fn settle(socket: &Rc<Socket>) -> io::Result<Vec<u8>> {
    socket.remove_idle_timeout(); // its timer holds the socket
    coop::leaf_fn(socket.home(), |cx| socket.poll_flush(cx)).await?;
    coop::leaf_fn(socket.home(), |cx| socket.poll_settled(cx)).await?;
    socket.end_hang_up_poll();
    socket.hang_up_poll_ended().await;
    // The list of sockets to prepare before the next enter holds it too, for this turn.
    for turn in 1.. {
        let holders_count = Rc::strong_count(socket) - 1;
        if holders_count == 0 {
            break;
        }
        assert!(turn <= TURNS_MAX, "still held {holders_count} times after {turn} turns");
        yield_now().await;
        if !socket.reactor.is_accepting() {
            return Err(socket.reactor.refusal());
        }
    }
    Ok(socket.take_received())
}

/// Takes the descriptor out of a settled socket. The caller holds the last reference.
pub(in crate::net) fn into_fd(socket: Rc<Socket>) -> io::Result<OwnedFd> {
    let socket = Rc::into_inner(socket).expect("`settle` has waited for the last other reference");
    socket.into_fd()
}

impl Socket {
    fn poll_settled(self: &Rc<Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.reactor.is_accepting() {
            return Poll::Ready(Err(self.reactor.refusal()));
        }
        if self.poll_received_all(cx).is_pending() {
            return Poll::Pending;
        }
        // The kernel returns such an error once. A program that got the descriptor would read an
        // orderly end.
        match self.descriptor.broken() {
            Some(code) => Poll::Ready(Err(self.reactor.error_of(code))),
            None => Poll::Ready(Ok(())),
        }
    }

    /// Ends the receive without dropping any bytes, and waits until none is in flight.
    fn poll_received_all(&self, cx: &mut Context<'_>) -> Poll<()> {
        let step = self.recv.borrow_mut().leave(cx.waker());
        let RecvLeave::Wait { cancel, is_new_reader } = step else { return Poll::Ready(()) };
        if let Some(key) = cancel {
            self.reactor.cancel(key);
        }
        if is_new_reader {
            self.set_reader(cx.waker());
        }
        Poll::Pending
    }

    /// Takes all bytes that no reader has taken.
    fn take_received(&self) -> Vec<u8> {
        self.recv.borrow_mut().take_received()
    }
}
