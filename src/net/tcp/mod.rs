//! TCP.
//!
//! The public types are thin: [`TcpListener`] over `Listening`, [`TcpStream`] over `Socket`, both in
//! `net::stream`. What is here is addresses and the options of TCP.

mod listener;
mod stream;

#[cfg(test)]
mod tests;

pub use listener::{TcpListener, TcpListenerBuilder};
pub use stream::TcpStream;
