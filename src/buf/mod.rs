//! Memory that I/O reads into and writes from.
//!
//! What lives here: the `Pool` of receive buffers that one loop shares among all its streams,
//! [`RecvBuf`], in which the program holds one, and [`IoBuf`], the owned bytes that a stream
//! sends without copying.
//!
//! **Absent on purpose.** System calls and rings: a driver takes buffers to lend from the pool,
//! and reports which ones came back filled.

mod outgoing;
mod pool;
mod recv_buf;
mod short_queue;

pub(crate) use outgoing::OutBytes;
pub use outgoing::{IoBuf, OutBuf};
pub(crate) use pool::{Loan, Pool};
pub use recv_buf::RecvBuf;
pub(crate) use short_queue::ShortQueue;
