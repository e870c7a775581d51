//! The operations on tokio's current-thread runtime.

use std::future::poll_fn;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::Arc as Shared;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::spawn;
use tokio::task::yield_now;

use tokio::select;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;

use crate::timed;

fn block_on<F: Future>(future: F) -> F::Output {
    crate::tokio_runtime().block_on(future)
}

include!("operations.rs");
