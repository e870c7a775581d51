//! Channels and queues.

use std::cell::RefCell;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use ringloop::spawn;
use ringloop::sync::{PriorityQueue, Queue, broadcast, cross, mpsc, oneshot, watch};

use crate::common::{poll_once, turns};
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    a_oneshot_passes_a_value_to_a_waiting_task,
    a_dropped_receiver_gives_the_value_back,
    a_slow_receiver_of_a_broadcast_learns_what_it_missed,
    a_watch_shows_the_last_value_before_the_end,
    e6_a_dropped_send_takes_no_slot,
    e6_a_dropped_permit_wakes_a_closed_receiver,
    e7_senders_take_slots_in_order,
    e7_the_last_sender_ends_the_receiver_after_the_values,
    a_send_that_is_not_polled_holds_no_slot,
    an_unlimited_channel_passes_values_in_order,
    e6_a_cancelled_get_or_put_loses_nothing,
    a_queue_is_joined_when_its_items_are_done,
    a_join_ends_though_another_item_is_put,
    a_queue_that_is_shut_down_is_emptied_first,
    threads_send_to_a_loop_without_loss,
    the_end_of_a_loop_ends_the_sends_of_threads,
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

/// Goal: sends that are dropped while they wait, before or after they were woken, take no slot and
/// lose no wake.
/// Method: two sends wait for one slot; the first is dropped after the receive has woken it.
/// Kills: a drop of a woken send that does not wake the next one.
fn e6_a_dropped_send_takes_no_slot(on: Driver) {
    on.run(async {
        let (sender, mut receiver) = mpsc::channel(1);
        sender.send(0).await.unwrap();
        let mut dropped = Box::pin(sender.send(1));
        assert!(poll_once(dropped.as_mut()).await.is_pending());
        let other = spawn({
            let sender = sender.clone();
            async move { sender.send(2).await }
        });
        turns(2).await;
        assert_eq!(receiver.recv().await, Some(0));
        drop(dropped);
        other.await.unwrap().unwrap();
        assert_eq!((receiver.try_recv(), sender.capacity()), (Ok(2), 1));
    });
}

/// Goal: a receiver that was closed waits for the values of reserved slots, and ends when the last
/// permit is dropped without a value.
/// Method: two permits before the close; one sends, the other is dropped while the receiver waits.
/// Kills: an end that does not wait for permits; a drop of a permit that does not wake the
/// receiver.
fn e6_a_dropped_permit_wakes_a_closed_receiver(on: Driver) {
    on.run(async {
        let (sender, mut receiver) = mpsc::channel(2);
        let first = sender.reserve().await.unwrap();
        let second = sender.clone().reserve_owned().await.unwrap();
        assert!(sender.try_send(0).is_err());
        receiver.close();
        assert!(sender.reserve().await.is_err());
        let receiving = spawn(async move { (receiver.recv().await, receiver.recv().await) });
        turns(2).await;
        first.send(1);
        turns(2).await;
        assert!(!receiving.is_finished());
        drop(second);
        assert_eq!(receiving.await.unwrap(), (Some(1), None));
    });
}

/// Goal: slots are taken in the order in which tasks began to wait, and `try_send` does not
/// overtake them.
/// Method: five tasks wait for one slot; each receive is followed by a `try_send`.
/// Kills: a wake of the last waiter; a `try_send` that takes a slot while tasks wait.
fn e7_senders_take_slots_in_order(on: Driver) {
    on.run(async {
        let (sender, mut receiver) = mpsc::channel(1);
        sender.send(0).await.unwrap();
        let sending: Vec<_> = (1..=5)
            .map(|value| {
                let sender = sender.clone();
                spawn(async move { sender.send(value).await })
            })
            .collect();
        turns(2).await;
        for expected in 0..=4 {
            assert_eq!(receiver.recv().await, Some(expected));
            assert!(sender.try_send(100).is_err());
        }
        for task in sending {
            task.await.unwrap().unwrap();
        }
        assert_eq!(receiver.recv().await, Some(5));
    });
}

