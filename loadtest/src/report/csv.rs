//! The main figures as two lines of CSV: names and values. Appending runs to one table is
//! `tail -n 1`.
//!
//! The names are those of the JSON report. A column is never renamed, and a new one is appended at
//! the end (`OUTPUTS.md` lists them). A figure that the run does not have is empty. Times are in
//! microseconds.

use crate::measure::stats::PERCENTILES;
use crate::report::model::Report;
use crate::report::model::distribution::Distribution;

type CsvColumn = fn(&Report) -> String;

const COLUMNS: &[(&str, CsvColumn)] = &[
    ("schema_version", |report| report.schema_version.to_string()),
    ("name", |report| report.name.clone().unwrap_or_default()),
    ("labels", |report| {
        let labels: Vec<String> =
            report.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.join(";")
    }),
    ("started_at", |report| report.started_at.clone()),
    ("target", |report| report.target.url.clone()),
    ("protocol", |report| report.target.protocol.clone()),
    ("driver", |report| report.env.driver.clone()),
    ("mode", |report| report.config.mode.clone()),
    ("rate", |report| optional(report.config.rate.as_ref())),
    ("connections", |report| report.config.connections.to_string()),
    ("threads", |report| report.config.threads.to_string()),
    ("pipeline", |report| report.config.pipeline.to_string()),
    ("message_bytes", |report| report.config.message_bytes.to_string()),
    ("measured_s", |report| {
        optional(report.phases.iter().find(|phase| phase.name == "measured").map(|it| it.seconds))
    }),
    ("scheduled", |report| report.load.scheduled.to_string()),
    ("sent", |report| report.load.sent.to_string()),
    ("completed", |report| report.load.completed.to_string()),
    ("errors", |report| report.load.errors.total.to_string()),
    ("timed_out", |report| report.load.timed_out.to_string()),
    ("in_flight", |report| report.load.in_flight.to_string()),
    ("never_sent", |report| report.load.never_sent.to_string()),
    ("offered_rate", |report| optional(report.load.offered_rate)),
    ("achieved_rate", |report| report.load.achieved_rate.to_string()),
    ("bytes_sent", |report| report.load.bytes_sent.to_string()),
    ("bytes_received", |report| report.load.bytes_received.to_string()),
    ("opened", |report| report.connections.opened.to_string()),
    ("served", |report| report.connections.served.to_string()),
    ("lost", |report| report.connections.lost.to_string()),
    ("reconnects", |report| report.connections.reconnects.to_string()),
    ("jain", |report| optional(report.connections.per_conn.as_ref().map(|each| each.jain))),
    ("verdict", |report| report.generator.verdict.name().to_owned()),
    ("send_lag_p99_us", |report| optional(report.generator.send_lag_us.map(|lag| lag.p99))),
    ("generator_cpu_percent", |report| {
        // Of the busiest worker: it is the one that measures late.
        optional(report.generator.cpu_percent.iter().copied().reduce(f64::max))
    }),
    ("generator_rss_bytes", |report| optional(report.generator.rss_bytes)),
    ("server_cpu_percent", |report| optional(server(report, |server| server.cpu_percent))),
    ("server_cpu_us_per_message", |report| {
        optional(server(report, |server| server.cpu_us_per_message))
    }),
    ("server_rss_bytes", |report| optional(server(report, |server| server.rss_bytes))),
    ("thresholds", |report| report.thresholds.len().to_string()),
    ("thresholds_failed", |report| {
        report.thresholds.iter().filter(|threshold| !threshold.ok).count().to_string()
    }),
    ("interrupted", |report| report.interrupted.to_string()),
    ("exit_code", |report| report.exit_code.to_string()),
];

/// Columns after the latencies, added in a later version.
const LATER_COLUMNS: &[(&str, CsvColumn)] = &[
    ("server_fds", |report| optional(server(report, |server| server.fds))),
    ("server_voluntary_switches", |report| {
        optional(server(report, |server| server.voluntary_switches))
    }),
    ("server_involuntary_switches", |report| {
        optional(server(report, |server| server.involuntary_switches))
    }),
    ("shed", |report| report.load.shed.to_string()),
    ("listen_overflows", |report| optional(network(report, |tcp| tcp.listen_overflows))),
    ("listen_drops", |report| optional(network(report, |tcp| tcp.listen_drops))),
    ("retransmits", |report| optional(network(report, |tcp| tcp.retransmits))),
    ("syn_retransmits", |report| optional(network(report, |tcp| tcp.syn_retransmits))),
    ("established_resets", |report| optional(network(report, |tcp| tcp.established_resets))),
    ("resets_sent", |report| optional(network(report, |tcp| tcp.resets_sent))),
];

/// Columns after `LATER_COLUMNS` and the handshakes, added last.
const LAST_COLUMNS: &[(&str, CsvColumn)] = &[
    ("outages", |report| report.outages.len().to_string()),
    ("outage_s", |report| {
        report.outages.iter().map(|outage| outage.length_s).sum::<f64>().to_string()
    }),
    ("gave_up", |report| report.gave_up.is_some().to_string()),
];

