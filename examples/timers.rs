//! Teaches: the four ways to wait for a moment: `sleep`, `interval`, `timeout` and `call_later`.
//!
//! `cargo run --example timers`

use std::time::Duration;

use ringloop::call_later;
use ringloop::time::{Instant, interval, sleep, timeout};

const TENTH: Duration = Duration::from_millis(100);

fn main() {
    ringloop::run(async {
        let start = Instant::now();
        let say = move |what: &str| println!("{:>4} ms  {what}", start.elapsed().as_millis());

        // A plain callback, on the loop's thread. It needs no task, and runs once.
        call_later(5 * TENTH, move || say("call_later: the callback ran"));
        // Cancelled before it was due: its timer is gone at once. Dropping the handle, as above,
        // would have changed nothing.
        let unwanted = call_later(5 * TENTH, || unreachable!("it was cancelled"));
        unwanted.cancel();

        sleep(TENTH).await;
        say("sleep: a tenth of a second");

        // The first tick comes at once. The schedule is fixed, so slow work between two ticks does
        // not shift the ones after it.
        let mut ticks = interval(TENTH);
        for number in 1..=3 {
            ticks.tick().await;
            say(&format!("interval: tick {number}"));
        }

        // What does not end in time is dropped, and dropping a sleep removes its timer.
        let slow = timeout(TENTH, sleep(Duration::MAX)).await;
        say(&format!("timeout: {}", slow.unwrap_err()));
        let quick = timeout(TENTH, async { "the value of a future that was quick enough" }).await;
        say(&format!("timeout: {}", quick.unwrap()));

        sleep(2 * TENTH).await; // so that the callback has its turn before the loop ends
    });
}
