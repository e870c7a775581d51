//! `UnixStream`. Its reading and writing methods are those of every stream: `net::socket::halves`.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::{addr, connect};
use crate::net::socket::admission::Connection;
use crate::net::socket::close::{self, Close};
use crate::net::socket::halves::{self, OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
use crate::net::socket::handover;
use crate::net::socket::stream::{Socket, SocketPhase};
use crate::reactor::Reactor;
use crate::runtime::context;
use crate::time::timeout;

/// A connection within this machine.
///
/// Reading, writing and closing are those of [`TcpStream`](crate::net::TcpStream), with the same
/// promises. One thing the kernel does not have here: a reset. A peer whose other side was
/// [aborted](UnixStream::abort), or has lost bytes, reads the end, or `ECONNRESET` if bytes that it
/// had sent were never read.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let mut stream = ringloop::net::UnixStream::connect("/run/example/hello").await?;
/// stream.write_all(b"hello").await?;
/// let reply = stream.recv().await?;
/// println!("{} bytes", reply.len());
/// stream.close().await
/// # }
/// ```
pub struct UnixStream {
    /// `None` once `close` or `abort` has taken it.
    socket: Option<Rc<Socket>>,
}

impl UnixStream {
    /// Connects to the listener at `path`, or, if it begins with `@`, to that of the abstract name
    /// after it.
    ///
    /// While the listener's backlog is full it waits, as a blocking `connect(2)` does, and asks
    /// again every 1 to 64 ms: nothing tells when there is room.
    /// [`connect_timeout`](UnixStream::connect_timeout) sets a limit.
    ///
    /// Cancel safe: dropping the future closes the socket.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)` and `connect(2)`: `NotFound` if there is no such file,
    /// `ConnectionRefused` if nobody listens. `InvalidInput` for a path that is empty, longer than
    /// 107 bytes or has a zero byte in it.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let reactor = Rc::clone(&context::current().reactor);
        let fd = connect::connect(&reactor, path.as_ref()).await?;
        Ok(UnixStream::adopt(&reactor, fd.into()))
    }

    /// Connects to `path`, within `duration`. Otherwise as [`connect`](UnixStream::connect).
    ///
    /// # Errors
    ///
    /// `TimedOut` besides the others.
    pub async fn connect_timeout(
        path: impl AsRef<Path>,
        duration: Duration,
    ) -> io::Result<UnixStream> {
        timeout(duration, UnixStream::connect(path)).await?
    }

    /// Makes a stream of a connected socket from elsewhere. The loop takes it over; a descriptor
    /// that others share must not be read by them any more.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> UnixStream {
        let stream = UnixStream::adopt(&context::current().reactor, OwnedFd::from(stream).into());
        stream.socket().mark_foreign();
        stream
    }

    /// Gives the socket back to the program, with the bytes that had been received and not been read.
    /// They come before everything that is still in the socket.
    ///
    /// Waits until what is queued is sent, as [`flush`](UnixStream::flush) does, then ends the receive in
    /// the kernel without an effect on the socket: the peer and other descriptors of the same socket
    /// notice nothing. The descriptor keeps its number. A socket that came by
    /// [`from_std`](UnixStream::from_std) is as blocking or non-blocking as it was; one that the loop has
    /// made is blocking, as one that std has made. The stream no longer counts as one of its listener's
    /// `max_connections`.
    ///
    /// Dropping the future closes the stream, as dropping the stream does.
    ///
    /// # Errors
    ///
    /// As [`flush`](UnixStream::flush), and the error that has ended the connection if a receive has found
    /// one: the kernel returns it once, so another reader would take the connection for complete. The
    /// stream is closed then. To keep it, `flush` and read first.
    ///
    /// ```no_run
    /// use std::io::Read;
    ///
    /// # async fn example(mut stream: ringloop::net::UnixStream) -> std::io::Result<()> {
    /// stream.write_all(b"over to a thread").await?;
    /// let (stream, unread) = stream.into_std().await?;
    /// let thread = std::thread::spawn(move || {
    ///     let mut rest = String::new();
    ///     (&unread[..]).chain(stream).read_to_string(&mut rest)
    /// });
    /// # Ok(())
    /// # }
    /// ```
    pub async fn into_std(mut self) -> io::Result<(std::os::unix::net::UnixStream, Vec<u8>)> {
        let unread = handover::settle(self.socket()).await?;
        let fd = handover::into_fd(self.socket.take().expect("an open stream"))?;
        Ok((fd.into(), unread))
    }

    /// Two streams that are connected to each other.
    ///
    /// # Errors
    ///
    /// Those of `socketpair(2)`.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = std::os::unix::net::UnixStream::pair()?;
        let adopt = |end| UnixStream::adopt(&context::current().reactor, OwnedFd::from(end).into());
        Ok((adopt(one), adopt(other)))
    }

    pub(super) fn adopt(reactor: &Rc<Reactor>, connection: Connection) -> UnixStream {
        UnixStream { socket: Some(Socket::new(Rc::clone(reactor), connection, SocketPhase::Open)) }
    }

    pub(in crate::net) fn socket(&self) -> &Rc<Socket> {
        self.socket.as_ref().expect("only `close` and `abort` take it, and they take `self`")
    }

    /// How long a read may wait without receiving a byte. As
    /// [`TcpStream::set_idle_timeout`](crate::net::TcpStream::set_idle_timeout).
    pub fn set_idle_timeout(&self, timeout: Option<Duration>) {
        self.socket().set_idle_timeout(timeout);
    }

    /// Sends what is queued, closes the connection, and returns when the descriptor is free. As
    /// [`TcpStream::close`](crate::net::TcpStream::close): the peer reads no end while a duplicate of
    /// the descriptor exists, in this process or in a child.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn close(mut self) -> io::Result<()> {
        close::close(self.socket.take().expect("an open stream")).await
    }

    /// Closes the connection now. What is queued is dropped.
    pub fn abort(mut self) {
        let socket = self.socket.take().expect("an open stream");
        socket.home().id().check_process(); // a reset would be the parent's as well
        socket.begin_close(Close::Reset, None);
    }

    /// Borrows the stream as two halves that can be used at the same time.
    pub fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        halves::borrowed(self.socket())
    }

    /// Splits the stream into two halves that different tasks can own. The connection closes when
    /// both have been dropped; dropping the writing half finishes sending.
    pub fn into_split(self) -> (OwnedReadHalf<UnixStream>, OwnedWriteHalf<UnixStream>) {
        halves::owned(Rc::clone(self.socket()), self)
    }

    /// Sets the size of the kernel's receive buffer, in bytes (`SO_RCVBUF`). Linux does not use it for
    /// Unix streams: what a peer may send ahead is limited by the peer's send buffer.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket().options().set_recv_buffer_size(bytes)
    }

    /// The size of the kernel's receive buffer as the kernel counts it: twice what was set.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.socket().options().recv_buffer_size()
    }

    /// Sets the size of the kernel's send buffer, in bytes (`SO_SNDBUF`): how much the peer may leave
    /// unread. The kernel doubles the value, and cuts it at `net.core.wmem_max`.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket().options().set_send_buffer_size(bytes)
    }

    /// The size of the kernel's send buffer as the kernel counts it: twice what was set.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        self.socket().options().send_buffer_size()
    }

    /// The error that has ended the connection, if there is one. As
    /// [`TcpStream::take_error`](crate::net::TcpStream::take_error).
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }

    /// The address of the other side. One that has connected usually has none.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` if the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        addr::from_addr(&self.socket().options().peer_addr()?)
    }

    /// The address of this side.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        addr::from_addr(&self.socket().options().local_addr()?)
    }
}

impl Drop for UnixStream {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.begin_close(Close::SendQueued, None);
        }
    }
}

/// As with [`TcpStream`](crate::net::TcpStream), closing is cheapest while the descriptor was never
/// seen.
impl AsFd for UnixStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket().share();
        self.socket().as_fd()
    }
}

impl AsRawFd for UnixStream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for UnixStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.socket().as_fd().as_raw_fd();
        f.debug_struct("UnixStream").field("fd", &fd).finish_non_exhaustive()
    }
}
