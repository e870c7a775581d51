//! Stream sockets and listening sockets, of every address family.
//!
//! The state machines are plain data that return effects; the owners, [`Socket`](stream::Socket)
//! and [`ListenerSocket`](listener::ListenerSocket), perform them through the reactor.
//!
//! **Absent on purpose.** Addresses and the options of one protocol. They belong to the public
//! types, in `tcp` and `unix`. An address comes in as the bytes that `connect(2)` takes.

pub(super) mod accept;
mod accept_side;
pub(super) mod admission;
pub(super) mod bind;
pub(super) mod close;
mod closing;
pub(super) mod connect;
pub(super) mod handover;
mod hang_up;
pub(super) mod idle;
mod linger;
pub(super) mod listener;
mod output;
pub(super) mod peer_end;
pub(super) mod recv;
pub(super) mod recv_queue;
pub(super) mod send;
pub(super) mod stream;
mod timers;
pub(super) mod transfer;

#[cfg(test)]
mod tests;
