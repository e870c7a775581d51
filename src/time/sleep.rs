//! `sleep` and `sleep_until`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::Instant;
use crate::reactor::{Reactor, TimerKey};
use crate::runtime::context;
use crate::task::coop;

/// Waits for `duration`.
///
/// Never ends early. A duration of zero ends in the loop's next turn.
///
/// Cancel safe: dropping it removes the timer at once.
///
/// # Panics
///
/// If no loop runs on this thread.
#[track_caller]
pub fn sleep(duration: Duration) -> Sleep {
    let reactor = Rc::clone(&context::current().reactor);
    let deadline = Instant::from_ns(reactor.now_ns()) + duration;
    Sleep { reactor, deadline, state: State::New }
}

/// Waits until `deadline`. As [`sleep`]; a deadline in the past ends in the loop's next turn.
#[track_caller]
pub fn sleep_until(deadline: Instant) -> Sleep {
    let reactor = Rc::clone(&context::current().reactor);
    Sleep { reactor, deadline, state: State::New }
}

/// The future of [`sleep`] and [`sleep_until`].
#[must_use = "a sleep does nothing unless it is awaited"]
pub struct Sleep {
    reactor: Rc<Reactor>,
    deadline: Instant,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// Not polled yet: no timer is set.
    New,
    Pending(TimerKey),
    Elapsed,
}

impl Sleep {
    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether it has ended.
    pub fn is_elapsed(&self) -> bool {
        matches!(self.state, State::Elapsed)
    }

    /// Gives it another deadline, as if it had been made with that one.
    pub fn reset(&mut self, deadline: Instant) {
        self.forget_timer();
        self.deadline = deadline;
        self.state = State::New;
    }

    fn poll_elapsed(&mut self, waker: &Waker) -> Poll<()> {
        match self.state {
            State::New => {
                let key = self.reactor.wake_at(self.deadline.as_ns(), waker);
                self.state = State::Pending(key);
                Poll::Pending
            }
            State::Pending(key) => {
                if self.reactor.set_timer_waker(key, waker) {
                    return Poll::Pending;
                }
                self.state = State::Elapsed;
                Poll::Ready(())
            }
            State::Elapsed => Poll::Ready(()),
        }
    }

    fn forget_timer(&mut self) {
        if let State::Pending(key) = self.state {
            self.reactor.remove_timer(key);
        }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        coop::leaf(cx, |cx| self.poll_elapsed(cx.waker()))
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.forget_timer();
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
