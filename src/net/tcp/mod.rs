//! TCP.
//!
//! The public types are thin: [`TcpListener`] over `Listening`, [`TcpStream`] and its halves over
//! `Socket`. A `Socket` has a reading side, a writing side and a phase; each is a file.

mod closing;
mod connecting;
mod listener;
mod listening;
mod reading;
mod socket;
mod split;
mod stream;
mod writing;

#[cfg(test)]
mod tests;

pub use listener::{Incoming, TcpListener, TcpListenerBuilder};
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, WriteHalf};
pub use stream::TcpStream;
