//! [`TcpListener`] and its builder.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::stream::{TcpStream, inet_addr};
use crate::net::addr::ToAddr;
use crate::net::socket::accept::{self, Incoming};
use crate::net::socket::admission::Overflow;
use crate::net::socket::bind;
use crate::net::socket::listener::{BACKLOG, ListenerSocket};
use crate::runtime::context;

/// A TCP socket that accepts connections.
///
/// From the first [`accept`](TcpListener::accept) on, the loop accepts connections into a queue;
/// `accept` takes from the queue, so dropping it loses no connection. When descriptors or memory
/// run out, the listener retries after 100 ms and reports the shortage once, to
/// [`on_unhandled`](crate::Builder::on_unhandled). Connections that the peer has given up before
/// they were accepted are skipped.
///
/// Dropping the listener stops accepting, closes the connections in its queue, and closes the
/// descriptor when the accept in flight has ended. Other descriptors of the socket, in a successor
/// or a child process, go on listening. [`into_std`](TcpListener::into_std) gives the socket away
/// without losing a connection.
///
/// The names are those of tokio; `bind` does not look up host names and so is not async.
///
/// ```
/// use ringloop::net::{TcpListener, TcpStream};
///
/// # ringloop::run(async {
/// let listener = TcpListener::bind("127.0.0.1:0")?;
/// let addr = listener.local_addr()?;
/// ringloop::spawn(async move {
///     while let Ok(mut stream) = listener.accept().await {
///         ringloop::spawn(async move { stream.write_all(b"hello").await });
///     }
/// });
///
/// let mut client = TcpStream::connect(addr).await?;
/// assert_eq!(*client.recv().await?, *b"hello");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct TcpListener {
    /// `None` once `into_std` or `drop` has taken it.
    listening: Option<Rc<ListenerSocket>>,
}

impl TcpListener {
    /// Listens on `addr`, with `SO_REUSEADDR` and a backlog of 4096 connections.
    ///
    /// With port 0 the kernel chooses a free port; [`local_addr`](TcpListener::local_addr) returns
    /// it. While the address is in use, the thread sleeps and retries for up to one second, see
    /// [`bind_patience`](TcpListenerBuilder::bind_patience).
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `bind(2)` and `listen(2)`, for example `AddrInUse`, and `InvalidInput`
    /// for text that is not an address.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    ///
    /// ```
    /// # use ringloop::net::TcpListener;
    /// # ringloop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// println!("listening on {}", listener.local_addr()?);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn bind(addr: impl ToAddr) -> io::Result<TcpListener> {
        TcpListener::builder().bind(addr)
    }

    /// A builder whose defaults are those of [`bind`](TcpListener::bind).
    pub fn builder() -> TcpListenerBuilder {
        TcpListenerBuilder {
            backlog: BACKLOG,
            bind_patience: bind::PATIENCE,
            reuse_port: false,
            v6_only: None,
            recv_buffer_size: None,
            send_buffer_size: None,
            max_connections: None,
            overflow: Overflow::default(),
        }
    }

    /// Makes a listener of a listening socket of std.
    ///
    /// Such a socket comes from a supervisor ([`activated`](crate::net::activated)), or from the
    /// [`into_std`](TcpListener::into_std) of another listener. Other descriptors of the socket may
    /// go on accepting; each connection goes to one of them. The epoll driver makes the socket
    /// non-blocking for all of them; nothing else is changed. For a limit on connections see
    /// [`TcpListenerBuilder::adopt`].
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    ///
    /// ```
    /// # use ringloop::net::TcpListener;
    /// # ringloop::run(async {
    /// let socket = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let listener = TcpListener::from_std(socket);
    /// # let addr = listener.local_addr()?;
    /// # let client = std::net::TcpStream::connect(addr)?;
    /// let stream = listener.accept().await?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn from_std(listener: std::net::TcpListener) -> TcpListener {
        TcpListener::builder().adopt(listener)
    }

    /// Waits for a connection.
    ///
    /// The address of the peer is one system call away: [`TcpStream::peer_addr`]. Several tasks may
    /// wait, and are woken in order. A queued connection goes to the `accept` that is polled first;
    /// an `accept` that was woken and found none keeps its place. This is `accept4(2)`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped `accept` loses no connection.
    ///
    /// # Errors
    ///
    /// An error if this socket cannot accept at all, for example because it was shut down, and if
    /// the runtime has been closed. Shortages and connections that peers have given up are handled
    /// by the listener. The error goes to every `accept` that waits, or else to the next one; later
    /// ones ask the kernel again.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let server = listener.accept().await?;
    /// assert_eq!(server.peer_addr()?, client.local_addr()?);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn accept(&self) -> io::Result<TcpStream> {
        accept::accept(self.listening(), TcpStream::adopt).await
    }

    /// Turns the listener into a socket of std, and returns it with the connections of its queue.
    ///
    /// The queue has the connections that were accepted and not taken, in order, so a handover to a
    /// successor loses none. The socket goes on listening, and connections that are not accepted
    /// stay in its backlog. While a loop on epoll accepts, the socket is non-blocking for all its
    /// holders; then it is blocking, as std makes it.
    ///
    /// # Cancel safety
    ///
    /// Not cancel safe: dropping the future closes the listener and the connections of its queue.
    ///
    /// # Errors
    ///
    /// Those of `fcntl(2)`.
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// let (socket, accepted) = listener.into_std().await?;
    /// for mut stream in accepted {
    ///     ringloop::spawn(async move { stream.write_all(b"hello").await });
    /// }
    /// # let client = std::net::TcpStream::connect(socket.local_addr()?)?;
    /// let (stream, peer) = socket.accept()?; // of std
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn into_std(mut self) -> io::Result<(std::net::TcpListener, Vec<TcpStream>)> {
        let listening = self.listening.take().expect("given away once");
        let reactor = Rc::clone(listening.reactor());
        let (fd, accepted) = listening.give_away().await?;
        let listener = std::net::TcpListener::from(fd);
        listener.set_nonblocking(false)?;
        let accepted =
            accepted.into_iter().map(|connection| TcpStream::adopt(&reactor, connection));
        Ok((listener, accepted.collect()))
    }

    /// The connections, as a `futures_core::Stream` that never ends.
    ///
    /// Each item is that of one [`accept`](TcpListener::accept).
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let client = TcpStream::connect(listener.local_addr()?).await?;
    /// let mut incoming = listener.incoming();
    /// let stream = incoming.next().await?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming::new(self.listening(), TcpStream::adopt)
    }

    /// The address of the socket (`getsockname(2)`).
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        inet_addr(SockRef::from(&**self.listening()).local_addr()?)
    }

    fn listening(&self) -> &Rc<ListenerSocket> {
        self.listening.as_ref().expect("only `into_std` takes it, and it takes `self`")
    }
}

