//! `TcpStream`.

use std::fmt;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use socket2::SockAddr;

use super::TcpStreamBuilder;
use crate::buf::{IoBuf, RecvBuf};
use crate::net::ToAddr;
use crate::net::socket::admission::Connection;
use crate::net::socket::close::{self, Close};
use crate::net::socket::stream::{Socket, SocketPhase};
use crate::net::socket::{handover, hang_up, transfer};
use crate::reactor::Reactor;
use crate::runtime::context;
use crate::task::coop;
use crate::time::timeout;

/// A TCP connection.
///
/// **Reading** takes from a queue that the stream fills by itself: [`recv`](TcpStream::recv) hands
/// out a filled buffer without copying, [`read`](TcpStream::read) copies into a slice. Dropping
/// either before it is done loses nothing. A stream with nothing to hand out holds no buffer, also while
/// a read waits.
///
/// **Writing** puts bytes into a queue that the stream sends by itself:
/// [`write_all`](TcpStream::write_all) copies a slice, [`send`](TcpStream::send) takes an owned
/// buffer. Both return when the bytes are queued, and wait first while 64 KiB or more are; an error
/// of the connection is returned by the next call, by [`flush`](TcpStream::flush) or by
/// [`close`](TcpStream::close). Small writes of one turn leave in one packet, in order.
///
/// **Belonging.** A stream belongs to the runtime it was made on, in the process that built that. Its
/// futures panic on another runtime and outside of any; in a forked child see [`Runtime`](crate::Runtime).
///
/// **Closing.** Dropping a stream closes it in the background. Queued bytes are still sent, as long as
/// the peer takes some of them within the builder's `linger`. [`close`](TcpStream::close) does the same
/// and returns how it went; [`abort`](TcpStream::abort) resets the connection. Both close this
/// descriptor, as `close(2)` does: while a duplicate exists, in this process or in a child, the peer
/// reads no end. [`shutdown`](TcpStream::shutdown) sends the end also if another process holds the socket.
///
/// The semantics of reading and writing are those of asyncio's streams, with Rust's types.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let mut stream = ringloop::net::TcpStream::connect("127.0.0.1:7000").await?;
/// stream.write_all(b"hello").await?;
/// let reply = stream.recv().await?;
/// println!("{} bytes", reply.len());
/// stream.close().await
/// # }
/// ```
pub struct TcpStream {
    /// `None` once `close` or `abort` has taken it.
    socket: Option<Rc<Socket>>,
}

