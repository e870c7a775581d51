//! The models of blocking jobs, and of calls and waits from other threads.

use std::future::{Future, Ready, ready};
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::primitives::{LIMITS_ARE_OVER, NO_LIMIT};
use crate::rig::Loop;
use crate::task::{BlockingHandle, JoinError, RemoteHandle};

type Model = (&'static str, fn());

pub(crate) const ALL: &[Model] = &[
    ("jobs_are_submitted_while_a_thread_ends", jobs_are_submitted_while_a_thread_ends),
    ("a_job_is_aborted_while_it_starts", a_job_is_aborted_while_it_starts),
    ("a_handle_is_dropped_while_its_job_ends", a_handle_is_dropped_while_its_job_ends),
    ("calls_race_with_the_end_of_the_loop", calls_race_with_the_end_of_the_loop),
    ("a_thread_blocks_on_a_loop_that_ends", a_thread_blocks_on_a_loop_that_ends),
];

fn submit<T: Send + 'static>(
    the_loop: &Loop,
    function: impl FnOnce() -> T + Send + 'static,
) -> BlockingHandle<T> {
    BlockingHandle::spawn(the_loop.executor.blocking(), function, Location::caller())
}

/// Runs the loop until the job has a result.
fn await_job<T>(the_loop: &Loop, mut job: BlockingHandle<T>) -> Result<T, JoinError> {
    let main = the_loop.main_waker();
    let mut result = None;
    the_loop.block_on(&main, |waker: &Waker| {
        match Pin::new(&mut job).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(value) => {
                result = Some(value);
                true
            }
            Poll::Pending => false,
        }
    });
    result.expect("the loop ends with it")
}

/// Ends the loop as a runtime does, and waits for its threads.
fn end(the_loop: &Loop) {
    let _entered = the_loop.executor.enter();
    the_loop.executor.shut_down();
    assert_eq!(the_loop.executor.blocking().wait_ended(NO_LIMIT), 0);
    the_loop.executor.close();
}

/// Counts its drops.
struct Witness(Arc<AtomicUsize>);

impl Drop for Witness {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Goal: a job that is submitted while the only thread ends by its keep-alive is run, and its
/// result wakes the loop.
///
/// Method: two jobs, the second after the result of the first. The first lets the keep-alive time
/// pass, so its thread finds no job and ends, or finds the second.
fn jobs_are_submitted_while_a_thread_ends() {
    let the_loop = Loop::new();
    let first = submit(&the_loop, || {
        LIMITS_ARE_OVER.store(true, Ordering::Relaxed);
        1
    });
    assert_eq!(await_job(&the_loop, first).unwrap(), 1);
    let second = submit(&the_loop, || 2);
    assert_eq!(await_job(&the_loop, second).unwrap(), 2);
    end(&the_loop);
}

/// Goal: a job that is aborted at any moment is either run or cancelled, and its closure is dropped
/// once.
///
/// Method: the abort comes from the loop's thread, while the thread of the pool starts.
fn a_job_is_aborted_while_it_starts() {
    let the_loop = Loop::new();
    let drops = Arc::new(AtomicUsize::new(0));
    let runs = Arc::new(AtomicUsize::new(0));
    let (witness, counter) = (Witness(Arc::clone(&drops)), Arc::clone(&runs));
    let job = submit(&the_loop, move || {
        let _witness = witness;
        counter.fetch_add(1, Ordering::Relaxed);
    });
    job.abort();
    let is_run = await_job(&the_loop, job).is_ok();
    assert_eq!(runs.load(Ordering::Relaxed), usize::from(is_run));
    assert_eq!(drops.load(Ordering::Relaxed), 1);
    end(&the_loop);
}

/// Goal: a result whose handle is dropped at any moment is dropped once, on either thread.
///
/// Method: the handle is polled and dropped while the job ends.
fn a_handle_is_dropped_while_its_job_ends() {
    let the_loop = Loop::new();
    let drops = Arc::new(AtomicUsize::new(0));
    let witness = Witness(Arc::clone(&drops));
    let mut job = submit(&the_loop, move || witness);
    let main = the_loop.main_waker();
    let waker = Waker::from(main);
    let polled = Pin::new(&mut job).poll(&mut Context::from_waker(&waker));
    drop((polled, job));
    end(&the_loop);
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

/// Goal: a call at any moment of the end of a loop is called, dropped or given back, once.
///
/// Method: another thread calls twice while the loop takes a turn and ends.
fn calls_race_with_the_end_of_the_loop() {
    let the_loop = Loop::new();
    let remote = RemoteHandle::new(the_loop.executor.remote());
    let drops = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&drops);
    let calling = thread::spawn(move || {
        for _ in 0..2 {
            let witness = Witness(Arc::clone(&counter));
            drop(remote.call(move || drop(witness)));
        }
    });
    let main = the_loop.main_waker();
    the_loop.block_on(&main, |_| true);
    end(&the_loop);
    calling.join().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}

/// Goal: a thread that blocks on a future of a loop that ends gets the output or an error, at any
/// moment.
///
/// Method: another thread blocks on a ready future while the loop takes a turn and ends.
fn a_thread_blocks_on_a_loop_that_ends() {
    let the_loop = Loop::new();
    let remote = RemoteHandle::new(the_loop.executor.remote());
    let blocking = thread::spawn(move || {
        let make: fn() -> Ready<u32> = || ready(7);
        match remote.block_on(make) {
            Ok(output) => assert_eq!(output, 7),
            Err(error) => assert!(error.is_cancelled()),
        }
    });
    let main = the_loop.main_waker();
    the_loop.block_on(&main, |_| true);
    end(&the_loop);
    blocking.join().unwrap();
}