impl Drop for TcpListener {
    fn drop(&mut self) {
        if let Some(listening) = self.listening.take() {
            listening.close();
        }
    }
}

/// The descriptor, for system calls of the program's own. From then on a duplicate of it may exist.
impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listening().share();
        self.listening().as_fd()
    }
}

impl AsRawFd for TcpListener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.listening().as_fd().as_raw_fd();
        f.debug_struct("TcpListener").field("fd", &fd).finish_non_exhaustive()
    }
}

/// A builder of TCP listeners. [`TcpListener::builder`] makes one.
///
/// ```
/// # ringloop::run(async {
/// let listener = ringloop::net::TcpListener::builder()
///     .backlog(128)
///     .reuse_port(true)
///     .bind("127.0.0.1:0")?;
/// # drop(listener);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `bind`"]
pub struct TcpListenerBuilder {
    backlog: i32,
    bind_patience: Duration,
    reuse_port: bool,
    v6_only: Option<bool>,
    recv_buffer_size: Option<usize>,
    send_buffer_size: Option<usize>,
    max_connections: Option<usize>,
    overflow: Overflow,
}

impl TcpListenerBuilder {
    /// Sets how many connections the kernel holds until they are accepted (`listen(2)`).
    ///
    /// The kernel limits the value to `net.core.somaxconn`. The default is 4096.
    pub fn backlog(mut self, count: u32) -> TcpListenerBuilder {
        self.backlog = i32::try_from(count).unwrap_or(i32::MAX);
        self
    }

    /// Sets how long `bind` retries while the address is in use. Zero is one attempt.
    ///
    /// The default is one second. When a process that used io_uring is killed, the kernel keeps its
    /// listening sockets for some milliseconds (up to 93 were measured with 8 000 connections).
    /// Without the retry, the restart by a supervisor would fail. **The thread sleeps between the
    /// attempts, and the loop with it.** A bind that succeeded after a retry is reported once, as
    /// [`Unhandled::BindWaited`](crate::Unhandled::BindWaited).
    pub fn bind_patience(mut self, limit: Duration) -> TcpListenerBuilder {
        self.bind_patience = limit;
        self
    }

