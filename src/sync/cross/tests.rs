//! The channels between threads, on one thread.

use std::pin::pin;

use super::*;
use crate::sync::mpsc::error::TryRecvError;
use crate::sync::tests::Counter;

fn assert_crosses<T: Send + Sync>() {}

/// Goal: the halves may move to other threads and be shared.
/// Method: the compiler. Kills: an `Rc` in a half.
#[test]
fn halves_are_send_and_sync() {
    assert_crosses::<mpsc::Sender<u8>>();
    assert_crosses::<mpsc::UnboundedSender<u8>>();
    assert_crosses::<mpsc::Receiver<u8>>();
    assert_crosses::<oneshot::Sender<u8>>();
    assert_crosses::<oneshot::Receiver<u8>>();
}

/// Goal: a send that was woken and is not polled holds no slot back.
/// Method: two sends wait for one slot; after a receive, only the second is polled.
/// Kills: a slot that belongs to the first waiter; a receive that wakes one waiter only.
#[test]
fn a_send_that_is_not_polled_holds_no_slot() {
    let (sender, mut receiver) = mpsc::channel(1);
    sender.try_send(0).unwrap();
    let (first, second) = (Counter::default(), Counter::default());
    let (mut stalled, mut polled) = (pin!(sender.send(1)), pin!(sender.send(2)));
    assert!(first.poll(stalled.as_mut()).is_pending());
    assert!(second.poll(polled.as_mut()).is_pending());
    assert_eq!(receiver.try_recv(), Ok(0));
    assert!(first.was_woken() && second.was_woken());
    assert!(second.poll(polled.as_mut()).is_ready());
    assert!(first.poll(stalled.as_mut()).is_pending());
    assert_eq!(receiver.try_recv(), Ok(2));
    assert!(first.was_woken());
    assert!(first.poll(stalled.as_mut()).is_ready());
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Err(TryRecvError::Empty)));
}
