//! [`settle`], and the cushion of a paused clock.

use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

use crate::reactor::{Reactor, Settler};
use crate::runtime::context;
use crate::task::coop;

/// Waits until every other task waits, and nothing has completed for one of them.
///
/// It returns when no task is ready, no wake of another thread is pending, and the loop has entered
/// the kernel since the last poll of a task and the last request, without a completion. An
/// operation in flight, such as a send to a peer that does not read, does not delay it. A paused
/// clock moves only after it has returned. Several tasks that wait for this are resumed together.
///
/// A task that is always ready, as in a loop over `yield_now`, keeps it from returning. This is
/// trio's `wait_all_tasks_blocked` with a cushion of 0.
///
/// # Cancel safety
///
/// Cancel safe: dropping the future has no effect.
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```
/// use ringloop::testing::settle;
/// use ringloop::time::sleep;
/// use std::time::Duration;
///
/// ringloop::run(async {
///     ringloop::time::pause();
///     let task = ringloop::spawn(sleep(Duration::from_secs(1)));
///     settle().await;
///     assert!(!task.is_finished()); // it waits for its timer, which the clock has not reached
/// });
/// ```
pub async fn settle() {
    let waiting = Waiting::begin();
    waiting.settled().await;
}

/// Sets how long, in real time, a quiet loop waits before its paused clock moves by itself while
/// accepts, receives or polls are in flight. The default is no time.
///
/// A peer that is another thread or process takes real time to answer. Without a cushion, the clock
/// moves to the next timer meanwhile, because a receive does not hold it. This is trio's
/// `autojump_threshold`. [`advance`](crate::time::advance) does not use it.
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```
/// use ringloop::testing::set_autojump_cushion;
/// use std::time::Duration;
///
/// ringloop::run(async {
///     ringloop::time::pause();
///     set_autojump_cushion(Duration::from_millis(50));
///     // Receives of the answers of another process now have 50 ms before a timeout fires.
/// });
/// ```
#[track_caller]
pub fn set_autojump_cushion(cushion: Duration) {
    let cushion_ns = u64::try_from(cushion.as_nanos()).unwrap_or(u64::MAX);
    context::current().reactor.set_cushion(cushion_ns);
}

/// A call of [`settle`] that waits.
struct Waiting {
    reactor: Rc<Reactor>,
    settler: Rc<Settler>,
}

impl Waiting {
    fn begin() -> Waiting {
        Waiting { reactor: Rc::clone(&context::current().reactor), settler: Rc::default() }
    }

    fn settled(&self) -> impl Future<Output = ()> {
        let Waiting { reactor, settler } = self;
        coop::leaf_fn(reactor.home(), |cx| reactor.poll_settled(settler, cx.waker()))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.reactor.leave_settlers(&self.settler);
    }
}
