//! The numbers of a worker's connections within the run, and what is derived from them.

use std::cell::Cell;
use std::net::IpAddr;
use std::sync::Arc;

use crate::base::random;
use crate::worker::plan::WorkerPlan;

/// Numbers the connections of one worker so that no two connections of the run share a number.
#[derive(Debug)]
pub(super) struct ConnIds {
    worker: u32,
    threads: u32,
    seed: u64,
    sources: Arc<[IpAddr]>,
    /// Connects of this worker that have succeeded so far.
    connects: Cell<u64>,
}

impl ConnIds {
    pub(super) fn new(plan: &WorkerPlan) -> ConnIds {
        let sources = Arc::clone(&plan.sources);
        let WorkerPlan { worker, threads, seed, .. } = *plan;
        ConnIds { worker, threads, seed, sources, connects: Cell::new(0) }
    }

    /// The number of connection `conn` among those of all workers. A reconnect does not change it.
    pub(super) fn number_of(&self, conn: u32) -> u64 {
        u64::from(conn) * u64::from(self.threads) + u64::from(self.worker)
    }

    /// A number that no other connect of the run has. After a reconnect, a reply to a message of
    /// the old connection must not match.
    pub(super) fn next_conn_id(&self) -> u64 {
        let number = self.connects.get();
        self.connects.set(number + 1);
        number * u64::from(self.threads) + u64::from(self.worker)
    }

    /// The source address of connection `conn`, if the kernel does not choose it.
    pub(super) fn source_of(&self, conn: u32) -> Option<IpAddr> {
        let count = u64::try_from(self.sources.len()).expect("a usize fits");
        (count > 0).then(|| self.sources[(self.number_of(conn) % count) as usize])
    }

    /// The random numbers of connection `conn`.
    pub(super) fn random_of(&self, conn: u32) -> fastrand::Rng {
        random::generator(self.seed, self.number_of(conn))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn ids(worker: u32, sources: &[IpAddr]) -> ConnIds {
        ConnIds { worker, threads: 3, seed: 1, sources: sources.into(), connects: Cell::new(0) }
    }

    /// Goal: no two connections of a run share a number, and all source addresses are used evenly.
    ///
    /// Method: four connections and four connects of each of three workers; two addresses.
    ///
    /// Kills: workers that number alike; a reconnect that repeats a number; one address for all.
    #[test]
    fn workers_share_no_number_and_use_all_sources() {
        let sources = ["127.0.0.2", "127.0.0.3"].map(|source| source.parse().unwrap());
        let workers = [0, 1, 2].map(|worker| ids(worker, &sources));
        let numbers: Vec<u64> =
            workers.iter().flat_map(|ids| (0..4).map(|conn| ids.number_of(conn))).collect();
        assert_eq!(BTreeSet::from_iter(numbers), (0..12).collect());
        let connects: Vec<u64> =
            workers.iter().flat_map(|ids| (0..4).map(|_| ids.next_conn_id())).collect();
        assert_eq!(BTreeSet::from_iter(connects), (0..12).collect());
        let used = workers.iter().flat_map(|ids| (0..4).map(|conn| ids.source_of(conn).unwrap()));
        assert_eq!(used.filter(|source| *source == sources[0]).count(), 6);
        assert_eq!(self::ids(0, &[]).source_of(0), None);
    }
}
