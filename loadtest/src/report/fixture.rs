//! Handmade reports for tests.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use crate::base::driver::DriverUsed;
use crate::measure::stats::{self, RepliesBar};
use crate::report::model::conclusions::{Confidence, Threshold};
use crate::report::model::distribution::{distribution, hdr_v2, us};
use crate::report::model::failures::{FailureExample, FailureRow};
use crate::report::model::generator::{Generator, GeneratorVerdict, Lag};
use crate::report::model::interval::Interval;
use crate::report::model::server::{Network, Server};
use crate::report::model::settings::Config;
use crate::report::model::tool::Tool;
use crate::report::model::{
    CLOSED_LOOP, Connections, Env, EnvLimits, Latencies, Load, LoadErrors, PerConnection, Phase,
    Report, SCHEMA_VERSION, Target,
};

/// A run of one worker, ten connections and ten seconds. `values_us` are the service times of its
/// messages.
pub(crate) fn report(values_us: &[u64]) -> Report {
    let mut service = stats::new_histogram();
    for us in values_us {
        service.saturating_record(us * 1_000);
    }
    let completed = values_us.len() as u64;
    Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool::this(),
        name: None,
        labels: BTreeMap::new(),
        command: vec!["loadtest".into()],
        started_at: "2026-11-21T10:00:00Z".into(),
        env: environment(),
        target: target(),
        config: config(),
        phases: vec![Phase { name: "measured".into(), seconds: 10.0 }],
        load: load(completed),
        connections: connections(),
        latency_us: Latencies {
            response: None,
            service: distribution(&service, 0, &[]),
            connect: None,
            tls: None,
            handshake: None,
        },
        confidence: Confidence { blocks: 0, block_s: 0.0, missing: None },
        intervals: Vec::new(),
        reps: Vec::new(),
        find_max: None,
        aborted: None,
        gave_up: None,
        outages: Vec::new(),
        target_lost: false,
        baseline: None,
        failures: Vec::new(),
        generator: generator(),
        server: None,
        network: None,
        thresholds: Vec::new(),
        notes: Vec::new(),
        internal_errors: Vec::new(),
        interrupted: false,
        exit_code: 0,
    }
}

/// A run of one second per level, with a thousand messages evenly spread between 0 and twice the
/// level in µs.
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

/// An open loop of three intervals with a pause in the second, failures and a missed gate. Every
/// text contains special characters of HTML or CSV.
pub(crate) fn open_loop() -> Report {
    let parts = [histogram(100, 50), histogram(100, 400), histogram(150, 60)];
    let mut response = stats::new_histogram();
    parts.iter().for_each(|part| stats::merge(&mut response, part));
    let mut report = closed_loop();
    report.name = Some("a<b>&\"c\", 'd'".to_owned());
    report.labels = [("build".to_owned(), "x<y&z".to_owned())].into();
    report.target.url = "tcp://127.0.0.1:7000/<&\"'>".to_owned();
    report.command = ["loadtest", "-R", "100", "--name", "it's <b>"].map(str::to_owned).into();
    report.config.mode = "open loop".to_owned();
    report.config.rate = Some("100".to_owned());
    report.config.arrivals = Some("poisson".to_owned());
    report.config.dispatch = Some("any".to_owned());
    report.load = Load {
        scheduled: 360,
        sent: 358,
        completed: 350,
        errors: LoadErrors {
            total: 3,
            by_class: [("reset".to_owned(), 2), ("status".to_owned(), 1)].into(),
        },
        timed_out: 4,
        in_flight: 1,
        never_sent: 2,
        shed: 1,
        offered_rate: Some(120.0),
        achieved_rate: 350.0 / 3.0,
        achieved_rate_ci: Some([110.0, 120.0]),
        bytes_sent: 358 * 64,
        bytes_received: 350 * 64,
        answered_early: 0,
        warmup_completed: 100,
    };
    report.latency_us.response = distribution(&response, 7, &[]);
    report.latency_us.response.as_mut().unwrap().ci.insert("p99".to_owned(), [450.0, 499.0]);
    report.confidence = Confidence { blocks: 3, block_s: 1.0, missing: None };
    report.intervals = vec![interval(-1.0, "warm-up", &histogram(100, 55))];
    for (t_s, part) in (0_u8..).zip(&parts) {
        report.intervals.push(interval(f64::from(t_s), "measured", part));
    }
    let failure = |class: &str, errno: Option<&str>, status, count| FailureRow {
        stage: "recv".to_owned(),
        class: class.to_owned(),
        errno: errno.map(str::to_owned),
        status,
        reason: None,
        count,
        measured: count,
        first_s: Some(0.52),
        last_s: Some(2.81),
        example: Some(FailureExample {
            connection: 7,
            local: Some("127.0.0.1:40312".to_owned()),
            got: Some("\"<b>\" at byte 0".to_owned()),
        }),
    };
    report.failures =
        vec![failure("reset", Some("ECONNRESET"), None, 2), failure("status", None, Some(503), 1)];
    report.generator.send_lag_us = Some(Lag { p50: 2.0, p99: 6.5, max: 900.0 });
    report.generator.loop_lag_us = Some(Lag { p50: 1.0, p99: 7.5, max: 800.0 });
    let gate = |expr: &str, value, ok| Threshold {
        expr: expr.to_owned(),
        value: Some(value),
        unit: "us".to_owned(),
        ok,
    };
    report.thresholds = vec![gate("p(99)<1ms", 318.0, true), gate("p(50)<1us", 74.0, false)];
    report.notes = vec!["a note with <b>&amp;</b>".to_owned()];
    report
}

