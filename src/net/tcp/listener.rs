//! `TcpListener`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::TcpStream;
use super::stream::inet_addr;
use crate::net::socket::accept::{self, Incoming};
use crate::net::socket::bind;
use crate::net::socket::listener::{BACKLOG, Listening};
use crate::net::{Overflow, ToAddr};
use crate::runtime::context;

/// A TCP server socket.
///
/// It accepts by itself, from the first [`accept`](TcpListener::accept) on, and queues what has
/// come; `accept()` takes from the queue, so dropping one loses no connection. When descriptors or
/// memory run out it backs off for 100 ms and reports that once, to
/// [`on_unhandled`](crate::Builder::on_unhandled); peers that give up before they are accepted are
/// passed over in silence.
///
/// Dropping the listener stops accepting and closes the descriptor, as soon as the accept in flight has
/// ended; connections that were accepted and not taken are closed. Another descriptor of the socket, in
/// a successor or a child, goes on listening. [`into_std`](TcpListener::into_std) gives the socket away
/// without losing a connection.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let listener = ringloop::net::TcpListener::bind("127.0.0.1:7000")?;
/// loop {
///     let mut stream = listener.accept().await?;
///     ringloop::spawn(async move { stream.write_all(b"hello").await });
/// }
/// # }
/// ```
pub struct TcpListener {
    /// `None` once it has been given away.
    listening: Option<Rc<Listening>>,
}

impl TcpListener {
    /// Listens on `addr`, with `SO_REUSEADDR` and a backlog of 4096. Port 0 picks a free one.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `bind(2)` and `listen(2)`, and `InvalidInput` for text that is no
    /// address.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub fn bind(addr: impl ToAddr) -> io::Result<TcpListener> {
        TcpListener::builder().bind(addr)
    }

    /// A listener with other settings than those of [`bind`](TcpListener::bind).
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

    /// Makes a listener of a listening socket from elsewhere: a supervisor's
    /// ([`activated`](crate::net::activated)), or one that another listener's `into_std` has given
    /// away. Other descriptors of the socket may go on accepting; each connection goes to one of them.
    ///
    /// The socket is not changed, except that the epoll driver makes it non-blocking, for all that
    /// hold it. For a limit on connections see [`TcpListenerBuilder::adopt`].
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub fn from_std(listener: std::net::TcpListener) -> TcpListener {
        TcpListener::builder().adopt(listener)
    }

    /// Waits for a connection.
    ///
    /// The peer's address is a system call away, [`TcpStream::peer_addr`], for who needs it.
    ///
    /// Several tasks may wait at once and are woken in order. A connection that is queued already
    /// goes to the `accept` that is polled first; one that was woken in vain keeps its place. Cancel
    /// safe: a dropped `accept` loses no connection.
    ///
    /// # Errors
    ///
    /// Only if this socket cannot accept at all, for example because it was shut down, and if the
    /// runtime has been closed. Shortages and peers that gave up are handled. An error is returned to
    /// the accepts that wait, or else to the next one; later ones ask the kernel again.
    pub async fn accept(&self) -> io::Result<TcpStream> {
        accept::accept(self.listening(), TcpStream::adopt).await
    }

    /// Stops accepting and gives the socket away: to a successor, or to code that knows std only. Returns
    /// it with the connections that were accepted and not taken yet, in order, so that a handover loses
    /// none.
    ///
    /// The socket goes on listening, and connections that nothing has accepted stay in its backlog.
    /// While a loop on epoll accepts, the socket is non-blocking for every holder; afterwards it is
    /// blocking, as std makes it.
    ///
    /// Not cancel safe: dropping the future closes the listener and what it has queued.
    ///
    /// ```no_run
    /// # async fn example(listener: ringloop::net::TcpListener) -> std::io::Result<()> {
    /// let (socket, accepted) = listener.into_std().await?;
    /// for stream in accepted {
    ///     ringloop::spawn(async move { stream.close().await }); // or serve it
    /// }
    /// # drop(socket);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Those of `fcntl(2)`.
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

    /// The connections as a stream that never ends.
    pub fn incoming(&self) -> Incoming<'_> {
        Incoming::new(self.listening(), TcpStream::adopt)
    }

    /// The address it listens on.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        inet_addr(SockRef::from(&**self.listening()).local_addr()?)
    }
}

