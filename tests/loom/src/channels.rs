//! Models of the channels between threads.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::rig::Loop;
use crate::sync::cross::{mpsc, oneshot};

/// A value that counts its drops.
struct Counted(Arc<AtomicUsize>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Goal: a value that is sent while the loop polls the receiver, or goes to sleep, arrives.
///
/// Method: a thread sends; the main future of the loop is the receiver.
pub(crate) fn a_oneshot_send_races_with_the_poll() {
    let the_loop = Loop::new();
    let main = the_loop.main_waker();
    let (sender, mut receiver) = oneshot::channel();
    let thread = thread::spawn(move || sender.send(7).unwrap());
    the_loop.block_on(&main, |waker| {
        match Pin::new(&mut receiver).poll(&mut Context::from_waker(waker)) {
            Poll::Ready(value) => value == Ok(7),
            Poll::Pending => false,
        }
    });
    thread.join().unwrap();
}

/// Goal: whichever half ends first, the value is dropped once.
///
/// Method: a thread sends a value while this one drops the receiver.
pub(crate) fn both_halves_of_a_oneshot_end_at_once() {
    let drops = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = oneshot::channel();
    let value = Counted(Arc::clone(&drops));
    let thread = thread::spawn(move || drop(sender.send(value)));
    drop(receiver);
    thread.join().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 1);
}

/// Goal: two senders that wait for one slot both send, and the receiver gets both values and the
/// end.
///
/// Method: two threads that block on a channel with one slot; this one receives until the end.
pub(crate) fn two_threads_send_to_a_third() {
    let (sender, mut receiver) = mpsc::channel(1);
    let threads = [1, 2].map(|value| {
        let sender = sender.clone();
        thread::spawn(move || sender.blocking_send(value).unwrap())
    });
    drop(sender);
    let sum: i32 = std::iter::from_fn(|| receiver.blocking_recv()).sum();
    assert_eq!(sum, 3);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Goal: the end of the receiver ends a send that waits, and each value is dropped once.
///
/// Method: a thread blocks on a full channel, or is about to, while this one drops the receiver.
pub(crate) fn the_receiver_ends_while_a_thread_sends() {
    let drops = Arc::new(AtomicUsize::new(0));
    let (sender, receiver) = mpsc::channel(1);
    assert!(sender.try_send(Counted(Arc::clone(&drops))).is_ok());
    let value = Counted(Arc::clone(&drops));
    let thread = thread::spawn(move || assert!(sender.blocking_send(value).is_err()));
    drop(receiver);
    thread.join().unwrap();
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}
