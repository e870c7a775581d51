//! How late a worker's loop comes to what it has to do, whatever the target does.
//!
//! The send lag only speaks of messages that had a place. When every connection waits for a reply,
//! replies that lie in the sockets unread look like a slow target. So a timer rings at fixed times,
//! and how late the loop comes to each ring is the time that anything may have waited for this
//! program: a schedule of its own, for which there always is a place.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::measure::window::Window;
use crate::worker::state::Worker;

const PERIOD: Duration = Duration::from_millis(10);

/// Listens to the rings of the measured window.
pub(super) async fn run(worker: Rc<Worker>) {
    let mut rings = 0;
    while let Some(due) = worker.window().and_then(|window| ring(window, rings)) {
        ringloop::time::sleep_until(worker.loop_time(due)).await;
        let now = Instant::now();
        // Those that were slept through were waited for too, each from its own time on.
        while let Some(due) = worker.window().and_then(|window| ring(window, rings))
            && due <= now
        {
            worker.record_loop_lag(now - due);
            rings += 1;
        }
    }
}

fn ring(window: Window, number: u32) -> Option<Instant> {
    Some(window.from + PERIOD * number).filter(|due| *due < window.until)
}