    /// Sets `SO_REUSEPORT`: several listeners, for example one per loop, share the port.
    ///
    /// The kernel distributes the connections over them. Off by default.
    pub fn reuse_port(mut self, is_on: bool) -> TcpListenerBuilder {
        self.reuse_port = is_on;
        self
    }

    /// Sets `IPV6_V6ONLY`: an IPv6 listener does not accept IPv4 connections.
    ///
    /// The default is that of the system (`net.ipv6.bindv6only`).
    pub fn v6_only(mut self, is_on: bool) -> TcpListenerBuilder {
        self.v6_only = Some(is_on);
        self
    }

    /// Sets the size of the kernel's receive buffer of every connection, in bytes, early enough for
    /// the TCP window to be scaled to it.
    ///
    /// Details: [`TcpStream::set_recv_buffer_size`].
    pub fn recv_buffer_size(mut self, bytes: usize) -> TcpListenerBuilder {
        self.recv_buffer_size = Some(bytes);
        self
    }

    /// Sets the size of the kernel's send buffer of every connection, in bytes.
    ///
    /// Details: [`TcpStream::set_send_buffer_size`].
    pub fn send_buffer_size(mut self, bytes: usize) -> TcpListenerBuilder {
        self.send_buffer_size = Some(bytes);
        self
    }

    /// Limits how many accepted connections may be open at once. No limit by default.
    ///
    /// A connection counts from its accept, also while it waits in the queue, until its descriptor
    /// is closed. For a dropped stream that is when its last bytes are sent, or when its linger has
    /// ended. [`overflow`](TcpListenerBuilder::overflow) decides what happens beyond the limit.
    ///
    /// The limit makes no error: [`accept`](TcpListener::accept) waits, and is cancel safe. With
    /// [`Overflow::LeaveInBacklog`] each connection costs a request of its own; without a limit, or
    /// with [`Overflow::Shed`], one request serves many.
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    ///
    /// ```
    /// use ringloop::net::{Overflow, TcpListener};
    ///
    /// # ringloop::run(async {
    /// let listener = TcpListener::builder()
    ///     .max_connections(10_000)
    ///     .overflow(Overflow::Shed) // the 10 001st connection is reset
    ///     .bind("127.0.0.1:0")?;
    /// # drop(listener);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn max_connections(mut self, count: usize) -> TcpListenerBuilder {
        assert!(count > 0, "a listener for 0 connections would never accept one");
        self.max_connections = Some(count);
        self
    }

    /// Sets what happens to connections beyond
    /// [`max_connections`](TcpListenerBuilder::max_connections).
    ///
    /// The default is [`Overflow::LeaveInBacklog`].
    pub fn overflow(mut self, overflow: Overflow) -> TcpListenerBuilder {
        self.overflow = overflow;
        self
    }

    /// Makes a listener of a listening socket of std, with the limit of this builder.
    ///
    /// It uses [`max_connections`](TcpListenerBuilder::max_connections) and
    /// [`overflow`](TcpListenerBuilder::overflow). The other settings belong to the bind, which has
    /// been done. Details: [`TcpListener::from_std`].
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub fn adopt(self, listener: std::net::TcpListener) -> TcpListener {
        let reactor = Rc::clone(&context::current().reactor);
        let limit = self.max_connections.map(|max| (max, self.overflow));
        let listening = ListenerSocket::new(reactor, OwnedFd::from(listener), limit);
        listening.share();
        TcpListener { listening: Some(listening) }
    }

    /// Listens on `addr` with these settings.
    ///
    /// Details: [`TcpListener::bind`].
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `bind(2)` and `listen(2)`, and of `setsockopt(2)` for the settings.
    /// `InvalidInput` for text that is not an address.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub fn bind(self, addr: impl ToAddr) -> io::Result<TcpListener> {
        let TcpListenerBuilder { backlog, bind_patience, reuse_port, v6_only, .. } = self;
        let addr = addr.to_addr()?;
        let reactor = Rc::clone(&context::current().reactor);
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if reuse_port {
            socket.set_reuse_port(true)?;
        }
        if let Some(v6_only) = v6_only.filter(|_| addr.is_ipv6()) {
            socket.set_only_v6(v6_only)?;
        }
        if let Some(bytes) = self.recv_buffer_size {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.send_buffer_size {
            socket.set_send_buffer_size(bytes)?;
        }
        let addr = SockAddr::from(addr);
        bind::bind_and_listen(&reactor, &socket, &addr, backlog, bind_patience)?;
        let limit = self.max_connections.map(|max| (max, self.overflow));
        let listening = ListenerSocket::new(reactor, OwnedFd::from(socket), limit);
        Ok(TcpListener { listening: Some(listening) })
    }
}
