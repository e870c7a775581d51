//! [`UnixListener`] and its builder.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::addr;
use super::bound_path::{self, BoundPath};
use super::stream::UnixStream;
use crate::net::socket::accept::{self, Incoming};
use crate::net::socket::admission::Overflow;
use crate::net::socket::bind;
use crate::net::socket::listener::{BACKLOG, ListenerSocket};
use crate::runtime::context;

/// A Unix socket that accepts connections (`unix(7)`, `SOCK_STREAM`).
///
/// It accepts like [`TcpListener`](crate::net::TcpListener): from the first
/// [`accept`](UnixListener::accept) on into a queue, so dropping an `accept` loses no connection,
/// and when descriptors or memory run out, it retries after 100 ms and reports the shortage once.
///
/// Dropping the listener stops accepting, and removes the file that [`bind`](UnixListener::bind)
/// made, if the path still leads to it: the file of a successor stays. If the program has seen the
/// descriptor (`as_fd`) or has forked, another descriptor of the socket may go on listening; the
/// file is then removed only if a connect to it is refused after the descriptor is closed.
/// [`keep_path`](UnixListener::keep_path) and [`into_std`](UnixListener::into_std) leave the file,
/// and so does a process that is killed.
///
/// ```
/// use ringloop::net::{UnixListener, UnixStream};
///
/// # ringloop::run(async {
/// # let path = std::env::temp_dir().join(format!("ringloop-listener-{}", std::process::id()));
/// let listener = UnixListener::bind(&path)?; // for example "/run/server/socket"
/// ringloop::spawn(async move {
///     while let Ok(mut stream) = listener.accept().await {
///         ringloop::spawn(async move { stream.write_all(b"hello").await });
///     }
/// });
///
/// let mut client = UnixStream::connect(&path).await?;
/// assert_eq!(*client.recv().await?, *b"hello");
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
pub struct UnixListener {
    /// `None` for an abstract name, and once it has been removed.
    path: Option<BoundPath>,
    /// `None` once `into_std` or `drop` has taken it.
    listening: Option<Rc<ListenerSocket>>,
}

