//! TCP and Unix sockets.
//!
//! An operation belongs to the socket, not to the future that waits. A listener owns one multishot
//! accept and a queue of connections; a stream owns one multishot receive and a queue of filled
//! buffers. `accept` and `recv` take from the queue, so dropping such a future at any moment loses
//! nothing: `select!`, `timeout` and abort are safe on every read and accept.
//!
//! The state behind each type is an `Owner` (in `reactor`): it submits requests and receives their
//! results. It stays alive, with its descriptor and its buffers, until the last final completion,
//! whatever the program drops.

mod activation;
mod addr;
mod deadline;
mod halves;
mod owned_halves;
mod serve;
mod socket;
mod tcp;
mod unix;

pub use activation::{Activated, ActivatedListener, activated};
pub use addr::ToAddr;
pub use halves::{ReadHalf, WriteHalf};
pub use owned_halves::{OwnedReadHalf, OwnedWriteHalf};
pub use serve::{Listener, Server, ServerHandle, serve};
pub use socket::accept::Incoming;
pub use socket::admission::Overflow;
pub use tcp::{Keepalive, TcpListener, TcpListenerBuilder, TcpStream, TcpStreamBuilder};
pub use unix::{UnixListener, UnixListenerBuilder, UnixStream};
