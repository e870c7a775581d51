//! The end of a run: the window closes, and the books.

use std::task::Waker;
use std::time::Instant;

use crate::measure::stats;
use crate::measure::window::Window;
use crate::plan::load::CloseStyle;
use crate::worker::control::{Ending, Event};
use crate::worker::ramp::Handshakes;
use crate::worker::result::WorkerResult;
use crate::worker::state::{Message, Slot, Worker};
use crate::worker::unhandled::Reports;

impl Worker {
    pub(in crate::worker) fn drain(&self, ending: Ending) {
        let now = Instant::now();
        if let Some(window) = self.window.get()
            && ending == Ending::Asked
        {
            // What became due in the last moments has found no time to be handed out yet.
            let _ = self.hand_out(now.min(window.until));
        }
        self.drained_at.set(Some(now));
        if let Some(mut window) = self.window.get() {
            self.close_intervals(now);
            // Of a lost target the rest of the schedule stays in the books.
            if ending == Ending::Asked {
                window.cut(now);
                self.window.set(Some(window));
            }
            let alive = self.links.published.alive.get() as u32;
            let mut place = self.recorder.borrow_mut();
            let part = place.as_mut().and_then(|recorder| recorder.close_for_drain(now, alive));
            drop(place);
            if let Some(part) = part {
                self.send_event(Event::Interval { worker: self.plan.worker, part: Box::new(part) });
            }
        }
        if self.unfinished.get() == 0 {
            self.notify_once(&self.notified.drained, Event::Drained);
        }
    }

    /// Lets every open connection say that it ends, where its protocol or TLS has a way to. Returns
    /// whether there is one.
    pub(in crate::worker) fn begin_closing(&self) -> bool {
        let has_close_message = self.protocol.is_two_way() || self.plan.tls.is_some();
        let slots = self.slots.borrow();
        let open: Vec<_> = slots.iter().filter(|slot| slot.is_open).collect();
        if !has_close_message || open.is_empty() || self.plan.churn.close == CloseStyle::Rst {
            return false;
        }
        self.is_closing.set(true);
        open.iter().filter_map(|slot| slot.waker.as_ref()).for_each(Waker::wake_by_ref);
        true
    }

    pub(in crate::worker) fn is_closing(&self) -> bool {
        self.is_closing.get()
    }

    /// A connection has been closed.
    pub(in crate::worker) fn closed(&self, index: u32) {
        self.slots.borrow_mut()[index as usize].is_closed = true;
    }

    pub(in crate::worker) fn all_closed(&self) -> bool {
        self.slots.borrow().iter().all(|slot| slot.is_closed || !slot.is_open)
    }

    /// Whether the kernel has all of the last message of a connection.
    pub(in crate::worker) fn is_whole(&self, index: u32) -> bool {
        let slot = &self.slots.borrow()[index as usize];
        slot.whole_here == slot.sent_here
    }

    /// Closes the books.
    pub(in crate::worker) fn collect(&self, now: Instant) -> WorkerResult {
        let mut slots = self.slots.take();
        if let Some(window) = self.window.get() {
            self.collect_unfinished(&mut slots, window, now);
        }
        if let Some(recorder) = self.recorder.borrow_mut().as_mut() {
            let part = recorder.finish(now, self.links.published.alive.get() as u32);
            self.send_event(Event::Interval { worker: self.plan.worker, part: Box::new(part) });
        }
        let Handshakes { tls, tls_suite, protocol } = self.handshakes.take();
        let ramp = self.ramp.borrow();
        WorkerResult {
            worker: self.plan.worker,
            counters: *self.counters.borrow(),
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
            outages: self.outages.finish(self.drained_at.get().unwrap_or(now)),
            reconnects: self.reconnects.get(),
            idle: self.idle.get(),
            ramp_length: ramp.length,
            cq_overflows: 0,
            enobufs: 0,
            reports: Reports::default(),
            spin_time: self.spin_time.get(),
        }
    }

    /// Looks for what has no fate: in flight, assigned, and left in the schedule.
    fn collect_unfinished(&self, slots: &mut [Slot], window: Window, now: Instant) {
        let measured = |message: &&Message| message.is_measured;
        for message in slots.iter().flat_map(|slot| &slot.outstanding).filter(measured) {
            self.counters.borrow_mut().in_flight += 1;
            self.record_censored(*message, now);
        }
        // Nothing was sent any more from the end of the window on, so nobody knows that they would
        // have waited longer. Of a target that was lost that is the end as it was planned: it is
        // taken for one that does not come back until then.
        let waited_until = match self.drained_at.get() {
            Some(drained_at) => drained_at.max(window.until),
            None => now,
        };
        let never_sent = |waited_ns: u64, count: u64| {
            self.counters.borrow_mut().never_sent += count;
            self.record(true, |recorder| recorder.record_many_ns(waited_ns, count));
        };
        for due in slots.iter_mut().flat_map(|slot| slot.assigned.drain(..)) {
            if window.holds(due) {
                let waited = waited_until.saturating_duration_since(due);
                never_sent(waited.as_nanos() as u64, 1);
            }
        }
        let left = self.quota.get().unwrap_or(u64::MAX);
        self.dispatch().never_taken(window, waited_until, left, stats::bucket_of, never_sent);
    }
}
