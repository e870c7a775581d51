//! Builds the report from the measurements of a run. Every figure is computed here, once.

pub(crate) mod connections;
pub(crate) mod environment;
pub(crate) mod failures;
pub(crate) mod generator;
pub(crate) mod health;
pub(crate) mod load;
pub(crate) mod measurements;
pub(crate) mod notes;
pub(crate) mod server;
pub(crate) mod settings;
pub(crate) mod totals;

use crate::analysis::confidence;
use crate::base::exit::Exit;
use crate::base::figures;
use crate::host::signals;
use crate::measure::{outage, stats};
use crate::report::model::conclusions::Confidence;
use crate::report::model::early_end::Outage;
use crate::report::model::tool::Tool;
use crate::report::model::{Phase, Report, SCHEMA_VERSION};
use crate::run::config::{ReportContent, RunConfig};
use crate::run::summary::failures::failures;
use crate::run::summary::generator::generator;
use crate::run::summary::load::latencies;
use crate::run::summary::measurements::{Measurements, PhaseLengths};
use crate::run::summary::notes::notes;
use crate::run::summary::settings::settings;
use crate::run::summary::totals::RunTotals;
use crate::run::timeline::IntervalTotals;

/// Builds the report of a run that reached its end, or was interrupted.
pub(crate) fn build(
    config: &RunConfig,
    content: &ReportContent,
    mut measured: Measurements,
) -> Report {
    let RunConfig { target, connections, load, .. } = config;
    let (intervals, totals) = match measured.timeline.take() {
        Some(timeline) => timeline.finish(measured.lengths.never_reached),
        None => (Vec::new(), IntervalTotals::new()),
    };
    let mut total = RunTotals::of(&measured.results, totals, load.open_loop.is_some());
    let internal_errors = total.check();
    let mut report = Report {
        schema_version: SCHEMA_VERSION,
        tool: Tool::this(),
        name: content.name.clone(),
        labels: content.labels.clone(),
        command: std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect(),
        started_at: figures::utc(measured.started_at),
        env: environment::environment(connections.idle, &measured),
        target: environment::target(target, &measured),
        config: settings(config, content, &measured),
        phases: phases(&measured.lengths),
        load: load::load(load.open_loop.is_some(), &total, measured.lengths.scheduled),
        connections: connections::connections(connections, &measured.results, &mut total),
        latency_us: latencies(&total, &content.percentiles),
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
    let row = |outage: outage::OutageSpan| Outage {
        from_s: seconds(outage.from),
        first_failure_s: seconds(outage.first_failure),
        recovered_s: outage.is_over.then(|| seconds(outage.until)),
        length_s: outage.len().as_secs_f64(),
    };
    outage::of_all(workers).into_iter().map(row).collect()
}

fn phases(lengths: &PhaseLengths) -> Vec<Phase> {
    let PhaseLengths { ramp, warmup, measured, drain, .. } = lengths;
    [("ramp", ramp), ("warm-up", warmup), ("measured", measured), ("drain", drain)]
        .map(|(name, length)| Phase { name: name.into(), seconds: length.as_secs_f64() })
        .into()
}
