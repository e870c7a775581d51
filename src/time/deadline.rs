//! [`deadline_scope`] and [`current_deadline`].

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::instant::Instant;
use super::sleep::{Sleep, sleep_until};
use super::timeout::Elapsed;
use crate::sync::waker_cell::WakerCell;
use crate::task::cancel::{Scope, ScopePoll, deadline_ns, with_deadline};
use crate::task::coop;

/// Runs `body` until it ends or `deadline` has passed. The body may move the deadline.
///
/// If the body ends in the poll in which the deadline passes, its value wins. An expiry is that of
/// one scope: of nested scopes, each returns the expiry of its own deadline only. When the deadline
/// has passed, the body is dropped at its next await, unless a
/// [`shielded`](crate::task::shielded) future is active, which runs to its end first. This is
/// asyncio's `timeout` block and trio's `fail_at`; [`timeout_at`](super::timeout_at) is tokio's,
/// without shields.
///
/// # Cancel safety
///
/// That of the body, which is dropped with this future. Reads and accepts of this crate lose
/// nothing.
///
/// # Errors
///
/// [`Elapsed`], which converts to an `io::Error` of kind `TimedOut`.
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```
/// use ringloop::time::{Instant, deadline_scope, sleep};
/// use std::time::Duration;
///
/// ringloop::run(async {
///     let start = Instant::now();
///     let result = deadline_scope(start + Duration::from_millis(1), async |d| {
///         d.reschedule(start + Duration::from_secs(60)); // there is progress
///         sleep(Duration::from_millis(5)).await;
///         d.reschedule(Instant::now());
///         sleep(Duration::from_secs(60)).await;
///     })
///     .await;
///     assert!(result.is_err());
/// });
/// ```
pub async fn deadline_scope<T, Body>(deadline: Instant, body: Body) -> Result<T, Elapsed>
where
    Body: AsyncFnOnce(Deadline) -> T,
{
    let state = Rc::new(DeadlineState {
        deadline: Cell::new(deadline),
        has_expired: Cell::new(false),
        is_polled: Cell::new(false),
        waker: WakerCell::default(),
    });
    let scope = Scope::new(body(Deadline { state: Rc::clone(&state) }));
    DeadlineScope { scope, sleep: sleep_until(deadline), state }.await
}

/// The earliest deadline of the [`deadline_scope`] and [`timeout`](super::timeout) calls around
/// this code, in the task that runs.
///
/// [`shielded`](crate::task::shielded) hides the deadlines around it. Spawned tasks have none from
/// their parent. This is trio's `current_effective_deadline`.
///
/// ```
/// use ringloop::time::{Instant, current_deadline, deadline_scope};
/// use std::time::Duration;
///
/// ringloop::run(async {
///     assert_eq!(current_deadline(), None);
///     let at = Instant::now() + Duration::from_secs(60);
///     let seen = deadline_scope(at, async |_| current_deadline()).await;
///     assert_eq!(seen, Ok(Some(at)));
/// });
/// ```
pub fn current_deadline() -> Option<Instant> {
    deadline_ns().map(Instant::from_ns)
}

/// The deadline of a [`deadline_scope`]. Clones are the same deadline.
#[derive(Clone)]
pub struct Deadline {
    state: Rc<DeadlineState>,
}

impl Deadline {
    /// Moves the deadline, to an earlier or a later time. A time in the past ends the scope in the
    /// next turn. It has no effect when the scope has expired.
    pub fn reschedule(&self, at: Instant) {
        self.state.deadline.set(at);
        // In a poll of the scope, the scope itself looks at the deadline next.
        if !self.state.is_polled.get()
            && let Some(waker) = self.state.waker.take()
        {
            waker.wake();
        }
    }

    /// The time at which the scope expires.
    pub fn deadline(&self) -> Instant {
        self.state.deadline.get()
    }

    /// Whether the scope has expired: its deadline has passed, and the scope has been polled.
    pub fn expired(&self) -> bool {
        self.state.has_expired.get()
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline")
            .field("deadline", &self.deadline())
            .field("expired", &self.expired())
            .finish()
    }
}

struct DeadlineState {
    deadline: Cell<Instant>,
    has_expired: Cell<bool>,
    /// Whether the scope is being polled.
    is_polled: Cell<bool>,
    /// The task of the scope, for a deadline that another task moves.
    waker: WakerCell,
}

pin_project! {
    struct DeadlineScope<F> {
        #[pin]
        scope: Scope<F>,
        sleep: Sleep,
        state: Rc<DeadlineState>,
    }
}

impl<F: Future> DeadlineScope<F> {
    /// Polls the body before the deadline has passed, then looks at the deadline.
    fn poll_unexpired(self: Pin<&mut Self>, cx: &mut Context<'_>) -> ScopePoll<F::Output> {
        let this = self.project();
        let state = &**this.state;
        let _ = state.waker.wait(cx.waker());
        let polled = {
            let _polled = Polled::new(state);
            with_deadline(state.deadline.get().as_ns(), || this.scope.poll(cx, false))
        };
        if let ScopePoll::Pending = polled {
            if this.sleep.deadline() != state.deadline.get() {
                this.sleep.reset(state.deadline.get());
            }
            // A body that uses the budget up in every poll must not outlive its deadline.
            let elapsed = coop::unbudgeted(|| Pin::new(&mut *this.sleep).poll(cx));
            state.has_expired.set(elapsed.is_ready());
        }
        polled
    }
}

/// Marks a scope as being polled.
struct Polled<'a>(&'a DeadlineState);

impl<'a> Polled<'a> {
    fn new(state: &'a DeadlineState) -> Polled<'a> {
        state.is_polled.set(true);
        Polled(state)
    }
}

impl Drop for Polled<'_> {
    fn drop(&mut self) {
        self.0.is_polled.set(false);
    }
}

impl<F: Future> Future for DeadlineScope<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.state.has_expired.get()
            && let ScopePoll::Ready(value) = self.as_mut().poll_unexpired(cx)
        {
            return Poll::Ready(Ok(value));
        }
        if !self.state.has_expired.get() {
            return Poll::Pending;
        }
        let this = self.project();
        let deadline_ns = this.state.deadline.get().as_ns();
        match with_deadline(deadline_ns, || this.scope.poll(cx, true)) {
            ScopePoll::Ready(value) => Poll::Ready(Ok(value)),
            ScopePoll::Pending => Poll::Pending,
            ScopePoll::Ended => coop::leaf_anywhere(cx, |_| Poll::Ready(Err(Elapsed(())))),
        }
    }
}
