//! Halves that own their stream together: [`OwnedReadHalf`] and [`OwnedWriteHalf`].

use std::fmt;
use std::io::{self, IoSlice};
use std::rc::Rc;

use super::socket::stream::Socket;
use super::socket::{peer_end, transfer};
use super::tcp::stream::TcpStream;
use super::unix::stream::UnixStream;
use crate::buf::{IoBuf, RecvBuf};
use crate::task::coop;

/// The reading half of a stream that was split by `into_split`.
///
/// It has the receiving methods of the stream, with the same semantics. Dropping it throws away the
/// unread bytes and receives nothing more. The connection closes when both halves have been
/// dropped.
///
/// ```
/// # ringloop::run(async {
/// let (ours, mut theirs) = ringloop::net::UnixStream::pair()?;
/// let (mut receiver, mut sender) = ours.into_split();
/// let reading = ringloop::spawn(async move { receiver.recv().await });
/// sender.write_all(b"ping").await?;
///
/// let bytes = theirs.recv().await?;
/// theirs.send(bytes).await?;
/// assert_eq!(*reading.await.unwrap()?, *b"ping");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct OwnedReadHalf<S = TcpStream> {
    socket: Rc<Socket>,
    /// Closes the socket with the last half.
    stream: Rc<S>,
}

/// The writing half of a stream that was split by `into_split`.
///
/// It has the sending methods of the stream, with the same semantics. Dropping it finishes sending:
/// the queued bytes are sent, then the peer reads the end. The connection closes when both halves
/// have been dropped. For an example see [`OwnedReadHalf`].
pub struct OwnedWriteHalf<S = TcpStream> {
    socket: Rc<Socket>,
    /// Closes the socket with the last half.
    stream: Rc<S>,
}

impl<S> OwnedReadHalf<S> {
    /// Receives the next bytes, without copying them. An empty buffer is the end of the stream.
    ///
    /// Details: [`TcpStream::recv`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped `recv` loses no byte.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`, and `TimedOut` for the stream's idle timeout.
    pub async fn recv(&mut self) -> io::Result<RecvBuf> {
        coop::leaf_fn(self.socket.home(), |cx| self.socket.poll_recv(cx)).await
    }

    /// Copies received bytes into `buf` and returns how many. 0 is the end of the stream.
    ///
    /// Details: [`TcpStream::read`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped `read` loses no byte.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`, and `TimedOut` for the stream's idle timeout.
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        coop::leaf_fn(self.socket.home(), |cx| self.socket.poll_read(cx, buf)).await
    }

    /// Fills `buf` with received bytes.
    ///
    /// Details: [`TcpStream::read_exact`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the bytes that a dropped `read_exact` has copied are put back.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the peer finishes sending before `buf` is full. Otherwise those of
    /// `recv(2)`, and `TimedOut` for the stream's idle timeout.
    pub async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        transfer::read_exact(&self.socket, buf).await
    }

    /// Waits until a read will not wait: for bytes, the end, or an error of the connection.
    ///
    /// Details: [`TcpStream::readable`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it takes nothing.
    ///
    /// # Errors
    ///
    /// `TimedOut` for the stream's idle timeout, and an error if the runtime has been closed.
    pub async fn readable(&mut self) -> io::Result<()> {
        coop::leaf_fn(self.socket.home(), |cx| self.socket.poll_readable(cx)).await
    }

    /// Copies the next bytes into `buf` without taking them, and returns how many.
    ///
    /// Details: [`TcpStream::peek`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it takes nothing.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`, and `TimedOut` for the stream's idle timeout.
    pub async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        coop::leaf_fn(self.socket.home(), |cx| self.socket.poll_peek(cx, buf)).await
    }

    /// Waits until the peer has finished sending, or the connection has ended. Reads nothing.
    ///
    /// Details: [`TcpStream::closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it takes nothing.
    ///
    /// # Errors
    ///
    /// An error if the kernel has no memory to watch the socket, or if the runtime has been closed.
    pub async fn closed(&self) -> io::Result<()> {
        peer_end::closed(&self.socket).await
    }

    /// The stream, for its addresses and options.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}

