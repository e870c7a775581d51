//! The code that the floors, the generator and the comparison share.
//!
//! | module | content |
//! |---|---|
//! | [`args`] | command lines |
//! | [`histogram`] | latencies, counted in buckets |
//! | [`process`] | CPU time and memory of the server, from `/proc` |
//! | [`report`] | the one JSON line that `drive` prints and `compare` reads |
//! | [`sys`] | listener, epoll, affinity, limits: every system call that std does not wrap |
//!
//! **Absent on purpose.** ringloop: a fault of the library must not affect the instrument that
//! measures it.

pub mod args;
pub mod histogram;
pub mod process;
pub mod report;
pub mod sys;
