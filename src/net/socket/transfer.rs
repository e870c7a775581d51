//! Reads and writes that take several steps, shared by streams and their halves.
//!
//! A method of a public type that is one step of the socket polls that step itself. What is here
//! repeats a step (`read_exact`, `write_all`) or joins two of them (`read`, `shutdown`).

use std::io::{self, IoSlice};
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::stream::Socket;
use crate::task::coop;

impl Socket {
    /// Copies the next bytes into `target` and puts the rest of their buffer back. 0 is the end of
    /// the stream, or an empty `target`.
    pub(in crate::net) fn poll_read(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        target: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if target.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let mut bytes = ready!(self.poll_recv(cx))?;
        let count = bytes.len().min(target.len());
        target[..count].copy_from_slice(&bytes[..count]);
        if count < bytes.len() {
            bytes.advance(count);
            self.unread(bytes);
        }
        Poll::Ready(Ok(count))
    }

    /// Queues the end of sending, and waits until the kernel has taken it.
    pub(in crate::net) fn poll_shutdown(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.queue_fin();
        self.poll_flush(cx)
    }
}

/// Fills `buf`.
pub(in crate::net) async fn read_exact(socket: &Rc<Socket>, buf: &mut [u8]) -> io::Result<()> {
    let mut filling = Filling { socket, buf, filled: 0 };
    loop {
        let rest = &mut filling.buf[filling.filled..];
        let count = coop::leaf_fn(socket.home(), |cx| socket.poll_read(cx, rest)).await?;
        filling.filled += count;
        if filling.filled == filling.buf.len() {
            filling.filled = 0; // the bytes are the caller's now
            return Ok(());
        }
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// Puts back what a `read_exact` that did not finish has copied.
struct Filling<'a> {
    socket: &'a Rc<Socket>,
    buf: &'a mut [u8],
    filled: usize,
}

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.socket.unread_copy(&self.buf[..self.filled]);
    }
}

/// Queues a copy of `bytes`, piece by piece.
pub(in crate::net) async fn write_all(socket: &Rc<Socket>, bytes: &[u8]) -> io::Result<()> {
    let mut rest = bytes;
    loop {
        let count = coop::leaf_fn(socket.home(), |cx| socket.poll_write(cx, rest)).await?;
        rest = &rest[count..];
        if rest.is_empty() {
            return Ok(());
        }
    }
}

/// Queues copies of `slices`, in order.
pub(in crate::net) async fn write_all_vectored(
    socket: &Rc<Socket>,
    slices: &[IoSlice<'_>],
) -> io::Result<()> {
    let mut rest = Slices::new(slices);
    loop {
        coop::leaf_fn(socket.home(), |cx| socket.poll_write_slices(cx, &mut rest)).await?;
        if rest.is_empty() {
            return Ok(());
        }
    }
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
    pub(super) fn next(&mut self, len_max: usize) -> Option<&'a [u8]> {
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
