//! Each async function, polled in a loop: it yields when the budget of the poll is spent.

use std::cell::Cell;
use std::rc::Rc;

use ringloop::spawn;
use ringloop::sync::oneshot;
use ringloop::task::yield_now;

use crate::common::{turns, until};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![channels_in_a_loop_let_others_run];
pub(crate) const ALONE: &[Body] = bodies![];

/// More operations than a poll may complete: the budget is 128.
const IN_A_ROW_MAX: u32 = 1000;

/// Runs `leaf` in a loop, beside a task that counts turns.
async fn lets_others_run(name: &str, mut leaf: impl AsyncFnMut() + 'static) {
    let turn = Rc::new(Cell::new(0_u32));
    let counter = spawn({
        let turn = Rc::clone(&turn);
        async move {
            loop {
                turn.set(turn.get() + 1);
                yield_now().await;
            }
        }
    });
    let looping = spawn({
        let turn = Rc::clone(&turn);
        async move {
            let (mut seen, mut in_a_row) = (0, 0);
            while in_a_row < IN_A_ROW_MAX {
                leaf().await;
                in_a_row = if turn.replace(turn.get()) == seen { in_a_row + 1 } else { 1 };
                seen = turn.get();
            }
        }
    });
    until(|| turn.get() >= 10 || looping.is_finished()).await;
    turns(3).await;
    assert!(!looping.is_finished(), "{name}: {IN_A_ROW_MAX} times in a row, or a panic");
    looping.abort();
    counter.abort();
}

/// Goal: operations of channels spend the budget, whatever their outcome.
/// Method: each in a loop, on a channel where it is ready.
/// Kills: a result that is returned without a leaf, for example of a closed channel.
fn channels_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        let (mut sender, receiver) = oneshot::channel::<u32>();
        drop(receiver);
        lets_others_run("closed", async move || sender.closed().await).await;
        lets_others_run("a oneshot receiver", async || {
            let (sender, receiver) = oneshot::channel();
            sender.send(1).unwrap();
            receiver.await.unwrap();
        })
        .await;
    });
}
