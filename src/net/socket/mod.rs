//! What any stream socket does, whatever its addresses look like.
//!
//! A [`Socket`](stream::Socket) has a reading side, a writing side and a phase; each is a file. So
//! has a listening socket, [`ListenerSocket`](listener::ListenerSocket).
//!
//! **Absent on purpose.** Addresses and the options of one protocol: they belong to the public
//! types, in `tcp` and `unix`. An address comes in as the bytes that `connect(2)` takes.

pub(super) mod accept;
mod accept_side;
pub(super) mod admission;
pub(super) mod bind;
pub(super) mod close;
pub(super) mod connect;
pub(super) mod handover;
pub(super) mod hang_up;
pub(super) mod idle;
pub(super) mod listener;
pub(super) mod recv;
pub(super) mod recv_queue;
pub(super) mod send;
pub(super) mod stream;
mod timers;
pub(super) mod transfer;

#[cfg(test)]
mod tests;
