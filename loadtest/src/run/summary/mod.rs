//! From what a run measured to the report: every figure is computed here, once.

pub(crate) mod failures;
pub(crate) mod health;
pub(crate) mod server;
pub(crate) mod total;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;

use crate::analysis::{confidence, gates};
use crate::base::address::Address;
use crate::base::driver::DriverUsed;
use crate::base::exit::Exit;
use crate::base::figures;
use crate::host::preflight::Admission;
use crate::host::procfs::counters::TcpCounters;
use crate::host::procfs::{self, CpuTime};
use crate::host::signals;
use crate::measure::counters::MessageCounters;
use crate::measure::failure::{Class, Failure};
use crate::measure::{outage, stats};
use crate::plan::load::{DispatchStyle, name_of};
use crate::protocol::ProtocolConfig;
use crate::report::model::distribution::{distribution, us};
use crate::report::model::settings::{Config, HttpSettings, TlsSettings, WsSettings};
use crate::report::model::tool::Tool;
use crate::report::model::verdicts::{Aborted, Confidence, GaveUp, Outage};
use crate::report::model::{
    CLOSED_LOOP, Connections, Env, EnvLimits, Generator, IdleConnections, Lag, Latencies, Load,
    LoadErrors, OPEN_LOOP, PerConnection, Phase, Report, SCHEMA_VERSION, Target,
};
use crate::report::text::lines;
use crate::run::config::RunConfig;
use crate::run::server_stats::ServerSample;
use crate::run::summary::failures::failures;
use crate::run::summary::health::HealthInputs;
use crate::run::summary::total::Total;
use crate::run::timeline::{Timeline, Totals};
use crate::worker::control::Ready;
use crate::worker::result::WorkerResult;

/// A lost SYN is sent again after one second, and no answer to the first one comes any more.
const SYN_RETRANSMIT: Duration = Duration::from_millis(990);

/// Everything that a run measured.
#[derive(Debug)]
pub(crate) struct Measurements {
    pub(crate) started_at: SystemTime,
    pub(crate) url: String,
    pub(crate) address: Address,
    pub(crate) admission: Admission,
    /// Ranges of addresses to connect from; empty if the kernel chose.
    pub(crate) sources: Vec<String>,
    pub(crate) ready: Vec<Ready>,
    pub(crate) lengths: PhaseLengths,
    pub(crate) results: Vec<WorkerResult>,
    /// `None` if no message was ever to be sent.
    pub(crate) timeline: Option<Timeline>,
    /// Of this process, at the end of the measured window.
    pub(crate) rss_bytes: Option<u64>,
    /// Of each worker, in the measured window.
    pub(crate) worker_times: Vec<Option<CpuTime>>,
    pub(crate) server: Option<ServerSample>,
    /// Of the network namespace, during the whole run.
    pub(crate) tcp: TcpCounters,
    pub(crate) signal: Option<i32>,
    pub(crate) aborted: Option<Aborted>,
    pub(crate) gave_up: Option<GaveUp>,
    pub(crate) notes: Vec<String>,
}

/// How long each phase really took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PhaseLengths {
    /// `None` if nothing was ever measured.
    pub(crate) measured_from: Option<Instant>,
    pub(crate) ramp: Duration,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
    pub(crate) drain: Duration,
    /// For how long there was load, or was to be: longer than `measured` if an open loop gave up.
    pub(crate) scheduled: Duration,
    /// The end of the window of an open loop that gave up before.
    pub(crate) never_reached: Option<Instant>,
    /// No connection was open when the load ended.
    pub(crate) ended_without_connections: bool,
}

