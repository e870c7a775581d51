//! A worker: one thread with one event loop and its share of the connections.
//!
//! ```text
//! command                                                          event
//! Open ──▶ connects, at a pace and bounded ───────────────────────▶ Ramped
//! Drive ─▶ connections send their messages until the window ends
//! Drain ─▶ nothing new is sent; the last reply ───────────────────▶ Drained
//! Finish ▶ what is unfinished is counted ─────────────────────────▶ Done
//! ```
//!
//! `thread` follows the commands of the main thread. The loop has one task for each connection
//! (`connection`, `idle`), one that assigns messages (`dispatch_task`), one that closes intervals
//! and one that measures the loop (`heartbeat`). They share a `Worker` (`shared`), which connects
//! four parts:
//!
//! | part | content |
//! |---|---|
//! | `dispatcher` | slots of connections and the schedule: which connection sends what, and when |
//! | `ramp` | the progress of connects |
//! | `outcomes` | counters, failures and latencies |
//! | `intervals` | the recorder of the running interval |
//!
//! The parts are plain values without sockets. They outlive the tasks, so a task that is stuck at
//! the end of the run is counted too.
//!
//! **One clock.** Latencies are read from `std::time::Instant` and not from the loop's clock. The
//! loop may read its clock once per turn, and the wait within a turn belongs to the latency.

mod backoff;
mod connect_times;
mod connection;
pub(crate) mod control;
mod dispatch_task;
mod dispatcher;
mod establish;
mod gates;
mod heartbeat;
mod idle;
mod ids;
mod intervals;
mod loop_health;
mod message;
mod outcomes;
pub(crate) mod plan;
mod ramp;
mod reply_timeout;
pub(crate) mod result;
mod session;
mod shared;
pub(crate) mod thread;
pub(crate) mod unhandled;
