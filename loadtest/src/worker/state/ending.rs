//! The end of a run: the window closes, and the books.

use std::time::Instant;

use super::connecting::Handshakes;
use super::{Message, Slot, Worker};
use crate::control::Event;
use crate::schedule::Window;
use crate::stats;
use crate::worker::accounts::WorkerResult;

impl Worker {
    pub(in crate::worker) fn drain(&self) {
        let now = Instant::now();
        if let Some(window) = self.window.get() {
            // What became due in the last moments has found no time to be handed out yet.
            let _ = self.hand_out(now.min(window.until));
        }
        self.drained_at.set(Some(now));
        if let Some(mut window) = self.window.get() {
            self.close_intervals(now);
            window.cut(now);
            self.window.set(Some(window));
            let alive = self.links.published.alive.get() as u32;
            let mut place = self.recorder.borrow_mut();
            let part = place.as_mut().and_then(|recorder| recorder.close_for_drain(now, alive));
            drop(place);
            if let Some(part) = part {
                self.tell(Event::Interval { worker: self.plan.worker, part: Box::new(part) });
            }
        }
        if self.unsettled.get() == 0 {
            self.tell_once(&self.told.drained, Event::Drained);
        }
    }

    /// Closes the books.
    pub(in crate::worker) fn collect(&self, now: Instant) -> WorkerResult {
        let mut slots = self.slots.take();
        if let Some(window) = self.window.get() {
            self.collect_unfinished(&mut slots, window, now);
        }
        if let Some(recorder) = self.recorder.borrow_mut().as_mut() {
            let part = recorder.finish(now, self.links.published.alive.get() as u32);
            self.tell(Event::Interval { worker: self.plan.worker, part: Box::new(part) });
        }
        let Handshakes { tls, tls_suite, protocol } = self.handshakes.take();
        let ramp = self.ramp.borrow();
        WorkerResult {
            worker: self.plan.worker,
            accounts: *self.accounts.borrow(),
            traffic: self.traffic.get(),
            failures: self.failures.take(),
            service: self.service.replace(stats::new_histogram()),
            connect: self.connect.replace(stats::new_histogram()),
            tls,
            tls_suite,
            handshake: protocol,
            loop_lag: self.loop_lag.replace(stats::new_lag_histogram()),
            replies: slots.iter().filter(|slot| slot.was_opened).map(|slot| slot.replies).collect(),
            connects_started: ramp.started,
            connects_failed: ramp.failed,
            served: slots.iter().filter(|slot| slot.was_served).count() as u32,
            lost: self.lost.get(),
            reconnects: self.reconnects.get(),
            idle: self.idle.get(),
            ramp_took: ramp.took,
            cq_overflows: 0,
            enobufs: 0,
            panics: 0,
            spun: self.spun.get(),
        }
    }

    /// Looks for what has no fate: in flight, assigned, and left in the schedule.
    fn collect_unfinished(&self, slots: &mut [Slot], window: Window, now: Instant) {
        let measured = |message: &&Message| message.is_measured;
        for message in slots.iter().flat_map(|slot| &slot.outstanding).filter(measured) {
            self.accounts.borrow_mut().in_flight += 1;
            self.record_censored(*message, now);
        }
        // Nothing was sent any more from this moment on, so nobody knows that they would have
        // waited longer.
        let given_up_at = self.drained_at.get().unwrap_or(now);
        let never_sent = |due: Instant| {
            self.accounts.borrow_mut().never_sent += 1;
            let waited_ns = given_up_at.saturating_duration_since(due).as_nanos() as u64;
            self.record(true, |recorder| recorder.record_ns(waited_ns));
        };
        for slot in slots {
            slot.assigned.drain(..).filter(|due| window.holds(*due)).for_each(never_sent);
        }
        let mut left = self.quota.get().unwrap_or(u64::MAX);
        self.dispatch().never_taken(window.from, window.until, |due| {
            if left > 0 {
                left -= 1;
                never_sent(due);
            }
        });
    }
}
