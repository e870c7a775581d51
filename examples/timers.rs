//! Timers: `sleep`, `interval`, `timeout` and `call_later`.
//!
//! `cargo run --example timers`

use std::time::Duration;

use ringloop::call_later;
use ringloop::time::{Instant, interval, sleep, timeout};

const TENTH: Duration = Duration::from_millis(100);

fn main() {
    ringloop::run(async {
        let start = Instant::now();
        let print = move |text: &str| println!("{:>4} ms  {text}", start.elapsed().as_millis());

        // A callback on the loop's thread. It needs no task, and runs once.
        call_later(5 * TENTH, move || print("call_later: the callback ran"));
        // A cancelled callback: its timer is removed at once. Dropping the handle, as above, does
        // not cancel.
        let unwanted = call_later(5 * TENTH, || unreachable!("it was cancelled"));
        unwanted.cancel();

        sleep(TENTH).await;
        print("sleep: a tenth of a second");

        // The first tick comes at once. The schedule is fixed, so slow work between two ticks does
        // not delay later ticks.
        let mut ticks = interval(TENTH);
        for number in 1..=3 {
            ticks.tick().await;
            print(&format!("interval: tick {number}"));
        }

        // A future that does not end in time is dropped. Dropping a sleep removes its timer.
        let slow = timeout(TENTH, sleep(Duration::MAX)).await;
        print(&format!("timeout: {}", slow.unwrap_err()));
        let quick = timeout(TENTH, async { "the value of a future that ended in time" }).await;
        print(&format!("timeout: {}", quick.unwrap()));

        sleep(2 * TENTH).await; // until the callback has run
    });
}