pub(crate) fn render(report: &Report) -> String {
    let cell = |(name, figure): &(&str, CsvColumn)| ((*name).to_owned(), quoted(&figure(report)));
    let (mut names, mut values): (Vec<String>, Vec<String>) = COLUMNS.iter().map(cell).unzip();
    let latencies = &report.latency_us;
    for (kind, distribution) in [
        ("response", &latencies.response),
        ("service", &latencies.service),
        ("connect", &latencies.connect),
    ] {
        for (name, value) in latency_columns(kind, distribution.as_ref()) {
            names.push(name);
            values.push(value);
        }
    }
    for (name, value) in LATER_COLUMNS.iter().map(cell) {
        names.push(name);
        values.push(value);
    }
    for (name, value) in latency_columns("handshake", latencies.handshake.as_ref()) {
        names.push(name);
        values.push(value);
    }
    for (name, value) in LAST_COLUMNS.iter().map(cell) {
        names.push(name);
        values.push(value);
    }
    format!("{}\n{}\n", names.join(","), values.join(","))
}

/// The columns of one kind of latency. They do not depend on `--percentiles`.
fn latency_columns(kind: &str, distribution: Option<&Distribution>) -> Vec<(String, String)> {
    let mut columns = vec![
        (format!("{kind}_samples"), optional(distribution.map(|it| it.samples))),
        (format!("{kind}_censored"), optional(distribution.map(|it| it.censored))),
        (format!("{kind}_mean_us"), optional(distribution.map(|it| it.mean))),
    ];
    for percentile in PERCENTILES {
        let name = crate::report::model::distribution::percentile_name(percentile);
        let value = distribution.and_then(|it| it.percentiles.get(&name));
        columns.push((format!("{kind}_{}_us", name.replace('.', "_")), optional(value)));
    }
    columns.push((format!("{kind}_max_us"), optional(distribution.map(|it| it.max))));
    columns
}

fn server<T>(
    report: &Report,
    figure: fn(&crate::report::model::server::Server) -> Option<T>,
) -> Option<T> {
    report.server.as_ref().and_then(figure)
}

fn network(
    report: &Report,
    counter: fn(&crate::report::model::server::Network) -> Option<u64>,
) -> Option<u64> {
    report.network.as_ref().and_then(counter)
}

fn optional<T: ToString>(value: Option<T>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

/// Quotes a value by RFC 4180 if it contains a comma, a quote or a line break.
fn quoted(value: &str) -> String {
    if value.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", value.replace('"', "\"\""))
    } else {
        value.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    /// Parses the two lines as a CSV reader does.
    fn table(text: &str) -> Vec<(String, String)> {
        let mut rows = text.lines().map(|line| {
            let (mut fields, mut is_quoted) = (vec![String::new()], false);
            let mut chars = line.chars().peekable();
            while let Some(next) = chars.next() {
                match next {
                    '"' if is_quoted && chars.peek() == Some(&'"') => {
                        fields.last_mut().unwrap().push('"');
                        chars.next();
                    }
                    '"' => is_quoted = !is_quoted,
                    ',' if !is_quoted => fields.push(String::new()),
                    _ => fields.last_mut().unwrap().push(next),
                }
            }
            fields
        });
        let (names, values) = (rows.next().unwrap(), rows.next().unwrap());
        assert_eq!((rows.next(), names.len()), (None, values.len()));
        names.into_iter().zip(values).collect()
    }

    /// Goal: every kind of run has the same columns, and each value has the right name.
    ///
    /// Method: an open loop with a name that needs quotes, and a closed loop; compare some values
    /// with the fixture's.
    ///
    /// Kills: a column that only some runs have; an unquoted comma; percentiles by `--percentiles`.
    #[test]
    fn every_run_has_the_same_columns() {
        let mut report = fixture::open_loop();
        report.config.percentiles = vec![75.0];
        let (open, closed) = (table(&render(&report)), table(&render(&fixture::closed_loop())));
        let value = |name: &str| {
            let found: Vec<&str> =
                open.iter().filter(|(n, _)| n == name).map(|(_, value)| value.as_str()).collect();
            assert_eq!(found.len(), 1, "{name}");
            found[0]
        };
        assert_eq!(value("name"), "a<b>&\"c\", 'd'");
        assert_eq!(value("labels"), "build=x<y&z");
        assert_eq!((value("scheduled"), value("never_sent"), value("errors")), ("360", "2", "3"));
        assert_eq!((value("thresholds"), value("thresholds_failed")), ("2", "1"));
        assert_eq!((value("server_fds"), value("server_involuntary_switches")), ("20", "67"));
        assert_eq!((value("listen_overflows"), value("listen_drops")), ("3", "4"));
        assert_eq!((value("retransmits"), value("syn_retransmits")), ("5", "6"));
        assert_eq!((value("established_resets"), value("resets_sent")), ("7", "8"));
        assert_eq!((value("response_samples"), value("response_censored")), ("350", "7"));
        let p99_9 = report.latency_us.response.unwrap().percentiles["p99.9"].to_string();
        assert_eq!(value("response_p99_9_us"), p99_9);
        assert_eq!(closed.iter().find(|(name, _)| name == "response_p99_us").unwrap().1, "");
        let names = |table: &[(String, String)]| -> Vec<String> {
            table.iter().map(|(name, _)| name.clone()).collect()
        };
        assert_eq!(names(&open), names(&closed));
    }

    /// Goal: every column is documented.
    ///
    /// Method: each name, in backticks, in the page about outputs.
    ///
    /// Kills: a new column without documentation.
    #[test]
    fn columns_are_documented() {
        let page = include_str!("../../OUTPUTS.md");
        for (name, _) in table(&render(&fixture::open_loop())) {
            let name = match name.split_once("_p9").or_else(|| name.split_once("_p50")) {
                Some((kind, _))
                    if ["response", "service", "connect", "handshake"].contains(&kind) =>
                {
                    format!("{kind}_p…_us")
                }
                _ => name,
            };
            assert!(page.contains(&format!("`{name}`")), "{name} is not in OUTPUTS.md");
        }
    }
}
