//! [`TcpStreamBuilder`]: settings that must be made before a connect.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::options::{self, Keepalive};
use super::stream::TcpStream;
use crate::net::addr::ToAddr;
use crate::net::socket::connect;
use crate::runtime::context;
use crate::sys::socket as sys;
use crate::task::coop;
use crate::time::timeout;

/// A builder of TCP connections, for settings that must be made before the connect.
///
/// [`TcpStream::builder`] makes one. A setting that is not made has the default of the system. The
/// builder can be cloned, to make several connections.
///
/// ```
/// use ringloop::net::{Keepalive, TcpListener, TcpStream};
///
/// # ringloop::run(async {
/// # let listener = TcpListener::bind("127.0.0.1:0")?;
/// # let addr = listener.local_addr()?;
/// let builder = TcpStream::builder().nodelay(true).keepalive(Keepalive::default());
/// let one = builder.clone().connect(addr).await?;
/// let other = builder.connect(addr).await?;
/// assert!(one.nodelay()? && other.nodelay()?);
/// # std::io::Result::Ok(()) }).unwrap();
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `connect`"]
pub struct TcpStreamBuilder {
    /// `Err` has the text of the error for what is not an address. `connect` returns it.
    local_addr: Option<Result<SocketAddr, String>>,
    reuse_address: bool,
    nodelay: bool,
    recv_buffer_size: Option<usize>,
    send_buffer_size: Option<usize>,
    keepalive: Option<Keepalive>,
    user_timeout: Option<Duration>,
}

impl TcpStream {
    /// A builder for connections with settings that must be made before the connect.
    ///
    /// Its defaults are those of [`connect`](TcpStream::connect).
    ///
    /// ```
    /// # use ringloop::net::{TcpListener, TcpStream};
    /// # ringloop::run(async {
    /// # let listener = TcpListener::bind("127.0.0.1:0")?;
    /// # let addr = listener.local_addr()?;
    /// let stream = TcpStream::builder()
    ///     .bind("127.0.0.2:0") // the source address
    ///     .nodelay(true)
    ///     .recv_buffer_size(4 << 20)
    ///     .connect(addr)
    ///     .await?;
    /// assert!(stream.nodelay()?);
    /// # std::io::Result::Ok(()) }).unwrap();
    /// ```
    pub fn builder() -> TcpStreamBuilder {
        TcpStreamBuilder::default()
    }
}

impl TcpStreamBuilder {
    /// Sets the address of this side (`bind(2)`): the source address of the packets.
    ///
    /// With port 0 the kernel chooses the port at the connect, so that connections to different
    /// peers can share a port (`IP_BIND_ADDRESS_NO_PORT`). The default is the address of the route.
    /// [`connect`](TcpStreamBuilder::connect) returns the error of an invalid address.
    pub fn bind(mut self, addr: impl ToAddr) -> TcpStreamBuilder {
        self.local_addr = Some(addr.to_addr().map_err(|error| error.to_string()));
        self
    }

    /// Sets `SO_REUSEADDR`: a local port can be bound while an earlier connection from it is in
    /// `TIME_WAIT`.
    ///
    /// The earlier connection must have had the option set, too. Off by default.
    pub fn reuse_address(mut self, is_on: bool) -> TcpStreamBuilder {
        self.reuse_address = is_on;
        self
    }

    /// Sets `TCP_NODELAY`, like [`TcpStream::set_nodelay`]. Off by default.
    pub fn nodelay(mut self, is_on: bool) -> TcpStreamBuilder {
        self.nodelay = is_on;
        self
    }

    /// Sets the size of the kernel's receive buffer, in bytes, early enough for the TCP window to
    /// be scaled to it.
    ///
    /// Details: [`TcpStream::set_recv_buffer_size`].
    pub fn recv_buffer_size(mut self, bytes: usize) -> TcpStreamBuilder {
        self.recv_buffer_size = Some(bytes);
        self
    }