/// A closed loop of three seconds with a server, without intervals, failures or gates.
pub(crate) fn closed_loop() -> Report {
    let driver = DriverUsed {
        kind: "epoll".to_owned(),
        detail: "d".to_owned(),
        reason: "requested".to_owned(),
    };
    let phases = [("ramp", 0.5), ("warm-up", 1.0), ("measured", 3.0), ("drain", 0.25)];
    let mut report = report(&(50..1_050).collect::<Vec<_>>());
    report.config.duration_s = 3.0;
    report.phases = phases.map(|(name, seconds)| Phase { name: name.to_owned(), seconds }).into();
    report.latency_us.connect = distribution(&histogram(10, 30), 0, &[]);
    report.latency_us.tls = distribution(&histogram(10, 900), 0, &[]);
    report.connections.per_conn = Some(PerConnection {
        min: 90,
        p50: 100,
        max: 110,
        jain: 0.998,
        bars: vec![
            RepliesBar { from: 90, to: 99, connections: 4 },
            RepliesBar { from: 100, to: 110, connections: 6 },
        ],
    });
    report.generator.drivers = vec![driver.clone()];
    report.generator.run_queue_wait_percent = Some(0.3);
    report.generator.rss_bytes = Some(41 << 20);
    report.server = Some(Server {
        pid: 4242,
        pids: vec![4242],
        kind: "echo".to_owned(),
        driver: Some(driver),
        cpu_percent: Some(88.0),
        cpu_us_per_message: Some(17.6),
        rss_bytes: Some(40 << 20),
        fds: Some(20),
        voluntary_switches: Some(12_345),
        involuntary_switches: Some(67),
        listen_overflows: Some(3),
        listen_drops: Some(4),
        retransmits: Some(5),
    });
    report.network = Some(Network {
        listen_overflows: Some(3),
        listen_drops: Some(4),
        retransmits: Some(5),
        syn_retransmits: Some(6),
        established_resets: Some(7),
        resets_sent: Some(8),
    });
    report
}

fn environment() -> Env {
    Env {
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
    }
}

fn target() -> Target {
    Target {
        url: "tcp://127.0.0.1:7000".into(),
        address: "127.0.0.1:7000".into(),
        protocol: "tcp echo".into(),
        tls: None,
        own_server: false,
    }
}

fn load(completed: u64) -> Load {
    Load {
        scheduled: completed,
        sent: completed,
        completed,
        errors: LoadErrors { total: 0, by_class: BTreeMap::new() },
        timed_out: 0,
        in_flight: 0,
        never_sent: 0,
        shed: 0,
        offered_rate: None,
        achieved_rate_ci: None,
        achieved_rate: completed as f64 / 10.0,
        bytes_sent: 0,
        bytes_received: 0,
        answered_early: 0,
        warmup_completed: 0,
    }
}

fn connections() -> Connections {
    Connections {
        asked: 10,
        attempted: 10,
        opened: 10,
        failed: 0,
        served: 10,
        lost: 0,
        opened_in_s: 0.1,
        reconnects: 0,
        slow_connects: Some(0),
        idle: None,
        per_conn: None,
    }
}

fn generator() -> Generator {
    Generator {
        drivers: Vec::new(),
        verdict: GeneratorVerdict::Healthy,
        verdict_reason: None,
        send_lag_us: None,
        loop_lag_us: None,
        cpu_percent: vec![50.0],
        spin_percent: Vec::new(),
        run_queue_wait_percent: None,
        cq_overflows: 0,
        pool_exhausted: 0,
        rss_bytes: None,
    }
}

fn config() -> Config {
    Config {
        mode: CLOSED_LOOP.into(),
        rate: None,
        arrivals: None,
        dispatch: None,
        spin_us: None,
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
        percentiles: stats::PERCENTILES.into(),
        connections_asked: 10,
        connections: 10,
        threads: 1,
        message_bytes: 64,
        message_bytes_min: None,
        http: None,
        tls: None,
        ws: None,
        duration_s: 10.0,
        warmup_s: 1.0,
        drain_s: 2.0,
        deadline_s: None,
        connects_per_s: 5_000.0,
        connects_in_flight_max: 256,
        connect_timeout_s: 5.0,
        timeout_s: 10.0,
        nodelay: true,
        rcvbuf_bytes: None,
        sndbuf_bytes: None,
    }
}

/// `count` values from `from_us` on, one microsecond apart.
fn histogram(count: u64, from_us: u64) -> Histogram<u64> {
    let mut histogram = stats::new_histogram();
    (0..count).for_each(|step| histogram.saturating_record((from_us + step) * 1_000));
    histogram
}

fn interval(t_s: f64, phase: &str, histogram: &Histogram<u64>) -> Interval {
    let percentile = |p| Some(us(histogram.value_at_percentile(p)));
    Interval {
        t_s,
        length_s: 1.0,
        phase: phase.to_owned(),
        scheduled: 120,
        completed: histogram.len(),
        errors: 1,
        timed_out: 1,
        open_connections: 10,
        p50: percentile(50.0),
        p99: percentile(99.0),
        p99_9: percentile(99.9),
        max: Some(us(histogram.max())),
        send_lag_p99: Some(6.5),
        hdr_v2: Some(hdr_v2(histogram)),
    }
}
