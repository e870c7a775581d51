//! Children that report when they are ready.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;

use super::{Counted, Outcome};
use crate::common::{Gate, poll_once, turns};
use crate::suite::Driver;
use ringloop::task::{Ready, StartError, yield_now};
use ringloop::task_group;

/// Goal: `start` returns when the child is ready, with its value, and the child is then a child
/// like others (D11).
/// Method: a child that is ready after some turns and fails later: the error is the group's.
/// Kills: a `start` that returns at the first poll or at the end; a later error that is lost.
pub(super) fn d11_start_returns_when_the_child_is_ready(on: Driver) {
    on.run(async {
        let gate = Rc::new(Gate::default());
        let opened = Rc::clone(&gate);
        let outcome: Outcome<()> = task_group(async |g| {
            let value = g.start(async move |ready| {
                turns(3).await;
                ready.send(7);
                opened.wait().await;
                Err("after the start")
            });
            assert_eq!(value.await.unwrap(), 7);
            assert_eq!(g.len(), 1);
            turns(2).await;
            gate.open();
            pending().await
        })
        .await;
        assert_eq!(outcome.unwrap_err().into_error(), "after the start");

        // A child may be ready and end in one poll.
        let outcome: Outcome<_> = task_group(async |g| {
            let value = g.start(async |ready| {
                ready.send("at once");
                Ok(())
            });
            Ok(value.await.unwrap())
        })
        .await;
        assert_eq!(outcome.unwrap(), "at once");
    });
}

/// Goal: an error, a panic or an end before the child is ready goes to the caller of `start`, and
/// not to the group (D11).
/// Method: each case; the group then ends normally.
/// Kills: a start-up error that fails the group; a `start` that waits for a child that has ended or
/// has dropped `ready`.
pub(super) fn d11_an_error_at_the_start_is_not_the_groups(on: Driver) {
    on.run(async {
        let outcome: Outcome<()> = task_group(async |g| {
            let failed = g.start(async |_ready: Ready<()>| {
                yield_now().await;
                Err("no port")
            });
            let error = failed.await.unwrap_err();
            assert!(matches!(error, StartError::Failed("no port")));
            assert_eq!(error.to_string(), "the task failed to start: no port");

            let panicked = g.start(async |_ready: Ready<()>| {
                yield_now().await;
                panic!("at the start")
            });
            let StartError::Panicked(payload) = panicked.await.unwrap_err() else {
                panic!("a panic")
            };
            assert_eq!(payload.to_string(), "at the start");

            let ended = g.start(async |_ready: Ready<()>| Ok(()));
            assert!(matches!(ended.await.unwrap_err(), StartError::NotReady));

            let dropped = g.start(async |ready: Ready<()>| {
                drop(ready);
                pending().await
            });
            assert!(matches!(dropped.await.unwrap_err(), StartError::NotReady));
            Ok(())
        })
        .await;
        outcome.unwrap();
    });
}

/// Goal: a group that is cancelled while a child starts ends the wait with a clear error, and so
/// does one that was cancelled before (D11).
/// Method: both.
/// Kills: a `start` that waits for an aborted child.
pub(super) fn d11_a_cancel_during_a_start_is_reported(on: Driver) {
    on.run(async {
        let outcome: Outcome<()> = task_group(async |g| {
            let group = g.clone();
            g.spawn(async move {
                turns(3).await;
                group.cancel();
                Ok(())
            });
            let never = async |ready: Ready<u8>| {
                let _ready = ready;
                pending().await
            };
            assert!(matches!(g.start(never).await.unwrap_err(), StartError::Cancelled));
            assert!(g.is_closed());
            assert!(matches!(g.start(never).await.unwrap_err(), StartError::Cancelled));
            Ok(())
        })
        .await;
        outcome.unwrap();
    });
}

/// Goal: dropping `start` before the child is ready aborts the child; after that, the child runs
/// on.
/// Method: both, with counted locals.
/// Kills: a child that is left without its caller; one that is aborted although it was ready.
pub(super) fn d11_a_dropped_start_aborts_the_child(on: Driver) {
    on.run(async {
        let locals = Rc::new(Cell::new(0));
        let outcome: Outcome<()> = task_group(async |g| {
            for is_ready in [false, true] {
                let count = Rc::clone(&locals);
                let mut start = Box::pin(g.start(async move |ready| {
                    let _local = Counted::new(&count);
                    if is_ready {
                        ready.send(());
                        pending::<Result<(), _>>().await
                    } else {
                        let _ready = ready;
                        pending().await
                    }
                }));
                assert!(poll_once(start.as_mut()).await.is_pending());
                turns(2).await;
                assert_eq!(locals.get(), 1);
                drop(start);
                turns(2).await;
                assert_eq!(locals.get(), u32::from(is_ready));
            }
            g.cancel();
            Ok(())
        })
        .await;
        outcome.unwrap();
        assert_eq!(locals.get(), 0);
    });
}
