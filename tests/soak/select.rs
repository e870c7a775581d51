//! `select!` over channels and timers, in producers and in the consumer.
//!
//! Each producer sends consecutive numbers over a channel of its own, and gives up a send when a
//! short timer ends first; the number is then sent again. The consumer selects over all channels
//! and a timer. So nearly every round drops futures that wait, and many drop one that was woken.
//! Nothing may be lost, doubled or reordered: each channel delivers 0, 1, 2 and so on, and in the
//! end everything that was sent has been received.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use ringloop::sync::mpsc;
use ringloop::task::yield_now;
use ringloop::time::sleep;
use ringloop::{Runtime, select, spawn};

use crate::common::Dice;
use crate::progress::Progress;

/// A channel of few places, so that senders wait too.
const CAPACITY: usize = 2;

/// The longest timer of a round.
const TIMER_MICROS_MAX: u64 = 100;

pub(crate) fn soak(runtime: &Runtime, progress: &mut Progress) {
    runtime.block_on(async {
        let is_over = Rc::new(Cell::new(false));
        let (mut receivers, mut producers) = (Vec::new(), Vec::new());
        for seed in 1..=3 {
            let (sender, receiver) = mpsc::channel(CAPACITY);
            receivers.push(receiver);
            producers.push(spawn(produce(sender, Dice::new(seed), Rc::clone(&is_over))));
        }
        let [first, second, third] = &mut receivers[..] else { unreachable!("three channels") };
        let (mut received, mut timers, mut dice) = ([0_u64; 3], 0_u64, Dice::new(99));
        let mut expect = |channel: usize, number: Option<u64>| {
            if let Some(number) = number {
                assert_eq!(number, received[channel], "channel {channel}");
                received[channel] += 1;
            }
            number.is_some()
        };
        let mut is_open = [true; 3];
        while is_open.contains(&true) {
            select! {
                number = first.recv(), if is_open[0] => is_open[0] = expect(0, number),
                number = second.recv(), if is_open[1] => is_open[1] = expect(1, number),
                number = third.recv(), if is_open[2] => is_open[2] = expect(2, number),
                () = short_timer(&mut dice) => timers += 1,
            }
            if !is_over.get() && !progress.next() {
                is_over.set(true);
            }
        }
        for (producer, received) in producers.into_iter().zip(received) {
            assert_eq!(producer.await.expect("a producer does not panic"), received);
        }
        assert!(timers > 0, "no timer has won a round");
    });
    let metrics = runtime.handle().metrics();
    assert_eq!((metrics.tasks, metrics.timers), (0, 0));
}

/// Sends consecutive numbers until the soak is over. Returns how many were sent.
async fn produce(sender: mpsc::Sender<u64>, mut dice: Dice, is_over: Rc<Cell<bool>>) -> u64 {
    let mut sent = 0;
    while !is_over.get() {
        select! {
            result = sender.send(sent) => {
                result.expect("the consumer receives until the channel is closed");
                sent += 1;
            }
            () = short_timer(&mut dice) => {}
        }
        match dice.roll(8) {
            0 => short_timer(&mut dice).await,
            1 => yield_now().await,
            _ => {}
        }
    }
    sent
}

async fn short_timer(dice: &mut Dice) {
    sleep(Duration::from_micros(dice.roll(TIMER_MICROS_MAX))).await;
}
