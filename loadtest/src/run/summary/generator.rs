//! The generator itself: its processor time, its lag and its drivers.

use hdrhistogram::Histogram;

use crate::base::driver::DriverUsed;
use crate::host::procfs::CpuTime;
use crate::report::model::distribution::us;
use crate::report::model::generator::{Generator, Lag};
use crate::run::summary::health::{self, HealthInputs};
use crate::run::summary::measurements::Measurements;
use crate::run::summary::totals::RunTotals;

pub(super) fn generator(measured: &Measurements, total: &RunTotals) -> Generator {
    let window_ns = measured.lengths.measured.as_nanos() as f64;
    let percent = |ns: u64| ns as f64 * 100.0 / window_ns;
    let times: Vec<(CpuTime, u64)> = if window_ns > 0.0 { times(measured) } else { Vec::new() };
    let cpu_percent: Vec<f64> = times.iter().map(|(time, _)| percent(time.ran_ns)).collect();
    let spin_percent: Vec<f64> = times.iter().map(|(_, spin_ns)| percent(*spin_ns)).collect();
    let waits = times.iter().map(|(time, _)| percent(time.waited_ns));
    let busy = times.iter().map(|&(time, spin_ns)| percent(health::busy_ns(time, spin_ns)));
    let (verdict, verdict_reason) = HealthInputs::of(total, busy).verdict();
    Generator {
        drivers: drivers(measured),
        verdict,
        verdict_reason,
        send_lag_us: lag(&total.send_lag),
        loop_lag_us: lag(&total.loop_lag),
        run_queue_wait_percent: waits.fold(None, |worst: Option<f64>, wait| {
            Some(worst.map_or(wait, |worst| worst.max(wait)))
        }),
        cpu_percent,
        spin_percent,
        cq_overflows: measured.results.iter().map(|result| result.cq_overflows).sum(),
        pool_exhausted: measured.results.iter().map(|result| result.pool_exhausted).sum(),
        rss_bytes: measured.rss_bytes,
    }
}

/// The drivers of all workers, each one once. They differ only if, for example, memory ran out
/// between two workers.
pub(super) fn drivers(measured: &Measurements) -> Vec<DriverUsed> {
    let mut drivers: Vec<DriverUsed> =
        measured.ready.iter().map(|ready| ready.driver.clone()).collect();
    drivers.sort_unstable();
    drivers.dedup();
    drivers
}

/// Processor time and busy-waiting of each worker in nanoseconds, in the order of `ready`.
fn times(measured: &Measurements) -> Vec<(CpuTime, u64)> {
    let spin_ns = |number: u32| {
        let mut results = measured.results.iter();
        let of_worker = results.find(|result| result.worker == number);
        of_worker.map_or(0, |result| result.spin_time.as_nanos() as u64)
    };
    let workers = measured.worker_times.iter().zip(&measured.ready);
    workers.filter_map(|(time, ready)| Some(((*time)?, spin_ns(ready.worker)))).collect()
}

fn lag(histogram: &Histogram<u64>) -> Option<Lag> {
    Some(histogram).filter(|lag| !lag.is_empty()).map(|lag| Lag {
        p50: us(lag.value_at_percentile(50.0)),
        p99: us(lag.value_at_percentile(99.0)),
        max: us(lag.max()),
    })
}