impl TcpStream {
    /// Connects to `addr`.
    ///
    /// Cancel safe: dropping the future closes the socket.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)` and `connect(2)`, and `InvalidInput` for text that is no address.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub async fn connect(addr: impl ToAddr) -> io::Result<TcpStream> {
        TcpStream::builder().connect(addr).await
    }

    /// A builder of connections with other settings than those of [`connect`](TcpStream::connect):
    /// what has to be set before the connection is made.
    ///
    /// ```no_run
    /// # async fn example() -> std::io::Result<()> {
    /// let stream = ringloop::net::TcpStream::builder()
    ///     .bind("10.0.0.7:0")
    ///     .nodelay(true)
    ///     .recv_buffer_size(4 << 20)
    ///     .connect("10.0.0.5:7000")
    ///     .await?;
    /// # stream.close().await
    /// # }
    /// ```
    pub fn builder() -> TcpStreamBuilder {
        TcpStreamBuilder::default()
    }

    /// Connects to `addr`, within `duration`. Otherwise as [`connect`](TcpStream::connect).
    ///
    /// # Errors
    ///
    /// `TimedOut` besides the others.
    pub async fn connect_timeout(addr: impl ToAddr, duration: Duration) -> io::Result<TcpStream> {
        timeout(duration, TcpStream::connect(addr)).await?
    }

    /// Makes a stream of a connected socket from elsewhere. The loop takes it over; a descriptor
    /// that others share must not be read by them any more.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub fn from_std(stream: std::net::TcpStream) -> TcpStream {
        let stream = TcpStream::adopt(&context::current().reactor, OwnedFd::from(stream).into());
        stream.socket().mark_foreign();
        stream
    }

    /// Gives the socket back to the program, with the bytes that had been received and not been read.
    /// They come before everything that is still in the socket.
    ///
    /// Waits until what is queued is sent, as [`flush`](TcpStream::flush) does, then ends the receive in
    /// the kernel without an effect on the socket: the peer and other descriptors of the same socket
    /// notice nothing. The descriptor keeps its number. A socket that came by
    /// [`from_std`](TcpStream::from_std) is as blocking or non-blocking as it was; one that the loop has
    /// made is blocking, as one that std has made. The stream no longer counts as one of its listener's
    /// `max_connections`.
    ///
    /// Dropping the future closes the stream, as dropping the stream does.
    ///
    /// # Errors
    ///
    /// As [`flush`](TcpStream::flush), and the error that has ended the connection if a receive has found
    /// one: the kernel returns it once, so another reader would take the connection for complete. The
    /// stream is closed then. To keep it, `flush` and read first.
    ///
    /// ```no_run
    /// use std::io::Read;
    ///
    /// # async fn example(mut stream: ringloop::net::TcpStream) -> std::io::Result<()> {
    /// stream.write_all(b"over to a thread").await?;
    /// let (stream, unread) = stream.into_std().await?;
    /// let thread = std::thread::spawn(move || {
    ///     let mut rest = String::new();
    ///     (&unread[..]).chain(stream).read_to_string(&mut rest)
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub async fn into_std(mut self) -> io::Result<(std::net::TcpStream, Vec<u8>)> {
        let unread = handover::settle(self.socket()).await?;
        let fd = handover::into_fd(self.socket.take().expect("an open stream"))?;
        Ok((fd.into(), unread))
    }

    pub(in crate::net) fn adopt(reactor: &Rc<Reactor>, connection: Connection) -> TcpStream {
        TcpStream::from_socket(Socket::new(Rc::clone(reactor), connection, SocketPhase::Open))
    }

    pub(super) fn from_socket(socket: Rc<Socket>) -> TcpStream {
        TcpStream { socket: Some(socket) }
    }

    pub(in crate::net) fn socket(&self) -> &Rc<Socket> {
        self.socket.as_ref().expect("only `close` and `abort` take it, and they take `self`")
    }

    /// Takes the next bytes that have arrived, without copying them. An empty buffer means that
    /// the peer has finished sending.
    ///
    /// Cancel safe: a dropped `recv` loses nothing, before or after bytes have arrived.
    ///
    /// # Errors
    ///
    /// Those of `recv(2)`, `ECONNRESET` above all. They are final.
    pub async fn recv(&mut self) -> io::Result<RecvBuf> {
        let socket = self.socket();
        coop::leaf_fn(socket.home(), |cx| socket.poll_recv(cx)).await
    }

    /// Copies bytes that have arrived into `buf` and returns how many. 0 means that the peer has
    /// finished sending, or that `buf` is empty.
    ///
    /// Cancel safe: a dropped `read` loses nothing.
    ///
    /// # Errors
    ///
    /// As [`recv`](TcpStream::recv).
    pub async fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let socket = self.socket();
        coop::leaf_fn(socket.home(), |cx| socket.poll_read(cx, buf)).await
    }

    /// How long a read may wait without receiving a byte. Then it fails with `TimedOut`. Default:
    /// `None`: no limit.
    ///
    /// The time counts from the last byte, or from the moment a read began to wait if that is later,
    /// so what the program does between two reads is no idle time. A read that is dropped and made
    /// anew goes on with the same wait. After the error the stream is as it was: no byte is lost, and
    /// the next read begins another wait.
    ///
    /// A message costs no timer, unlike a [`timeout`](crate::time::timeout) around each read.
    ///
    /// ```no_run
    /// use std::time::Duration;
    ///
    /// # async fn example(mut stream: ringloop::net::TcpStream) -> std::io::Result<()> {
    /// stream.set_idle_timeout(Some(Duration::from_secs(30)));
    /// loop {
    ///     let bytes = stream.recv().await?; // fails if the peer is silent for 30 s
    ///     if bytes.is_empty() {
    ///         return stream.close().await;
    ///     }
    /// }
    /// # }
    /// ```
    pub fn set_idle_timeout(&self, timeout: Option<Duration>) {
        self.socket().set_idle_timeout(timeout);
    }

    /// Fills `buf`.
    ///
    /// Cancel safe: what a dropped `read_exact` has copied is put back and read again.
    ///
    /// # Errors
    ///
    /// `UnexpectedEof` if the peer finishes sending first; what came before stays readable.
    /// Otherwise as [`recv`](TcpStream::recv).
    pub async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        transfer::read_exact(self.socket(), buf).await
    }

    /// Waits until there is something to read: bytes, the end, or the error that ended the connection.
    /// Takes nothing: the next [`recv`](TcpStream::recv) or [`read`](TcpStream::read) is ready at once.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// If the runtime has been closed; `TimedOut` as
    /// [`set_idle_timeout`](TcpStream::set_idle_timeout) says. An error of the connection is for the
    /// read to return.
    pub async fn readable(&mut self) -> io::Result<()> {
        let socket = self.socket();
        coop::leaf_fn(socket.home(), |cx| socket.poll_readable(cx)).await
    }

    /// Copies the next bytes into `buf` without taking them, and returns how many. Waits until there
    /// are some; 0 means that the peer has finished sending, or that `buf` is empty.
    ///
    /// It returns what has arrived, up to the length of `buf`. Waiting for more than that is not
    /// possible: a `peek` that has bytes is ready at once. To need more, read.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`recv`](TcpStream::recv).
    ///
    /// ```no_run
    /// # async fn example(mut stream: ringloop::net::TcpStream) -> std::io::Result<()> {
    /// let mut first = [0];
    /// match (stream.peek(&mut first).await?, first) {
    ///     (1, [0x16]) => println!("a TLS handshake"),
    ///     (1, _) => println!("plain text"),
    ///     _ => println!("closed without a byte"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub async fn peek(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let socket = self.socket();
        coop::leaf_fn(socket.home(), |cx| socket.poll_peek(cx, buf)).await
    }

    /// Waits until the peer has gone: it has finished sending (also by `shutdown` of that direction
    /// alone), has closed or reset the connection, or the kernel has given it up.
    ///
    /// Reads nothing: unread bytes stay readable, and those that the peer sends meanwhile stay in the
    /// kernel. The end of a TCP connection comes behind its bytes, so it is not seen while the peer
    /// has more to send than the kernel's receive buffer has room for. A reset is seen at once.
    /// A peer that has vanished without a word is seen by keepalive or by a write only.
    ///
    /// Once the peer has gone, `closed` is ready at once, every time. Several tasks may wait, each
    /// half may be used for it. Cancel safe.
    ///
    /// # Errors
    ///
    /// If the kernel cannot watch the socket, for want of memory, and if the runtime has been closed.
    /// That the connection has failed is no error here; a read or a write returns it.
    ///
    /// ```no_run
    /// # async fn look_up() -> Vec<u8> { Vec::new() }
    /// use std::{future::{Future, poll_fn}, pin::pin, task::Poll};
    ///
    /// # async fn example(mut stream: ringloop::net::TcpStream) -> std::io::Result<()> {
    /// let reply = {
    ///     let (mut reply, mut closed) = (pin!(look_up()), pin!(stream.closed()));
    ///     poll_fn(|cx| match reply.as_mut().poll(cx) {
    ///         Poll::Ready(reply) => Poll::Ready(Some(reply)),
    ///         Poll::Pending => closed.as_mut().poll(cx).map(|_gone| None),
    ///     })
    ///     .await
    /// };
    /// match reply {
    ///     Some(reply) => stream.send(reply).await,
    ///     None => Ok(()), // the client did not wait, and the search has been dropped
    /// }
    /// # }
    /// ```
    pub async fn closed(&self) -> io::Result<()> {
        hang_up::closed(self.socket()).await
    }

    /// Queues a copy of `bytes`.
    ///
    /// Waits while 64 KiB or more are queued. Up to 64 KiB are queued as a whole: a dropped
    /// `write_all` has queued all of them or none. A longer slice is queued piece by piece, and
    /// dropping the future then leaves it cut.
    ///
    /// # Errors
    ///
    /// Those of earlier sends (`EPIPE`, `ECONNRESET`); they are final. `EPIPE` after
    /// [`shutdown`](TcpStream::shutdown).
    pub async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        transfer::write_all(self.socket(), bytes).await
    }

    /// Queues a copy of several slices, one behind the other. As [`write_all`](TcpStream::write_all) of
    /// all of them together: up to 64 KiB in sum are queued as a whole or not at all, and leave in one
    /// packet if they fit.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// ```no_run
    /// use std::io::IoSlice;
    ///
    /// # async fn example(mut stream: ringloop::net::TcpStream, body: &[u8]) -> std::io::Result<()> {
    /// let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    /// stream.write_all_vectored(&[IoSlice::new(head.as_bytes()), IoSlice::new(body)]).await
    /// # }
    /// ```
    pub async fn write_all_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<()> {
        transfer::write_all_vectored(self.socket(), slices).await
    }

    /// Queues `buf` without copying it. The stream keeps it until the kernel has taken it.
    ///
    /// Waits while 64 KiB or more are queued.
    ///
    /// Cancel safe: a dropped `send` has queued nothing.
    ///
    /// # Errors
    ///
    /// As [`write_all`](TcpStream::write_all).
    pub async fn send(&mut self, buf: impl IoBuf) -> io::Result<()> {
        let socket = self.socket();
        let mut buf = Some(buf.into_out_buf());
        coop::leaf_fn(socket.home(), |cx| socket.poll_send(cx, &mut buf)).await
    }

    /// Waits until the kernel has taken everything that was queued. Whether the peer has, only the
    /// peer knows.
    ///
    /// Cancel safe.
    ///
    /// # Errors
    ///
    /// As [`write_all`](TcpStream::write_all).
    pub async fn flush(&mut self) -> io::Result<()> {
        let socket = self.socket();
        coop::leaf_fn(socket.home(), |cx| socket.poll_flush(cx)).await
    }

    /// Finishes sending: what is queued goes out, then the peer reads the end. Reading goes on.
    ///
    /// The peer reads the end also while other descriptors of the connection are open: a duplicate, or
    /// the copy that a child process has. [`close`](TcpStream::close) alone does not end those.
    ///
    /// Cancel safe: once polled, the end is sent whether or not anyone waits for it.
    ///
    /// # Errors
    ///
    /// As [`write_all`](TcpStream::write_all).
    pub async fn shutdown(&mut self) -> io::Result<()> {
        let socket = self.socket();
        coop::leaf_fn(socket.home(), |cx| socket.poll_shutdown(cx)).await
    }

    /// Sends what is queued, closes the connection, and returns when the descriptor is free.
    ///
    /// This is `close(2)`: the connection ends when its last descriptor is closed. While a duplicate
    /// exists, in this process or in a child that was forked, `close` returns `Ok` and the peer reads no
    /// end. Await [`shutdown`](TcpStream::shutdown) first to end it for all of them.
    ///
    /// Cancel safe: dropping the future lets the close go on in the background.
    ///
    /// # Errors
    ///
    /// If queued bytes could not be sent; `TimedOut` if the peer took none for the builder's `linger`.
    pub async fn close(mut self) -> io::Result<()> {
        close::close(self.socket.take().expect("an open stream")).await
    }

    /// Resets the connection. What is queued is dropped, and the peer sees `ECONNRESET`.
    pub fn abort(mut self) {
        let socket = self.socket.take().expect("an open stream");
        socket.home().id().check_process(); // a reset would be the parent's as well
        socket.begin_close(Close::Reset, None);
    }

    /// The address of the other side.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` if the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        inet_addr(self.socket().options().peer_addr()?)
    }

    /// The address of this side.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        inet_addr(self.socket().options().local_addr()?)
    }
}

pub(super) fn inet_addr(addr: SockAddr) -> io::Result<SocketAddr> {
    addr.as_socket().ok_or_else(|| io::Error::from(io::ErrorKind::Unsupported))
}

impl Drop for TcpStream {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.begin_close(Close::SendQueued, None);
        }
    }
}

/// Closing a stream is cheapest while its descriptor was never seen: afterwards a duplicate may exist,
/// and the receive has to be cancelled, which costs more the more connections there are. On epoll each
/// message then costs one more `recv(2)`, because another protocol (kTLS) may be on the socket.
impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().expose();
        self.socket().as_fd()
    }
}

impl AsRawFd for TcpStream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.socket().as_fd().as_raw_fd();
        f.debug_struct("TcpStream").field("fd", &fd).finish_non_exhaustive()
    }
}
