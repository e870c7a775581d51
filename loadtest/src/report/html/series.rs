//! The section about the run over time: rates, latencies, failures and connections. Phases that are
//! not measured are shaded.

use crate::report::html::page::{
    Page, Span, figure, section, tick_number, tick_seconds, tick_time,
};
use crate::report::html::svg::{Chart, Scale, WIDE};
use crate::report::model::interval::Interval;

pub(super) fn panel(page: &Page<'_>) -> String {
    let intervals = &page.report.intervals;
    if intervals.is_empty() {
        return section("Over time", "This report has no intervals.", "");
    }
    let sentence = "Zero is the start of the measured window. The shaded phases are not included \
                    in other figures, except that replies in the drain count for their messages.";
    let mut content = figure(&rates(page), "Messages per second.");
    content += &latencies(page);
    content += &if intervals.iter().all(|interval| interval.errors + interval.timed_out == 0) {
        "<p class=\"note\">No error and no timeout in any interval.</p>\n".to_owned()
    } else {
        figure(&failures(page), "Errors and timeouts in each interval.")
    };
    content += &figure(&open_connections(page), "Open connections at the end of each interval.");
    section("Over time", sentence, &content)
}

fn latency_caption(page: &Page<'_>) -> &'static str {
    if page.report.latency_us.response.is_some() {
        "Response times of the messages with a reply or a timeout in each interval."
    } else {
        "Service times of the messages with a reply or a timeout in each interval."
    }
}

/// An empty chart over the whole run, with its phases.
pub(super) fn over_time(page: &Page<'_>, height: f64, y: Scale, label: &str) -> Chart {
    let Span { ramp, warmup, measured, end } = page.span();
    let x = Scale::Linear { from: -(ramp + warmup), to: end };
    let mut chart = Chart::new(WIDE, height, x, y, label);
    chart.shade(-(ramp + warmup), -warmup, "ramp");
    chart.shade(-warmup, 0.0, "warm-up");
    chart.shade(measured, end, "drain");
    chart
}

pub(super) fn time_axis(chart: &mut Chart, page: &Page<'_>) {
    let Span { ramp, warmup, end, .. } = page.span();
    let ticks = Scale::Linear { from: -(ramp + warmup), to: end }.ticks();
    let ticks: Vec<(f64, String)> = ticks.into_iter().map(|at| (at, tick_seconds(at))).collect();
    chart.x_axis("seconds", &ticks);
}

/// The intervals that are long enough for a rate or a percentile. The remainder of a short drain is
/// not.
fn long_enough<'a>(page: &Page<'a>) -> impl Iterator<Item = &'a Interval> + use<'a> {
    let least_s = page.report.config.interval_s / 5.0;
    page.report.intervals.iter().filter(move |interval| interval.length_s >= least_s)
}

/// A step line: one value per interval.
fn steps(page: &Page<'_>, value: impl Fn(&Interval) -> f64) -> Vec<Option<(f64, f64)>> {
    let mut points = Vec::new();
    for interval in long_enough(page) {
        let value = value(interval);
        points.extend([Some((interval.t_s, value)), Some((interval.end_s(), value))]);
    }
    points
}

fn per_second(count: u64, interval: &Interval) -> f64 {
    if interval.length_s > 0.0 { count as f64 / interval.length_s } else { 0.0 }
}

fn largest(page: &Page<'_>, value: impl Fn(&Interval) -> f64) -> f64 {
    long_enough(page).map(value).fold(0.0, f64::max)
}

fn rates(page: &Page<'_>) -> String {
    let completed = |interval: &Interval| per_second(interval.completed, interval);
    let scheduled = |interval: &Interval| per_second(interval.scheduled, interval);
    let is_open = page.report.load.offered_rate.is_some();
    let mut max = largest(page, completed);
    if is_open {
        max = max.max(largest(page, scheduled));
    }
    let mut chart = over_time(page, 230.0, Scale::from_zero(max), "messages per second");
    chart.y_axis("messages/s", tick_number);
    time_axis(&mut chart, page);
    if is_open {
        chart.line("c1 dashed", steps(page, scheduled).into_iter());
    }
    chart.line("c2", steps(page, completed).into_iter());
    let entries = [("c1 dashed", "offered"), ("c2", "achieved")];
    chart.legend(if is_open { &entries } else { &entries[1..] });
    chart.finish()
}

fn latencies(page: &Page<'_>) -> String {
    type IntervalFigure = fn(&Interval) -> Option<f64>;
    let lines: [(&str, &str, IntervalFigure); 4] = [
        ("c2", "p50", |interval| interval.p50),
        ("c3", "p99", |interval| interval.p99),
        ("c4", "p99.9", |interval| interval.p99_9),
        ("c1", "max", |interval| interval.max),
    ];
    let all = || lines.iter().flat_map(|(_, _, of)| long_enough(page).filter_map(of));
    let lowest = all().fold(f64::INFINITY, f64::min);
    if !lowest.is_finite() {
        return "<p class=\"note\">No message got a reply or a timeout in any interval.</p>\n"
            .to_owned();
    }
    let y = Scale::log_around(lowest, all().fold(0.0, f64::max));
    let mut chart = over_time(page, 290.0, y, "latency over time");
    chart.y_axis("latency (log)", tick_time);
    time_axis(&mut chart, page);
    for (class, _, of) in &lines {
        let middle = |interval: &Interval| interval.t_s + interval.length_s / 2.0;
        let points = long_enough(page).map(|interval| Some((middle(interval), of(interval)?)));
        chart.line(class, points);
    }
    chart.legend(&lines.map(|(class, name, _)| (class, name)));
    figure(&chart.finish(), latency_caption(page))
}

fn failures(page: &Page<'_>) -> String {
    let failed = page.report.intervals.iter().map(|interval| interval.errors + interval.timed_out);
    let max = failed.max().unwrap_or(0) as f64;
    let mut chart = over_time(page, 190.0, Scale::from_zero(max), "failures over time");
    chart.y_axis("failures", tick_number);
    time_axis(&mut chart, page);
    for interval in &page.report.intervals {
        let (errors, timed_out) = (interval.errors as f64, interval.timed_out as f64);
        let gap = interval.length_s * 0.08;
        let (from, to) = (interval.t_s + gap, interval.end_s() - gap);
        if interval.errors > 0 {
            chart.block("fill c1", (from, 0.0), (to, errors), &format!("errors: {errors}"));
        }
        if interval.timed_out > 0 {
            let title = format!("timed out: {timed_out}");
            chart.block("fill c4", (from, errors), (to, errors + timed_out), &title);
        }
    }
    chart.legend(&[("c1", "errors"), ("c4", "timed out")]);
    chart.finish()
}

fn open_connections(page: &Page<'_>) -> String {
    let open = |interval: &Interval| f64::from(interval.open_connections);
    let intervals = &page.report.intervals;
    let y = Scale::from_zero(intervals.iter().map(open).fold(0.0, f64::max));
    let mut chart = over_time(page, 170.0, y, "open connections over time");
    chart.y_axis("connections", tick_number);
    time_axis(&mut chart, page);
    chart.line("c3", intervals.iter().map(|interval| Some((interval.end_s(), open(interval)))));
    chart.legend(&[("c3", "open")]);
    chart.finish()
}