    /// Sets the size of the kernel's send buffer, in bytes.
    ///
    /// Details: [`TcpStream::set_send_buffer_size`].
    pub fn send_buffer_size(mut self, bytes: usize) -> TcpStreamBuilder {
        self.send_buffer_size = Some(bytes);
        self
    }

    /// Sets when the kernel probes a silent peer. Off by default.
    ///
    /// Details: [`TcpStream::set_keepalive`].
    pub fn keepalive(mut self, keepalive: Keepalive) -> TcpStreamBuilder {
        self.keepalive = Some(keepalive);
        self
    }

    /// Limits how long sent bytes may stay unacknowledged, and how long the connect takes.
    ///
    /// Details: [`TcpStream::set_user_timeout`].
    pub fn user_timeout(mut self, limit: Duration) -> TcpStreamBuilder {
        self.user_timeout = Some(limit);
        self
    }

    /// Connects to `addr` with these settings.
    ///
    /// Details: [`TcpStream::connect`].
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: dropping the future closes the socket.
    ///
    /// # Errors
    ///
    /// Those of `socket(2)` and `connect(2)`, and `InvalidInput` for text that is not an address.
    /// Those of `bind(2)`: `AddrNotAvailable` for an address that this machine does not have,
    /// `AddrInUse`. Those of `setsockopt(2)` for the settings.
    ///
    /// # Panics
    ///
    /// If no loop runs on this thread.
    pub async fn connect(self, addr: impl ToAddr) -> io::Result<TcpStream> {
        let (fd, addr) = match self.socket_for(&addr) {
            Ok(made) => made,
            Err(error) => return coop::ready(Err(error)).await,
        };
        let reactor = Rc::clone(&context::current().reactor);
        let socket = connect::connect(reactor, fd, SockAddr::from(addr)).await?;
        Ok(TcpStream::from_socket(socket))
    }

    /// Connects to `addr` with these settings, within `duration`.
    ///
    /// Otherwise like [`connect`](TcpStreamBuilder::connect), with the same cancel safety and
    /// panics.
    ///
    /// # Errors
    ///
    /// `TimedOut` after `duration`. Otherwise those of [`connect`](TcpStreamBuilder::connect).
    pub async fn connect_timeout(
        self,
        addr: impl ToAddr,
        duration: Duration,
    ) -> io::Result<TcpStream> {
        timeout(duration, self.connect(addr)).await?
    }

    fn socket_for(&self, addr: &impl ToAddr) -> io::Result<(OwnedFd, SocketAddr)> {
        let addr = addr.to_addr()?;
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        self.set_options(&SockRef::from(&socket))?;
        if let Some(local_addr) = &self.local_addr {
            let invalid = |text: &String| io::Error::new(io::ErrorKind::InvalidInput, text.clone());
            let local_addr = *local_addr.as_ref().map_err(invalid)?;
            if local_addr.port() == 0 {
                // A kernel without this option chooses a port now, from fewer ports.
                let _ = sys::choose_port_at_connect(socket.as_raw_fd());
            }
            socket.bind(&SockAddr::from(local_addr))?;
        }
        Ok((socket.into(), addr))
    }

    fn set_options(&self, socket: &SockRef<'_>) -> io::Result<()> {
        if self.reuse_address {
            socket.set_reuse_address(true)?;
        }
        if self.nodelay {
            socket.set_tcp_nodelay(true)?;
        }
        if let Some(bytes) = self.recv_buffer_size {
            socket.set_recv_buffer_size(bytes)?;
        }
        if let Some(bytes) = self.send_buffer_size {
            socket.set_send_buffer_size(bytes)?;
        }
        if let Some(keepalive) = self.keepalive {
            keepalive.set(socket)?;
        }
        if self.user_timeout.is_some() {
            options::set_user_timeout(socket, self.user_timeout)?;
        }
        Ok(())
    }
}
