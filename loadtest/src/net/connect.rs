//! Connects to the target: source address, socket options, TLS handshake.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use ringloop::io::AsyncFd;
use ringloop::net::{TcpStream, UnixStream};
use ringloop::time::timeout;
use socket2::{Domain, Protocol, Socket, Type};

use crate::base::address::Address;
use crate::host::sys;
use crate::measure::failure::{Class, Failure, Stage};
use crate::net::stream::Stream;
use crate::net::tls::Connection;
use crate::net::tls_config::Tls;
use crate::plan::load::SocketOptions;

/// An open connection, and how long it took to open it.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) connection: Connection,
    pub(crate) timings: ConnectTimings,
}

/// How long the steps to an open connection took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectTimings {
    pub(crate) connect: Duration,
    /// The TLS handshake, after the connect.
    pub(crate) tls: Option<Duration>,
    /// The handshake of the protocol, if it has one, after both.
    pub(crate) handshake: Option<Duration>,
}

/// Connects to `address`, from `source` if there is one, and performs the TLS handshake if there
/// is a `tls`. Both together take at most `limit`.
pub(crate) async fn connect(
    address: &Address,
    source: Option<IpAddr>,
    options: SocketOptions,
    tls: Option<&Tls>,
    limit: Duration,
) -> Result<Connected, Failure> {
    let started = Instant::now();
    let stream = connect_stream(address, source, options, limit)
        .await
        .map_err(|error| Failure::from_io(Stage::Connect, &error))?;
    let connect = started.elapsed();
    let Some(tls) = tls else {
        let timings = ConnectTimings { connect, tls: None, handshake: None };
        return Ok(Connected { connection: Connection::plain(stream), timings });
    };
    let left = limit.saturating_sub(connect);
    let connection = timeout(left, Connection::secure(stream, tls))
        .await
        .unwrap_or(Err(Failure::of(Stage::Tls, Class::Timeout)))?;
    let tls = Some(started.elapsed() - connect);
    Ok(Connected { connection, timings: ConnectTimings { connect, tls, handshake: None } })
}

async fn connect_stream(
    address: &Address,
    source: Option<IpAddr>,
    options: SocketOptions,
    limit: Duration,
) -> io::Result<Stream> {
    let addr = match address {
        Address::Tcp(addr) => *addr,
        Address::Unix(path) => {
            return UnixStream::connect_timeout(path, limit).await.map(Stream::Unix);
        }
    };
    let stream = match (source, options) {
        (None, SocketOptions { nodelay: _, rcvbuf: None, sndbuf: None }) => {
            TcpStream::connect_timeout(addr, limit).await?
        }
        _ => timeout(limit, connect_as(addr, source, options)).await??,
    };
    if options.nodelay {
        // Delayed acknowledgements and Nagle's algorithm together add 40 ms that no server causes.
        stream.set_nodelay(true)?;
    }
    Ok(Stream::Tcp(stream))
}

async fn connect_as(
    addr: SocketAddr,
    source: Option<IpAddr>,
    options: SocketOptions,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Before the connect, in which the window scale is negotiated.
    if let Some(rcvbuf) = options.rcvbuf {
        socket.set_recv_buffer_size(rcvbuf as usize)?;
    }
    if let Some(sndbuf) = options.sndbuf {
        socket.set_send_buffer_size(sndbuf as usize)?;
    }
    if let Some(source) = source {
        sys::bind_address_no_port(socket.as_fd())?;
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use socket2::SockRef;

    use super::*;

    /// Goal: a socket has the options of the command line, with and without a source address.
    ///
    /// Method: each option, with and without a source; the sizes from the kernel, which doubles
    /// them.
    ///
    /// Kills: an option that is dropped, or set on the other buffer; options that need a source.
    #[test]
    fn sockets_have_the_options_of_the_command_line() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let none = SocketOptions { nodelay: false, rcvbuf: None, sndbuf: None };
        let runtime = ringloop::Builder::new().build().unwrap();
        for source in [None, Some("127.0.0.1".parse().unwrap())] {
            for options in [
                none,
                SocketOptions { nodelay: true, ..none },
                SocketOptions { rcvbuf: Some(10_000), ..none },
                SocketOptions { nodelay: true, sndbuf: Some(11_000), ..none },
                SocketOptions { rcvbuf: Some(20_000), sndbuf: Some(30_000), ..none },
            ] {
                let connecting = connect_stream(&address, source, options, Duration::from_secs(60));
                let Stream::Tcp(stream) = runtime.block_on(connecting).unwrap() else { panic!() };
                let socket = SockRef::from(&stream);
                assert_eq!(socket.tcp_nodelay().unwrap(), options.nodelay, "{options:?}");
                let is_set = |found: io::Result<usize>, wanted: Option<u32>| {
                    wanted.is_none_or(|wanted| found.unwrap() == 2 * wanted as usize)
                };
                assert!(is_set(socket.recv_buffer_size(), options.rcvbuf), "{options:?}");
                assert!(is_set(socket.send_buffer_size(), options.sndbuf), "{options:?}");
            }
        }
    }
}
