//! When things happen: the pace of connects, the gates that hold connections back, and the window in
//! which messages count.
//!
//! Schedules are closed formulas of an index. There is no queue of future events to grow.

pub(crate) mod arrivals;
pub(crate) mod backlog;
pub(crate) mod poisson;
pub(crate) mod rate;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

/// The pace of connects of one worker among `threads`, so that all together keep the rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectPace {
    /// Connects of all workers in one `period`.
    pub(crate) connects: u32,
    /// The time in which `connects` begin.
    pub(crate) period: Duration,
    pub(crate) worker: u32,
    pub(crate) threads: u32,
}

impl ConnectPace {
    /// When the worker's connect number `index` is due, from the start of the ramp.
    pub(crate) fn due(&self, index: u32) -> Duration {
        let global_index = u64::from(index) * u64::from(self.threads) + u64::from(self.worker);
        let due_ns = u128::from(global_index) * self.period.as_nanos() / u128::from(self.connects);
        Duration::from_nanos(u64::try_from(due_ns).unwrap_or(u64::MAX))
    }
}

/// Bounds the connects in flight, in the order in which they were asked for.
#[derive(Debug)]
pub(crate) struct ConnectGate {
    free: Cell<u32>,
    /// Nobody waits while a place is free: a freed place goes to the first who waits.
    waiting: RefCell<VecDeque<Rc<ConnectWaiter>>>,
}

/// Somebody who waits for a place, or has been given one and not come for it yet.
#[derive(Debug, Default)]
struct ConnectWaiter {
    is_granted: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One connect in flight. Dropping it makes room for the next.
#[derive(Debug)]
pub(crate) struct ConnectPermit(Rc<ConnectGate>);

impl ConnectGate {
    pub(crate) fn new(in_flight_max: u32) -> Rc<ConnectGate> {
        assert!(in_flight_max > 0, "a gate that never opens");
        let waiting = RefCell::new(VecDeque::new());
        Rc::new(ConnectGate { free: Cell::new(in_flight_max), waiting })
    }

    /// Waits for room. Not cancel safe: a task that asks must come back for its place.
    pub(crate) async fn enter(self: Rc<Self>) -> ConnectPermit {
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
        // Taken out first: a waker may run code that comes back here.
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

/// Holds open connections back until the ramp is over, so that connects are not measured against
/// the load of those that came first.
#[derive(Debug)]
pub(crate) struct StartGate {
    is_open: Cell<bool>,
    /// One place per connection: its bound.
    waiters: RefCell<Vec<Option<Waker>>>,
}

impl StartGate {
    pub(crate) fn new(connections: u32) -> StartGate {
        let waiters = RefCell::new(vec![None; connections as usize]);
        StartGate { is_open: Cell::new(false), waiters }
    }

    pub(crate) async fn pass(&self, index: u32) {
        poll_fn(|cx| {
            if self.is_open.get() {
                return Poll::Ready(());
            }
            self.waiters.borrow_mut()[index as usize] = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn open(&self) {
        self.is_open.set(true);
        let waiters = std::mem::take(&mut *self.waiters.borrow_mut());
        for waker in waiters.into_iter().flatten() {
            waker.wake();
        }
    }
}

/// As [`share`], of a number of messages.
pub(crate) fn share_of(total: u64, worker: u32, threads: u32) -> u64 {
    total / u64::from(threads) + u64::from(u64::from(worker) < total % u64::from(threads))
}

/// The part of `total` that worker number `worker` of `threads` takes: parts differ by at most one.
pub(crate) fn share(total: u32, worker: u32, threads: u32) -> u32 {
    total / threads + u32::from(worker < total % threads)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::{Context, Wake};
    use std::time::Instant;

    use super::*;
    use crate::measure::window::Window;

    #[derive(Default)]
    struct CountingWaker(AtomicU32);

    impl Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Goal: the workers together keep the rate, evenly.
    ///
    /// Method: collect the due times of two workers at 1 000/s; sorted, they are 1 ms apart.
    ///
    /// Kills: each worker pacing at the full rate; all workers starting in the same instant.
    #[test]
    fn workers_share_the_pace() {
        let mut due: Vec<Duration> = (0..2)
            .flat_map(|worker| {
                let period = Duration::from_secs(1);
                let pace = ConnectPace { connects: 1_000, period, worker, threads: 2 };
                (0..50).map(move |index| pace.due(index))
            })
            .collect();
        due.sort();
        for (index, due) in due.into_iter().enumerate() {
            assert_eq!(due, Duration::from_millis(index as u64));
        }
    }

    /// Goal: never more connects in flight than allowed, and a freed place goes to whoever has waited
    /// longest.
    ///
    /// Method: take the only permit, poll two entries, free the permit; a third, which comes last, does
    /// not get ahead of the second.
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

    /// Goal: a window holds its first instant and not its last, and can be cut at any time.
    ///
    /// Method: ask at the borders; cut before, inside and after.
    ///
    /// Kills: an inclusive end, which counts a message in two windows; a negative length.
    #[test]
    fn windows() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let window = Window { from: at(10), until: at(20) };
        assert!(!window.holds(at(9)) && window.holds(at(10)));
        assert!(window.holds(at(19)) && !window.holds(at(20)));
        for (cut_ms, len_ms) in [(5, 0), (10, 0), (15, 5), (30, 10)] {
            let mut window = window;
            window.cut(at(cut_ms));
            assert_eq!(window.len(), Duration::from_millis(len_ms), "cut at {cut_ms}");
        }
    }

    /// Goal: shares add up and are even.
    ///
    /// Method: small totals over small numbers of workers.
    ///
    /// Kills: losing the remainder.
    #[test]
    fn shares_add_up() {
        for threads in 1..6 {
            for total in 0..20 {
                let shares: Vec<u32> = (0..threads).map(|w| share(total, w, threads)).collect();
                assert_eq!(shares.iter().sum::<u32>(), total);
                for (worker, share) in (0..threads).zip(&shares) {
                    assert_eq!(share_of(total.into(), worker, threads), u64::from(*share));
                }
                assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
            }
        }
    }
}
