//! An event loop and async runtime for Linux servers, built on io_uring completions.
//!
//! One thread runs ready tasks until they await, the kernel completes I/O, and timers expire. This
//! is the model of asyncio, with the types of Rust and the names of tokio. Where io_uring is
//! missing or forbidden, epoll takes over with the same semantics, and [`Handle::driver`] has the
//! reason.
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
//!                     stream.send(bytes).await?; // no copy: the received buffer is sent
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
//! 3. **Explainable.** One turn fits on a screen; any stall can be read from [`Handle::metrics`].
//! 4. **Fast.** One system call per turn on io_uring; no allocation for a receive that a reader
//!    waits for, for a send, or for a timer.
//! 5. **Small.**
//!
//! When two conflict, the earlier wins.
//!
//! # The map
//!
//! Programs use [`run`] or a [`Runtime`], [`spawn`], and the types of [`net`], [`time`],
//! [`io`] and [`signal`].
//!
//! A public type of `net` is a thin face over a socket, which owns its operations, its queues and
//! its descriptor. The socket describes each operation by a request of `op`: what to do, how to
//! decode the result, and how to discard a result that no caller takes. The `reactor` records which
//! operations are in flight and when timers are due. The `driver` performs requests, with io_uring
//! or with epoll; only plain data crosses its border. `sys` has the calls to libc. Received bytes
//! are in a [`buf::RecvBuf`], whose memory belongs to the buffer pool of [`buf`].
//!
//! Beside this column, [`task`] has the executor: tasks, the ready queue, wakes from other threads,
//! and the budget of a poll. It uses wakers and no sockets. [`sync`] has what tasks wait for among
//! themselves, all of it on one wait list. [`testing`] has tools for tests of programs. The
//! `runtime` module is the only place where the executor and the reactor meet: it has the turn of
//! the loop, the builder and the handle. `loop_id` identifies the loop and the process of a
//! resource, and `primitives` has the atomics and locks that the models of `tests/loom` replace.
//!
//! Imports go one way, `net, io, time → op → reactor → driver → sys`. `tests/tidy.rs` checks this,
//! and lists the files that may contain `unsafe`. `ARCHITECTURE.md` has the details.

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
pub mod signal;
pub mod sync;
mod sys;
pub mod task;
pub mod testing;
pub mod time;

pub use driver::{DriverChoice, DriverInfo, DriverKind, SetupError, diagnosis};
pub use error::Unhandled;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use fuzz::run_bytes;
#[cfg(feature = "macros")]
pub use ringloop_macros::{main, test};
pub use runtime::builder::Builder;
pub use runtime::slow_poll::SlowPoll;
pub use runtime::{Handle, Metrics, Runtime, TurnStats, run};
pub use task::{
    BlockingHandle, CallHandle, JoinError, JoinHandle, RemoteHandle, RemoteJoinHandle,
    RuntimeClosed, call_soon, gather, spawn, spawn_blocking, task_group,
};
pub use time::{TimerHandle, call_at, call_later};
