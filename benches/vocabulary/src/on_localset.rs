//! The operations on tokio's current-thread runtime with a `LocalSet`.

use std::future::poll_fn;
use std::hint::black_box;
use std::rc::Rc as Shared;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::task::{Poll, Waker};
use std::time::Duration;

use tokio::task::{spawn_local as spawn, yield_now};

use tokio::select;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;

use crate::timed;

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::task::LocalSet::new().block_on(&crate::tokio_runtime(), future)
}

include!("operations.rs");
