//! How late a worker's loop is at fixed times, independent of the target.
//!
//! The send lag covers only messages for which a connection had room. When every connection waits
//! for a reply, replies that lie unread in the sockets look like a slow target. The heartbeat is a
//! timer at fixed times. Its lateness is the time that anything may have waited for this program.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::measure::window::Window;
use crate::worker::shared::Worker;

const PERIOD: Duration = Duration::from_millis(10);

/// Records the lag of each beat of the measured window.
pub(super) async fn run(worker: Rc<Worker>) {
    let mut number = 0;
    while let Some(due) = worker.window().and_then(|window| beat(window, number)) {
        ringloop::time::sleep_until(worker.loop_time(due)).await;
        let now = Instant::now();
        // Beats that have passed meanwhile count too, each from its own time.
        while let Some(due) = worker.window().and_then(|window| beat(window, number))
            && due <= now
        {
            worker.loop_health(|health| health.record_lag(now - due));
            number += 1;
        }
    }
}

/// The time of beat `number`, if it is within the window.
fn beat(window: Window, number: u32) -> Option<Instant> {
    Some(window.from + PERIOD * number).filter(|due| *due < window.until)
}
