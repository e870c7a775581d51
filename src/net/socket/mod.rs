//! Stream sockets and listening sockets, of every address family.
//!
//! A state machine is plain data: its transitions return effects and perform nothing. Its owner,
//! [`Socket`](stream::Socket) or [`ListenerSocket`](listener::ListenerSocket), performs the effects
//! through the reactor once its borrow of the machine has ended.
//!
//! | state machine | performed in |
//! |---|---|
//! | `recv`, with `recv_queue` and `idle` | `stream`, `timers` |
//! | `send` | `output` |
//! | `hang_up` | `peer_end` |
//! | `linger`, with `closing` | `close` |
//! | `accept_side`, with `admission` | `listener`, `accept` |
//!
//! **Absent on purpose.** Addresses and the options of one protocol: those belong to the public
//! types, in `tcp` and `unix`. An address is passed as the bytes that `connect(2)` takes.

pub(super) mod accept;
mod accept_side;
pub(super) mod admission;
pub(super) mod bind;
pub(super) mod close;
mod closing;
pub(super) mod connect;
mod descriptor;
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
