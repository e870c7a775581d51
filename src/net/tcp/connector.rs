//! `TcpStream::builder()`: what has to be set before a connection is made.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};

use super::TcpStream;
use super::options::{self, Keepalive};
use crate::net::ToAddr;
use crate::net::socket::connect;
use crate::runtime::context;
use crate::sys::socket as sys;
use crate::task::coop;
use crate::time::timeout;

/// Settings of a connection that is to be made. See [`TcpStream::builder`].
///
/// What is not set is the system's default. The builder may be cloned, to make several connections.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `connect`"]
pub struct TcpStreamBuilder {
    /// An error's text for what is no address, which `connect` returns.
    local_addr: Option<Result<SocketAddr, String>>,
    reuse_address: bool,
    nodelay: bool,
    recv_buffer_size: Option<usize>,
    send_buffer_size: Option<usize>,
    keepalive: Option<Keepalive>,
    user_timeout: Option<Duration>,
}

impl TcpStreamBuilder {
    /// Connects from `addr`: the address decides the interface or the source address of the packets.
    /// Port 0 leaves the port to the kernel, which chooses it at the connect, so that two connections
    /// to different peers may have the same one (`IP_BIND_ADDRESS_NO_PORT`).
    pub fn bind(mut self, addr: impl ToAddr) -> TcpStreamBuilder {
        self.local_addr = Some(addr.to_addr().map_err(|error| error.to_string()));
        self
    }

    /// Sets `SO_REUSEADDR`, so that a local port can be bound while an earlier connection from it is in
    /// `TIME_WAIT`. The earlier one must have had it set, too. Default: off.
    pub fn reuse_address(mut self, is_on: bool) -> TcpStreamBuilder {
        self.reuse_address = is_on;
        self
    }

    /// As [`TcpStream::set_nodelay`]. Default: off.
    pub fn nodelay(mut self, is_on: bool) -> TcpStreamBuilder {
        self.nodelay = is_on;
        self
    }

    /// As [`TcpStream::set_recv_buffer_size`], and early enough for the window to be scaled to it.
    pub fn recv_buffer_size(mut self, bytes: usize) -> TcpStreamBuilder {
        self.recv_buffer_size = Some(bytes);
        self
    }

    /// As [`TcpStream::set_send_buffer_size`].
    pub fn send_buffer_size(mut self, bytes: usize) -> TcpStreamBuilder {
        self.send_buffer_size = Some(bytes);
        self
    }

    /// As [`TcpStream::set_keepalive`].
    pub fn keepalive(mut self, keepalive: Keepalive) -> TcpStreamBuilder {
        self.keepalive = Some(keepalive);
        self
    }

    /// As [`TcpStream::set_user_timeout`]. It also limits how long the connect takes.
    pub fn user_timeout(mut self, limit: Duration) -> TcpStreamBuilder {
        self.user_timeout = Some(limit);
        self
    }

    /// Connects to `addr`. As [`TcpStream::connect`].
    ///
    /// Cancel safe: dropping the future closes the socket.
    ///
    /// # Errors
    ///
    /// As there, those of `bind(2)` (`AddrNotAvailable` for an address that is not this machine's,
    /// `AddrInUse`), and those of the settings.
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

    /// Connects to `addr`, within `duration`. Otherwise as [`connect`](TcpStreamBuilder::connect).
    ///
    /// # Errors
    ///
    /// `TimedOut` besides the others.
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
                // A kernel that does not know it chooses a port now, which is scarcer.
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
