//! Schedules: when connects and messages are due, and how workers share them.
//!
//! Schedules are closed formulas of an index. There is no queue of future events to grow.
//!
//! **Absent on purpose.** Anything that waits: the gates of connections are `worker::gates`.

pub(crate) mod arrivals;
pub(crate) mod backlog;
pub(crate) mod poisson;
pub(crate) mod rate;

use std::time::Duration;

/// The pace of connects of one worker among `threads`, so that all together keep the rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ConnectPace {
    /// Connects of all workers in one `period`.
    pub(crate) connects: u32,
    /// The time in which `connects` begin.
    pub(crate) period: Duration,
    pub(crate) worker: u32,
    pub(crate) threads: u32,
}

impl ConnectPace {
    /// When the worker's connect number `index` is due, from the start of the ramp.
    pub(crate) fn due(&self, index: u32) -> Duration {
        let global_index = u64::from(index) * u64::from(self.threads) + u64::from(self.worker);
        let due_ns = u128::from(global_index) * self.period.as_nanos() / u128::from(self.connects);
        Duration::from_nanos(u64::try_from(due_ns).unwrap_or(u64::MAX))
    }
}

/// The share of messages that worker number `worker` of `threads` sends. Shares differ by at most
/// one.
pub(crate) fn share_of(total: u64, worker: u32, threads: u32) -> u64 {
    total / u64::from(threads) + u64::from(u64::from(worker) < total % u64::from(threads))
}

/// The share of connections that worker number `worker` of `threads` has. Shares differ by at most
/// one.
pub(crate) fn share(total: u32, worker: u32, threads: u32) -> u32 {
    total / threads + u32::from(worker < total % threads)
}

#[cfg(test)]
mod tests {

    use super::*;

    /// Goal: the connects of all workers together have the rate, evenly spaced.
    ///
    /// Method: the due times of two workers at 1 000/s; sorted, they are 1 ms apart.
    ///
    /// Kills: each worker pacing at the full rate; all workers starting in the same instant.
    #[test]
    fn workers_share_the_pace() {
        let mut due: Vec<Duration> = (0..2)
            .flat_map(|worker| {
                let period = Duration::from_secs(1);
                let pace = ConnectPace { connects: 1_000, period, worker, threads: 2 };
                (0..50).map(move |index| pace.due(index))
            })
            .collect();
        due.sort();
        for (index, due) in due.into_iter().enumerate() {
            assert_eq!(due, Duration::from_millis(index as u64));
        }
    }

    /// Goal: shares add up to the total and differ by at most one.
    ///
    /// Method: small totals over small numbers of workers.
    ///
    /// Kills: a remainder that is lost.
    #[test]
    fn shares_add_up() {
        for threads in 1..6 {
            for total in 0..20 {
                let shares: Vec<u32> = (0..threads).map(|w| share(total, w, threads)).collect();
                assert_eq!(shares.iter().sum::<u32>(), total);
                for (worker, share) in (0..threads).zip(&shares) {
                    assert_eq!(share_of(total.into(), worker, threads), u64::from(*share));
                }
                assert!(shares.iter().max().unwrap() - shares.iter().min().unwrap() <= 1);
            }
        }
    }
}
