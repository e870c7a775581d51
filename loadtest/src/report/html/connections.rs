//! The section about connections: connect times, and the fairness of the replies.

use crate::base::figures::{grouped, time_us};
use crate::report::html::page::{Page, facts, figure, section, tick_number, tick_time};
use crate::report::html::svg::{Chart, HALF, Scale};
use crate::report::model::distribution::us;

/// Times at which the kernel retransmits a lost SYN. The first one is after one second. The time of
/// three seconds is the second one before Linux 6.5, and the third one since
/// (`net.ipv4.tcp_syn_linear_timeouts`).
const RETRANSMITS_US: [(f64, &str); 2] = [(1e6, "1 s"), (3e6, "3 s")];

/// The chart has marks of retransmissions if a connect took at least this long.
const SLOW_CONNECT_US: f64 = 0.5e6;

pub(super) fn panel(page: &Page<'_>) -> String {
    let connections = &page.report.connections;
    let mut rows = vec![
        (
            "opened",
            format!(
                "{} of {} requested, in {}",
                page.count("/connections/opened"),
                page.count("/connections/asked"),
                page.seconds("/connections/opened_in_s")
            ),
        ),
        ("failed to open", page.count("/connections/failed")),
        ("served", format!("{}, with at least one reply each", page.count("/connections/served"))),
        ("lost later", page.count("/connections/lost")),
        ("reopened", page.count("/connections/reconnects")),
        ("took 1 s or more", page.count("/connections/slow_connects")),
    ];
    if connections.per_conn.is_some() {
        rows.push((
            "replies per connection",
            format!(
                "{} … {} … {} (least, median, most)",
                page.count("/connections/per_conn/min"),
                page.count("/connections/per_conn/p50"),
                page.count("/connections/per_conn/max")
            ),
        ));
        let jain = page.figure("/connections/per_conn/jain", |value| format!("{value:.3}"));
        rows.push(("Jain's index", format!("{jain} (1 is even)")));
    }
    if connections.idle.is_some() {
        rows.push((
            "idle connections",
            format!(
                "{} of {} open at the end, {} lost",
                page.count("/connections/idle/open"),
                page.count("/connections/idle/asked"),
                page.count("/connections/idle/lost")
            ),
        ));
    }
    let charts = format!("<div class=\"pair\">{}{}</div>\n", connect_times(page), fairness(page));
    let sentence = "A connection counts when it was served, not when it was opened.";
    section("Connections", sentence, &(facts(&rows) + &charts))
}

fn connect_times(page: &Page<'_>) -> String {
    let Some(connect) = &page.report.latency_us.connect else { return String::new() };
    let Some(histogram) = connect.histogram() else { return String::new() };
    let has_syns = !page.report.target.is_unix();
    let is_slow = has_syns && connect.max >= SLOW_CONNECT_US;
    let end = if is_slow { connect.max.max(5e6) } else { connect.max };
    let x = Scale::log_around(connect.min, end);
    let y = Scale::Linear { from: 0.0, to: 100.0 };
    let mut chart = Chart::new(HALF, 260.0, x, y, "share of connects by time");
    chart.y_axis("connects done", |value| format!("{value:.0} %"));
    let ticks: Vec<(f64, String)> = x.ticks().into_iter().map(|at| (at, tick_time(at))).collect();
    chart.x_axis("", &ticks);
    let (mut points, mut seen, mut share) = (vec![Some((connect.min, 0.0))], 0, 0.0);
    for step in histogram.iter_recorded() {
        let at = us(step.value_iterated_to()).clamp(connect.min, connect.max);
        points.push(Some((at, share)));
        seen += step.count_since_last_iteration();
        share = seen as f64 * 100.0 / histogram.len() as f64;
        points.push(Some((at, share)));
    }
    if is_slow {
        for (at, name) in RETRANSMITS_US {
            chart.mark(at, name);
        }
    }
    chart.line("c2", points.into_iter());
    let caption = if !has_syns {
        format!("Time to connect. The slowest took {}.", time_us(connect.max))
    } else if is_slow {
        "Time to connect. The marks are the times at which a lost SYN is retransmitted.".to_owned()
    } else {
        format!(
            "Time to connect. The slowest took {}: none is near 1 s, after which a lost SYN is \
             retransmitted.",
            time_us(connect.max)
        )
    };
    figure(&chart.finish(), &caption)
}

fn fairness(page: &Page<'_>) -> String {
    let bars = match &page.report.connections.per_conn {
        Some(spread) if !spread.bars.is_empty() => &spread.bars,
        _ => return String::new(),
    };
    let (first, last) = (bars[0].from as f64, bars[bars.len() - 1].to as f64 + 1.0);
    let most = bars.iter().map(|bar| bar.connections).max().unwrap_or(0);
    let x = Scale::Linear { from: first, to: last };
    let y = Scale::from_zero(most as f64);
    let mut chart = Chart::new(HALF, 260.0, x, y, "connections by their number of replies");
    chart.y_axis("connections", tick_number);
    let ticks = x.ticks().into_iter().map(|at| (at, tick_number(at)));
    chart.x_axis("", &ticks.collect::<Vec<_>>());
    for bar in bars.iter().filter(|bar| bar.connections > 0) {
        let (from, to) = (bar.from as f64, bar.to as f64 + 1.0);
        let gap = (to - from) * 0.04;
        let connections = grouped(bar.connections);
        let range = format!("{} – {} replies", grouped(bar.from), grouped(bar.to));
        let title = format!("{connections} connections with {range}");
        let corner = (to - gap, bar.connections as f64);
        chart.block("fill c3", (from + gap, 0.0), corner, &title);
    }
    figure(&chart.finish(), "Number of connections by measured replies per connection.")
}
