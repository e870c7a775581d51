//! The section about the generator and the server: processor time, memory, TCP counters and send
//! lag.

use crate::report::html::page::{Page, escape, facts, figure, section, tick_time};
use crate::report::html::series::{over_time, time_axis};
use crate::report::html::svg::Scale;

pub(super) fn panel(page: &Page<'_>) -> String {
    let mut content =
        format!("<div class=\"pair\"><div><h3>Generator</h3>\n{}</div>", generator(page));
    if page.report.server.is_some() {
        content += &format!("<div><h3>Server</h3>\n{}</div>", server(page));
    }
    content += "</div>\n";
    content += &network(page);
    content += &send_lag(page);
    let sentence = "In the measured window. Processor time is in percent of one core.";
    section("Generator and server", sentence, &content)
}

fn generator(page: &Page<'_>) -> String {
    let generator = &page.report.generator;
    let drivers: Vec<String> =
        generator.drivers.iter().map(|driver| escape(&driver.to_string())).collect();
    let workers = 0..generator.cpu_percent.len();
    let cpu: Vec<String> =
        workers.map(|index| page.percent(&format!("/generator/cpu_percent/{index}"))).collect();
    let spin_time: Vec<String> = (0..generator.spin_percent.len())
        .map(|index| page.percent(&format!("/generator/spin_percent/{index}")))
        .collect();
    let mut verdict = generator.verdict.name().to_owned();
    if let Some(reason) = &generator.verdict_reason {
        verdict = format!("{verdict}: {}", escape(reason));
    }
    let mut rows = vec![
        ("verdict", verdict),
        ("driver", drivers.join("; ")),
        ("processor, by worker", cpu.join(", ")),
        ("of that, awake for nothing", spin_time.join(", ")),
        ("waited for a processor", page.percent("/generator/run_queue_wait_percent")),
        ("completion queue overflows", page.count("/generator/cq_overflows")),
        ("ENOBUFS", page.count("/generator/enobufs")),
        ("memory", page.bytes("/generator/rss_bytes")),
    ];
    let mut lag = |name, pointer: &str| {
        let time = |figure: &str| page.time(&format!("/generator/{pointer}/{figure}"));
        let (p50, p99, max) = (time("p50"), time("p99"), time("max"));
        rows.push((name, format!("p50 {p50}, p99 {p99}, max {max}")));
    };
    if generator.send_lag_us.is_some() {
        lag("send lag", "send_lag_us");
    }
    if generator.loop_lag_us.is_some() {
        lag("loop lag", "loop_lag_us");
    }
    facts(&rows)
}

fn server(page: &Page<'_>) -> String {
    let Some(server) = &page.report.server else { return String::new() };
    let pid = page.figure("/server/pid", |pid| pid.to_string());
    let others = match server.pids.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    let mut rows = vec![("process", format!("{pid} {}{others}", escape(&server.kind)))];
    if let Some(driver) = &server.driver {
        rows.push(("driver", escape(&driver.to_string())));
    }
    rows.extend([
        ("processor", page.percent("/server/cpu_percent")),
        ("processor time per message", page.time("/server/cpu_us_per_message")),
        (
            "context switches",
            format!(
                "{} voluntary, {} involuntary",
                page.count("/server/voluntary_switches"),
                page.count("/server/involuntary_switches")
            ),
        ),
        ("memory", page.bytes("/server/rss_bytes")),
        ("descriptors", page.count("/server/fds")),
    ]);
    facts(&rows)
}

fn network(page: &Page<'_>) -> String {
    if page.report.network.is_none() {
        return String::new();
    }
    let rows = [
        ("accept queue overflows", page.count("/network/listen_overflows")),
        ("dropped by listeners", page.count("/network/listen_drops")),
        ("retransmitted segments", page.count("/network/retransmits")),
        ("of these, SYNs", page.count("/network/syn_retransmits")),
        ("reset connections", page.count("/network/established_resets")),
        ("resets sent", page.count("/network/resets_sent")),
    ];
    let note = "From the first connect to the last reply, of all processes in this network \
                namespace. A dash means that the target listens in another one.";
    format!("<h3>TCP</h3>\n{}<p class=\"note\">{note}</p>\n", facts(&rows))
}

/// Lower end of the logarithmic axis: shorter lags are drawn here.
const SEND_LAG_FLOOR_US: f64 = 1.0;

/// Chart of the send lag over time; empty if it was not measured.
fn send_lag(page: &Page<'_>) -> String {
    let intervals = &page.report.intervals;
    let shown = |lag: Option<f64>| lag.map(|us| us.max(SEND_LAG_FLOOR_US));
    let lags = || intervals.iter().filter_map(|interval| shown(interval.send_lag_p99));
    let lowest = lags().fold(f64::INFINITY, f64::min);
    if !lowest.is_finite() {
        return String::new();
    }
    let y = Scale::log_around(lowest, lags().fold(0.0, f64::max));
    let mut chart = over_time(page, 190.0, y, "send lag over time");
    chart.y_axis("send lag p99 (log)", tick_time);
    time_axis(&mut chart, page);
    let points = intervals.iter().map(|interval| {
        Some((interval.t_s + interval.length_s / 2.0, shown(interval.send_lag_p99)?))
    });
    chart.line("c3", points);
    let caption = "Delay of messages that were due while a connection was free: the generator's \
                   own share of the response times.";
    figure(&chart.finish(), caption)
}
