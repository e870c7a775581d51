//! What the floors, the generator and the comparison share.
//!
//! | module | what lives there |
//! |---|---|
//! | [`args`] | command lines |
//! | [`histogram`] | latencies, counted in buckets |
//! | [`process`] | what `/proc` says about the server: its CPU time and its memory |
//! | [`report`] | the one JSON line that `drive` prints and `compare` reads |
//! | [`sys`] | listener, epoll, affinity, limits: every system call that std does not wrap |
//!
//! **Absent on purpose.** Nothing here knows ringloop, so a fault of the library cannot hide in the
//! instrument that measures it.

pub mod args;
pub mod histogram;
pub mod process;
pub mod report;
pub mod sys;
