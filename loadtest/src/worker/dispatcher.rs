//! The dispatcher of a worker: the task that gives due messages to free connections.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use ringloop::time::Sleep;

use crate::worker::dispatch::Next;
use crate::worker::state::Worker;

/// The dispatcher of a worker: sleeps until a message is nearly due, stays awake until it is, and
/// gives it to a free connection.
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
    loop {
        let now = Instant::now();
        if let Some(begun) = idle_spin.end(worker.activity()) {
            worker.record_spin(begun, now);
        }
        match worker.hand_out(now) {
            Next::Due(due) => {
                worker.dispatch().wait(false, cx.waker());
                let until_due = due.saturating_duration_since(now);
                if until_due <= spin {
                    idle_spin.begin(now, worker.activity());
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                alarm.reset(worker.loop_time(due - spin));
                if Pin::new(&mut *alarm).poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
            next @ (Next::FreeConnection | Next::Nothing) => {
                worker.dispatch().wait(next == Next::FreeConnection, cx.waker());
                return Poll::Pending;
            }
        }
    }
}

/// Tells the turns that were spun, in which nothing was sent or received, from those with work.
#[derive(Debug, Default)]
struct IdleSpin {
    /// When it began, and what the worker had done until then.
    begun: Option<(Instant, u64)>,
}

impl IdleSpin {
    fn begin(&mut self, now: Instant, activity: u64) {
        self.begun = Some((now, activity));
    }

    /// When it began, if nothing was done since.
    fn end(&mut self, activity: u64) -> Option<Instant> {
        self.begun.take().filter(|(_, before)| *before == activity).map(|(begun, _)| begun)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a turn in which something was sent or received is no vigil.
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
