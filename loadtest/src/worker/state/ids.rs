//! Which connection is which, among all of the run, and what follows from that: where it connects
//! from, what is random about it, what its messages are called.

use std::net::IpAddr;

use crate::base::random;
use crate::worker::state::Worker;

impl Worker {
    /// The number of a connection among those of all workers.
    pub(super) fn number_of(&self, index: u32) -> u64 {
        u64::from(index) * u64::from(self.plan.threads) + u64::from(self.plan.worker)
    }

    /// A number that no other conversation of the run has: a connection that is opened again is
    /// another one, and a reply to its predecessor is somebody else's.
    pub(in crate::worker) fn next_conn_id(&self) -> u64 {
        let number = self.next_conn_id.get();
        self.next_conn_id.set(number + 1);
        number * u64::from(self.plan.threads) + u64::from(self.plan.worker)
    }

    /// The address that a connection comes from.
    pub(in crate::worker) fn source_of(&self, index: u32) -> Option<IpAddr> {
        let sources = &self.plan.sources;
        let count = u64::try_from(sources.len()).expect("a usize fits");
        (count > 0).then(|| sources[(self.number_of(index) % count) as usize])
    }

    /// What is random about a connection comes from here.
    pub(in crate::worker) fn random_of(&self, index: u32) -> fastrand::Rng {
        random::generator(self.plan.seed, self.number_of(index))
    }
}
