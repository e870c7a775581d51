//! Each async function of channels and queues, polled in a loop, as in `budget.rs`.

use ringloop::sync::{PriorityQueue, Queue, broadcast, cross, mpsc, oneshot, watch};

use crate::common::lets_others_run;
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    channels_in_a_loop_let_others_run,
    many_to_one_channels_in_a_loop_let_others_run,
    queues_in_a_loop_let_others_run,
    channels_of_threads_in_a_loop_let_others_run,
];
pub(crate) const ALONE: &[Body] = bodies![];

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
        let (sender, mut receiver) = broadcast::channel(1);
        lets_others_run("broadcast", async move || {
            sender.send(1).unwrap();
            receiver.recv().await.unwrap();
        })
        .await;
        let (sender, mut receiver) = broadcast::channel::<u32>(1);
        drop(sender);
        lets_others_run("a closed broadcast", async move || {
            receiver.recv().await.unwrap_err();
        })
        .await;
        let (sender, _) = broadcast::channel::<u32>(1);
        lets_others_run("a broadcast without receivers", async move || sender.closed().await).await;
        let (sender, mut receiver) = watch::channel(1);
        lets_others_run("changed", async move || {
            sender.send(2).unwrap();
            receiver.changed().await.unwrap();
        })
        .await;
        let (sender, mut receiver) = watch::channel(1);
        lets_others_run("wait_for", async move || {
            assert_eq!(*receiver.wait_for(|value| *value == 1).await.unwrap(), 1);
        })
        .await;
        drop(sender);
        let sender = watch::Sender::new(1);
        lets_others_run("a watch without receivers", async move || sender.closed().await).await;
    });
}

/// Goal: operations of channels from many tasks to one spend the budget, whatever their outcome.
/// Method: each in a loop, on a channel where it is ready: with values, with slots, closed.
/// Kills: a receive of nothing, or a send on a closed channel, without a leaf.
fn many_to_one_channels_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        let (sender, mut receiver) = mpsc::channel(1);
        lets_others_run("recv", async move || {
            sender.try_send(1).unwrap();
            receiver.recv().await.unwrap();
        })
        .await;
        let (sender, mut receiver) = mpsc::channel(1);
        lets_others_run("send", async move || {
            sender.send(1).await.unwrap();
            receiver.try_recv().unwrap();
        })
        .await;
        let (sender, _receiver) = mpsc::channel::<u32>(1);
        let owned = sender.clone();
        lets_others_run("reserve", async move || drop(sender.reserve().await.unwrap())).await;
        lets_others_run("reserve_owned", async move || {
            drop(owned.clone().reserve_owned().await.unwrap());
        })
        .await;
        let (sender, mut receiver) = mpsc::channel::<u32>(1);
        drop(sender);
        lets_others_run("recv_many", async move || {
            assert_eq!(receiver.recv_many(&mut Vec::new(), 1).await, 0);
        })
        .await;
        let (sender, _) = mpsc::channel(1);
        let closed = sender.clone();
        lets_others_run("a closed send", async move || {
            sender.send(1).await.unwrap_err();
        })
        .await;
        lets_others_run("a closed channel", async move || closed.closed().await).await;
        let (sender, mut receiver) = mpsc::unbounded_channel();
        lets_others_run("an unlimited channel", async move || {
            sender.send(1).unwrap();
            assert_eq!(receiver.recv_many(&mut Vec::new(), 0).await, 0);
            receiver.recv().await.unwrap();
        })
        .await;
        let (sender, _) = mpsc::unbounded_channel::<u32>();
        lets_others_run("a closed unlimited channel", async move || sender.closed().await).await;
    });
}

/// Goal: operations of queues spend the budget, whatever their outcome.
/// Method: each in a loop, on a queue where it is ready: with items, with places, shut down.
/// Kills: a `put` into a queue without a limit, or a `join` of nothing, without a leaf.
fn queues_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        let queue = Queue::new(1);
        lets_others_run("put and get", async move || {
            queue.put(1).await.unwrap();
            queue.get_nowait().unwrap();
            queue.put_nowait(1).unwrap();
            queue.get().await.unwrap();
        })
        .await;
        let queue = Queue::unbounded();
        lets_others_run("put", async move || queue.put(()).await.unwrap()).await;
        let queue = Queue::<u32>::new(1);
        lets_others_run("join", async move || queue.join().await).await;
        let queue = PriorityQueue::new(1);
        queue.shutdown(false);
        lets_others_run("after a shutdown", async move || {
            queue.put(1).await.unwrap_err();
            queue.get().await.unwrap_err();
        })
        .await;
    });
}

/// Goal: operations of the channels between threads spend the budget, whatever their outcome.
/// Method: each in a loop, on a channel where it is ready.
/// Kills: a result that is returned without a leaf, for example of a closed channel.
fn channels_of_threads_in_a_loop_let_others_run(on: Driver) {
    on.run(async {
        let (sender, mut receiver) = cross::mpsc::channel(1);
        lets_others_run("send and recv", async move || {
            sender.send(1).await.unwrap();
            receiver.recv().await.unwrap();
        })
        .await;
        let (sender, mut receiver) = cross::mpsc::channel::<u32>(1);
        drop(sender);
        lets_others_run("the end", async move || assert!(receiver.recv().await.is_none())).await;
        let (mut sender, receiver) = cross::oneshot::channel::<u32>();
        drop(receiver);
        lets_others_run("closed", async move || sender.closed().await).await;
        lets_others_run("oneshot", async || {
            let (sender, receiver) = cross::oneshot::channel();
            sender.send(1).unwrap();
            receiver.await.unwrap();
        })
        .await;
    });
}
