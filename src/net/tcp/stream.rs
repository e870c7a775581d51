//! [`TcpStream`]: the type, how it is made, and how it ends.
//!
//! Its other methods are in `recv`, `send` and `options`, and in `net::halves`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use socket2::SockAddr;

use crate::net::addr::ToAddr;
use crate::net::socket::close::{self, Close};
use crate::net::socket::handover;
use crate::net::socket::listener::Connection;
use crate::net::socket::stream::Socket;
use crate::reactor::Reactor;
use crate::runtime::context;
use crate::time::timeout;

/// A TCP connection.
///
/// **Receiving** takes from a queue that the loop fills: [`recv`](TcpStream::recv) returns a filled
/// buffer without copying, [`read`](TcpStream::read) copies into a slice. Dropping either future
/// loses no byte. A stream without unread bytes holds no buffer, also while a read waits.
///
/// **Sending** puts bytes into a queue that the loop sends: [`write_all`](TcpStream::write_all)
/// copies a slice, [`send`](TcpStream::send) takes an owned buffer. Both return when the bytes are
/// queued, and wait while 64 KiB or more are queued. The next call, [`flush`](TcpStream::flush) or
/// [`close`](TcpStream::close) returns an error of the connection. Small writes of one turn leave
/// in one packet, in order.
///
/// **Closing.** Dropping a stream closes it in the background: the queued bytes are still sent, as
/// long as the peer takes some of them within the builder's [`linger`](crate::Builder::linger).
/// [`close`](TcpStream::close) does the same and returns the result, and
/// [`abort`](TcpStream::abort) resets the connection. Both close this descriptor, as `close(2)`
/// does: while a duplicate exists, in this process or in a child, the peer reads no end.
/// [`shutdown`](TcpStream::shutdown) sends the end also if another process holds the socket.
///
/// **One runtime, one process.** A stream belongs to the runtime it was made on, in the process
/// that built the runtime. Its futures panic on another runtime and outside of any; for forked
/// children see [`Runtime`](crate::Runtime).
///
/// The semantics of reading and writing are those of asyncio's streams; the names are those of
/// tokio.
///
/// ```
/// use ringloop::net::{TcpListener, TcpStream};
///
/// # ringloop::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let mut client = TcpStream::connect(listener.local_addr()?).await?;
/// let mut server = listener.accept().await?;
///
/// client.write_all(b"hello").await?;
/// let bytes = server.recv().await?;
/// assert_eq!(*bytes, *b"hello");
/// client.close().await?;
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct TcpStream {
    /// `None` once `close`, `abort` or `into_std` has taken it.
    socket: Option<Rc<Socket>>,
}

