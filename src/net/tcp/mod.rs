//! TCP.
//!
//! The public types are thin: [`TcpListener`] over `Listening`, [`TcpStream`] over `Socket`, both in
//! `net::socket`. What is here is addresses and the options of TCP.

mod connector;
mod listener;
mod options;
mod stream;

pub use connector::TcpStreamBuilder;
pub use listener::{TcpListener, TcpListenerBuilder};
pub use options::Keepalive;
pub use stream::TcpStream;
