//! Processor time of the workers at both ends of the measured window.

use crate::host::procfs::{self, CpuTime};
use crate::worker::control::Ready;

#[derive(Debug, Default)]
pub(super) struct Usage {
    workers_before: Vec<Option<CpuTime>>,
    workers_after: Vec<Option<CpuTime>>,
    pub(super) own_rss_bytes: Option<u64>,
}

impl Usage {
    pub(super) fn begin(&mut self, ready: &[Ready]) {
        self.workers_before = Usage::of_workers(ready);
    }

    pub(super) fn end(&mut self, ready: &[Ready]) {
        self.workers_after = Usage::of_workers(ready);
        self.own_rss_bytes = procfs::resident_bytes(std::process::id());
    }

    fn of_workers(ready: &[Ready]) -> Vec<Option<CpuTime>> {
        ready.iter().map(|ready| ready.thread_id.and_then(procfs::thread_time)).collect()
    }

    pub(super) fn worker_times(&self) -> Vec<Option<CpuTime>> {
        let pairs = self.workers_before.iter().zip(&self.workers_after);
        pairs.map(|(before, after)| Some((*after)?.since((*before)?))).collect()
    }
}