/// Goal: the receiver gets all values that were sent, and then the end, which the drop of the last
/// clone of the sender brings. Then sends fail and give their values back.
/// Method: three clones that send and end at different times, while the receiver waits.
/// Kills: an end with the first clone; an end before the last values; a drop that wakes no
/// receiver.
fn e7_the_last_sender_ends_the_receiver_after_the_values(on: Driver) {
    on.run(async {
        let (sender, mut receiver) = mpsc::channel(2);
        for value in 0..3 {
            let sender = sender.clone();
            spawn(async move {
                turns(value).await;
                sender.send(value).await.unwrap();
                turns(2 * value).await;
            });
        }
        drop(sender);
        let mut values = Vec::new();
        while let Some(value) = receiver.recv().await {
            values.push(value);
        }
        assert_eq!(values, [0, 1, 2]);

        let (sender, mut receiver) = mpsc::channel(4);
        for value in 0..3 {
            sender.send(value).await.unwrap();
        }
        let weak = sender.downgrade();
        drop(sender);
        assert!(weak.upgrade().is_none());
        let mut values = Vec::new();
        assert_eq!(receiver.recv_many(&mut values, 2).await, 2);
        assert_eq!(receiver.recv_many(&mut values, 2).await, 1);
        assert_eq!((receiver.recv_many(&mut values, 2).await, values), (0, vec![0, 1, 2]));
    });
}

/// Goal: a send that was woken and is not polled, as in a `select!` whose other arm runs, holds its
/// slot back for no longer than a turn or two.
/// Method: a future that waits and is kept without being polled, and a task that waits behind it.
/// Kills: a slot that belongs to the woken future.
fn a_send_that_is_not_polled_holds_no_slot(on: Driver) {
    on.run(async {
        let (sender, mut receiver) = mpsc::channel(1);
        sender.send(0).await.unwrap();
        let mut stalled = pin!(sender.send(1));
        assert!(poll_once(stalled.as_mut()).await.is_pending());
        let other = spawn({
            let sender = sender.clone();
            async move { sender.send(2).await }
        });
        turns(2).await;
        assert_eq!(receiver.recv().await, Some(0));
        assert_eq!(receiver.recv().await, Some(2));
        other.await.unwrap().unwrap();
        assert!(matches!(poll_once(stalled).await, Poll::Ready(Ok(()))));
        assert_eq!(receiver.recv().await, Some(1));
    });
}

/// Goal: an unbounded channel takes any number of values at once, keeps their order, and its
/// receiver can be closed.
/// Method: a thousand values before the receiver runs; a close with values in the channel, and a
/// task that waits for it.
/// Kills: values taken from the back; a close that discards values or wakes no sender.
fn an_unlimited_channel_passes_values_in_order(on: Driver) {
    on.run(async {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let received = Rc::new(RefCell::new(Vec::new()));
        let theirs = Rc::clone(&received);
        let receiving = spawn(async move {
            while theirs.borrow().len() < 1000 {
                let value = receiver.recv().await.unwrap();
                theirs.borrow_mut().push(value);
            }
            receiver.close();
            (receiver.recv().await, receiver.recv().await)
        });
        for value in 0..1001 {
            sender.send(value).unwrap();
        }
        sender.closed().await;
        assert!(sender.send(0).is_err());
        assert_eq!(receiving.await.unwrap(), (Some(1000), None));
        assert!(received.take().into_iter().eq(0..1000));
    });
}

/// Goal: a `get` that is cancelled after an item has woken it leaves the item to the next task, and
/// a cancelled `put` its place.
/// Method: two tasks wait for an item; the first is aborted in the turn of the put. The same with
/// two puts and one place.
/// Kills: an item or a place that belongs to the woken task.
fn e6_a_cancelled_get_or_put_loses_nothing(on: Driver) {
    on.run(async {
        let queue = Rc::new(Queue::new(1));
        let get = || {
            let queue = Rc::clone(&queue);
            spawn(async move { queue.get().await })
        };
        let (first, second) = (get(), get());
        turns(2).await;
        queue.put(7).await.unwrap();
        first.abort();
        assert_eq!(second.await.unwrap(), Ok(7));
        assert!(first.await.is_err() && queue.is_empty());

        let put = |item| {
            let queue = Rc::clone(&queue);
            spawn(async move { queue.put(item).await })
        };
        queue.put(0).await.unwrap();
        let (first, second) = (put(1), put(2));
        turns(2).await;
        assert_eq!(queue.get().await, Ok(0));
        first.abort();
        second.await.unwrap().unwrap();
        assert!(first.await.is_err());
        assert_eq!((queue.get().await, queue.len()), (Ok(2), 0));
    });
}

/// Goal: `join` waits for the last item that was put, also while items are put, and every task that
/// joins is woken.
/// Method: two tasks join a priority queue that a slow worker empties.
/// Kills: a join that ends when the queue is empty; a wake of one task only; items by the order of
/// their puts.
fn a_queue_is_joined_when_its_items_are_done(on: Driver) {
    on.run(async {
        let queue = Rc::new(PriorityQueue::new(8));
        for item in [3, 1, 2] {
            queue.put(item).await.unwrap();
        }
        let join = || {
            let queue = Rc::clone(&queue);
            spawn(async move { queue.join().await })
        };
        let joins = [join(), join()];
        let mut items = Vec::new();
        for _ in 0..3 {
            items.push(queue.get().await.unwrap());
            turns(2).await;
            assert!(!joins[0].is_finished() && !joins[1].is_finished());
            queue.task_done();
        }
        for task in joins {
            task.await.unwrap();
        }
        assert_eq!(items, [1, 2, 3]);
    });
}

