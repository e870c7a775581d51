//! Latency by percentile. The horizontal axis is 1/(1−p) and logarithmic, so that each further nine
//! has the same width.

use std::fmt::Write as _;

use crate::base::figures::{grouped, time_us};
use crate::report::html::page::{Page, escape, figure, section, tick_time};
use crate::report::html::svg::{Chart, Scale, WIDE};
use crate::report::model::distribution::{self, Distribution};

/// Number of line colours; further runs reuse them in order.
const COLOURS: usize = 4;

/// One line of the plot.
#[derive(Debug)]
pub(super) struct Curve {
    name: String,
    /// Pairs of 1/(1−p) and microseconds.
    points: Vec<(f64, f64)>,
    /// The percentiles in the summary.
    named: Vec<(f64, f64, String)>,
    /// Their 95 % confidence intervals.
    ci: Vec<(f64, f64, f64)>,
}

impl Curve {
    /// The curve of a distribution; `None` if the report's histogram cannot be decoded.
    pub(super) fn new(name: &str, of: &Distribution, percentiles: &[f64]) -> Option<Curve> {
        let histogram = of.histogram()?;
        let samples = histogram.len() as f64;
        // The axis ends at the share of a single sample, 1/n: 1/(1-p) of the last one is infinite.
        let place = |quantile: f64| 1.0 / (1.0 - quantile).max(1.0 / samples);
        let mut points: Vec<(f64, f64)> = histogram
            .iter_quantiles(10)
            .map(|step| {
                (place(step.quantile_iterated_to()), distribution::us(step.value_iterated_to()))
            })
            .collect();
        if let Some(last) = points.last_mut() {
            last.1 = of.max;
        }
        let named = of.shown(percentiles).into_iter().zip(percentiles);
        let named: Vec<(f64, f64, String)> =
            named.map(|((label, us), percentile)| (place(percentile / 100.0), us, label)).collect();
        let ci = named.iter().filter_map(|(at, _, label)| {
            let [low, high] = of.ci.get(label)?;
            Some((*at, *low, *high))
        });
        Some(Curve { name: name.to_owned(), points, ci: ci.collect(), named })
    }
}

pub(super) fn panel(page: &Page<'_>) -> String {
    let latencies = &page.report.latency_us;
    let percentiles = &page.report.config.percentiles;
    let curves: Vec<Curve> = [("response", &latencies.response), ("service", &latencies.service)]
        .into_iter()
        .filter_map(|(name, of)| Curve::new(&format!("{name} time"), of.as_ref()?, percentiles))
        .collect();
    if curves.is_empty() {
        return section("Latency", "No message was sent in the measured window.", "");
    }
    let sentence = if latencies.response.is_some() {
        "Response time is counted from the scheduled send of a message, service time from its \
         actual send. The difference is the wait for a free connection and the generator's own \
         delay."
    } else {
        "A closed loop: service times, from the actual send, of a target under full load. They \
         exclude any wait in a queue, which users of an independent load would see."
    };
    let caption = "Each further nine has the same width. The curve ends at the last sample. \
                   Vertical bars are confidence intervals.";
    let content = figure(&plot(&curves), caption) + &table(page);
    section("Latency by percentile", sentence, &content)
}

pub(super) fn plot(curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|curve| curve.points.iter().copied());
    let lowest = points().map(|(_, us)| us).fold(f64::INFINITY, f64::min);
    let highest = points().map(|(_, us)| us).fold(0.0, f64::max);
    let last = points().map(|(at, _)| at).fold(10.0, f64::max);
    let label = "latency by percentile";
    let x = Scale::Log { from: 1.0, to: last };
    let mut chart = Chart::new(WIDE, 380.0, x, Scale::log_around(lowest, highest), label);
    chart.y_axis("latency (log)", tick_time);
    chart.x_axis("percentile", &nines(last));
    let classes = (0..curves.len()).map(|index| format!("c{}", index % COLOURS + 1));
    let classes: Vec<String> = classes.collect();
    for (curve, class) in curves.iter().zip(&classes) {
        for (at, low, high) in &curve.ci {
            chart.line(&format!("ci {class}"), [(*at, *low), (*at, *high)].into_iter().map(Some));
        }
        chart.line(class, curve.points.iter().copied().map(Some));
        for (at, us, name) in &curve.named {
            chart.dot(class, *at, *us, &format!("{} {name}: {}", curve.name, time_us(*us)));
        }
    }
    let entries: Vec<(&str, &str)> = classes
        .iter()
        .zip(curves)
        .map(|(class, curve)| (class.as_str(), curve.name.as_str()))
        .collect();
    chart.legend(&entries);
    chart.finish()
}

