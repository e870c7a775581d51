//! What any stream socket does, whatever its addresses look like.
//!
//! A [`Socket`](socket::Socket) has a reading side, a writing side and a phase; each is a file. So
//! have a listening socket, [`Listening`](listening::Listening), and the halves of a stream.
//!
//! **Absent on purpose.** Addresses and the options of one protocol: they belong to the public
//! types, in `tcp` and `unix`. An address comes in as the bytes that `connect(2)` takes.

pub(super) mod accepting;
pub(super) mod admission;
pub(super) mod bind;
pub(super) mod closing;
pub(super) mod connecting;
pub(super) mod handing_over;
pub(super) mod hang_up;
pub(super) mod idle;
pub(super) mod listening;
pub(super) mod reading;
pub(super) mod recv_queue;
pub(super) mod socket;
pub(super) mod split;
pub(super) mod writing;
