//! [`Listener`]: what a server can accept from.

use std::io;

use crate::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A listener that [`serve`](super::serve) accepts connections from: [`TcpListener`] or
/// [`UnixListener`].
///
/// The trait is sealed: other types cannot implement it.
pub trait Listener: sealed::Accept<Self::Stream> + 'static {
    /// A connection.
    type Stream: 'static;
}

impl sealed::Accept<TcpStream> for TcpListener {
    async fn next_connection(&self) -> io::Result<TcpStream> {
        self.accept().await
    }
}

impl sealed::Accept<UnixStream> for UnixListener {
    async fn next_connection(&self) -> io::Result<UnixStream> {
        self.accept().await
    }
}

impl Listener for TcpListener {
    type Stream = TcpStream;
}

impl Listener for UnixListener {
    type Stream = UnixStream;
}

pub(super) mod sealed {
    use std::io;

    /// What a server does with its listener.
    pub trait Accept<Stream> {
        /// Waits for a connection.
        fn next_connection(&self) -> impl Future<Output = io::Result<Stream>>;
    }
}
