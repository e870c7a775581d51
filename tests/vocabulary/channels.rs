//! Channels and queues.

use ringloop::spawn;
use ringloop::sync::oneshot;

use crate::common::turns;
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] =
    bodies![a_oneshot_passes_a_value_to_a_waiting_task, a_dropped_receiver_gives_the_value_back,];
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
