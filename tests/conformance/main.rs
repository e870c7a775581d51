//! The conformance suite: one body per behaviour, run on every driver of this machine.
//!
//! A behaviour is a function that is given a [`Driver`] and is listed in its module's table; each
//! becomes one trial per driver, `uring::c1_…` and `epoll::c1_…`. The prefix of a name groups what
//! belongs together: `c` cancellation, `f` threads and wakes, `i` networks and streams.
//!
//! - **A driver that this machine refuses** is reported once, with the reason, and its trials count
//!   as ignored. epoll is never refused. With `RINGLOOP_DRIVER=uring` or `epoll` only that driver's
//!   trials are made, and a refusal fails them.
//! - **Descriptors belong to the process.** Bodies that count them, use them up, or need a certain
//!   number are in the tables called `ALONE`; while one of those runs, no other trial does.
//! - **Slow machines.** `RINGLOOP_TEST_SCALE=20` divides the rounds of the long bodies by 20 and
//!   multiplies the limit after which a trial counts as hung. Both are about how much is tried,
//!   never about how fast: no verdict depends on time. `--test-threads=1` saves memory.
//!
//! The binary needs loopback, `/proc` and a directory for temporary files, and no other program or
//! file.
//!
//! **Absent on purpose.** A second concurrent reader or acceptor of one stream (I8): reading takes
//! `&mut self`, and a stream has one reading half, so the compiler refuses it.
//! An operation that the kernel cannot cancel (C16): sockets have none.

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