/// Builds the report of a run that reached its end, or was interrupted.
pub(crate) fn build(config: &RunConfig, mut measured: Measurements) -> Report {
    let (intervals, totals) = match measured.timeline.take() {
        Some(timeline) => timeline.finish(measured.lengths.never_reached),
        None => (Vec::new(), Totals::new()),
    };
    let mut total = Total::of(&measured.results, totals, config.open_loop.is_some());
    let internal_errors = total.check();
    let asked = &config.content.percentiles;
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool::this(),
        name: config.content.name.clone(),
        labels: config.content.labels.clone(),
        command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        started_at: figures::utc(measured.started_at),
        env: environment(config, &measured),
        target: Target {
            url: measured.url.clone(),
            address: measured.address.to_string(),
            protocol: match (&config.protocol, &measured.address) {
                (ProtocolConfig::Echo(_), Address::Unix(_)) => "unix echo".into(),
                (protocol, _) if config.tls.is_some() => format!("{} over tls", protocol.name()),
                (protocol, _) => protocol.name().into(),
            },
            tls: measured.results.iter().find_map(|result| result.tls_suite.clone()),
            own_server: config.url.is_none(),
        },
        config: settings(config, &measured),
        phases: phases(&measured.lengths),
        load: load(config, &total, measured.lengths.scheduled),
        connections: connections(config, &measured.results, &mut total),
        latency_us: Latencies {
            response: total.response.as_ref().and_then(|response| {
                distribution(response, total.counters.censored_responses(), asked)
            }),
            service: distribution(&total.service, total.counters.censored_services(), asked),
            connect: distribution(&total.connect, 0, &[]),
            tls: distribution(&total.tls, 0, &[]),
            handshake: distribution(&total.handshake, 0, &[]),
        },
        confidence: Confidence { blocks: 0, block_s: 0.0, missing: None },
        intervals,
        reps: Vec::new(),
        find_max: None,
        aborted: measured.aborted.clone(),
        gave_up: measured.gave_up.clone(),
        outages: outages(&mut measured),
        target_lost: false,
        baseline: None,
        failures: failures(&total.failures, measured.lengths.measured_from),
        generator: generator(&measured, &total),
        server: measured.server.as_ref().map(|sample| {
            server::server(
                sample,
                measured.tcp,
                measured.lengths.measured,
                total.counters.completed,
            )
        }),
        network: Some(server::network(measured.tcp)),
        thresholds: Vec::new(),
        notes: Vec::new(),
        internal_errors,
        interrupted: measured.signal.is_some(),
        exit_code: Exit::Ok.code(),
    };
    let is_out = report.outages.last().is_some_and(|outage| outage.recovered_s.is_none());
    report.target_lost = is_out && measured.lengths.ended_without_connections;
    report.notes = notes(&report, &measured);
    report.notes.extend(total.reports.notes());
    confidence::add_to(&mut report);
    report.exit_code = exit(&report, measured.signal).code();
    gates::apply_gates(&config.thresholds, &mut report);
    report
}

fn exit(report: &Report, signal: Option<i32>) -> Exit {
    match signal {
        _ if !report.internal_errors.is_empty() => Exit::CouldNotRun,
        Some(signal) => signals::exit_of(signal),
        None if report.aborted.is_some() => Exit::Breached,
        None if report.connections.served == 0 => Exit::Unreachable,
        None if report.gave_up.is_some() || report.target_lost => Exit::Unreachable,
        None => Exit::Ok,
    }
}

fn outages(measured: &mut Measurements) -> Vec<Outage> {
    let Some(zero) = measured.lengths.measured_from else { return Vec::new() };
    let seconds = |at| stats::seconds_from(zero, at);
    let workers = measured.results.iter_mut().map(|result| std::mem::take(&mut result.outages));
    let row = |outage: crate::measure::outage::OutageSpan| Outage {
        from_s: seconds(outage.from),
        first_failure_s: seconds(outage.first_failure),
        recovered_s: outage.is_over.then(|| seconds(outage.until)),
        length_s: outage.len().as_secs_f64(),
    };
    outage::of_all(workers).into_iter().map(row).collect()
}

fn environment(config: &RunConfig, measured: &Measurements) -> Env {
    let drivers: Vec<String> = drivers(measured).iter().map(ToString::to_string).collect();
    let admission = &measured.admission;
    Env {
        kernel: procfs::kernel(),
        cpu: procfs::processor(),
        cores: thread::available_parallelism().ok().map(usize::from),
        driver: drivers.join(" and "),
        limits: EnvLimits {
            files_needed: admission.files_needed,
            files_limit: admission.files_limit,
            ports_needed: match measured.address {
                Address::Tcp(_) => u64::from(admission.connections) + u64::from(config.idle),
                Address::Unix(_) => 0,
            },
            ports_available: admission.ports_available,
        },
    }
}

