//! [`sleep`] and [`sleep_until`].

use std::fmt;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::instant::Instant;
use crate::reactor::{Reactor, TimerKey};
use crate::runtime::context;
use crate::task::coop;

/// Waits for `duration`.
///
/// The future never ends early. A duration of zero ends in the next turn of the loop. The timer is
/// set at the first poll, for a deadline that counts from this call. This is tokio's `sleep`.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future removes the timer at once.
///
/// # Panics
///
/// If no loop runs on this thread. For panics of the future see [`Sleep`].
///
/// ```
/// use ringloop::time::{Instant, sleep};
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let start = Instant::now();
///     sleep(Duration::from_millis(2)).await;
///     assert!(start.elapsed() >= Duration::from_millis(2));
/// });
/// ```
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    let reactor = Rc::clone(&context::current().reactor);
    let deadline = Instant::from_ns(reactor.now_ns()) + duration;
    Sleep::new(reactor, deadline)
}

/// Waits until `deadline`.
///
/// Otherwise like [`sleep`]. A deadline in the past ends in the next turn of the loop.
///
/// # Panics
///
/// If no loop runs on this thread. For panics of the future see [`Sleep`].
///
/// ```
/// use ringloop::time::{Instant, sleep_until};
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let deadline = Instant::now() + Duration::from_millis(2);
///     sleep_until(deadline).await;
///     assert!(Instant::now() >= deadline);
/// });
/// ```
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep::new(Rc::clone(&context::current().reactor), deadline)
}

/// The future of [`sleep`] and [`sleep_until`].
///
/// A sleep belongs to the loop on which it was made. When that loop ends, a sleep that has been
/// polled is woken.
///
/// # Panics
///
/// If it is polled on another loop, or outside of any, while its own has not ended. If it is polled
/// after its loop has ended and it had not elapsed before, because it can never elapse.
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    reactor: Rc<Reactor>,
    deadline: Instant,
    state: SleepState,
    made_at: &'static Location<'static>,
}

/// The loop of a timer has ended, so the timer will never fire.
struct LoopEnded;

#[derive(Clone, Copy)]
enum SleepState {
    /// Not polled yet: no timer is set.
    New,
    Pending(TimerKey),
    Elapsed,
}

impl Sleep {
    #[track_caller]
    pub(super) fn new(reactor: Rc<Reactor>, deadline: Instant) -> Sleep {
        Sleep { reactor, deadline, state: SleepState::New, made_at: Location::caller() }
    }

    /// The time at which the sleep ends.
    ///
    /// ```
    /// use ringloop::time::{Instant, sleep_until};
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let deadline = Instant::now() + Duration::from_secs(1);
    ///     assert_eq!(sleep_until(deadline).deadline(), deadline);
    /// });
    /// ```
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether the sleep has ended: a poll of it was ready.
    ///
    /// ```
    /// use ringloop::time::sleep;
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     let mut nap = sleep(Duration::from_millis(1));
    ///     assert!(!nap.is_elapsed());
    ///     (&mut nap).await;
    ///     assert!(nap.is_elapsed());
    /// });
    /// ```
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, SleepState::Elapsed)
    }

    /// Sets another deadline, as if the sleep had been made with it. An ended sleep starts again.
    ///
    /// ```
    /// use ringloop::time::{Instant, pause, sleep};
    /// use std::time::Duration;
    ///
    /// ringloop::run(async {
    ///     pause();
    ///     let start = Instant::now();
    ///     let mut nap = sleep(Duration::from_secs(60));
    ///     nap.reset(start + Duration::from_secs(1));
    ///     (&mut nap).await;
    ///     assert!(nap.is_elapsed() && start.elapsed() == Duration::from_secs(1));
    /// });
    /// ```
    pub fn reset(&mut self, deadline: Instant) {
        self.remove_timer();
        self.deadline = deadline;
        self.state = SleepState::New;
    }

    fn poll_elapsed(&mut self, waker: &Waker) -> Poll<Result<(), LoopEnded>> {
        if let Some(ended_ns) = self.reactor.ended_ns() {
            return Poll::Ready(self.elapsed_before(ended_ns));
        }
        match self.state {
            SleepState::New => {
                let key = self.reactor.wake_at(self.deadline.as_ns(), waker);
                self.state = SleepState::Pending(key);
                Poll::Pending
            }
            SleepState::Pending(key) => {
                if self.reactor.set_timer_waker(key, waker) {
                    return Poll::Pending;
                }
                self.state = SleepState::Elapsed;
                Poll::Ready(Ok(()))
            }
            SleepState::Elapsed => Poll::Ready(Ok(())),
        }
    }

    /// Whether the timer was due in the last turn of its loop, which has ended.
    fn elapsed_before(&mut self, ended_ns: u64) -> Result<(), LoopEnded> {
        match self.state {
            SleepState::Elapsed => Ok(()),
            SleepState::Pending(_) if self.deadline.as_ns() <= ended_ns => {
                self.state = SleepState::Elapsed;
                Ok(())
            }
            SleepState::New | SleepState::Pending(_) => Err(LoopEnded),
        }
    }

    fn remove_timer(&mut self) {
        if let SleepState::Pending(key) = self.state {
            self.reactor.remove_timer(key);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let reactor = Rc::clone(&self.reactor);
        coop::leaf(reactor.home(), cx, |cx| self.poll_elapsed(cx.waker())).map(|elapsed| {
            if let Err(LoopEnded) = elapsed {
                panic!(
                    "a sleep made at {} was polled after its runtime had ended, so it can never \
                     elapse: await a sleep, timeout or interval on the runtime it was made on, \
                     or drop it with that runtime",
                    self.made_at
                );
            }
        })
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.remove_timer();
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .field("is_elapsed", &self.is_elapsed())
            .finish_non_exhaustive()
    }
}
