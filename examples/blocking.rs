//! A call that blocks: on the loop it delays everything else, on the blocking pool it does not.
//!
//! `cargo run --example blocking`
//!
//! Two requests each read from a source that takes a second and cannot be awaited. Done on the
//! loop, they take two seconds, and a ticker that should run every tenth of a second stands still.

use std::cell::Cell;
use std::rc::Rc;
use std::thread;
use std::time::Duration;

use ringloop::time::{Instant, interval};
use ringloop::{join, spawn, spawn_blocking};

fn main() {
    ringloop::run(async {
        measure("on the loop", async { join!(async { slow_read(1) }, async { slow_read(2) }) })
            .await;
        measure("on the pool", async {
            let [first, second] = [1, 2].map(|id| spawn_blocking(move || slow_read(id)));
            let (first, second) = join!(first, second);
            (first.expect("no panic"), second.expect("no panic"))
        })
        .await;
    });
}

/// A library call that blocks its thread: a database driver, a password hash, a large file.
fn slow_read(id: u32) -> u32 {
    thread::sleep(Duration::from_secs(1));
    id
}

/// Runs both requests beside a ticker, and prints how long they took and how often it ticked.
async fn measure(place: &str, requests: impl Future<Output = (u32, u32)>) {
    let ticks = Rc::new(Cell::new(0));
    let counter = Rc::clone(&ticks);
    let ticker = spawn(async move {
        let mut tenths = interval(Duration::from_millis(100));
        loop {
            tenths.tick().await;
            counter.set(counter.get() + 1);
        }
    });
    let start = Instant::now();
    assert_eq!(requests.await, (1, 2));
    println!("{place}: {:.1} s, {} ticks meanwhile", start.elapsed().as_secs_f64(), ticks.get());
    ticker.abort();
}
