//! TCP.
//!
//! The public types are thin: [`TcpListener`] over `ListenerSocket`, [`TcpStream`] over `Socket`,
//! both in `net::socket`. This module has addresses and the options of TCP.

mod connector;
mod listener;
mod options;
mod recv;
mod send;
pub(super) mod stream;

pub use connector::TcpStreamBuilder;
pub use listener::{TcpListener, TcpListenerBuilder};
pub use options::Keepalive;
pub use stream::TcpStream;