impl<S> OwnedWriteHalf<S> {
    /// Queues a copy of `bytes` for sending. Waits while 64 KiB or more are queued.
    ///
    /// Details: [`TcpStream::write_all`].
    ///
    /// # Cancel safety
    ///
    /// Up to 64 KiB are queued as a whole or not at all; a longer slice is queued in pieces.
    ///
    /// # Errors
    ///
    /// Those of earlier sends (`send(2)`), and `EPIPE` after `shutdown`.
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        transfer::write_all(&self.socket, bytes).await
    }

    /// Queues copies of several slices for sending, in order. Waits while 64 KiB or more are
    /// queued.
    ///
    /// Details: [`TcpStream::write_all_vectored`].
    ///
    /// # Cancel safety
    ///
    /// Up to 64 KiB in sum are queued as a whole or not at all.
    ///
    /// # Errors
    ///
    /// Those of earlier sends (`send(2)`), and `EPIPE` after `shutdown`.
    pub async fn write_all_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<()> {
        transfer::write_all_vectored(&self.socket, slices).await
    }

    /// Queues `buf` for sending, without copying it. Waits while 64 KiB or more are queued.
    ///
    /// Details: [`TcpStream::send`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped `send` has queued nothing.
    ///
    /// # Errors
    ///
    /// Those of earlier sends (`send(2)`), and `EPIPE` after `shutdown`.
    pub async fn send(&mut self, buf: impl IoBuf) -> io::Result<()> {
        let mut buf = Some(buf.into_out_buf());
        coop::leaf_fn(self.socket.home(), |cx| self.socket.poll_send(cx, &mut buf)).await
    }

    /// Waits until the kernel has taken all queued bytes.
    ///
    /// Details: [`TcpStream::flush`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: the queued bytes are sent whether or not the future is polled.
    ///
    /// # Errors
    ///
    /// Those of earlier sends (`send(2)`).
    pub async fn flush(&mut self) -> io::Result<()> {
        coop::leaf_fn(self.socket.home(), |cx| self.socket.poll_flush(cx)).await
    }

    /// Finishes sending: the queued bytes are sent, then the peer reads the end of the stream.
    ///
    /// Details: [`TcpStream::shutdown`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: once polled, the end is sent whether or not the future is polled again.
    ///
    /// # Errors
    ///
    /// Those of earlier sends (`send(2)`).
    pub async fn shutdown(&mut self) -> io::Result<()> {
        coop::leaf_fn(self.socket.home(), |cx| self.socket.poll_shutdown(cx)).await
    }

    /// Waits until the peer has finished sending, or the connection has ended. Reads nothing.
    ///
    /// Details: [`TcpStream::closed`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it takes nothing.
    ///
    /// # Errors
    ///
    /// An error if the kernel has no memory to watch the socket, or if the runtime has been closed.
    pub async fn closed(&self) -> io::Result<()> {
        peer_end::closed(&self.socket).await
    }

    /// The stream, for its addresses and options.
    pub fn stream(&self) -> &S {
        &self.stream
    }
}

impl TcpStream {
    /// Splits the stream into two halves that different tasks can own.
    ///
    /// The connection closes when both halves have been dropped. Dropping the writing half finishes
    /// sending, as [`shutdown`](TcpStream::shutdown) does. This is tokio's `TcpStream::into_split`.
    /// For an example see [`OwnedReadHalf`].
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        owned_halves(Rc::clone(self.socket()), self)
    }
}

impl UnixStream {
    /// Splits the stream into two halves that different tasks can own.
    ///
    /// The connection closes when both halves have been dropped. Dropping the writing half finishes
    /// sending, as [`shutdown`](UnixStream::shutdown) does. This is tokio's
    /// `UnixStream::into_split`. For an example see [`OwnedReadHalf`].
    pub fn into_split(self) -> (OwnedReadHalf<UnixStream>, OwnedWriteHalf<UnixStream>) {
        owned_halves(Rc::clone(self.socket()), self)
    }
}

fn owned_halves<S>(socket: Rc<Socket>, stream: S) -> (OwnedReadHalf<S>, OwnedWriteHalf<S>) {
    let stream = Rc::new(stream);
    let read_half = OwnedReadHalf { socket: Rc::clone(&socket), stream: Rc::clone(&stream) };
    (read_half, OwnedWriteHalf { socket, stream })
}

impl<S> Drop for OwnedReadHalf<S> {
    fn drop(&mut self) {
        // Otherwise received bytes would stay in the queue, in buffers that other sockets need.
        self.socket.stop_reading(false); // not exclusive: the writing half goes on
    }
}

impl<S> Drop for OwnedWriteHalf<S> {
    fn drop(&mut self) {
        self.socket.queue_fin();
    }
}

impl<S> fmt::Debug for OwnedReadHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedReadHalf").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for OwnedWriteHalf<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedWriteHalf").finish_non_exhaustive()
    }
}
