//! The connections of all workers.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::measure::stats;
use crate::report::model::{Connections, IdleConnections, PerConnection};
use crate::run::config::ConnectionsConfig;
use crate::run::summary::totals::RunTotals;
use crate::worker::result::WorkerResult;

/// Connects of at least this length have waited for a retransmitted SYN: the kernel sends it after
/// one second.
const SYN_RETRANSMIT: Duration = Duration::from_millis(990);

pub(super) fn connections(
    config: &ConnectionsConfig,
    results: &[WorkerResult],
    total: &mut RunTotals,
) -> Connections {
    let sum = |part: fn(&WorkerResult) -> u32| results.iter().map(part).sum();
    Connections {
        asked: config.count,
        attempted: sum(|result| result.connects_started),
        opened: u32::try_from(total.replies.len()).expect("at most as many as requested"),
        failed: sum(|result| result.connects_failed),
        served: sum(|result| result.served),
        lost: sum(|result| result.lost),
        opened_in_s: results
            .iter()
            .map(|result| result.ramp_length)
            .max()
            .unwrap_or_default()
            .as_secs_f64(),
        reconnects: total.reconnects,
        slow_connects: Some(slow_connects(&total.connect)),
        idle: (config.idle > 0).then(|| IdleConnections {
            asked: config.idle,
            open: total.idle.opened - total.idle.lost,
            lost: total.idle.lost,
        }),
        per_conn: stats::spread(&mut total.replies).map(|spread| PerConnection {
            min: spread.min,
            p50: spread.median,
            max: spread.max,
            jain: spread.jain,
            bars: stats::replies_bars(&total.replies),
        }),
    }
}

/// Number of connects that waited for a retransmitted SYN.
fn slow_connects(connect: &Histogram<u64>) -> u64 {
    let threshold_ns = SYN_RETRANSMIT.as_nanos() as u64;
    match connect.max() {
        max if max >= threshold_ns => connect.count_between(threshold_ns, max),
        _ => 0,
    }
}
