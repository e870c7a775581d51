//! An event loop and async runtime for Linux servers, built on io_uring completions. Where io_uring
//! is missing or forbidden, epoll takes over, and [`Handle::driver`] has the reason.
//!
//! One thread runs ready tasks until they await, the kernel completes I/O, and timers expire.
//! Dropping a future loses no received byte and no accepted connection. The model is asyncio's, the
//! types are Rust's and the names are tokio's.
//!
//! ```no_run
//! use ringloop::net::TcpListener;
//!
//! fn main() -> std::io::Result<()> {
//!     ringloop::run(async {
//!         let listener = TcpListener::bind("127.0.0.1:7000")?;
//!         loop {
//!             let mut stream = listener.accept().await?;
//!             ringloop::spawn(async move {
//!                 loop {
//!                     let bytes = stream.recv().await?;
//!                     if bytes.is_empty() {
//!                         return stream.close().await;
//!                     }
//!                     stream.send(bytes).await?; // no copy: the buffer goes back out
//!                 }
//!             });
//!         }
//!     })
//! }
//! ```
//!
//! # Tenets, in order
//!
//! 1. **Sound.** The kernel never writes to freed memory, whatever the caller drops.
//! 2. **Bounded.** Every queue, loop and wait has a limit with a name.
//! 3. **Explainable.** One turn fits on a screen; what the loop did can be read from
//!    [`Handle::metrics`].
//! 4. **Fast.** On io_uring one system call per turn; no allocation for a receive that a reader
//!    waits for, a send or a timer.
//! 5. **Small.**
//!
//! When two conflict, the earlier wins.
//!
//! # The map
//!
//! | module | content |
//! |---|---|
//! | [`runtime`](Runtime) | where executor and reactor meet: the turn, the builder, the handle |
//! | [`task`] | tasks, the ready queue, wakes from other threads, the budget |
//! | `reactor` | operations in flight, timers |
//! | `driver` | performs requests, by io_uring or epoll, behind a waist of plain data |
//! | `op` | one operation per file: its request and how to decode the result |
//! | [`buf`] | the buffer pool and [`buf::RecvBuf`] |
//! | [`net`], [`time`], [`io`] | what programs use |
//! | `loop_id` | the loop and the process that a resource belongs to |
//! | `primitives` | atomics and locks between threads, which loom's replace in its models |
//! | `sys` | the few calls to libc |
//!
//! Imports go one way, `net, io, time → op → reactor → driver → sys`. `tests/tidy.rs` checks this,
//! and lists the files that may contain `unsafe`.

#![warn(missing_docs)]

pub mod buf;
#[cfg(doctest)]
mod documents;
mod driver;
#[cfg(test)]
mod enumeration;
mod error;
#[cfg(any(test, fuzzing))]
mod fuzz;
pub mod io;
mod loop_id;
pub mod net;
mod op;
mod primitives;
mod reactor;
mod runtime;
mod sys;
pub mod task;
pub mod time;

mod spawn;

pub use driver::{DriverChoice, DriverInfo, DriverKind, SetupError, diagnosis};
pub use error::Unhandled;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use fuzz::run_bytes;
pub use runtime::builder::Builder;
pub use runtime::{Handle, Metrics, Runtime, run};
pub use spawn::{call_soon, spawn};
pub use task::{CallHandle, JoinError, JoinHandle};
pub use time::{TimerHandle, call_at, call_later};
