//! Unix sockets: streams within this machine.
//!
//! The public types are thin, as those of TCP are: [`UnixListener`] over `Listening`,
//! [`UnixStream`] over `Socket`, both in `net::socket`. What is here is addresses, connecting, and
//! the file that a listener leaves in a directory.

mod addr;
mod bound_path;
mod connect;
mod listener;
mod stream;

pub use listener::{UnixListener, UnixListenerBuilder};
pub use stream::UnixStream;
