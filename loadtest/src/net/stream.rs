//! Streams and listeners over TCP or a Unix socket.
//!
//! Both kinds behave alike. What only one of them has is handled where a connection is made
//! ([`Listener::accept`], `net::connect`).

use std::io;
use std::net::SocketAddr;

use ringloop::buf::{IoBuf, RecvBuf};
use ringloop::net::{ReadHalf, TcpListener, TcpStream, UnixListener, UnixStream, WriteHalf};

use crate::base::address::Address;

#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// The same call on either kind.
macro_rules! either {
    ($stream:expr, $inner:ident => $call:expr) => {
        match $stream {
            Stream::Tcp($inner) => $call,
            Stream::Unix($inner) => $call,
        }
    };
}

impl Stream {
    pub(crate) async fn recv(&mut self) -> io::Result<RecvBuf> {
        either!(self, stream => stream.recv().await)
    }

    pub(crate) async fn read_exact(&mut self, buf: &mut [u8]) -> io::Result<()> {
        either!(self, stream => stream.read_exact(buf).await)
    }

    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        either!(self, stream => stream.write_all(bytes).await)
    }

    pub(crate) async fn send(&mut self, buf: impl IoBuf) -> io::Result<()> {
        either!(self, stream => stream.send(buf).await)
    }

    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        either!(self, stream => stream.flush().await)
    }

    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        either!(self, stream => stream.shutdown().await)
    }

    pub(crate) fn split(&mut self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        either!(self, stream => stream.split())
    }

    /// The local address. A Unix socket has none here.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Stream::Tcp(stream) => stream.local_addr().ok(),
            Stream::Unix(_) => None,
        }
    }

    pub(crate) async fn close(self) -> io::Result<()> {
        either!(self, stream => stream.close().await)
    }

    /// Resets the connection. A Unix socket has no reset and closes.
    pub(crate) fn abort(self) {
        either!(self, stream => stream.abort());
    }
}

#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    pub(crate) async fn accept(&self) -> io::Result<Stream> {
        match self {
            Listener::Tcp(listener) => {
                let stream = listener.accept().await?;
                // Messages must not wait for acknowledgements. If this fails, the peer is gone and
                // the first read fails.
                let _ = stream.set_nodelay(true);
                Ok(Stream::Tcp(stream))
            }
            Listener::Unix(listener) => listener.accept().await.map(Stream::Unix),
        }
    }

    /// The address of the listener, which was asked to listen at `asked`.
    pub(crate) fn address(&self, asked: &Address) -> io::Result<Address> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().map(Address::Tcp),
            Listener::Unix(_) => Ok(asked.clone()),
        }
    }
}
