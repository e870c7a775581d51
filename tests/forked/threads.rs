//! What a process has on other threads, after a fork: blocking jobs, and handles to its loop.

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use ringloop::{Handle, Runtime, spawn_blocking};

use crate::cells::{OfTheParent, panics};
use crate::common::{Woken, until};
use crate::process::{How, fork};

/// The child uses and drops the jobs of its parent: uses panic, drops and aborts have no effect,
/// and its own loop has a pool of its own.
pub(crate) fn jobs() {
    let runtime = Runtime::builder().blocking_threads(1, Duration::from_secs(60)).build().unwrap();
    let handle = runtime.handle();
    let (open, gate) = channel::<()>();
    let running = handle.spawn_blocking(move || gate.recv().is_ok());
    runtime.block_on(until(|| Handle::current().metrics().blocking_running == 1));
    let guard = OfTheParent::new();
    let queued = handle.spawn_blocking(move || {
        let _guard = guard;
        7
    });
    let mut kept = Some((running, queued));
    fork(How::Fork, || {
        let (mut running, mut queued) = kept.take().unwrap();
        panics("spawn_blocking", || drop(handle.spawn_blocking(|| ())));
        panics("is_finished", || assert!(!queued.is_finished()));
        panics("poll", || {
            let _ = Arc::new(Woken::default()).poll(std::pin::Pin::new(&mut running));
        });
        panics("poll on a loop", || {
            ringloop::run(async { drop((&mut queued).await) });
        });
        queued.abort();
        queued.abort_handle().abort();
        drop((running, queued));
        ringloop::run(async {
            assert_eq!(Handle::current().metrics().blocking_threads, 0);
            assert_eq!(spawn_blocking(std::process::id).await.unwrap(), std::process::id());
        });
    });
    let (running, queued) = kept.unwrap();
    open.send(()).unwrap();
    assert!(runtime.block_on(running).unwrap());
    assert_eq!(runtime.block_on(queued).unwrap(), 7);
}

/// The child uses a remote handle of its parent in every way: each panics, and the parent's loop
/// gets no call.
pub(crate) fn remote() {
    let runtime = Runtime::new().unwrap();
    let remote = runtime.handle().remote();
    let mut task = Some(remote.spawn(async || 7).unwrap());
    fork(How::Fork, || {
        panics("call", || assert!(remote.call(|| ()).is_ok()));
        panics("spawn", || drop(remote.spawn(async || ())));
        panics("block_on", || drop(remote.block_on(async || ())));
        panics("is_closed", || assert!(!remote.is_closed()));
        let mut task = task.take().unwrap();
        panics("poll", || {
            let _ = Arc::new(Woken::default()).poll(std::pin::Pin::new(&mut task));
        });
        task.abort();
        panics("join", || drop(task.join()));
        drop(remote.clone());
        ringloop::run(async {
            let own = Handle::current().remote();
            let job = spawn_blocking(move || own.block_on(async || 8).unwrap());
            assert_eq!(job.await.unwrap(), 8);
        });
    });
    assert_eq!(runtime.block_on(task.unwrap()).unwrap(), 7);
}
