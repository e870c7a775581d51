//! [`pause`], [`resume`] and [`advance`]: time under test.

use std::rc::Rc;
use std::time::Duration;

use super::instant::{Instant, saturated_ns};
use super::sleep::Sleep;
use crate::reactor::{Changed, Reactor};
use crate::runtime::context;
use crate::testing::settle;

/// Pauses the clock of this loop: [`Instant::now`](super::Instant::now) stands still, and no timer
/// fires because real time passes.
///
/// When nothing else can happen, the clock moves to the next timer by itself, so that a test which
/// sleeps for an hour runs in microseconds. It moves only when
///
/// - no task is ready, and no wake of another thread is pending,
/// - no request waits to be submitted, and the kernel was entered without a completion since the
///   last request and the last poll of a task,
/// - no connect, no send and no job of another thread is in flight.
///
/// Accepts, receives and polls do not hold the clock, because they may wait without end. Bytes for
/// them may still be on the way when the clock moves:
/// [`set_autojump_cushion`](crate::testing::set_autojump_cushion) helps where that matters. A timer
/// fires exactly at its deadline, and timers fire in the order of their deadlines.
///
/// Timeouts of this crate are timers of this clock as well: `timeout`, idle timeouts, the linger of
/// a dropped stream and the pause of a listener that is out of descriptors. The end of the runtime
/// takes real time. A computation takes no time while the clock is paused, and neither does
/// `std::thread::sleep`.
///
/// This is tokio's `pause`, except that operations in flight hold the clock.
///
/// # Panics
///
/// If the clock is paused already, and if no loop runs on this thread.
///
/// ```
/// use ringloop::time::{Instant, pause, sleep, timeout};
/// use std::time::Duration;
///
/// ringloop::run(async {
///     pause();
///     let start = Instant::now();
///     sleep(Duration::from_secs(86_400)).await; // at once
///     assert_eq!(start.elapsed(), Duration::from_secs(86_400));
///
///     let never = std::future::pending::<()>();
///     assert!(timeout(Duration::from_secs(5), never).await.is_err());
///     assert_eq!(start.elapsed(), Duration::from_secs(86_405));
/// });
/// ```
#[track_caller]
pub fn pause() {
    let changed = context::current().reactor.pause_clock();
    assert!(changed == Changed::Yes, "time::pause: the clock of this loop is paused already");
}

/// Resumes the clock of this loop. It goes on from the time at which it stands, so it never goes
/// back, and from now on passes as the clock of the kernel does.
///
/// This is tokio's `resume`.
///
/// # Panics
///
/// If the clock is not paused, and if no loop runs on this thread.
///
/// ```
/// use ringloop::time::{Instant, pause, resume, sleep};
/// use std::time::Duration;
///
/// ringloop::run(async {
///     pause();
///     let start = Instant::now();
///     sleep(Duration::from_secs(60)).await;
///     resume();
///     sleep(Duration::from_millis(1)).await; // takes a millisecond
///     assert!(start.elapsed() >= Duration::from_millis(60_001));
/// });
/// ```
#[track_caller]
pub fn resume() {
    let changed = context::current().reactor.resume_clock();
    assert!(changed == Changed::Yes, "time::resume: the clock of this loop is not paused");
}

/// Moves the paused clock of this loop by `duration`, and fires the timers on the way.
///
/// First all other tasks run until they wait. Then the clock moves from timer to timer, in the
/// order of their deadlines, and the tasks that each timer wakes run at its time. The clock stops
/// exactly `duration` after the call, and the function returns when all tasks wait again. A task
/// that is always ready, as in a loop over `yield_now`, therefore keeps it from returning.
///
/// Unlike the clock that moves by itself, it does not wait for operations in flight. This is
/// tokio's `advance`, except that tasks run before, between and after the steps.
///
/// # Cancel safety
///
/// A dropped call leaves the clock where it is.
///
/// # Panics
///
/// If the clock is not paused, and if no loop runs on this thread.
///
/// ```
/// use ringloop::time::{Instant, advance, pause, sleep};
/// use std::time::Duration;
///
/// ringloop::run(async {
///     pause();
///     let start = Instant::now();
///     let task = ringloop::spawn(async move {
///         sleep(Duration::from_secs(2)).await;
///         start.elapsed()
///     });
///     advance(Duration::from_secs(1)).await;
///     assert!(!task.is_finished());
///     advance(Duration::from_secs(2)).await;
///     assert_eq!(start.elapsed(), Duration::from_secs(3));
///     assert_eq!(task.await.unwrap(), Duration::from_secs(2));
/// });
/// ```
pub async fn advance(duration: Duration) {
    let advance = Advance::begin(duration);
    advance.target_reached().await;
    drop(advance);
    settle().await;
}

/// A call of [`advance`] that runs.
struct Advance {
    reactor: Rc<Reactor>,
    target_ns: u64,
}

impl Advance {
    fn begin(duration: Duration) -> Advance {
        let reactor = Rc::clone(&context::current().reactor);
        assert!(
            reactor.is_clock_paused(),
            "time::advance: the clock of this loop is not paused: call time::pause first"
        );
        let target_ns = reactor.begin_advance(saturated_ns(duration));
        Advance { reactor, target_ns }
    }

    fn target_reached(&self) -> Sleep {
        Sleep::new(Rc::clone(&self.reactor), Instant::from_ns(self.target_ns))
    }
}

impl Drop for Advance {
    fn drop(&mut self) {
        self.reactor.end_advance(self.target_ns);
    }
}