/// Of all workers, each once. Nearly always there is one; memory may run out between two workers.
fn drivers(measured: &Measurements) -> Vec<DriverUsed> {
    let mut drivers: Vec<DriverUsed> =
        measured.ready.iter().map(|ready| ready.driver.clone()).collect();
    drivers.sort_unstable();
    drivers.dedup();
    drivers
}

fn settings(config: &RunConfig, measured: &Measurements) -> Config {
    let admission = &measured.admission;
    let (connects, period) = config.connect_speed.connects_in(admission.connections);
    let open = config.open_loop.as_ref();
    let message_sizes = config.protocol.message_sizes();
    Config {
        mode: if open.is_some() { OPEN_LOOP } else { CLOSED_LOOP }.into(),
        rate: open.map(ToString::to_string),
        arrivals: open.map(|open| name_of(open.arrivals)),
        dispatch: open.map(|open| name_of(open.dispatch)),
        spin_us: open
            .filter(|open| open.dispatch == DispatchStyle::Any)
            .map(|open| open.spin.as_secs_f64() * 1e6),
        pipeline: config.pipeline,
        seed: config.seed,
        interval_s: config.interval.as_secs_f64(),
        requests_max: config.requests_max,
        think: config.think.map(|think| think.to_string()),
        requests_per_conn: config.churn.requests_per_conn,
        conn_lifetime_s: config.churn.lifetime.map(|lifetime| lifetime.as_secs_f64()),
        close: name_of(config.churn.close),
        reconnect: if config.churn.reconnects { "always" } else { "never" }.into(),
        idle: config.idle,
        verify: config.verify,
        percentiles: config.content.percentiles.clone(),
        sources: measured.sources.clone(),
        cpus: config.cpus.clone(),
        connections_asked: config.connections,
        connections: admission.connections,
        threads: config.threads,
        message_bytes: message_sizes.1,
        message_bytes_min: (message_sizes.0 < message_sizes.1).then_some(message_sizes.0),
        http: match &config.protocol {
            ProtocolConfig::Http(exchange) => Some(HttpSettings {
                method: exchange.method().into(),
                fields: exchange.fields().iter().map(ToString::to_string).collect(),
                body_bytes: exchange.body_len(),
                expect_status: exchange.expected().to_string(),
                requests: exchange.requests().len() as u64,
            }),
            ProtocolConfig::Echo(_) | ProtocolConfig::Ws(..) => None,
        },
        ws: match &config.protocol {
            ProtocolConfig::Ws(_, upgrade) => Some(WsSettings {
                fields: upgrade.fields().iter().map(ToString::to_string).collect(),
                messages: if upgrade.is_text() { "text" } else { "binary" }.into(),
            }),
            ProtocolConfig::Echo(_) | ProtocolConfig::Http(_) => None,
        },
        tls: config
            .tls
            .as_ref()
            .map(|tls| TlsSettings { name: tls.name(), trust: tls.trust().to_string() }),
        duration_s: config.duration.as_secs_f64(),
        warmup_s: config.warmup.as_secs_f64(),
        drain_s: config.drain.as_secs_f64(),
        deadline_s: config.deadline.map(|deadline| deadline.as_secs_f64()),
        connects_per_s: f64::from(connects) / period.as_secs_f64(),
        connects_in_flight_max: config.connects_in_flight_max,
        connect_timeout_s: config.connect_timeout.as_secs_f64(),
        timeout_s: config.timeout.as_secs_f64(),
        nodelay: config.socket.nodelay && !measured.address.is_unix(),
        rcvbuf_bytes: config.socket.rcvbuf,
        sndbuf_bytes: config.socket.sndbuf,
    }
}

fn phases(lengths: &PhaseLengths) -> Vec<Phase> {
    let PhaseLengths { ramp, warmup, measured, drain, .. } = lengths;
    [("ramp", ramp), ("warm-up", warmup), ("measured", measured), ("drain", drain)]
        .map(|(name, length)| Phase { name: name.into(), seconds: length.as_secs_f64() })
        .into()
}