impl TcpStream {
    /// Connects to `addr`.
    ///
    /// Waits until the kernels of both sides have connected, which does not need an `accept` of the
    /// peer, or until this kernel gives up: by default after about two minutes
    /// (`net.ipv4.tcp_syn_retries`). [`connect_timeout`](TcpStream::connect_timeout) sets a limit.
    /// This is `connect(2)`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future closes the socket.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)` and `connect(2)`, for example `ConnectionRefused`, and `InvalidInput`
    /// for text that is not an address.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let stream = TcpStream::connect(listener.local_addr()?).await?;
    /// assert_eq!(stream.peer_addr()?, listener.local_addr()?);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn connect(addr: impl ToAddr) -> io::Result<TcpStream> {
        TcpStream::builder().connect(addr).await
    }

    /// Connects to `addr` within `duration`.
    ///
    /// Otherwise like [`connect`](TcpStream::connect), with the same cancel safety and panics.
    ///
    /// # Errors
    ///
    /// `TimedOut` after `duration`. Otherwise those of [`connect`](TcpStream::connect).
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    ///
    /// # ringloop::run(async {
    /// # let addr = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    /// # let listener = TcpListener::bind(addr)?;
    /// let stream = TcpStream::connect_timeout(addr, Duration::from_secs(5)).await?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn connect_timeout(addr: impl ToAddr, duration: Duration) -> io::Result<TcpStream> {
        timeout(duration, TcpStream::connect(addr)).await?
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
    /// # use ringloop::net::TcpStream;
    /// # ringloop::run(async {
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let stream = std::net::TcpStream::connect(listener.local_addr()?)?;
    /// let mut stream = TcpStream::from_std(stream);
    /// stream.write_all(b"hello").await?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn from_std(stream: std::net::TcpStream) -> TcpStream {
        let stream = TcpStream::adopt(&context::current().reactor, OwnedFd::from(stream).into());
        stream.socket().mark_foreign();
        stream
    }

    /// Turns the stream into a socket of std, and returns it with the unread bytes.
    ///
    /// The unread bytes were received before those that are still in the socket. `into_std` waits
    /// until the queued bytes are sent, as [`flush`](TcpStream::flush) does, then cancels the
    /// receive in the kernel. The peer and other descriptors of the socket notice nothing.
    ///
    /// The descriptor keeps its number. A socket from [`from_std`](TcpStream::from_std) is blocking
    /// or non-blocking as before; one that the loop made is blocking, as std makes it. The stream
    /// no longer counts as one of its listener's `max_connections`.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropping the future closes the stream, as dropping the stream does.
    ///
    /// # Errors
    ///
    /// Those of [`flush`](TcpStream::flush), and the error that ended the connection if a receive
    /// has found one: the kernel returns it once, so another reader would take the connection for
    /// complete. The stream is closed then. To keep it, call `flush` and read first.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// use std::io::Read;
    ///
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let mut server = listener.accept().await?;
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
    pub async fn into_std(mut self) -> io::Result<(std::net::TcpStream, Vec<u8>)> {
        let unread = handover::settle(self.socket()).await?;
        let fd = handover::into_fd(self.socket.take().expect("an open stream"))?;
        Ok((fd.into(), unread))
    }

    /// Sends the queued bytes, closes the connection, and returns when the descriptor is free.
    ///
    /// This is `close(2)`: the connection ends when its last descriptor is closed. While a
    /// duplicate exists, in this process or in a forked child, `close` returns `Ok` and the peer
    /// reads no end. Await [`shutdown`](TcpStream::shutdown) first to end it for all of them.
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
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let mut client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let mut server = listener.accept().await?;
    /// client.write_all(b"bye").await?;
    /// client.close().await?; // sends what is queued
    /// assert_eq!(*server.recv().await?, *b"bye");
    /// assert!(server.recv().await?.is_empty());
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn close(mut self) -> io::Result<()> {
        close::close(self.socket.take().expect("an open stream")).await
    }

    /// Resets the connection.
    ///
    /// The queued bytes are dropped, and the peer's reads fail with `ECONNRESET`. This is
    /// `close(2)` with `SO_LINGER` on and a time of zero.
    ///
    /// # Panics
    ///
    /// In a forked child, where it would reset the connection of the parent.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// use std::io::ErrorKind;
    ///
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let mut server = listener.accept().await?;
    /// client.abort();
    /// let error = server.recv().await.unwrap_err();
    /// assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn abort(mut self) {
        let socket = self.socket.take().expect("an open stream");
        socket.home().id().check_process(); // a reset would be the parent's as well
        socket.begin_close(Close::Reset, None);
    }

    /// The address of the peer (`getpeername(2)`).
    ///
    /// # Errors
    ///
    /// `ENOTCONN` if the connection has ended.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let server = listener.accept().await?;
    /// assert_eq!(client.peer_addr()?, server.local_addr()?);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        inet_addr(self.socket().options().peer_addr()?)
    }

    /// The address of this side (`getsockname(2)`).
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// # let server = listener.accept().await?;
    /// assert_eq!(client.local_addr()?, server.peer_addr()?);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        inet_addr(self.socket().options().local_addr()?)
    }

    pub(in crate::net) fn adopt(reactor: &Rc<Reactor>, connection: Connection) -> TcpStream {
        TcpStream::from_socket(Socket::new(Rc::clone(reactor), connection))
    }

    pub(super) fn from_socket(socket: Rc<Socket>) -> TcpStream {
        TcpStream { socket: Some(socket) }
    }

    pub(in crate::net) fn socket(&self) -> &Rc<Socket> {
        self.socket.as_ref().expect("only `close` and `abort` take it, and they take `self`")
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

/// The descriptor, for system calls of the program's own.
///
/// From then on a duplicate of it may exist, which has two costs. Closing the stream cancels its
/// receive, which takes longer the more connections the loop has. On epoll each message costs one
/// more `recv(2)`, because the program may have put another protocol (kTLS) on the socket.
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
