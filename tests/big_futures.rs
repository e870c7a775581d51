//! Large futures and callbacks on a stack of the default size of a thread.
//!
//! An overflow ends the process, so no assertion is needed. Without optimization the compiler
//! copies an argument in each function that passes it on. One copy remains: that of the function
//! that boxes. A future of 1 MiB then takes the whole stack, so the sizes are a little
//! less.

use std::time::Duration;

use ringloop::task::yield_now;
use ringloop::time::{Instant, call_at, call_later, sleep, timeout};
use ringloop::{Handle, Runtime, call_soon, run, spawn};

const STACK_BYTES: usize = 2 << 20;

/// The size with a copy in the caller, and one more without optimization.
const FUTURE_BYTES: usize = if cfg!(debug_assertions) { 960 << 10 } else { 1 << 20 };
/// The size with another copy in the caller: the captures of the callback, and the callback.
const CALL_BYTES: usize = if cfg!(debug_assertions) { 600 << 10 } else { 1 << 20 };

fn on_a_small_stack(body: fn()) {
    let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn(body);
    thread.expect("a thread").join().expect("no panic");
}

async fn large() -> usize {
    let buffer = [1_u8; FUTURE_BYTES];
    yield_now().await;
    buffer.iter().map(|byte| usize::from(*byte)).sum()
}

/// Goal: a future of half the stack's size can be spawned, from the loop and through a handle.
/// Method: as in the header. Kills: a move between two functions before the future is boxed.
#[test]
fn large_futures_are_spawned() {
    on_a_small_stack(|| {
        run(async { assert_eq!(spawn(large()).await.unwrap(), FUTURE_BYTES) });
    });
    on_a_small_stack(|| {
        let spawn = async || Handle::current().spawn(large()).await;
        run(async { assert_eq!(spawn().await.unwrap(), FUTURE_BYTES) });
    });
}

/// Goal: such a future can be the main one.
///
/// Method and kills: as above.
#[test]
fn large_futures_are_blocked_on() {
    on_a_small_stack(|| assert_eq!(run(large()), FUTURE_BYTES));
    on_a_small_stack(|| {
        let runtime = Runtime::new().expect("a driver");
        assert_eq!(runtime.block_on(large()), FUTURE_BYTES);
    });
}

/// Goal: callbacks may own as much as fits on the stack with its copy in the caller.
/// Method: each of the three ways. Kills: as above.
#[test]
fn large_callbacks_are_called() {
    fn callback() -> impl FnOnce() {
        let buffer = [1_u8; CALL_BYTES];
        move || assert_eq!(buffer.iter().map(|byte| usize::from(*byte)).sum::<usize>(), CALL_BYTES)
    }
    on_a_small_stack(|| {
        run(async {
            call_soon(callback());
            yield_now().await;
        });
    });
    on_a_small_stack(|| {
        run(async {
            let called = call_later(Duration::ZERO, callback());
            while called.is_pending() {
                yield_now().await;
            }
        });
    });
    on_a_small_stack(|| {
        run(async {
            let called = call_at(Instant::now(), callback());
            while called.is_pending() {
                sleep(Duration::from_millis(1)).await;
            }
        });
    });
}

/// Goal: a timeout around a large future can be spawned like the future alone.
///
/// Method: half as large, as the `Timeout` holds the future and is built beside it. Kills: as
/// above.
#[test]
fn large_futures_may_have_a_timeout() {
    async fn half() -> u8 {
        let buffer = [1_u8; FUTURE_BYTES / 2];
        yield_now().await;
        buffer[9]
    }
    on_a_small_stack(|| {
        let limit = Duration::from_secs(60);
        let limited = async move || spawn(timeout(limit, half())).await;
        run(async move { assert_eq!(limited().await.unwrap(), Ok(1)) });
    });
}
