//! The messages of the measured window and their latencies.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::measure::counters::MessageCounters;
use crate::measure::failure::{Class, Failure};
use crate::report::model::distribution::distribution;
use crate::report::model::{Latencies, Load, LoadErrors};
use crate::run::summary::totals::RunTotals;

pub(super) fn load(is_open_loop: bool, total: &RunTotals, scheduled_for: Duration) -> Load {
    let MessageCounters {
        scheduled,
        sent,
        completed,
        errors,
        timed_out,
        in_flight,
        never_sent,
        shed,
        answered_early,
        warmup_completed,
    } = total.counters;
    let mut by_class: BTreeMap<String, u64> =
        Class::ALL.iter().map(|class| (class.name().into(), 0)).collect();
    for row in total.failures.rows() {
        // Reply timeouts are counted in `timed_out`.
        if row.failure != Failure::REPLY_TIMEOUT {
            *by_class.entry(row.failure.class.name().into()).or_default() += row.measured;
        }
    }
    let seconds = scheduled_for.as_secs_f64();
    let per_second = |count| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    Load {
        scheduled,
        sent,
        completed,
        errors: LoadErrors { total: errors, by_class },
        timed_out,
        in_flight,
        never_sent,
        shed,
        offered_rate: is_open_loop.then(|| per_second(scheduled)),
        achieved_rate: per_second(completed),
        achieved_rate_ci: None,
        bytes_sent: total.traffic.sent,
        bytes_received: total.traffic.received,
        answered_early,
        warmup_completed,
    }
}

/// The distributions of all latencies. Those of messages include the requested percentiles.
pub(super) fn latencies(total: &RunTotals, asked: &[f64]) -> Latencies {
    let response = total.response.as_ref();
    Latencies {
        response: response
            .and_then(|of| distribution(of, total.counters.censored_responses(), asked)),
        service: distribution(&total.service, total.counters.censored_services(), asked),
        connect: distribution(&total.connect, 0, &[]),
        tls: distribution(&total.tls, 0, &[]),
        handshake: distribution(&total.handshake, 0, &[]),
    }
}
