//! Blocking jobs that are awaited, aborted or detached at random phases.
//!
//! Each job is run once or cancelled once, and its closure is dropped once. A job that is lost is a
//! hang, or a count that is too low. At the end the queue is empty and no job runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ringloop::{Runtime, spawn_blocking};

use crate::common::{Dice, turns, until};
use crate::progress::Progress;

/// More jobs than threads wait, so that aborts find queued jobs and started ones.
const JOBS_AT_ONCE_MAX: u64 = 20;

#[derive(Default)]
struct Counts {
    runs: AtomicU64,
    drops: AtomicU64,
}

/// A value of a closure, which counts its drop.
struct Counted(Arc<Counts>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.drops.fetch_add(1, Ordering::SeqCst);
    }
}

pub(crate) fn soak(runtime: &Runtime, progress: &mut Progress) {
    let counts = Arc::new(Counts::default());
    let (mut spawned, mut cancelled, mut detached) = (0_u64, 0_u64, 0_u64);
    runtime.block_on(async {
        let mut dice = Dice::new(21);
        let mut jobs = Vec::new();
        let mut is_over = false;
        while !is_over || !jobs.is_empty() {
            if !is_over {
                let value = Counted(Arc::clone(&counts));
                jobs.push(spawn_blocking(move || value.0.runs.fetch_add(1, Ordering::SeqCst)));
                spawned += 1;
                is_over = !progress.next();
            }
            if dice.roll(4) == 0 {
                turns(dice.roll(4) as usize).await;
            }
            while jobs.len() as u64 > dice.roll(JOBS_AT_ONCE_MAX) {
                let job = jobs.swap_remove(dice.roll(jobs.len() as u64) as usize);
                match dice.roll(3) {
                    0 => detached += 1,
                    1 => {
                        job.abort();
                        let result = job.await.map_err(|error| error.is_cancelled());
                        assert_ne!(result, Err(false));
                        cancelled += u64::from(result.is_err());
                    }
                    _ => assert!(job.await.is_ok(), "not aborted, and it does not panic"),
                }
            }
        }
        until(|| counts.drops.load(Ordering::SeqCst) == spawned).await;
    });
    assert_eq!(counts.runs.load(Ordering::SeqCst) + cancelled, spawned);
    assert!(cancelled > 0 && detached > 0, "{cancelled} cancelled, {detached} detached");
    let handle = runtime.handle();
    runtime.block_on(until(|| handle.metrics().blocking_running == 0));
    let metrics = handle.metrics();
    assert_eq!((metrics.blocking_queued, metrics.tasks, metrics.timers), (0, 0, 0));
}
