//! State of the workers, from their events.

use std::time::Duration;

use crate::base::exit::Error;
use crate::report::model::early_end::{Aborted, GaveUp};
use crate::run::timeline::Timeline;
use crate::worker::control::{Event, Ready};
use crate::worker::result::WorkerResult;

#[derive(Debug, Default)]
pub(super) struct WorkerTally {
    pub(super) ready: Vec<Ready>,
    pub(super) ramped: u32,
    pub(super) lost: u32,
    /// A worker has lost connections by failures, and has not only closed them after their
    /// messages.
    pub(super) lost_by_failure: bool,
    pub(super) spent: u32,
    pub(super) drained: u32,
    /// Present from the start of the load.
    pub(super) timeline: Option<Timeline>,
    pub(super) results: Vec<WorkerResult>,
    pub(super) signal: Option<i32>,
    /// Length of the complete part of the measured window, if it has grown since the last check.
    pub(super) measured: Option<Duration>,
    pub(super) aborted: Option<Aborted>,
    pub(super) gave_up: Option<GaveUp>,
}

impl WorkerTally {
    pub(super) fn take(&mut self, event: Event) -> Result<(), Error> {
        match event {
            Event::Ready(ready) => self.ready.push(ready),
            Event::SetupFailed(text) => return Err(Error::could_not_run(text)),
            Event::Ramped => self.ramped += 1,
            Event::Interval { worker, part } => {
                let timeline = self.timeline.as_mut().expect("intervals begin with the load");
                self.measured = timeline.take(worker, *part).or(self.measured);
            }
            Event::Spent => self.spent += 1,
            Event::Lost { by_failure } => {
                self.lost += 1;
                self.lost_by_failure |= by_failure;
            }
            Event::Drained => self.drained += 1,
            Event::Done(result) => self.results.push(*result),
            Event::Gone { worker } => {
                // This event follows the result, so the result has arrived if there is one.
                if self.results.iter().all(|result| result.worker != worker) {
                    let line = format!("internal error: worker {worker} ended without a result");
                    return Err(Error::could_not_run(line));
                }
            }
            Event::Signal(signal) => self.signal = Some(signal),
        }
        Ok(())
    }
}
