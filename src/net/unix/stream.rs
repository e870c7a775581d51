//! [`UnixStream`]: the type, how it is made, and how it ends.
//!
//! Its other methods are in `recv` and `send`, and in `net::halves`.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use super::{addr, connect};
use crate::net::socket::close::{self, Close};
use crate::net::socket::handover;
use crate::net::socket::listener::Connection;
use crate::net::socket::stream::Socket;
use crate::reactor::Reactor;
use crate::runtime::context;
use crate::time::timeout;

/// A connection between processes of one machine (`unix(7)`, `SOCK_STREAM`).
///
/// Receiving, sending and closing have the semantics of [`TcpStream`](crate::net::TcpStream), with
/// one difference: the kernel has no reset for Unix sockets. After [`abort`](UnixStream::abort), or
/// after bytes were lost, the peer reads the end of the stream, or `ECONNRESET` if bytes that it
/// had sent were not read.
///
/// ```
/// use ringloop::net::{UnixListener, UnixStream};
///
/// # ringloop::run(async {
/// # let name = format!("@ringloop-doc-stream-{}", std::process::id());
/// let listener = UnixListener::bind(&name)?;
/// let mut client = UnixStream::connect(&name).await?;
/// let mut server = listener.accept().await?;
///
/// client.write_all(b"hello").await?;
/// let bytes = server.recv().await?;
/// assert_eq!(*bytes, *b"hello");
/// client.close().await?;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct UnixStream {
    /// `None` once `close`, `abort` or `into_std` has taken it.
    socket: Option<Rc<Socket>>,
}

impl UnixStream {
    /// Connects to the listener at `path`.
    ///
    /// A path that begins with `@` is an abstract name (`unix(7)`), not a file. While the backlog
    /// of the listener is full, `connect` waits, as a blocking `connect(2)` does. The kernel does
    /// not report when there is room, so the loop retries after 50 µs and then less often, at least
    /// every 16 ms. [`connect_timeout`](UnixStream::connect_timeout) sets a limit.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future closes the socket.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)` and `connect(2)`: `NotFound` if the file does not exist,
    /// `ConnectionRefused` if no socket listens there. `InvalidInput` for a path that is empty,
    /// longer than 107 bytes, or has a zero byte in it.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    ///
    /// ```
    /// # use ringloop::net::{UnixListener, UnixStream};
    /// # ringloop::run(async {
    /// # let path = std::env::temp_dir().join(format!("ringloop-doc-{}", std::process::id()));
    /// let listener = UnixListener::bind(&path)?; // for example "/run/server/socket"
    /// let stream = UnixStream::connect(&path).await?;
    /// assert_eq!(stream.peer_addr()?.as_pathname(), Some(&*path));
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn connect(path: impl AsRef<Path>) -> io::Result<UnixStream> {
        let reactor = Rc::clone(&context::current().reactor);
        let fd = connect::connect(&reactor, path.as_ref()).await?;
        Ok(UnixStream::adopt(&reactor, fd.into()))
    }

