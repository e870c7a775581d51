//! Unix sockets: streams within this machine.
//!
//! The public types are thin: [`UnixListener`] over `ListenerSocket`, [`UnixStream`] over `Socket`,
//! both in `net::socket`. This module has addresses, connecting, and the file of a listener.

mod addr;
mod bound_path;
mod connect;
mod connect_queue;
mod listener;
mod recv;
mod send;
pub(super) mod stream;

pub use listener::{UnixListener, UnixListenerBuilder};
pub use stream::UnixStream;
