//! The result of a worker, at the end of a run.

use std::mem;
use std::time::Instant;

use hdrhistogram::Histogram;

use crate::measure::stats;
use crate::worker::connect_times::ConnectTimes;
use crate::worker::loop_health::LoopHealth;
use crate::worker::ramp::RampCounts;
use crate::worker::result::WorkerResult;
use crate::worker::shared::Worker;
use crate::worker::unhandled::Reports;

impl Worker {
    /// Counts what is unfinished and takes the result. Of the loop's metrics it has nothing yet.
    pub(in crate::worker) fn collect(&self, now: Instant) -> WorkerResult {
        self.count_unfinished(now);
        let mut outcomes = self.outcomes.borrow_mut();
        outcomes.intervals.finish(now);
        let dispatcher = self.dispatcher.borrow();
        let ConnectTimes { connect, tls, tls_suite, handshake } = self.connect_times.take();
        let LoopHealth { lag, spin_time } = self.loop_health.take();
        let RampCounts { started, failed, length, lost, reconnects, idle } =
            self.ramp.borrow().counts();
        WorkerResult {
            worker: self.plan.worker,
            counters: outcomes.counters,
            traffic: outcomes.traffic,
            failures: mem::take(&mut outcomes.failures),
            service: take(&mut outcomes.service),
            connect,
            tls,
            tls_suite,
            handshake,
            loop_lag: lag,
            replies: dispatcher.replies(),
            connects_started: started,
            connects_failed: failed,
            served: dispatcher.served(),
            lost,
            outages: outcomes.outages.finish(dispatcher.drained_at().unwrap_or(now)),
            reconnects,
            idle,
            ramp_length: length,
            cq_overflows: 0,
            pool_exhausted: 0,
            reports: Reports::default(),
            spin_time,
        }
    }

    /// Counts the measured messages that have no outcome: in flight, assigned, or in the schedule.
    fn count_unfinished(&self, now: Instant) {
        let mut dispatcher = self.dispatcher.borrow_mut();
        let Some(window) = dispatcher.window() else { return };
        let mut outcomes = self.outcomes.borrow_mut();
        for message in dispatcher.in_flight() {
            outcomes.in_flight(message, now);
        }
        // Nothing was sent after the window, so a longer wait would not be the target's. If the
        // target was lost, it is assumed to stay so until the planned end of the window.
        let drained_at = dispatcher.drained_at();
        let waited_until = drained_at.map_or(now, |drained_at| drained_at.max(window.until));
        dispatcher.take_unsent(waited_until, |waited_ns, count| {
            outcomes.never_sent(waited_ns, count);
        });
    }
}

fn take(histogram: &mut Histogram<u64>) -> Histogram<u64> {
    mem::replace(histogram, stats::new_histogram())
}