    /// Connects to the listener at `path` within `duration`.
    ///
    /// Otherwise like [`connect`](UnixStream::connect), with the same cancel safety and panics.
    ///
    /// # Errors
    ///
    /// `TimedOut` after `duration`. Otherwise those of [`connect`](UnixStream::connect).
    ///
    /// ```
    /// # use ringloop::net::{UnixListener, UnixStream};
    /// use std::time::Duration;
    ///
    /// # ringloop::run(async {
    /// # let name = format!("@ringloop-doc-timeout-{}", std::process::id());
    /// # let listener = UnixListener::bind(&name)?;
    /// let stream = UnixStream::connect_timeout(&name, Duration::from_secs(5)).await?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn connect_timeout(
        path: impl AsRef<Path>,
        duration: Duration,
    ) -> io::Result<UnixStream> {
        timeout(duration, UnixStream::connect(path)).await?
    }

    /// Makes a stream of a connected socket of std.
    ///
    /// The loop takes the socket over. Other descriptors of the same socket must not read from it
    /// any more: the loop may already have received their bytes. The loop leaves `O_NONBLOCK` of
    /// the socket as it is.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
    /// let mut ours = UnixStream::from_std(ours);
    /// ours.write_all(b"hello").await?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn from_std(stream: std::os::unix::net::UnixStream) -> UnixStream {
        let stream = UnixStream::adopt(&context::current().reactor, OwnedFd::from(stream).into());
        stream.socket().mark_foreign();
        stream
    }

    /// Turns the stream into a socket of std, and returns it with the unread bytes.
    ///
    /// The unread bytes were received before those that are still in the socket. `into_std` waits
    /// until the queued bytes are sent, as [`flush`](UnixStream::flush) does, then cancels the
    /// receive in the kernel. The peer and other descriptors of the socket notice nothing.
    ///
    /// The descriptor keeps its number. A socket from [`from_std`](UnixStream::from_std) is
    /// blocking or non-blocking as before; one that the loop made is blocking, as std makes it. The
    /// stream no longer counts as one of its listener's `max_connections`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropping the future closes the stream, as dropping the stream does.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](UnixStream::flush), and the error that ended the connection if a receive
    /// has found one: the kernel returns it once, so another reader would take the connection for
    /// complete. The stream is closed then. To keep it, call `flush` and read first.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// use std::io::Read;
    ///
    /// # ringloop::run(async {
    /// # let (mut client, mut server) = UnixStream::pair()?;
    /// # client.write_all(b"for a thread").await?;
    /// # client.close().await?;
    /// server.readable().await?;
    /// let (socket, unread) = server.into_std().await?;
    /// let thread = std::thread::spawn(move || {
    ///     let mut text = String::new();
    ///     (&unread[..]).chain(socket).read_to_string(&mut text).map(|_| text)
    /// });
    /// assert_eq!(thread.join().unwrap()?, "for a thread");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn into_std(mut self) -> io::Result<(std::os::unix::net::UnixStream, Vec<u8>)> {
        let unread = handover::settle(self.socket()).await?;
        let fd = handover::into_fd(self.socket.take().expect("an open stream"))?;
        Ok((fd.into(), unread))
    }

    /// Makes two streams that are connected to each other (`socketpair(2)`).
    ///
    /// # Errors
    ///
    /// Those of `socketpair(2)`.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// let (mut one, mut other) = UnixStream::pair()?;
    /// one.write_all(b"hello").await?;
    /// assert_eq!(*other.recv().await?, *b"hello");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn pair() -> io::Result<(UnixStream, UnixStream)> {
        let (one, other) = std::os::unix::net::UnixStream::pair()?;
        let adopt = |end| UnixStream::adopt(&context::current().reactor, OwnedFd::from(end).into());
        Ok((adopt(one), adopt(other)))
    }

    /// Sends the queued bytes, closes the connection, and returns when the descriptor is free.
    ///
    /// This is `close(2)`: the connection ends when its last descriptor is closed. While a
    /// duplicate exists, in this process or in a forked child, `close` returns `Ok` and the peer
    /// reads no end. Await [`shutdown`](UnixStream::shutdown) first to end it for all of them.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: after the first poll, the close goes on in the background. Dropping the future
    /// before is dropping the stream.
    ///
    /// # Errors
    ///
    /// The error of the send if queued bytes could not be sent; `TimedOut` if the peer took none of
    /// them for the time of the builder's [`linger`](crate::Builder::linger).
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (mut client, mut server) = UnixStream::pair()?;
    /// client.write_all(b"bye").await?;
    /// client.close().await?; // sends what is queued
    /// assert_eq!(*server.recv().await?, *b"bye");
    /// assert!(server.recv().await?.is_empty());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn close(mut self) -> io::Result<()> {
        close::close(self.socket.take().expect("an open stream")).await
    }

    /// Closes the connection without sending the queued bytes.
    ///
    /// The kernel has no reset for Unix sockets: the peer reads the end of the stream, or
    /// `ECONNRESET` if bytes that it had sent were not read.
    ///
    /// # Panics
    ///
    /// In a forked child, where it would end the connection of the parent.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (client, mut server) = UnixStream::pair()?;
    /// client.abort();
    /// assert!(server.recv().await?.is_empty());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn abort(mut self) {
        let socket = self.socket.take().expect("an open stream");
        socket.home().id().check_process(); // a reset would be the parent's as well
        socket.begin_close(Close::Reset, None);
    }

    /// Sets the size of the kernel's receive buffer, in bytes (`SO_RCVBUF`).
    ///
    /// Linux does not use it for Unix streams: how much a peer may send before it is read is
    /// limited by the peer's send buffer.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket().options().set_recv_buffer_size(bytes)
    }

    /// The size of the kernel's receive buffer, in bytes: twice the value that was set.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn recv_buffer_size(&self) -> io::Result<usize> {
        self.socket().options().recv_buffer_size()
    }

    /// Sets the size of the kernel's send buffer, in bytes (`SO_SNDBUF`).
    ///
    /// It limits how many bytes the peer may leave unread before sends wait. The kernel doubles the
    /// value, and limits it to `net.core.wmem_max`.
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (client, server) = UnixStream::pair()?;
    /// client.set_send_buffer_size(16 * 1024)?;
    /// assert_eq!(client.send_buffer_size()?, 32 * 1024);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.socket().options().set_send_buffer_size(bytes)
    }

    /// The size of the kernel's send buffer, in bytes: twice the value that was set.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    pub fn send_buffer_size(&self) -> io::Result<usize> {
        self.socket().options().send_buffer_size()
    }

    /// The error that ended the connection, if there is one.
    ///
    /// That is the socket's pending error (`SO_ERROR`), or one that an earlier receive or send has
    /// returned. Unlike `getsockopt(2)` it does not clear the error: reads, writes and a second
    /// call return it as well.
    ///
    /// # Errors
    ///
    /// Those of `getsockopt(2)`.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (client, server) = UnixStream::pair()?;
    /// assert!(client.take_error()?.is_none());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.socket().take_error()
    }

    /// The address of the peer (`getpeername(2)`). That of a socket which has connected is usually
    /// unnamed.
    ///
    /// # Errors
    ///
    /// `ENOTCONN` if the connection has ended.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (client, server) = UnixStream::pair()?;
    /// assert!(client.peer_addr()?.is_unnamed());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        addr::from_addr(&self.socket().options().peer_addr()?)
    }

    /// The address of this side (`getsockname(2)`). That of a stream which has connected is usually
    /// unnamed.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    ///
    /// ```
    /// # use ringloop::net::UnixStream;
    /// # ringloop::run(async {
    /// # let (client, server) = UnixStream::pair()?;
    /// assert!(client.local_addr()?.is_unnamed());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        addr::from_addr(&self.socket().options().local_addr()?)
    }

    pub(super) fn adopt(reactor: &Rc<Reactor>, connection: Connection) -> UnixStream {
        UnixStream { socket: Some(Socket::new(Rc::clone(reactor), connection)) }
    }

    pub(in crate::net) fn socket(&self) -> &Rc<Socket> {
        self.socket.as_ref().expect("only `close` and `abort` take it, and they take `self`")
    }
}

impl Drop for UnixStream {
    fn drop(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.begin_close(Close::SendQueued, None);
        }
    }
}

/// The descriptor, for system calls of the program's own.
///
/// From then on a duplicate of it may exist. Closing the stream then cancels its receive, which
/// takes longer the more connections the loop has.
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
