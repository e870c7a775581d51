//! Channels and queues.

use ringloop::spawn;
use ringloop::sync::{broadcast, oneshot, watch};

use crate::common::turns;
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    a_oneshot_passes_a_value_to_a_waiting_task,
    a_dropped_receiver_gives_the_value_back,
    a_slow_receiver_of_a_broadcast_learns_what_it_missed,
    a_watch_shows_the_last_value_before_the_end,
];
pub(crate) const ALONE: &[Body] = bodies![];

/// Goal: a value that is sent wakes the task that waits for it, and a dropped sender ends a wait.
/// Method: two channels with a waiting task each; one sends, the other is dropped.
/// Kills: a send, or a drop of the sender, that does not wake the receiver.
fn a_oneshot_passes_a_value_to_a_waiting_task(on: Driver) {
    on.run(async {
        let (sender, receiver) = oneshot::channel();
        let waiting = spawn(receiver);
        let (dropped, receiver) = oneshot::channel::<u32>();
        let failing = spawn(receiver);
        turns(2).await;
        sender.send(7).unwrap();
        drop(dropped);
        assert_eq!(waiting.await.unwrap(), Ok(7));
        assert!(failing.await.unwrap().is_err());
    });
}

/// Goal: a sender whose receiver is gone gets its value back, and learns of the end without
/// sending.
/// Method: a sender that waits for the end of a receiver in another task.
/// Kills: a drop of the receiver that does not wake the sender; a `send` that drops the value.
fn a_dropped_receiver_gives_the_value_back(on: Driver) {
    on.run(async {
        let (mut sender, receiver) = oneshot::channel();
        let ending = spawn(async move { drop(receiver) });
        sender.closed().await;
        assert!(sender.is_closed());
        assert_eq!(sender.send(7), Err(7));
        ending.await.unwrap();
    });
}

/// Goal: every receiver gets every value, a slow one the number of those that it missed, and all of
/// them the end after the last value.
/// Method: a receiver that takes each value in a task of its own, and one that begins late.
/// Kills: a send that waits for slow receivers; an end that overtakes values; a wake of one
/// receiver only.
fn a_slow_receiver_of_a_broadcast_learns_what_it_missed(on: Driver) {
    async fn all(mut receiver: broadcast::Receiver<u32>) -> (Vec<u32>, u64) {
        let (mut values, mut missed_count) = (Vec::new(), 0);
        loop {
            match receiver.recv().await {
                Ok(value) => values.push(value),
                Err(broadcast::error::RecvError::Lagged(count)) => missed_count += count,
                Err(broadcast::error::RecvError::Closed) => return (values, missed_count),
            }
        }
    }
    on.run(async {
        let (sender, receiver) = broadcast::channel(2);
        let slow = sender.subscribe();
        let quick = [spawn(all(receiver)), spawn(all(sender.subscribe()))];
        for value in 0..5 {
            sender.send(value).unwrap();
            turns(2).await;
        }
        drop(sender);
        for task in quick {
            assert_eq!(task.await.unwrap(), (vec![0, 1, 2, 3, 4], 0));
        }
        assert_eq!(all(slow).await, (vec![3, 4], 3));
    });
}

/// Goal: a task that follows a value sees the last one, also if its sender has ended.
/// Method: several sends in one turn, and then the drop of the sender; a reader that keeps a `Ref`
/// across the sends.
/// Kills: an end that hides the last value; a send that waits for a `Ref`, or that changes it.
fn a_watch_shows_the_last_value_before_the_end(on: Driver) {
    on.run(async {
        let (sender, mut receiver) = watch::channel(0);
        let following = spawn(async move {
            let mut seen = Vec::new();
            while receiver.changed().await.is_ok() {
                let value = receiver.borrow_and_update();
                turns(1).await;
                seen.push(*value);
            }
            seen
        });
        turns(2).await;
        for value in 1..=3 {
            sender.send(value).unwrap();
        }
        turns(2).await;
        sender.send(4).unwrap();
        drop(sender);
        assert_eq!(following.await.unwrap(), [3, 4]);
    });
}