/// Goal: a join ends if there was a time at which every item was done, as in asyncio.
/// Method: a task joins; the last item is done, and another one is put before the task runs.
/// Kills: a join that waits for the later item.
fn a_join_ends_though_another_item_is_put(on: Driver) {
    on.run(async {
        let queue = Rc::new(PriorityQueue::new(1));
        queue.put(1).await.unwrap();
        let joining = spawn({
            let queue = Rc::clone(&queue);
            async move { queue.join().await }
        });
        turns(2).await;
        queue.get().await.unwrap();
        queue.task_done();
        queue.put_nowait(2).unwrap();
        joining.await.unwrap();
        assert_eq!(queue.unfinished(), 1);
    });
}

/// Goal: after a shutdown, waiting puts fail with their items, gets take what is left and then
/// fail, and an immediate shutdown ends a join.
/// Method: a full queue with a waiting put; an empty one with a waiting get; a join of a queue
/// whose items are dropped.
/// Kills: a shutdown that wakes no waiting task; one that drops items unasked; dropped items that
/// stay unfinished.
fn a_queue_that_is_shut_down_is_emptied_first(on: Driver) {
    on.run(async {
        let queue = Rc::new(Queue::new(1));
        queue.put(1).await.unwrap();
        let putting = spawn({
            let queue = Rc::clone(&queue);
            async move { queue.put(2).await }
        });
        turns(2).await;
        queue.shutdown(false);
        assert_eq!(putting.await.unwrap().unwrap_err().0, 2);
        assert_eq!(queue.get().await, Ok(1));
        queue.get().await.unwrap_err();

        let queue = Rc::new(Queue::<u32>::new(1));
        let getting = spawn({
            let queue = Rc::clone(&queue);
            async move { queue.get().await }
        });
        turns(2).await;
        queue.shutdown(false);
        getting.await.unwrap().unwrap_err();

        let queue = Rc::new(Queue::new(2));
        queue.put(1).await.unwrap();
        let joining = spawn({
            let queue = Rc::clone(&queue);
            async move { queue.join().await }
        });
        turns(2).await;
        queue.shutdown(true);
        joining.await.unwrap();
        queue.get().await.unwrap_err();
    });
}

/// Goal: values of several threads wake the loop, arrive once each and in the order of each thread,
/// and then the end arrives.
/// Method: four threads that block on a channel with two slots, and a loop that only receives.
/// Kills: a send that wakes no receiver; a receive that wakes no blocked thread; an end before the
/// last values.
fn threads_send_to_a_loop_without_loss(on: Driver) {
    const VALUES: u32 = 200;
    let (sender, mut receiver) = cross::mpsc::channel(2);
    let threads: Vec<_> = (0..4)
        .map(|thread| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                (0..VALUES).for_each(|value| sender.blocking_send((thread, value)).unwrap());
            })
        })
        .collect();
    drop(sender);
    let mut next = [0; 4];
    on.run(async {
        while let Some((thread, value)) = receiver.recv().await {
            assert_eq!(value, std::mem::replace(&mut next[thread], value + 1));
        }
    });
    assert_eq!(next, [VALUES; 4]);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Goal: the end of a runtime ends the sends of other threads with their values, and a blocking
/// call on the thread of a loop is refused.
/// Method: a thread that blocks on a full channel whose receiver is in a task that never ends.
/// Kills: a receiver that is dropped without waking blocked threads; a loop that blocks itself.
fn the_end_of_a_loop_ends_the_sends_of_threads(on: Driver) {
    let (sender, mut receiver) = cross::mpsc::channel(1);
    let (answer, mut answered) = cross::oneshot::channel();
    sender.try_send(0).unwrap();
    let blocked = sender.clone();
    let thread = std::thread::spawn(move || blocked.blocking_send(1));
    on.run(async move {
        spawn(async move {
            std::future::pending::<()>().await;
            assert!(receiver.try_recv().is_ok() && answer.send(1).is_ok());
        });
        turns(2).await;
        let refused = std::panic::AssertUnwindSafe(|| sender.blocking_send(2));
        assert!(std::panic::catch_unwind(refused).is_err());
    });
    assert_eq!(thread.join().unwrap().unwrap_err().0, 1);
    assert!(answered.try_recv().is_err());
}
