//! Attackers: plain non-blocking sockets.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::SockRef;

/// A connection that does not block. The handshake is over when this returns, whether or not the
/// other side has accepted.
pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let peer = TcpStream::connect(addr).expect("room in a backlog");
    peer.set_nodelay(true).expect("an option");
    peer.set_nonblocking(true).expect("an option");
    peer
}

/// Like [`connect`], with a small receive buffer in the kernel.
pub(crate) fn connect_tight(addr: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let socket = socket.expect("a socket");
    socket.set_recv_buffer_size(2304).expect("an option");
    socket.connect(&addr.into()).expect("room in a backlog");
    let peer = TcpStream::from(socket);
    peer.set_nodelay(true).expect("an option");
    peer.set_nonblocking(true).expect("an option");
    peer
}

pub(crate) fn connect_all(addr: SocketAddr, count: u64) -> Vec<TcpStream> {
    (0..count).map(|_| connect(addr)).collect()
}

/// Writes what the kernel takes at once. Returns 1 if it took bytes.
pub(crate) fn write(mut peer: &TcpStream, bytes: &[u8]) -> u64 {
    match peer.write(bytes) {
        Ok(_count) => 1,
        Err(error) => ignore(&error),
    }
}

/// Reads up to `count_max` bytes without waiting. Returns 1 if there were bytes.
pub(crate) fn read(mut peer: &TcpStream, count_max: usize) -> u64 {
    let mut bytes = [0; 512];
    match peer.read(&mut bytes[..count_max]) {
        Ok(0) => 0,
        Ok(_count) => 1,
        Err(error) => ignore(&error),
    }
}

/// Ends the connection with a reset.
pub(crate) fn reset(peer: TcpStream) -> u64 {
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("an option");
    1
}

/// Whether an error is expected: no room, or a server that has ended the connection.
fn ignore(error: &std::io::Error) -> u64 {
    let expected = [ErrorKind::WouldBlock, ErrorKind::ConnectionReset, ErrorKind::BrokenPipe];
    assert!(expected.contains(&error.kind()), "an attacker's socket: {error}");
    0
}
