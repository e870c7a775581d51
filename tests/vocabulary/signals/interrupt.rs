//! Futures that Ctrl-C interrupts.

use std::cell::RefCell;
use std::future::pending;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ringloop::signal::{Interrupted, until_ctrl_c};
use ringloop::task::yield_now;
use ringloop::{Handle, call_soon, spawn};

use super::SIGINT;
use super::ending::in_a_process;
use crate::common::{poll_once, turn, until};
use crate::raising::{is_handled, raise};
use crate::suite::Driver;

/// Runs a function when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Goal: the first Ctrl-C drops the future inside the loop, at its next await (G5).
///
/// Method: a future that raises the signal twice over: in a poll that goes on until its end, and
/// before the future that interrupts is polled first. A destructor records where it runs; a task of
/// the future goes on. Later the disposition is that of before, also while the destructor runs.
///
/// Kills: a future that is polled once more; one that is dropped with the runtime; a task that is
/// dropped with its parent; a listening that goes on.
pub(super) fn g5_the_first_ctrl_c_drops_the_future_inside_the_loop(on: Driver) {
    let steps: Rc<RefCell<Vec<&str>>> = Rc::default();
    let note = |step| {
        let steps = Rc::clone(&steps);
        move || steps.borrow_mut().push(step)
    };
    on.run(async {
        let mut task = None;
        let dropped = note("dropped");
        let outcome = until_ctrl_c(async {
            let _guard = OnDrop(|| {
                assert!(Handle::try_current().is_some() && !is_handled(SIGINT));
                call_soon(note("a callback of the destructor"));
                dropped();
            });
            task = Some(spawn(async {
                until(|| !is_handled(SIGINT)).await;
                turn()
            }));
            assert!(is_handled(SIGINT));
            raise(SIGINT);
            note("the rest of the poll")();
            loop {
                yield_now().await;
                assert!(is_handled(SIGINT), "it is polled after the signal");
            }
        });
        let outcome: Result<(), Interrupted> = outcome.unwrap().await;
        assert_eq!(outcome, Err(Interrupted));
        assert!(task.expect("spawned").await.unwrap() > 0);
        yield_now().await;
        let expected = ["the rest of the poll", "dropped", "a callback of the destructor"];
        assert_eq!(steps.take(), expected);

        let not_polled = until_ctrl_c(async { unreachable!("the signal came before") });
        raise(SIGINT);
        until(|| !is_handled(SIGINT)).await;
        let outcome: Result<(), Interrupted> = not_polled.unwrap().await;
        assert_eq!(outcome.unwrap_err().to_string(), "interrupted by Ctrl-C (SIGINT)");
    });
}

/// Goal: a result, an error and another cancel of the future are no interrupt (G5).
///
/// Method: futures that end with a value, with an error, and with the cancel of a task. Their
/// listening ends with them.
///
/// Kills: an interrupt for each end; a listening that outlives the future.
pub(super) fn g5_an_interrupt_differs_from_a_result_and_another_cancel(on: Driver) {
    on.run(async {
        let ended = until_ctrl_c(async {
            yield_now().await;
            Err::<(), _>("an error of its own")
        });
        assert_eq!(ended.unwrap().await, Ok(Err("an error of its own")));
        assert!(!is_handled(SIGINT));

        let cancelled = until_ctrl_c(async {
            let task = spawn(pending::<()>());
            task.abort();
            task.await.unwrap_err().is_cancelled()
        });
        assert_eq!(cancelled.unwrap().await, Ok(true));

        let mut dropped = Box::pin(until_ctrl_c(pending::<()>()).unwrap());
        assert!(poll_once(dropped.as_mut()).await.is_pending());
        assert!(is_handled(SIGINT));
        drop(dropped);
        assert!(!is_handled(SIGINT));
    });
}

/// Goal: the second Ctrl-C ends the process: after the first one was seen, and before (G5).
///
/// Method: in a process of its own, a destructor of the interrupted future that raises the signal;
/// then, in another one, a future that blocks its loop and raises it twice.
///
/// Kills: a listening that ends with the future; a second signal that only sets the bit again.
pub(super) fn g5_the_second_ctrl_c_ends_the_process(on: Driver) {
    let body = "g5_the_second_ctrl_c_ends_the_process";
    for place in ["in a destructor", "in a blocked loop"] {
        let ended = in_a_process(on, body, place, async |place| {
            let blocks = place == "in a blocked loop";
            let _ = until_ctrl_c(async {
                let _guard = OnDrop(|| raise(SIGINT));
                raise(SIGINT);
                if blocks {
                    raise(SIGINT);
                    std::process::exit(1);
                }
                pending::<()>().await;
            })
            .unwrap()
            .await;
            unreachable!("the signal ends the process");
        });
        assert_eq!(ended.signal(), Some(SIGINT), "{place}: {ended}");
    }
}

/// Goal: a signal that has interrupted nothing is sent again when the future is dropped.
///
/// Method: in a process of its own, a future that is dropped between the look of the loop and its
/// next poll.
///
/// Kills: a signal that is dropped with the future.
pub(super) fn g5_an_interrupt_that_was_not_seen_is_sent_again(on: Driver) {
    let body = "g5_an_interrupt_that_was_not_seen_is_sent_again";
    let ended = in_a_process(on, body, "", async |_| {
        let mut waiting = Box::pin(until_ctrl_c(pending::<()>()).unwrap());
        assert_eq!(poll_once(pin!(waiting.as_mut())).await, Poll::Pending);
        raise(SIGINT);
        until(|| !is_handled(SIGINT)).await;
        drop(waiting);
        unreachable!("the signal ends the process");
    });
    assert_eq!(ended.signal(), Some(SIGINT), "{ended}");
}