fn load(config: &RunConfig, total: &Total, scheduled_for: Duration) -> Load {
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
        // A reply that we stopped waiting for has a column of its own, `timed_out`.
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
        offered_rate: config.open_loop.as_ref().map(|_| per_second(scheduled)),
        achieved_rate: per_second(completed),
        achieved_rate_ci: None,
        bytes_sent: total.traffic.sent,
        bytes_received: total.traffic.received,
        answered_early,
        warmup_completed,
    }
}

fn connections(config: &RunConfig, results: &[WorkerResult], total: &mut Total) -> Connections {
    let sum = |part: fn(&WorkerResult) -> u32| results.iter().map(part).sum();
    Connections {
        asked: config.connections,
        attempted: sum(|result| result.connects_started),
        opened: u32::try_from(total.replies.len()).expect("at most as many as were asked for"),
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

/// How many connects took so long that their SYN must have been lost and sent again.
fn slow_connects(connect: &Histogram<u64>) -> u64 {
    let threshold_ns = SYN_RETRANSMIT.as_nanos() as u64;
    match connect.max() {
        max if max >= threshold_ns => connect.count_between(threshold_ns, max),
        _ => 0,
    }
}

fn generator(measured: &Measurements, total: &Total) -> Generator {
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
        enobufs: measured.results.iter().map(|result| result.pool_exhausted).sum(),
        rss_bytes: measured.rss_bytes,
    }
}

/// What each worker used, and how much of it for nothing, in nanoseconds; in the order of `ready`.
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

/// The kernel takes less than was asked for without a word.
fn buffer_notes(config: &Config) -> Vec<String> {
    let note = |(option, asked, sysctl): (&str, Option<u32>, &str)| {
        let (asked, most) = (u64::from(asked?), procfs::sysctl(sysctl)?);
        (asked > most)
            .then(|| format!("{option} {asked} is more than the kernel allows: {sysctl} is {most}"))
    };
    let buffers = [
        ("--rcvbuf", config.rcvbuf_bytes, "net.core.rmem_max"),
        ("--sndbuf", config.sndbuf_bytes, "net.core.wmem_max"),
    ];
    buffers.into_iter().filter_map(note).collect()
}

fn notes(report: &Report, measured: &Measurements) -> Vec<String> {
    let mut notes = measured.notes.clone();
    notes.extend(measured.ready.iter().find_map(|ready| ready.advice).map(str::to_owned));
    let connections = &report.connections;
    if report.config.connections < connections.asked {
        notes.push(format!(
            "--fit: {} connections instead of {}",
            figures::grouped(report.config.connections.into()),
            figures::grouped(connections.asked.into())
        ));
    }
    if let Some(slow @ 1..) = connections.slow_connects {
        let why = match measured.address {
            Address::Tcp(_) => "SYNs were lost and sent again (accept queue too short?)",
            Address::Unix(_) => "the backlog was full",
        };
        notes.push(format!(
            "{} connects took 1 s or more: {why}; try a lower --connect-rate or \
             --connect-concurrency",
            figures::grouped(slow)
        ));
    }
    if let Some(overflows @ 1..) = measured.tcp.listen_overflows {
        notes.push(format!(
            "an accept queue was full {} times (of any listener in this network namespace): the \
             connects that came then had to be sent again, or failed",
            figures::grouped(overflows)
        ));
    }
    notes.extend(buffer_notes(&report.config));
    let has_none_left = measured.lengths.ended_without_connections;
    if has_none_left && connections.opened > 0 && connections.lost >= connections.opened {
        notes.push("every connection was lost before the end".to_owned());
    }
    if let early @ 1.. = report.load.answered_early {
        notes.push(format!(
            "{} messages were answered before they had been sent whole: what the kernel has not \
             taken is not in the bytes sent",
            figures::grouped(early)
        ));
    }
    notes.extend(lines::lost_target(report));
    if let (Some(_), Some(most)) = (&report.gave_up, report.config.requests_max) {
        let (sent, most) = (figures::grouped(report.load.sent), figures::grouped(most));
        notes.push(format!("{sent} of the {most} messages of --requests were sent"));
    }
    if connections.served > 0 && report.load.completed == 0 && !report.interrupted {
        notes.push(
            "no message of the measured window was answered in time: try a longer --duration or \
             --drain"
                .to_owned(),
        );
    }
    notes
}
