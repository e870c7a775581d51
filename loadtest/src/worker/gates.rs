//! Gates of a worker's connections: connects in flight, and the start of the load.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Limits the connects in flight. Waiting connects enter in the order of their requests.
#[derive(Debug)]
pub(super) struct ConnectGate {
    free: Cell<u32>,
    /// Empty while a place is free: a freed place is granted to the first waiter.
    waiting: RefCell<VecDeque<Rc<ConnectWaiter>>>,
}

/// A task that waits for a place, or was granted one and has not run since.
#[derive(Debug, Default)]
struct ConnectWaiter {
    is_granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One connect in flight. Dropping it frees its place.
#[derive(Debug)]
pub(super) struct ConnectPermit(Rc<ConnectGate>);

impl ConnectGate {
    pub(super) fn new(in_flight_max: u32) -> Rc<ConnectGate> {
        assert!(in_flight_max > 0, "a gate that never opens");
        let waiting = RefCell::new(VecDeque::new());
        Rc::new(ConnectGate { free: Cell::new(in_flight_max), waiting })
    }

    /// Waits for a place. Not cancel safe: a place that was granted to a dropped future is lost.
    pub(super) async fn enter(self: Rc<Self>) -> ConnectPermit {
        if let Some(free) = self.free.get().checked_sub(1) {
            self.free.set(free);
            return ConnectPermit(self);
        }
        let waiting = Rc::new(ConnectWaiter::default());
        self.waiting.borrow_mut().push_back(Rc::clone(&waiting));
        poll_fn(|cx| {
            if waiting.is_granted.get() {
                return Poll::Ready(());
            }
            *waiting.waker.borrow_mut() = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        ConnectPermit(self)
    }
}

impl Drop for ConnectPermit {
    fn drop(&mut self) {
        // Removed first: a waker may run code that calls this gate again.
        let next = self.0.waiting.borrow_mut().pop_front();
        let Some(next) = next else {
            self.0.free.set(self.0.free.get() + 1);
            return;
        };
        next.is_granted.set(true);
        let waker = next.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// Holds open connections back until the ramp is over, so that the load of the first connections
/// does not delay the connects of the others.
#[derive(Debug)]
pub(super) struct StartGate {
    is_open: Cell<bool>,
    /// One waker per connection.
    waiters: RefCell<Vec<Option<Waker>>>,
}

impl StartGate {
    pub(super) fn new(connections: u32) -> StartGate {
        let waiters = RefCell::new(vec![None; connections as usize]);
        StartGate { is_open: Cell::new(false), waiters }
    }

    pub(super) async fn pass(&self, index: u32) {
        poll_fn(|cx| {
            if self.is_open.get() {
                return Poll::Ready(());
            }
            self.waiters.borrow_mut()[index as usize] = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(super) fn open(&self) {
        self.is_open.set(true);
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        for waker in waiters.into_iter().flatten() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct CountingWaker(AtomicU32);

    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Goal: no more connects in flight than allowed, and a freed place goes to the longest waiter.
    ///
    /// Method: take the only permit, poll two entries, free the permit; a third, which comes last,
    /// does not get ahead of the second.
    ///
    /// Kills: not taking a place; not waking; waking the wrong one; handing a place out twice.
    #[test]
    fn the_connect_gate_bounds_and_wakes() {
        let gate = ConnectGate::new(1);
        let wakes = [Arc::new(CountingWaker::default()), Arc::new(CountingWaker::default())];
        let wakers = wakes.each_ref().map(|wakes| Waker::from(Arc::clone(wakes)));
        let [mut one, mut two] = wakers.each_ref().map(Context::from_waker);

        let Poll::Ready(permit) = pin!(Rc::clone(&gate).enter()).poll(&mut one) else {
            panic!("the gate is empty");
        };
        let mut first = pin!(Rc::clone(&gate).enter());
        let mut second = pin!(Rc::clone(&gate).enter());
        assert!(first.as_mut().poll(&mut one).is_pending());
        assert!(second.as_mut().poll(&mut two).is_pending());
        drop(permit);
        let woken = || wakes.each_ref().map(|wakes| wakes.0.load(Ordering::Relaxed));
        assert_eq!(woken(), [1, 0]);
        assert!(second.as_mut().poll(&mut two).is_pending(), "the place is the first one's");
        assert!(pin!(Rc::clone(&gate).enter()).poll(&mut two).is_pending());
        let Poll::Ready(permit) = first.as_mut().poll(&mut one) else { panic!("it was woken") };
        assert_eq!(gate.free.get(), 0);
        drop(permit);
        assert_eq!(woken(), [1, 1]);
        assert!(second.as_mut().poll(&mut two).is_ready());
    }

    /// Goal: everyone held at the start gate is woken, and latecomers pass.
    ///
    /// Method: hold two, open, poll them and a third.
    ///
    /// Kills: waking only the first; a gate that shuts again.
    #[test]
    fn the_start_gate_releases_everyone() {
        let gate = StartGate::new(3);
        let wakes = Arc::new(CountingWaker::default());
        let waker = Waker::from(Arc::clone(&wakes));
        let mut cx = Context::from_waker(&waker);

        let (mut first, mut second) = (pin!(gate.pass(0)), pin!(gate.pass(1)));
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(first.as_mut().poll(&mut cx).is_pending(), "a second poll takes no second place");
        assert!(second.as_mut().poll(&mut cx).is_pending());
        gate.open();
        assert_eq!(wakes.0.load(Ordering::Relaxed), 2);
        assert!(first.as_mut().poll(&mut cx).is_ready());
        assert!(second.as_mut().poll(&mut cx).is_ready());
        assert!(pin!(gate.pass(2)).poll(&mut cx).is_ready());
    }
}