impl UnixListener {
    /// Listens at `path`, with a backlog of 4096 connections.
    ///
    /// A path that begins with `@` is an abstract name (`unix(7)`), not a file, and ends with the
    /// socket; for a file of that name write `./@name`. The permissions of the file, which the
    /// umask sets, decide which processes may connect.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `bind(2)` and `listen(2)`: `AddrInUse` if the path exists, also if no
    /// socket listens there. `InvalidInput` for a path that is empty, longer than 107 bytes, or has
    /// a zero byte in it.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    ///
    /// ```
    /// # ringloop::run(async {
    /// # let name = format!("@ringloop-doc-bind-{}", std::process::id());
    /// let listener = ringloop::net::UnixListener::bind(name)?; // for example "@server"
    /// # drop(listener);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn bind(path: impl AsRef<Path>) -> io::Result<UnixListener> {
        UnixListener::builder().bind(path)
    }

    /// A builder whose defaults are those of [`bind`](UnixListener::bind).
    pub fn builder() -> UnixListenerBuilder {
        UnixListenerBuilder {
            backlog: BACKLOG,
            mode: None,
            unlink_existing: false,
            max_connections: None,
            overflow: Overflow::default(),
        }
    }

    /// Makes a listener of a listening socket of std.
    ///
    /// The file of the socket stays when the listener is dropped. Details:
    /// [`TcpListener::from_std`](crate::net::TcpListener::from_std).
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    ///
    /// ```
    /// # use std::os::linux::net::SocketAddrExt;
    /// # use std::os::unix::net::SocketAddr;
    /// # ringloop::run(async {
    /// # let name = format!("ringloop-doc-from-std-{}", std::process::id());
    /// # let addr = SocketAddr::from_abstract_name(name)?;
    /// let socket = std::os::unix::net::UnixListener::bind_addr(&addr)?;
    /// let listener = ringloop::net::UnixListener::from_std(socket);
    /// # drop(listener);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> UnixListener {
        UnixListener::builder().adopt(listener)
    }

    /// Waits for a connection.
    ///
    /// Several tasks may wait, and are woken in order. Details:
    /// [`TcpListener::accept`](crate::net::TcpListener::accept). This is `accept4(2)`.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped `accept` loses no connection.
    ///
    /// # Errors
    ///
    /// An error if this socket cannot accept at all, for example because it was shut down, and if
    /// the runtime has been closed. Shortages are handled by the listener.
    ///
    /// ```
    /// # use ringloop::net::{UnixListener, UnixStream};
    /// # ringloop::run(async {
    /// # let name = format!("@ringloop-doc-accept-{}", std::process::id());
    /// let listener = UnixListener::bind(&name)?;
    /// let mut client = UnixStream::connect(&name).await?;
    /// let mut server = listener.accept().await?;
    /// client.write_all(b"hello").await?;
    /// assert_eq!(*server.recv().await?, *b"hello");
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn accept(&self) -> io::Result<UnixStream> {
        accept::accept(self.listening(), UnixStream::adopt).await
    }

    /// The connections, as a `futures_core::Stream` that never ends.
    ///
    /// Each item is that of one [`accept`](UnixListener::accept).
    pub fn incoming(&self) -> Incoming<'_, UnixStream> {
        Incoming::new(self.listening(), UnixStream::adopt)
    }

    /// Leaves the file in place when the listener is dropped, for a successor that listens there.
    ///
    /// ```
    /// # ringloop::run(async {
    /// # let path = std::env::temp_dir().join(format!("ringloop-keep-{}", std::process::id()));
    /// let mut listener = ringloop::net::UnixListener::bind(&path)?;
    /// listener.keep_path();
    /// drop(listener);
    /// assert!(path.exists());
    /// # std::fs::remove_file(&path)?;
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn keep_path(&mut self) {
        if let Some(path) = self.path.take() {
            path.keep();
        }
    }

    /// Turns the listener into a socket of std, and returns it with the connections of its queue.
    ///
    /// The file of the socket stays. Details:
    /// [`TcpListener::into_std`](crate::net::TcpListener::into_std).
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
    /// # ringloop::run(async {
    /// # let name = format!("@ringloop-doc-into-std-{}", std::process::id());
    /// let listener = ringloop::net::UnixListener::bind(name)?;
    /// let (socket, accepted) = listener.into_std().await?;
    /// assert!(accepted.is_empty());
    /// # drop(socket);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub async fn into_std(
        mut self,
    ) -> io::Result<(std::os::unix::net::UnixListener, Vec<UnixStream>)> {
        self.keep_path();
        let listening = self.listening.take().expect("given away once");
        let reactor = Rc::clone(listening.reactor());
        let (fd, accepted) = listening.give_away().await?;
        let listener = std::os::unix::net::UnixListener::from(fd);
        listener.set_nonblocking(false)?;
        let accepted =
            accepted.into_iter().map(|connection| UnixStream::adopt(&reactor, connection));
        Ok((listener, accepted.collect()))
    }

    /// The address of the socket (`getsockname(2)`).
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        addr::from_addr(&SockRef::from(&**self.listening()).local_addr()?)
    }

    fn listening(&self) -> &Rc<ListenerSocket> {
        self.listening.as_ref().expect("only `into_std` takes it, and it takes `self`")
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        let Some(listening) = self.listening.take() else { return };
        match self.path.take() {
            // Another descriptor may go on listening. A connect finds out once ours is closed.
            Some(path) if listening.may_be_shared() => {
                listening.at_close(move || path.remove_if_unheld());
            }
            path => drop(path), // before the descriptor: see `bound_path`
        }
        listening.close();
    }
}

/// The descriptor, for system calls of the program's own. From then on a duplicate of it may exist.
impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listening().share();
        self.listening().as_fd()
    }
}

impl AsRawFd for UnixListener {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl fmt::Debug for UnixListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fd = self.listening().as_fd().as_raw_fd();
        f.debug_struct("UnixListener").field("fd", &fd).finish_non_exhaustive()
    }
}

/// A builder of Unix listeners. [`UnixListener::builder`] makes one.
///
/// ```
/// # ringloop::run(async {
/// # let path = std::env::temp_dir().join(format!("ringloop-builder-{}", std::process::id()));
/// let listener = ringloop::net::UnixListener::builder()
///     .mode(0o660)
///     .unlink_existing(true)
///     .bind(&path)?;
/// # drop(listener);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `bind`"]
pub struct UnixListenerBuilder {
    backlog: i32,
    mode: Option<u32>,
    unlink_existing: bool,
    max_connections: Option<usize>,
    overflow: Overflow,
}

impl UnixListenerBuilder {
    /// Sets how many connections the kernel holds until they are accepted (`listen(2)`). Further
    /// connects wait.
    ///
    /// The kernel limits the value to `net.core.somaxconn`. The default is 4096.
    pub fn backlog(mut self, count: u32) -> UnixListenerBuilder {
        self.backlog = i32::try_from(count).unwrap_or(i32::MAX);
        self
    }

