//! The hostile suite: peers that do not read, trickle, reset, flood and do not end, on every
//! driver.
//!
//! Each case has three bounds and checks them; the suite prints them with the measured values.
//!
//! 1. **Memory and operations for each attacker.** Bytes are the peak of those that the loop's
//!    thread has allocated (`counting`), and the whole size of receive buffers that the program
//!    holds. Socket buffers of the kernel are not counted. Operations are `Metrics::in_flight`.
//! 2. **Latency of a polite bystander**, which may double. It exchanges messages on an old
//!    connection and connects, exchanges and closes a new one; the attackers act between its steps.
//!    Latency is counted in turns of the loop, for all exchanges together and for the worst.
//!    Completions beyond twice the bystander's must be accounted for by acts of the attackers.
//! 3. **No remains.** Each attack comes in two waves. After a wave there are no more operations,
//!    closing streams, timers or held buffers than before it, and the second wave leaves no more
//!    memory than the first. After the loop's end the process has the descriptors, and the thread
//!    the bytes, that it had before.
//!
//! | case | attackers | bytes | slots | file |
//! |---|---|---|---|---|
//! | connect, send nothing | 10 000 | 2 KiB | 1 | `crowds` |
//! | connect, never accepted | 1 024 | 1 KiB | 1 | `crowds` |
//! | leave connects unanswered | 64 | 4 KiB | 1 | `crowds` |
//! | block sends and connects | 64, 8 192 | 4 KiB | 1 | `crowds` |
//! | never speak | 256 | 4 KiB | 1 | `ending` |
//! | half close and stay | 2 a step | 8 KiB | 2 | `ending` |
//! | reset at each step | 4 a step | 132 KiB | 2 | `ending` |
//! | flood a server or a loop that closes | 8, 64 | 68 KiB | 2 | `ending`, `teardown` |
//! | pass descriptors | 16 | 8 KiB | 2 | `passing` |
//! | single bytes: alone, bursts, busy, urgent | 16 | 8 KiB | 2 | `trickling` |
//! | never read, read single bytes | 64 | 132 KiB | 2 | `withholding` |
//! | never read an echo of large pieces | 16 | 196 KiB | 2 | `withholding` |
//! | never read an echo of single bytes | 8 | 32 KiB | 2 | `withholding` |
//!
//! Attackers act with the loop's turns, not by a clock, and are few enough that the acts of one
//! step fit into one batch of the kernel (H09: twenty completions). With more, a step takes a turn
//! for each twenty, which is the load and not an amplification.
//!
//! **Slow machines.** `RINGLOOP_TEST_SCALE` divides the numbers of attackers, down to 8.
//!
//! **Absent on purpose.** Unix connects to a full backlog: they retry by the clock. More than
//! 10 000 connections: two processes of 20 000 descriptors hold no more, with room for the rest.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/limits.rs"]
mod limits;
#[path = "../common/suite.rs"]
mod suite;

mod assault;
mod counting;
mod crowds;
mod ending;
mod passing;
mod peers;
mod serving;
mod teardown;
mod trickling;
mod withholding;

use std::process::ExitCode;

pub(crate) use suite::{Body, Driver, bodies};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

/// Descriptors that the largest trial needs.
const DESCRIPTORS: u64 = 20_000;

const ALONE: &[&[Body]] = &[
    crowds::ALONE,
    ending::ALONE,
    passing::ALONE,
    teardown::ALONE,
    trickling::ALONE,
    withholding::ALONE,
];

fn main() -> ExitCode {
    limits::raise(DESCRIPTORS);
    if crowds::be_a_crowd() {
        return ExitCode::SUCCESS;
    }
    let code = suite::run(&[], ALONE);
    assault::print_table();
    code
}
