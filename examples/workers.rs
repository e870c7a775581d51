//! Heavy computation off the loop: a bounded number of jobs at once, results as they end.
//!
//! `cargo run --release --example workers`
//!
//! The loop hands ranges of numbers to the blocking pool and stays free for timers and
//! connections. A semaphore bounds how many jobs wait or run, so memory is bounded however many
//! ranges there are.

use std::rc::Rc;
use std::time::Duration;

use ringloop::sync::Semaphore;
use ringloop::task::JoinSet;
use ringloop::time::interval;
use ringloop::{select, spawn_blocking};

/// The number of ranges, and of numbers in each.
const RANGES: u64 = 64;
const RANGE_LEN: u64 = 20_000;

fn main() {
    ringloop::run(async {
        let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
        let permits = Rc::new(Semaphore::new(2 * threads));
        let mut jobs = JoinSet::new();
        for range in 0..RANGES {
            let permits = Rc::clone(&permits);
            jobs.spawn(async move {
                let _permit = permits.acquire().await.expect("the semaphore is not closed");
                let numbers = range * RANGE_LEN..(range + 1) * RANGE_LEN;
                spawn_blocking(move || numbers.filter(|&number| is_prime(number)).count())
                    .await
                    .expect("the job does not panic")
            });
        }

        let mut found = 0;
        let mut progress = interval(Duration::from_millis(100));
        loop {
            select! {
                Some(primes) = jobs.join_next() => found += primes.expect("no task panics"),
                _ = progress.tick(), if !jobs.is_empty() => {
                    println!("{} of {RANGES} ranges left", jobs.len());
                }
                else => break,
            }
        }
        println!("{found} primes below {}", RANGES * RANGE_LEN);
    });
}

fn is_prime(number: u64) -> bool {
    number > 1 && (2..).take_while(|d| d * d <= number).all(|d| !number.is_multiple_of(d))
}
