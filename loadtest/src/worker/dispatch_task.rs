//! The task that runs a worker's dispatcher at the times at which messages are due.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ringloop::time::Sleep;

use crate::worker::dispatcher::Turn;
use crate::worker::shared::Worker;

/// Assigns each message when it is due. The task sleeps until `spin` before the next message and
/// stays awake for the rest.
pub(super) async fn run(worker: Rc<Worker>, spin: Duration) {
    let mut alarm = ringloop::time::sleep(Duration::ZERO);
    let mut idle_spin = IdleSpin::default();
    poll_fn(|cx| poll(&worker, spin, &mut alarm, &mut idle_spin, cx)).await
}

fn poll(
    worker: &Worker,
    spin: Duration,
    alarm: &mut Sleep,
    idle_spin: &mut IdleSpin,
    cx: &mut Context<'_>,
) -> Poll<()> {
    worker.set_dispatch_task(cx.waker());
    loop {
        let now = Instant::now();
        if let Some(begun) = idle_spin.end(worker.activity()) {
            let window = worker.window();
            worker.loop_health(|health| health.record_spin(window, begun, now));
        }
        let Turn::WaitUntil(due) = worker.dispatch(now) else { return Poll::Pending };
        if due.saturating_duration_since(now) <= spin {
            idle_spin.begin(now, worker.activity());
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        alarm.reset(worker.loop_time(due - spin));
        if Pin::new(&mut *alarm).poll(cx).is_pending() {
            return Poll::Pending;
        }
    }
}

/// Separates turns of the loop without any work from those in which something was sent or received.
#[derive(Debug, Default)]
struct IdleSpin {
    /// When the turn began, and the worker's activity at that time.
    begun: Option<(Instant, u64)>,
}

impl IdleSpin {
    fn begin(&mut self, now: Instant, activity: u64) {
        self.begun = Some((now, activity));
    }

    /// When the turn began, if there was no activity since.
    fn end(&mut self, activity: u64) -> Option<Instant> {
        self.begun.take().filter(|(_, before)| *before == activity).map(|(begun, _)| begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a turn in which something was sent or received is no idle spin.
    ///
    /// Method: one without, one with, and an end without a beginning.
    ///
    /// Kills: turns with work that count as spinning; one that is counted twice.
    #[test]
    fn a_turn_with_work_is_no_idle_spin() {
        let (now, mut idle_spin) = (Instant::now(), IdleSpin::default());
        idle_spin.begin(now, 7);
        assert_eq!(idle_spin.end(7), Some(now));
        assert_eq!(idle_spin.end(7), None);
        idle_spin.begin(now, 7);
        assert_eq!(idle_spin.end(8), None);
    }
}