/// The ticks 0, 50, 90, 99, 99.9 … up to the last sample.
fn nines(last: f64) -> Vec<(f64, String)> {
    let mut ticks = vec![(1.0, "0 %".to_owned()), (2.0, "50 %".to_owned())];
    let (mut at, mut digits) = (10.0, 0_usize);
    while at <= last * 1.000_001 {
        let percent = 100.0 - 100.0 / at;
        ticks.push((at, format!("{percent:.*} %", digits.saturating_sub(1))));
        at *= 10.0;
        digits += 1;
    }
    ticks
}

/// The table of percentiles, with one column per kind of latency.
fn table(page: &Page<'_>) -> String {
    let latencies = &page.report.latency_us;
    let kinds: Vec<(&str, &Distribution)> = [
        ("response", &latencies.response),
        ("service", &latencies.service),
        ("connect", &latencies.connect),
        ("tls", &latencies.tls),
        ("handshake", &latencies.handshake),
    ]
    .into_iter()
    .filter_map(|(name, of)| Some((name, of.as_ref()?)))
    .collect();
    let mut text = "<div class=\"scroll\"><table>\n<tr><th></th>".to_owned();
    for (kind, of) in &kinds {
        let _ = write!(text, "<th class=\"n\">{kind}</th>");
        if !of.ci.is_empty() {
            text += "<th class=\"n\">95 % CI</th>";
        }
    }
    text += "</tr>\n";
    let mut row = |name: &str, place: &str, is_time: bool| {
        let _ = write!(text, "<tr><th>{name}</th>");
        for (kind, of) in &kinds {
            let place = format!("/latency_us/{kind}/{place}");
            let value = if is_time { page.time(&place) } else { page.count(&place) };
            let _ = write!(text, "<td class=\"n\">{value}</td>");
            if !of.ci.is_empty() {
                let range = of.ci.get(name).map(|_| {
                    let end = |index| page.time(&format!("/latency_us/{kind}/ci/{name}/{index}"));
                    format!("{} – {}", end(0), end(1))
                });
                let _ = write!(text, "<td class=\"n\">{}</td>", range.unwrap_or_default());
            }
        }
        text += "</tr>\n";
    };
    row("min", "min", true);
    row("mean", "mean", true);
    let mut names: Vec<String> =
        kinds.iter().flat_map(|(_, of)| of.percentiles.keys().cloned()).collect();
    names.sort_by(|a, b| number(a).total_cmp(&number(b)));
    names.dedup();
    for name in &names {
        row(name, &format!("percentiles/{name}"), true);
    }
    row("max", "max", true);
    row("samples", "samples", false);
    row("of these censored", "censored", false);
    text + "</table></div>\n<p class=\"note\">Censored samples are waits that did not end with a \
            reply: their true value is larger."
        + &confidence(page)
        + "</p>\n"
        + &full_table(page)
}

/// The method of the confidence intervals, or the reason why there are none.
fn confidence(page: &Page<'_>) -> String {
    match &page.report.confidence.missing {
        Some(reason) => format!(" No confidence intervals: {}.", escape(reason)),
        None => format!(
            " Confidence intervals come from a block bootstrap of {} blocks of {}.",
            page.count("/confidence/blocks"),
            page.seconds("/confidence/block_s")
        ),
    }
}

/// The number in a name such as `p99.9`.
fn number(name: &str) -> f64 {
    name.trim_start_matches('p').parse().unwrap_or(f64::INFINITY)
}

/// Every step of the curve, in a collapsed table.
fn full_table(page: &Page<'_>) -> String {
    let Some((kind, of)) = page.report.headline() else { return String::new() };
    let Some(histogram) = of.histogram() else { return String::new() };
    let mut text = format!(
        "<details><summary>every step of the {kind} times</summary>\n<table>\n<tr>\
         <th class=\"n\">percentile</th><th class=\"n\">{kind}</th>\
         <th class=\"n\">samples</th></tr>\n"
    );
    let mut seen = 0;
    for step in histogram.iter_quantiles(5) {
        seen += step.count_since_last_iteration();
        let _ = writeln!(
            text,
            "<tr><td class=\"n\">{:.6} %</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            step.quantile_iterated_to() * 100.0,
            time_us(distribution::us(step.value_iterated_to())),
            grouped(seen)
        );
    }
    text + "</table></details>\n"
}
