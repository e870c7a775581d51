//! Reaching the target, from an address of our choice if there is one.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use ringloop::io::AsyncFd;
use ringloop::net::{TcpStream, UnixStream};
use socket2::{Domain, Protocol, Socket, Type};

use crate::address::Address;
use crate::stream::Stream;
use crate::sys;

pub(super) async fn connect(
    address: &Address,
    source: Option<IpAddr>,
    patience: Duration,
) -> io::Result<Stream> {
    match address {
        Address::Tcp(addr) => {
            let stream = match source {
                None => TcpStream::connect_timeout(*addr, patience).await?,
                Some(source) => {
                    ringloop::time::timeout(patience, connect_from(*addr, source)).await??
                }
            };
            // Delayed acknowledgements and Nagle's algorithm together make 40 ms that no server
            // spent.
            stream.set_nodelay(true)?;
            Ok(Stream::Tcp(stream))
        }
        Address::Unix(path) => UnixStream::connect_timeout(path, patience).await.map(Stream::Unix),
    }
}

async fn connect_from(addr: SocketAddr, source: IpAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    sys::bind_address_no_port(socket.as_fd())?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    match socket.connect(&addr.into()) {
        Ok(()) => return Ok(TcpStream::from_std(socket.into())),
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    let socket = AsyncFd::new(socket)?;
    socket.writable().await?;
    let socket = socket.into_inner();
    match socket.take_error()? {
        Some(error) => Err(error),
        None => Ok(TcpStream::from_std(socket.into())),
    }
}
