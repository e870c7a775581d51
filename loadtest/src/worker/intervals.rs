//! The intervals of one worker: the recorder of the running one, and the way to the main thread
//! for those that are over.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use crate::measure::published::Published;
use crate::measure::recorder::{IntervalPart, IntervalPhase, Recorder};
use crate::measure::window::Window;
use crate::worker::control::{Event, Links};

/// Records latencies and counts by interval, and sends each interval that is over.
#[derive(Debug)]
pub(super) struct Intervals {
    worker: u32,
    events: SyncSender<Event>,
    published: Arc<Published>,
    /// `None` until the connections may send.
    recorder: Option<Recorder>,
}

impl Intervals {
    pub(super) fn new(worker: u32, links: &Links) -> Intervals {
        let Links { control: _, published, events } = links.clone();
        Intervals { worker, events, published, recorder: None }
    }

    pub(super) fn start(&mut self, start: Instant, window: Window, length: Duration) {
        self.recorder = Some(Recorder::new(start, window, length));
    }

    /// Lets `note` write to the running interval, if that interval is of the same kind. Replies to
    /// messages of the warm-up that arrive in the measured window are in no interval.
    pub(super) fn record(&mut self, is_measured: bool, note: impl FnOnce(&mut Recorder)) {
        let alive = self.alive();
        let Some(recorder) = &mut self.recorder else { return };
        while is_measured && recorder.phase() == IntervalPhase::Warmup {
            // The window has begun, and the task that closes intervals has not run yet.
            send(&self.events, self.worker, recorder.close(alive));
        }
        if is_measured == (recorder.phase() != IntervalPhase::Warmup) {
            note(recorder);
        }
    }

    /// Sends the intervals that are over. Returns the end of the running one, if it is known.
    pub(super) fn close_until(&mut self, now: Instant) -> Option<Instant> {
        let alive = self.alive();
        let recorder = self.recorder.as_mut()?;
        while recorder.until().is_some_and(|until| until <= now) {
            send(&self.events, self.worker, recorder.close(alive));
        }
        recorder.until()
    }

    /// Sends the running interval, cut at `now`, and begins that of the drain.
    pub(super) fn close_for_drain(&mut self, now: Instant) {
        self.close_until(now);
        let alive = self.alive();
        let Some(recorder) = &mut self.recorder else { return };
        if let Some(part) = recorder.close_for_drain(now, alive) {
            send(&self.events, self.worker, part);
        }
    }

    /// Sends the last interval.
    pub(super) fn finish(&mut self, now: Instant) {
        let alive = self.alive();
        if let Some(recorder) = &mut self.recorder {
            send(&self.events, self.worker, recorder.finish(now, alive));
        }
    }

    fn alive(&self) -> u32 {
        self.published.alive.get() as u32
    }
}

fn send(events: &SyncSender<Event>, worker: u32, part: IntervalPart) {
    // If the main thread has hung up, the process is about to end.
    let _ = events.send(Event::Interval { worker, part: Box::new(part) });
}
