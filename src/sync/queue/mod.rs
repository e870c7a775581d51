//! Queues of asyncio's kind: `join` and `task_done`, `shutdown`, priorities.
//!
//! [`Queue`] and [`PriorityQueue`] are also exported as `ringloop::sync::Queue` and
//! `ringloop::sync::PriorityQueue`. A queue without a limit has its own constructor, where asyncio
//! has `maxsize=0`.

mod core;
mod error;
mod fifo;
mod priority;
mod store;
#[cfg(test)]
mod tests;

pub use error::{GetError, PutError, QueueShutDown};
pub use fifo::Queue;
pub use priority::PriorityQueue;
