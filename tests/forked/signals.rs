//! Signals that a forked child sends to itself, while its parent listens for them.

use std::os::unix::process::ExitStatusExt;
use std::pin::pin;

use ringloop::Runtime;
use ringloop::signal::{Signal, SignalKind, signal};

use crate::common::{poll_once, turns};
use crate::process::{How, eventfd_counts, fork, fork_to_end};
use crate::raising::raise;

const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;

fn listeners() -> (Signal, Signal) {
    let listen = |number| signal(SignalKind::from_raw(number)).unwrap();
    (listen(SIGUSR1), listen(SIGUSR2))
}

/// Runs a loop of the child's own, which receives its own signals.
fn listen_on_a_loop_of_its_own() {
    ringloop::run(async {
        let (mut first, mut second) = listeners();
        for _ in 0..3 {
            raise(SIGUSR1);
            first.recv().await.unwrap();
        }
        assert!(poll_once(pin!(second.recv())).await.is_pending());
    });
}

/// Asserts that a signal ends the child in which `run` sends it.
fn dies(how: How, number: i32, run: impl FnOnce()) {
    let ended = fork_to_end(how, run);
    assert_eq!(ended.signal(), Some(number), "{ended}");
    let counts = eventfd_counts();
    assert!(!counts.is_empty() && counts.iter().all(|count| *count == 0), "woken: {counts:?}");
}

/// The children of a process whose loop listens, and then the listeners of that loop.
pub(crate) fn signals(how: How) {
    // The child's loop takes the place of one of these in the handler, and never of both.
    let (other, runtime) = (Runtime::new().unwrap(), Runtime::new().unwrap());
    let (mut others_first, mut others_second) = other.block_on(async { listeners() });
    let mut listening = Some(runtime.block_on(async { listeners() }));
    runtime.block_on(async {
        dies(how, SIGUSR1, || raise(SIGUSR1));
        dies(how, SIGUSR1, || {
            listen_on_a_loop_of_its_own();
            raise(SIGUSR1);
        });
        dies(how, SIGUSR2, || {
            ringloop::run(async {
                let _own = signal(SignalKind::user_defined1()).unwrap();
                raise(SIGUSR1);
                raise(SIGUSR2);
            });
        });
        dies(how, SIGUSR2, || {
            drop(listening.take());
            listen_on_a_loop_of_its_own();
            raise(SIGUSR2);
        });
    });
    let mut kept = Some(runtime);
    fork(how, || {
        drop(kept.take());
        drop(listening.take());
        listen_on_a_loop_of_its_own();
    });
    let (mut first, mut second) = listening.expect("the parent's");
    kept.expect("the parent's").block_on(async {
        turns(3).await;
        assert!(poll_once(pin!(first.recv())).await.is_pending());
        assert!(poll_once(pin!(second.recv())).await.is_pending());
        raise(SIGUSR1);
        raise(SIGUSR2);
        first.recv().await.unwrap();
        second.recv().await.unwrap();
    });
    other.block_on(async {
        others_first.recv().await.unwrap();
        others_second.recv().await.unwrap();
        turns(3).await;
        assert!(poll_once(pin!(others_first.recv())).await.is_pending());
    });
}
