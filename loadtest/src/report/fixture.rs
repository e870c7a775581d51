//! A report for tests: of a run that never took place.

use std::collections::BTreeMap;

use super::distribution::{distribution, hdr_v2};
use super::*;
use crate::stats;

/// One worker, ten connections and ten seconds; a message took as many microseconds as `values_us`
/// says.
pub(crate) fn report(values_us: &[u64]) -> Report {
    let mut service = stats::new_histogram();
    for us in values_us {
        service.saturating_record(us * 1_000);
    }
    let completed = values_us.len() as u64;
    Report {
        schema_version: 1,
        tool: Tool::this(),
        command: vec!["loadtest".into()],
        started_at: "2026-11-21T10:00:00Z".into(),
        env: Env {
            kernel: Some("6.18.0".into()),
            cpu: Some("cpu".into()),
            cores: Some(2),
            driver: "io_uring".into(),
            limits: EnvLimits {
                files_needed: 20,
                files_limit: 20_000,
                ports_needed: 10,
                ports_available: Some(28_232),
            },
        },
        target: Target {
            url: "tcp://127.0.0.1:7000".into(),
            address: "127.0.0.1:7000".into(),
            protocol: "tcp echo".into(),
            own_server: false,
        },
        config: config(),
        phases: vec![Phase { name: "measured".into(), seconds: 10.0 }],
        load: Load {
            scheduled: completed,
            sent: completed,
            completed,
            errors: LoadErrors { total: 0, by_class: BTreeMap::new() },
            timed_out: 0,
            in_flight: 0,
            never_sent: 0,
            offered_rate: None,
            achieved_rate_ci: None,
            achieved_rate: completed as f64 / 10.0,
            bytes_sent: 0,
            bytes_received: 0,
            warmup_completed: 0,
        },
        connections: Connections {
            asked: 10,
            attempted: 10,
            opened: 10,
            failed: 0,
            served: 10,
            lost: 0,
            opened_in_s: 0.1,
            reconnects: 0,
            idle: None,
            per_conn: None,
        },
        latency_us: Latencies { response: None, service: distribution(&service, 0), connect: None },
        confidence: Confidence { blocks: 0, block_s: 0.0, missing: None },
        intervals: Vec::new(),
        failures: Vec::new(),
        generator: Generator {
            drivers: Vec::new(),
            verdict: Verdict::Healthy,
            send_lag_us: None,
            cpu_percent: vec![50.0],
            run_queue_wait_percent: None,
            cq_overflows: 0,
            enobufs: 0,
            rss_bytes: None,
        },
        server: None,
        thresholds: Vec::new(),
        notes: Vec::new(),
        internal_errors: Vec::new(),
        interrupted: false,
        exit_code: 0,
    }
}

/// A second for each level, with a thousand messages evenly between 0 and twice as many µs.
pub(crate) fn with_intervals(levels_us: &[u64]) -> Report {
    let values = |level: u64| (1..=1_000).map(move |part| level * part / 500);
    let all: Vec<u64> = levels_us.iter().flat_map(|level| values(*level)).collect();
    let mut report = report(&all);
    report.config.duration_s = levels_us.len() as f64;
    report.load.achieved_rate = 1_000.0;
    let second = |(index, level): (usize, &u64)| {
        let mut latencies = stats::new_histogram();
        values(*level).for_each(|us| latencies.saturating_record(us * 1_000));
        Interval {
            t_s: index as f64,
            length_s: 1.0,
            phase: "measured".into(),
            scheduled: 1_000,
            completed: 1_000,
            errors: 0,
            timed_out: 0,
            open_connections: 10,
            p50: None,
            p99: None,
            p99_9: None,
            max: None,
            send_lag_p99: None,
            hdr_v2: Some(hdr_v2(&latencies)),
        }
    };
    report.intervals = levels_us.iter().enumerate().map(second).collect();
    report
}

fn config() -> Config {
    Config {
        mode: CLOSED_LOOP.into(),
        rate: None,
        arrivals: None,
        dispatch: None,
        pipeline: 1,
        seed: 1,
        interval_s: 1.0,
        requests_max: None,
        think: None,
        requests_per_conn: None,
        conn_lifetime_s: None,
        close: "fin".into(),
        reconnect: "never".into(),
        idle: 0,
        verify: false,
        sources: Vec::new(),
        cpus: Vec::new(),
        connections_asked: 10,
        connections: 10,
        threads: 1,
        message_bytes: 64,
        duration_s: 10.0,
        warmup_s: 1.0,
        drain_s: 2.0,
        connects_per_s: 5_000.0,
        connects_in_flight_max: 256,
        connect_timeout_s: 5.0,
        timeout_s: 10.0,
        nodelay: true,
    }
}
