//! Wakes from another thread, at random phases of the loop.
//!
//! The two threads pass one number back and forth: the loop waits until the thread has sent it, and
//! the thread until the loop has seen it. Both pause for a random time first. So a wake finds the
//! loop before its look into the inbox, between the look and the sleep, or asleep. A wake that is
//! lost is a hang, which the limit of the soak ends. Half of the rounds are calls instead.

use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::thread;

use ringloop::task::yield_now;
use ringloop::{Handle, RemoteHandle, Runtime};

use crate::common::Dice;
use crate::progress::Progress;

/// The longest pause, in rounds of a spin loop. A turn of the loop takes about as long.
const PAUSE_MAX: u64 = 400;

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    seen: AtomicU64,
    waker: Mutex<Option<Waker>>,
    is_over: AtomicBool,
}

impl Shared {
    /// Sends `number` and wakes the task that waits for it, if it does.
    fn send(&self, number: u64) {
        self.sent.store(number, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

pub(crate) fn soak(runtime: &Runtime, progress: &mut Progress) {
    let shared = Arc::new(Shared::default());
    let (theirs, remote) = (Arc::clone(&shared), runtime.handle().remote());
    let sender = thread::spawn(move || send_all(&theirs, &remote));
    runtime.block_on(async {
        let mut dice = Dice::new(7);
        for number in 1.. {
            poll_fn(|cx| {
                // The waker is stored before the look, so that no number is missed in between.
                *shared.waker.lock().unwrap() = Some(cx.waker().clone());
                match shared.sent.load(Ordering::SeqCst) >= number {
                    true => Poll::Ready(()),
                    false => Poll::Pending,
                }
            })
            .await;
            assert_eq!(shared.sent.load(Ordering::SeqCst), number);
            let is_last = !progress.next();
            shared.is_over.store(is_last, Ordering::SeqCst);
            shared.seen.store(number, Ordering::SeqCst);
            if is_last {
                break;
            }
            match dice.roll(3) {
                0 => yield_now().await,
                _ => pause(&mut dice),
            }
        }
    });
    sender.join().expect("the sender does not panic");
    let metrics = runtime.handle().metrics();
    assert_eq!((metrics.tasks, metrics.timers, metrics.spin_backoffs), (0, 0, 0));
}

/// Sends 1, 2, 3 and so on, each after the loop has seen the last.
fn send_all(shared: &Arc<Shared>, remote: &RemoteHandle) {
    let mut dice = Dice::new(5);
    for number in 1.. {
        pause(&mut dice);
        if dice.roll(2) == 0 {
            shared.send(number);
        } else {
            let theirs = Arc::clone(shared);
            let call = move || {
                assert!(Handle::try_current().is_some());
                theirs.send(number);
            };
            remote.call(call).expect("the runtime is open");
        }
        while shared.seen.load(Ordering::SeqCst) < number {
            thread::yield_now();
        }
        if shared.is_over.load(Ordering::SeqCst) {
            return;
        }
    }
}

fn pause(dice: &mut Dice) {
    for _ in 0..dice.roll(PAUSE_MAX) {
        std::hint::spin_loop();
    }
}
