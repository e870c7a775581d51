//! [`call_later`] and [`call_at`]: callbacks that run at a given time.

use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::rc::Rc;
use std::time::Duration;

use super::instant::Instant;
use crate::reactor::{Expire, TimerKey};
use crate::runtime::{Core, context};
use crate::task::Call;

/// Calls `function` once, `delay` from now, on the loop's thread.
///
/// It is never called early, and at the earliest in the next turn. Dropping the handle does not
/// cancel the call. A panic is reported to [`on_unhandled`](crate::Builder::on_unhandled), and the
/// loop goes on. This is asyncio's `loop.call_later`.
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let is_called = Rc::new(Cell::new(false));
///     let flag = Rc::clone(&is_called);
///     ringloop::call_later(Duration::from_millis(1), move || flag.set(true));
///     let cancelled = ringloop::call_later(Duration::from_millis(1), || unreachable!());
///     cancelled.cancel();
///
///     ringloop::time::sleep(Duration::from_millis(5)).await;
///     assert!(is_called.get());
/// });
/// ```
#[track_caller]
pub fn call_later(delay: Duration, function: impl FnOnce() + 'static) -> TimerHandle {
    call_boxed_later(delay, Box::new(function))
}

#[track_caller]
fn call_boxed_later(delay: Duration, function: Box<dyn FnOnce()>) -> TimerHandle {
    let core = context::current();
    let when = Instant::from_ns(core.reactor.now_ns()) + delay;
    schedule(core, when, Call::timed(function, Location::caller()))
}

/// Calls `function` once at `when`, on the loop's thread.
///
/// Otherwise like [`call_later`]; if `when` has passed, the call is made in the next turn.
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```
/// use ringloop::time::{Instant, pause, sleep_until};
/// use std::cell::Cell;
/// use std::rc::Rc;
/// use std::time::Duration;
///
/// ringloop::run(async {
///     pause();
///     let at = Instant::now() + Duration::from_secs(60);
///     let called_at = Rc::new(Cell::new(None));
///     let place = Rc::clone(&called_at);
///     let handle = ringloop::call_at(at, move || place.set(Some(Instant::now())));
///     assert_eq!(handle.when(), at);
///     sleep_until(at + Duration::from_secs(1)).await;
///     assert_eq!(called_at.get(), Some(at));
/// });
/// ```
#[track_caller]
pub fn call_at(when: Instant, function: impl FnOnce() + 'static) -> TimerHandle {
    call_boxed_at(when, Box::new(function))
}

#[track_caller]
fn call_boxed_at(when: Instant, function: Box<dyn FnOnce()>) -> TimerHandle {
    schedule(context::current(), when, Call::timed(function, Location::caller()))
}

fn schedule(core: Rc<Core>, when: Instant, call: Rc<Call>) -> TimerHandle {
    if core.reactor.ended_ns().is_some() {
        call.cancel(); // a destructor made it at the end of the loop: it will never be due
    }
    let timed = Rc::new(TimedCall { core: Rc::downgrade(&core), call: Rc::clone(&call) });
    let key = core.reactor.expire_at(when.as_ns(), timed);
    let is_cancelled = Cell::new(!call.is_pending());
    TimerHandle { core, key, call, when, is_cancelled }
}

/// The timer of a callback. When it is due, the callback is put on the ready queue.
struct TimedCall {
    /// Weak, because the core owns the timer that owns this.
    core: std::rc::Weak<Core>,
    call: Rc<Call>,
}

impl Expire for TimedCall {
    fn expire(self: Rc<Self>) {
        if let Some(core) = self.core.upgrade() {
            core.executor.call_soon(Rc::clone(&self.call));
        }
    }

    fn outlives_tasks(&self) -> bool {
        false
    }
}

/// A callback scheduled with [`call_later`] or [`call_at`]. Dropping the handle does not cancel it.
pub struct TimerHandle {
    core: Rc<Core>,
    key: TimerKey,
    call: Rc<Call>,
    when: Instant,
    is_cancelled: Cell<bool>,
}

impl TimerHandle {
    /// Cancels the call: drops the callback and its timer at once, unless it has run.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let handle = ringloop::call_later(Duration::from_millis(1), || unreachable!());
    ///     handle.cancel();
    ///     ringloop::time::sleep(Duration::from_millis(2)).await;
    /// });
    /// ```
    pub fn cancel(&self) {
        self.core.reactor.remove_timer(self.key);
        if self.call.is_pending() {
            self.is_cancelled.set(true);
        }
        self.call.cancel();
    }

    /// Whether the call was cancelled before it ran. This is asyncio's `TimerHandle.cancelled`.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let handle = ringloop::call_later(Duration::from_secs(60), || unreachable!());
    ///     assert!(!handle.is_cancelled());
    ///     handle.cancel();
    ///     assert!(handle.is_cancelled());
    /// });
    /// ```
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.get()
    }

    /// The time at which the callback is due. This is asyncio's `TimerHandle.when`.
    ///
    /// ```
    /// use ringloop::time::Instant;
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let at = Instant::now() + Duration::from_secs(60);
    ///     assert_eq!(ringloop::call_at(at, || ()).when(), at);
    /// });
    /// ```
    pub fn when(&self) -> Instant {
        self.when
    }

    /// Whether the callback will still run.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let handle = ringloop::call_later(Duration::from_millis(1), || ());
    ///     assert!(handle.is_pending());
    ///     ringloop::time::sleep(Duration::from_millis(2)).await;
    ///     assert!(!handle.is_pending());
    /// });
    /// ```
    pub fn is_pending(&self) -> bool {
        self.call.is_pending()
    }
}

impl fmt::Debug for TimerHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimerHandle")
            .field("when", &self.when)
            .field("is_pending", &self.is_pending())
            .finish_non_exhaustive()
    }
}
