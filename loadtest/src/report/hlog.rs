//! The histograms of a run as an HdrHistogram interval log (`.hlog`).
//!
//! The lines with one tag add up to one distribution. The main distribution (`response` or
//! `service`) has a line per interval; the others, such as `connect`, have one line for the whole
//! run. Intervals of the warm-up have the tag `warm-up`, because they belong to no distribution.
//! Values are nanoseconds, times are seconds from the start of the run.

use std::time::{Duration, UNIX_EPOCH};

use hdrhistogram::Histogram;
use hdrhistogram::serialization::V2DeflateSerializer;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};

use crate::base::figures;
use crate::report::model::Report;
use crate::report::model::distribution::Distribution;
use crate::report::model::interval::Interval;

/// Unit of each line's largest value, which the format prints for people: milliseconds.
const NS_PER_MS: f64 = 1e6;

/// A line of the log.
struct Line {
    tag: &'static str,
    start_s: f64,
    length_s: f64,
    histogram: Histogram<u64>,
}

pub(crate) fn render(report: &Report) -> String {
    let mut builder = IntervalLogWriterBuilder::new();
    let Report { tool, target, config, .. } = report;
    builder
        .add_comment(&format!("{} {}: {}, {}", tool.name, tool.version, target.url, config.mode))
        .add_comment("values in nanoseconds; lines with one tag add up to one distribution")
        .with_max_value_divisor(NS_PER_MS);
    if let Some(started) = figures::parse_utc(&report.started_at) {
        builder.with_start_time(UNIX_EPOCH + started).with_base_time(UNIX_EPOCH + started);
    }
    let (mut bytes, mut serializer) = (Vec::new(), V2DeflateSerializer::new());
    let mut log =
        builder.begin_log_with(&mut bytes, &mut serializer).expect("a vector takes every byte");
    for line in lines(report) {
        let (start, length) = (seconds(line.start_s), seconds(line.length_s));
        log.write_histogram(&line.histogram, start, length, Tag::new(line.tag))
            .expect("a vector takes every byte, and these bounds can be encoded");
    }
    String::from_utf8(bytes).expect("base64 and digits")
}

fn lines(report: &Report) -> Vec<Line> {
    let measured_from_s = report.measured_from_s();
    let headline = report.headline().map_or("service", |(name, _)| name);
    let mut lines = Vec::new();
    for interval in &report.intervals {
        let Interval { t_s, length_s, phase, .. } = interval;
        if let Some(histogram) = interval.histogram() {
            let tag = if phase == "warm-up" { "warm-up" } else { headline };
            lines.push(Line {
                tag,
                start_s: measured_from_s + t_s,
                length_s: *length_s,
                histogram,
            });
        }
    }
    let in_intervals = lines.iter().any(|line| line.tag == headline);
    let length_s = |name: &str| -> f64 {
        report.phases.iter().filter(|phase| phase.name == name).map(|phase| phase.seconds).sum()
    };
    let latencies = &report.latency_us;
    for (tag, distribution, start_s, length_s) in [
        ("response", &latencies.response, measured_from_s, length_s("measured")),
        ("service", &latencies.service, measured_from_s, length_s("measured")),
        ("connect", &latencies.connect, 0.0, length_s("ramp")),
        ("tls", &latencies.tls, 0.0, length_s("ramp")),
        ("handshake", &latencies.handshake, 0.0, length_s("ramp")),
    ] {
        let whole = distribution.as_ref().and_then(Distribution::histogram);
        if let Some(histogram) = whole.filter(|_| tag != headline || !in_intervals) {
            lines.push(Line { tag, start_s, length_s, histogram });
        }
    }
    lines
}

/// Converts seconds. A negative value, from a clock that went backwards, becomes zero instead of a
/// panic.
fn seconds(value: f64) -> Duration {
    Duration::try_from_secs_f64(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use hdrhistogram::serialization::Deserializer;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    use super::*;
    use crate::measure::stats;
    use crate::report::fixture;

    fn merged(log: &str, name: &str) -> (Histogram<u64>, Vec<(Duration, Duration)>) {
        let (mut total, mut times) = (stats::new_histogram(), Vec::new());
        for entry in IntervalLogIterator::new(log.as_bytes()) {
            let LogEntry::Interval(line) = entry.unwrap() else { continue };
            if line.tag().is_some_and(|tag| tag.as_str() == name) {
                let bytes = STANDARD.decode(line.encoded_histogram()).unwrap();
                total.add(Deserializer::new().deserialize(&mut &bytes[..]).unwrap()).unwrap();
                times.push((line.start_timestamp(), line.duration()));
            }
        }
        (total, times)
    }

    /// Goal: the lines of a tag add up to the whole distribution of that name.
    ///
    /// Method: an open loop with intervals and a closed one without; merge by tag and compare with
    /// the report's blobs.
    ///
    /// Kills: writing a distribution both whole and in intervals; the warm-up among the responses;
    /// times relative to the measured window.
    #[test]
    fn lines_of_a_tag_add_up() {
        let report = fixture::open_loop();
        let log = render(&report);
        let blob = |part: &Option<Distribution>| part.as_ref().unwrap().histogram().unwrap();
        let second = Duration::from_secs(1);
        let (response, times) = merged(&log, "response");
        assert_eq!(response, blob(&report.latency_us.response));
        assert_eq!(times[0], (Duration::from_millis(1_500), second), "after the ramp and warm-up");
        assert_eq!(times.len(), 3);
        assert_eq!(merged(&log, "service").0, blob(&report.latency_us.service));
        assert_eq!(merged(&log, "connect").0, blob(&report.latency_us.connect));
        assert_eq!(merged(&log, "warm-up").1, [(Duration::from_millis(500), second)]);
        assert!(log.contains("#[BaseTime: 1795255200.000 "), "{log}");

        let closed = fixture::closed_loop();
        let (service, times) = merged(&render(&closed), "service");
        assert_eq!(service, blob(&closed.latency_us.service));
        assert_eq!(times, [(Duration::from_millis(1_500), Duration::from_secs(3))]);
    }
}
