//! `UnixListener`.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::bound_path::{self, BoundPath};
use super::{UnixStream, addr};
use crate::net::Overflow;
use crate::net::socket::accept::{self, Incoming};
use crate::net::socket::bind;
use crate::net::socket::listener::{BACKLOG, Listening};
use crate::runtime::context;

/// A server socket within this machine.
///
/// It accepts as [`TcpListener`](crate::net::TcpListener) does: by itself, into a queue, so that
/// dropping an [`accept`](UnixListener::accept) loses no connection; a shortage makes it rest.
///
/// Dropping the listener stops accepting, and removes the file that [`bind`](UnixListener::bind)
/// has made, if the path still leads to it: a successor's stays. If the program has seen the descriptor
/// (`as_fd`) or has forked, another descriptor of the socket may go on listening; then the file is
/// removed only if a connect to it is refused once ours is closed. [`keep_path`](UnixListener::keep_path)
/// and [`into_std`](UnixListener::into_std) leave it. A process that is killed leaves it behind.
///
/// ```no_run
/// # async fn example() -> std::io::Result<()> {
/// let listener = ringloop::net::UnixListener::bind("/run/example/hello")?;
/// loop {
///     let mut stream = listener.accept().await?;
///     ringloop::spawn(async move { stream.write_all(b"hello").await });
/// }
/// # }
/// ```
pub struct UnixListener {
    /// `None` for an abstract name, and once it has been removed.
    path: Option<BoundPath>,
    /// `None` once it has been given away.
    listening: Option<Rc<Listening>>,
}

impl UnixListener {
    /// Listens at `path`, with a backlog of 4096, which `net.core.somaxconn` cuts. A path that
    /// begins with `@` is not in the file system but a name of its own (an abstract address, which
    /// ends with the socket); for a file of that name write `./@name`.
    ///
    /// Who may connect is decided by the file's permissions, which the umask sets.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)`, `bind(2)` and `listen(2)`: `AddrInUse` if the path exists, whether or
    /// not anybody listens there. `InvalidInput` for a path that is empty, longer than 107 bytes or
    /// has a zero byte in it.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
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

    /// Makes a listener of a listening socket from elsewhere. As
    /// [`TcpListener::from_std`](crate::net::TcpListener::from_std). The file of the socket stays when
    /// the listener is dropped.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub fn from_std(listener: std::os::unix::net::UnixListener) -> UnixListener {
        UnixListener::builder().adopt(listener)
    }

    /// Waits for a connection. As [`TcpListener::accept`](crate::net::TcpListener::accept).
    ///
    /// Cancel safe: a dropped `accept` loses no connection.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        accept::accept(self.listening(), UnixStream::adopt).await
    }

    /// The connections as a stream that never ends.
    pub fn incoming(&self) -> Incoming<'_, UnixStream> {
        Incoming::new(self.listening(), UnixStream::adopt)
    }

    /// Leaves the file in place when the listener is dropped, for a successor that listens there.
    pub fn keep_path(&mut self) {
        if let Some(path) = self.path.take() {
            path.keep();
        }
    }

    /// Stops accepting and gives the socket away, with the connections that were accepted and not taken.
    /// The file stays. As [`TcpListener::into_std`](crate::net::TcpListener::into_std).
    ///
    /// # Errors
    ///
    /// Those of `fcntl(2)`.
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

    fn listening(&self) -> &Rc<Listening> {
        self.listening.as_ref().expect("only `into_std` takes it, and it takes `self`")
    }

    /// The address it listens on.
    ///
    /// # Errors
    ///
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        addr::from_addr(&SockRef::from(&**self.listening()).local_addr()?)
    }
}

impl Drop for UnixListener {
    fn drop(&mut self) {
        let Some(listening) = self.listening.take() else { return };
        match self.path.take() {
            // Another descriptor may go on listening. Whether one does shows once ours is closed.
            Some(path) if listening.may_be_shared() => {
                listening.at_close(move || path.remove_if_unheld());
            }
            path => drop(path), // before the descriptor: see `bound_path`
        }
        listening.close();
    }
}

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

/// Settings of a [`UnixListener`].
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
    /// How many connections the kernel holds until they are accepted; further connects wait.
    /// `net.core.somaxconn` cuts it. Default: 4096.
    pub fn backlog(mut self, count: u32) -> UnixListenerBuilder {
        self.backlog = i32::try_from(count).unwrap_or(i32::MAX);
        self
    }

    /// The permissions of the file, as of `chmod(2)`: who may write to it may connect. They are set
    /// before the socket listens, so there is no moment with others. An abstract name has none: every
    /// process of the network namespace may connect. Default: what the umask leaves of `0o777`.
    ///
    /// ```no_run
    /// # async fn example() -> std::io::Result<()> {
    /// let listener = ringloop::net::UnixListener::builder()
    ///     .mode(0o660)
    ///     .unlink_existing(true)
    ///     .bind("/run/example/hello")?;
    /// # drop(listener);
    /// # Ok(())
    /// # }
    /// ```
    pub fn mode(mut self, mode: u32) -> UnixListenerBuilder {
        self.mode = Some(mode);
        self
    }

    /// Removes the file of a socket on which nothing listens, as a process that was killed leaves it
    /// behind. A file that is no socket, and a socket that answers, stay, and
    /// [`bind`](UnixListenerBuilder::bind) fails with `AddrInUse`. Default: off.
    ///
    /// To find out, it connects: a listener that is there gets a connection which ends at once. Two
    /// servers that start at the same moment may still disturb each other: one that has bound and does
    /// not listen yet looks like one that was killed. A supervisor, or a lock, has to keep them apart.
    pub fn unlink_existing(mut self, is_on: bool) -> UnixListenerBuilder {
        self.unlink_existing = is_on;
        self
    }

    /// How many accepted connections may be open at once. As
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

    /// What happens to connections beyond the limit. [`Overflow::Shed`] closes them: a Unix socket
    /// knows no reset. Default: [`Overflow::LeaveInBacklog`].
    pub fn overflow(mut self, overflow: Overflow) -> UnixListenerBuilder {
        self.overflow = overflow;
        self
    }

    /// Makes a listener of a listening socket from elsewhere. As
    /// [`TcpListenerBuilder::adopt`](crate::net::TcpListenerBuilder::adopt).
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub fn adopt(self, listener: std::os::unix::net::UnixListener) -> UnixListener {
        let reactor = Rc::clone(&context::current().reactor);
        let limit = self.max_connections.map(|max| (max, self.overflow));
        let listening = Listening::new(reactor, OwnedFd::from(listener), limit);
        listening.share();
        UnixListener { path: None, listening: Some(listening) }
    }

    /// Listens at `path`. As [`UnixListener::bind`].
    ///
    /// # Errors
    ///
    /// As there.
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
        let listening = Listening::new(reactor, OwnedFd::from(socket), limit);
        Ok(UnixListener { path, listening: Some(listening) })
    }

    /// A file that exists does not go away by itself, so there is nothing to wait for.
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
            // Before it listens: until then a connect is refused, whoever may open the file.
            fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        }
        socket.listen(self.backlog)?;
        Ok(bound)
    }
}