    /// Sets the permissions of the file (`chmod(2)`): a process that may write to it may connect.
    ///
    /// They are set before the socket listens, so a connect never finds others. An abstract name
    /// has none: every process of the network namespace may connect. The default is `0o777` without
    /// the bits of the umask.
    pub fn mode(mut self, mode: u32) -> UnixListenerBuilder {
        self.mode = Some(mode);
        self
    }

    /// Sets whether `bind` removes the file of a socket on which no process listens, as a killed
    /// process leaves it. Off by default.
    ///
    /// A file that is not a socket, and a socket that accepts, stay, and
    /// [`bind`](UnixListenerBuilder::bind) fails with `AddrInUse`.
    ///
    /// To find out, `bind` connects: an existing listener gets a connection which ends at once. Two
    /// servers that start at the same moment may still disturb each other, because one that has
    /// bound and does not listen yet looks like one that was killed. Start them one by one, or use
    /// a lock.
    pub fn unlink_existing(mut self, is_on: bool) -> UnixListenerBuilder {
        self.unlink_existing = is_on;
        self
    }

    /// Limits how many accepted connections may be open at once. No limit by default.
    ///
    /// Details:
    /// [`TcpListenerBuilder::max_connections`](crate::net::TcpListenerBuilder::max_connections).
    ///
    /// # Panics
    ///
    /// If `count` is 0.
    pub fn max_connections(mut self, count: usize) -> UnixListenerBuilder {
        assert!(count > 0, "a listener for 0 connections would never accept one");
        self.max_connections = Some(count);
        self
    }

    /// Sets what happens to connections beyond the limit.
    ///
    /// [`Overflow::Shed`] closes them, as the kernel has no reset for Unix sockets. The default is
    /// [`Overflow::LeaveInBacklog`].
    pub fn overflow(mut self, overflow: Overflow) -> UnixListenerBuilder {
        self.overflow = overflow;
        self
    }

    /// Makes a listener of a listening socket of std, with the limit of this builder.
    ///
    /// It uses [`max_connections`](UnixListenerBuilder::max_connections) and
    /// [`overflow`](UnixListenerBuilder::overflow). The other settings belong to the bind, which
    /// has been done. Details: [`UnixListener::from_std`].
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub fn adopt(self, listener: std::os::unix::net::UnixListener) -> UnixListener {
        let reactor = Rc::clone(&context::current().reactor);
        let limit = self.max_connections.map(|max| (max, self.overflow));
        let listening = ListenerSocket::new(reactor, OwnedFd::from(listener), limit);
        listening.share();
        UnixListener { path: None, listening: Some(listening) }
    }

    /// Listens at `path` with these settings.
    ///
    /// Details: [`UnixListener::bind`].
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `bind(2)`, `listen(2)` and `chmod(2)`: `AddrInUse` if the path exists
    /// and was not removed. `InvalidInput` for a path that is empty, longer than 107 bytes, or has
    /// a zero byte in it.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub fn bind(self, path: impl AsRef<Path>) -> io::Result<UnixListener> {
        let path = path.as_ref();
        let addr = addr::to_addr(path)?;
        let reactor = Rc::clone(&context::current().reactor);
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        let path = match addr.as_pathname() {
            Some(_) => Some(self.bind_path(&socket, &addr, path)?),
            None => {
                let (backlog, patience) = (self.backlog, bind::PATIENCE);
                bind::bind_and_listen(&reactor, &socket, &addr, backlog, patience)?;
                None
            }
        };
        let limit = self.max_connections.map(|max| (max, self.overflow));
        let listening = ListenerSocket::new(reactor, OwnedFd::from(socket), limit);
        Ok(UnixListener { path, listening: Some(listening) })
    }

    /// Binds to a file. It does not retry: an existing file does not go away by itself.
    fn bind_path(&self, socket: &Socket, addr: &SockAddr, path: &Path) -> io::Result<BoundPath> {
        match socket.bind(addr) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && self.unlink_existing
                    && bound_path::remove_stale(path)? =>
            {
                socket.bind(addr)?;
            }
            result => result?,
        }
        let bound = BoundPath::new(path)?;
        if let Some(mode) = self.mode {
            // Before it listens: until then every connect is refused.
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        socket.listen(self.backlog)?;
        Ok(bound)
    }
}
