//! The operations on ringloop.

use std::future::poll_fn;
use std::hint::black_box;
use std::rc::Rc as Shared;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringloop::sync::{Semaphore, mpsc, oneshot};
use ringloop::task::yield_now;
use ringloop::{select, spawn, spawn_blocking};

use crate::timed;

fn block_on<F: Future>(future: F) -> F::Output {
    ringloop::run(future)
}

include!("operations.rs");
