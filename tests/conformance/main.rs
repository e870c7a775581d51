//! The conformance suite: one body per behaviour, run on every driver of this machine.
//!
//! A behaviour is a function of a [`Driver`] that is listed in its module's table; each becomes one
//! trial per driver, `uring::c1_…` and `epoll::c1_…`. The prefix of a name is its group: `c`
//! cancellation, `f` threads and wakes, `i` networks and streams.
//!
//! - **A driver that does not work on this machine** is reported once, with the reason, and its
//!   trials count as ignored. epoll always works. With `RINGLOOP_DRIVER=uring` or `epoll` only the
//!   trials of that driver are made, and they fail if it does not work.
//! - **Descriptors belong to the process.** Bodies that count them, use them up, or need a certain
//!   number are in the tables called `ALONE`; while one of those runs, no other trial does.
//! - **Slow machines.** `RINGLOOP_TEST_SCALE=20` divides the rounds of the long bodies by 20 and
//!   multiplies the limit after which a trial counts as hung. Both change the number of attempts:
//!   no verdict depends on time. `--test-threads=1` saves memory.
//!
//! The binary needs loopback, `/proc` and a directory for temporary files.
//!
//! **Absent on purpose.** A second concurrent reader or acceptor of one stream (I8): reading takes
//! `&mut self`, and a stream has one reading half, so it does not compile. An operation that the
//! kernel cannot cancel (C16): sockets have none.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/limits.rs"]
mod limits;
#[path = "../common/suite.rs"]
mod suite;

mod accepting;
mod admission;
mod boundaries;
mod budget;
mod buffers;
mod cancellation;
mod crowd;
mod descriptors;
mod elsewhere;
mod handing_over;
mod looking;
mod network;
mod options;
mod outliving;
mod reuse;
mod shortage;
mod streams;
mod teardown;
mod threads;
mod unix;
mod unix_builder;

use std::process::ExitCode;

pub(crate) use suite::{Body, Driver, bodies};

/// Descriptors that the largest trial needs.
const DESCRIPTORS: u64 = 8192;

const SHARED: &[&[Body]] = &[
    accepting::SHARED,
    boundaries::SHARED,
    budget::SHARED,
    buffers::SHARED,
    cancellation::SHARED,
    elsewhere::SHARED,
    handing_over::SHARED,
    looking::SHARED,
    network::SHARED,
    options::SHARED,
    outliving::SHARED,
    shortage::SHARED,
    streams::SHARED,
    teardown::SHARED,
    threads::SHARED,
    unix::SHARED,
    unix_builder::SHARED,
];

const ALONE: &[&[Body]] = &[
    admission::ALONE,
    boundaries::ALONE,
    cancellation::ALONE,
    crowd::ALONE,
    reuse::ALONE,
    shortage::ALONE,
    teardown::ALONE,
    threads::ALONE,
];

fn main() -> ExitCode {
    limits::raise(DESCRIPTORS);
    suite::run(SHARED, ALONE)
}