impl TcpListener {
    fn listening(&self) -> &Rc<Listening> {
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

/// Settings of a [`TcpListener`].
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
    /// How many connections the kernel holds until they are accepted. `net.core.somaxconn` cuts
    /// it. Default: 4096.
    pub fn backlog(mut self, count: u32) -> TcpListenerBuilder {
        self.backlog = i32::try_from(count).unwrap_or(i32::MAX);
        self
    }

    /// How long to retry while the address is in use. Default: 1 second; zero for one attempt.
    ///
    /// After a process that used io_uring was killed, the kernel keeps its listening sockets for some
    /// milliseconds (up to 93 were measured with 8 000 connections), so a supervisor's restart would
    /// fail without this. **The thread sleeps meanwhile, and the loop with it.** If waiting helped, that
    /// is reported once, as [`Unhandled::BindWaited`](crate::Unhandled::BindWaited).
    pub fn bind_patience(mut self, limit: Duration) -> TcpListenerBuilder {
        self.bind_patience = limit;
        self
    }

    /// Sets `SO_REUSEPORT`, so that several listeners, one per loop, share the port.
    pub fn reuse_port(mut self, is_on: bool) -> TcpListenerBuilder {
        self.reuse_port = is_on;
        self
    }

    /// Sets `IPV6_V6ONLY`: whether an IPv6 listener leaves IPv4 alone. Default: the system's.
    pub fn v6_only(mut self, is_on: bool) -> TcpListenerBuilder {
        self.v6_only = Some(is_on);
        self
    }

    /// Sets the size of the kernel's receive buffer of every connection, as
    /// [`TcpStream::set_recv_buffer_size`] does, and early enough for the window to be scaled to it.
    pub fn recv_buffer_size(mut self, bytes: usize) -> TcpListenerBuilder {
        self.recv_buffer_size = Some(bytes);
        self
    }

    /// Sets the size of the kernel's send buffer of every connection, as
    /// [`TcpStream::set_send_buffer_size`] does.
    pub fn send_buffer_size(mut self, bytes: usize) -> TcpListenerBuilder {
        self.send_buffer_size = Some(bytes);
        self
    }

    /// How many accepted connections may be open at once. A connection counts from its accept, also
    /// while it waits for an [`accept`](TcpListener::accept), until its descriptor is closed: for a
    /// dropped stream that is when its last bytes are sent, or its linger has ended. Beyond the limit
    /// see [`overflow`](TcpListenerBuilder::overflow). Default: no limit.
    ///
    /// An `accept` that waits because of the limit is cancel safe, as any other. The limit makes no
    /// error: `accept` waits. With [`Overflow::LeaveInBacklog`] each connection costs a request of its
    /// own; without a limit, or with [`Overflow::Shed`], one request serves many.
    ///
    /// ```no_run
    /// use ringloop::net::{Overflow, TcpListener};
    ///
    /// # async fn example() -> std::io::Result<()> {
    /// let listener = TcpListener::builder()
    ///     .max_connections(10_000)
    ///     .overflow(Overflow::Shed)
    ///     .bind("0.0.0.0:7000")?;
    /// loop {
    ///     let mut stream = listener.accept().await?; // the ten thousand and first is reset
    ///     ringloop::spawn(async move { stream.write_all(b"hello").await });
    /// }
    /// # }
    /// ```
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    pub fn max_connections(mut self, count: usize) -> TcpListenerBuilder {
        assert!(count > 0, "a listener for 0 connections would never accept one");
        self.max_connections = Some(count);
        self
    }

    /// What happens to connections beyond [`max_connections`](TcpListenerBuilder::max_connections).
    /// Default: [`Overflow::LeaveInBacklog`].
    pub fn overflow(mut self, overflow: Overflow) -> TcpListenerBuilder {
        self.overflow = overflow;
        self
    }

    /// Makes a listener of a listening socket from elsewhere, as [`TcpListener::from_std`], with this
    /// builder's `max_connections` and `overflow`. What the other settings are about has been decided
    /// when the socket was bound.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub fn adopt(self, listener: std::net::TcpListener) -> TcpListener {
        let reactor = Rc::clone(&context::current().reactor);
        let limit = self.max_connections.map(|max| (max, self.overflow));
        let listening = Listening::new(reactor, OwnedFd::from(listener), limit);
        listening.share();
        TcpListener { listening: Some(listening) }
    }

    /// Listens on `addr`. As [`TcpListener::bind`].
    ///
    /// # Errors
    ///
    /// As there.
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
        let listening = Listening::new(reactor, OwnedFd::from(socket), limit);
        Ok(TcpListener { listening: Some(listening) })
    }
}
