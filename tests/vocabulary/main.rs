//! The vocabulary suite: what programs build from tasks, run on every driver of this machine.
//!
//! It has the form of the conformance suite (`tests/conformance/main.rs`), with its environment
//! variables: a body per behaviour, a trial per driver, `SHARED` tables for bodies that run side by
//! side, and `ALONE` for those that use what belongs to the process: descriptors, signals, memory.
//!
//! A body that checks a row of `docs/SEMANTICS.md` begins with its number, or names it in its
//! documentation, in parentheses.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/limits.rs"]
mod limits;
#[path = "../common/polling.rs"]
mod polling;
#[path = "../common/raising.rs"]
mod raising;
#[path = "../common/suite.rs"]
mod suite;

mod budget;
mod cancel;
mod channel_budget;
mod channels;
mod clock;
mod combine;
mod embedding;
mod events;
mod groups;
mod hostile_wakers;
mod locals;
mod lock_budget;
mod many_futures;
mod remote;
mod serve;
mod sets;
mod signals;
mod sync;
mod tasks;
mod threads;
mod timers;

use std::process::ExitCode;

pub(crate) use suite::{Body, bodies};

/// Descriptors that the largest trial needs.
const DESCRIPTORS: u64 = 1024;

const SHARED: &[&[Body]] = &[
    budget::SHARED,
    budget::groups::SHARED,
    cancel::SHARED,
    channel_budget::SHARED,
    cancel::deadlines::SHARED,
    cancel::dropped::SHARED,
    cancel::scopes::SHARED,
    channels::SHARED,
    clock::SHARED,
    combine::SHARED,
    embedding::SHARED,
    events::SHARED,
    groups::SHARED,
    hostile_wakers::SHARED,
    groups::borrow::SHARED,
    locals::SHARED,
    many_futures::SHARED,
    lock_budget::SHARED,
    remote::SHARED,
    serve::SHARED,
    sets::SHARED,
    signals::SHARED,
    sync::SHARED,
    tasks::SHARED,
    threads::SHARED,
    timers::SHARED,
    threads::ending::SHARED,
    threads::joined::SHARED,
];

const ALONE: &[&[Body]] = &[
    budget::ALONE,
    cancel::ALONE,
    channel_budget::ALONE,
    channels::ALONE,
    clock::ALONE,
    combine::ALONE,
    embedding::ALONE,
    events::ALONE,
    groups::ALONE,
    hostile_wakers::ALONE,
    locals::ALONE,
    many_futures::ALONE,
    lock_budget::ALONE,
    remote::ALONE,
    serve::ALONE,
    sets::ALONE,
    signals::ALONE,
    sync::ALONE,
    tasks::ALONE,
    threads::ALONE,
    timers::ALONE,
];

fn main() -> ExitCode {
    limits::raise(DESCRIPTORS);
    suite::run(SHARED, ALONE)
}
