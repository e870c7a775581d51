//! Reading of an interval log (`loadtest report RUN.hlog`).
//!
//! A log contains histograms by tag and nothing else about the run. It may come from another
//! program if its values are nanoseconds.

use std::fmt::Write as _;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;
use hdrhistogram::serialization::interval_log::{
    IntervalLogHistogram, IntervalLogIterator, LogEntry, LogIteratorError,
};

use crate::base::figures::{grouped, time_us, utc};
use crate::measure::stats::PERCENTILES;
use crate::report::hgrm;
use crate::report::model::distribution::{percentile_name, us};

/// Sum of the lines with one tag.
#[derive(Debug)]
struct Tagged {
    tag: Option<String>,
    lines: u64,
    histogram: Histogram<u64>,
}

#[derive(Debug)]
pub(crate) struct IntervalLog {
    started: Option<Duration>,
    /// In the order of their first lines.
    by_tag: Vec<Tagged>,
}

impl IntervalLog {
    /// Parses a log. The error is the reason why `text` is not one.
    pub(crate) fn parse(text: &str) -> Result<IntervalLog, String> {
        let mut log = IntervalLog { started: None, by_tag: Vec::new() };
        for entry in IntervalLogIterator::new(text.as_bytes()) {
            match entry {
                Ok(LogEntry::StartTime(since)) => log.started = Some(since),
                Ok(LogEntry::BaseTime(_)) => {}
                Ok(LogEntry::Interval(line)) => log.take(&line)?,
                Err(LogIteratorError::ParseError { offset }) => {
                    let number = text[..offset].lines().count() + 1;
                    return Err(format!(
                        "is not an interval log: line {number} has another format"
                    ));
                }
            }
        }
        match log.by_tag.is_empty() {
            true => Err("is not an interval log: it has no histogram".to_owned()),
            false => Ok(log),
        }
    }

    fn take(&mut self, line: &IntervalLogHistogram<'_>) -> Result<(), String> {
        let tag = line.tag().map(|tag| tag.as_str().to_owned());
        let at_s = line.start_timestamp().as_secs_f64();
        let histogram = histogram(line.encoded_histogram())
            .ok_or_else(|| format!("has no histogram in its line at {at_s:.3} s"))?;
        match self.by_tag.iter_mut().find(|known| known.tag == tag) {
            Some(known) => {
                known.lines += 1;
                let added = known.histogram.add(histogram);
                added.map_err(|error| format!("cannot be added up at {at_s:.3} s: {error}"))
            }
            None => {
                self.by_tag.push(Tagged { tag, lines: 1, histogram });
                Ok(())
            }
        }
    }

    /// Renders the log as a table.
    pub(crate) fn to_text(&self) -> String {
        let names = PERCENTILES.map(percentile_name);
        let header = ["tag", "lines", "samples", "min", "mean"].map(str::to_owned).into_iter();
        let header = header.chain(names).chain(["max".to_owned()]).collect();
        let rows = self.by_tag.iter().map(|tagged| {
            let Tagged { tag, lines, histogram } = tagged;
            let tag = tag.clone().unwrap_or_else(|| "(none)".to_owned());
            let counts = [grouped(*lines), grouped(histogram.len())];
            let at = |percentile| us(histogram.value_at_percentile(percentile));
            let mut times = vec![us(histogram.min()), histogram.mean() / 1e3];
            times.extend(PERCENTILES.map(at));
            times.push(us(histogram.max()));
            [tag].into_iter().chain(counts).chain(times.into_iter().map(time_us)).collect()
        });
        let rows: Vec<Vec<String>> = [header].into_iter().chain(rows).collect();
        // A foreign log may have a start time that `SystemTime` cannot represent.
        let mut text = match self.started.and_then(|since| UNIX_EPOCH.checked_add(since)) {
            Some(begun) => format!("interval log   begun {}\n\n", utc(begun)),
            None => "interval log\n\n".to_owned(),
        };
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                let cells = rows.iter().map(|row| row[column].chars().count());
                let width = cells.max().unwrap_or_default();
                let _ = match column {
                    0 => write!(text, "{cell:<width$}"),
                    _ => write!(text, "   {cell:>width$}"),
                };
            }
            text.push('\n');
        }
        text
    }

    /// Renders the percentiles of the response times, else of the service times, else of the first
    /// tag.
    pub(crate) fn to_hgrm(&self) -> String {
        let of = |name: &str| self.by_tag.iter().find(|tagged| tagged.tag.as_deref() == Some(name));
        let main = of("response").or_else(|| of("service")).or(self.by_tag.first());
        hgrm::percentiles(&main.expect("a log has a histogram").histogram)
    }
}

/// Decodes a histogram. It grows when a later line has larger values.
fn histogram(encoded: &str) -> Option<Histogram<u64>> {
    let bytes = STANDARD.decode(encoded).ok()?;
    let mut histogram: Histogram<u64> = Deserializer::new().deserialize(&mut &bytes[..]).ok()?;
    histogram.auto(true);
    Some(histogram)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::model::Report;
    use crate::report::model::distribution::hdr_v2;
    use crate::report::{fixture, hlog};

    fn parsed(report: &Report) -> IntervalLog {
        IntervalLog::parse(&hlog::render(report)).unwrap()
    }

    /// Goal: a written log is read back with the report's figures.
    ///
    /// Method: the logs of an open and a closed loop. The percentile text equals the report's byte
    /// by byte, and the rows contain its samples and percentiles.
    ///
    /// Kills: the last line of a tag in place of the sum; the warm-up among the responses;
    /// microseconds for nanoseconds.
    #[test]
    fn a_written_log_is_read_back() {
        for report in [fixture::open_loop(), fixture::closed_loop()] {
            let log = parsed(&report);
            assert_eq!(log.to_hgrm(), hgrm::render(&report));
            let text = log.to_text();
            assert!(
                text.starts_with("interval log   begun 2026-11-21T10:00:00Z\n\ntag "),
                "{text}"
            );
            let (name, latency) = report.headline().unwrap();
            let row = text.lines().find(|line| line.starts_with(name)).unwrap();
            assert!(row.contains(&format!(" {} ", grouped(latency.samples))), "{row}");
            for figure in [latency.min, latency.percentiles["p99"], latency.max] {
                assert!(row.contains(&format!(" {}", time_us(figure))), "{figure} in {row}");
            }
        }
    }

    /// Goal: logs of other programs are read: without tags, and with values beyond the first line's
    /// bounds.
    ///
    /// Method: two handwritten lines, the second one with another range; a start beyond all times.
    ///
    /// Kills: refusing lines without a tag; losing values that do not fit; a panic at the start
    /// time.
    #[test]
    fn logs_of_other_programs_are_read() {
        let mut small = Histogram::<u64>::new_with_bounds(1, 1_000_000, 3).unwrap();
        small.record(5_000).unwrap();
        let mut large = Histogram::<u64>::new_with_bounds(1, 3_600_000_000_000, 3).unwrap();
        large.record(100_000_000_000).unwrap();
        let [small, large] = [small, large].map(|histogram| hdr_v2(&histogram));
        let log = format!("#comment\n0.0,1.0,0.005,{small}\n1.0,1.0,9,{large}\n");
        let text = IntervalLog::parse(&log).unwrap().to_text();
        let row = text.lines().last().unwrap();
        assert!(text.starts_with("interval log\n\n"), "{text}");
        assert!(row.starts_with("(none)       2         2   5.00 µs   50.0 s "), "{text}");
        assert!(row.ends_with("   100 s"), "{text}");
        let start = "#[StartTime: 18446744073709551615.0 (seconds since epoch)]\n";
        assert_eq!(IntervalLog::parse(&format!("{start}{log}")).unwrap().to_text(), text);
    }

    /// Goal: a text that is not a log is refused, with the line.
    ///
    /// Method: an empty text, prose, a truncated line, a broken histogram.
    ///
    /// Kills: an empty table; a panic.
    #[test]
    fn broken_logs_are_refused_with_the_line() {
        let log = hlog::render(&fixture::open_loop());
        let last = log.trim_end().rfind('\n').unwrap();
        let cut = &log[..last + 30];
        let spoilt = log.replacen("HISTF", "HASTF", 1);
        for (text, expected) in [
            ("", "it has no histogram"),
            ("#a comment\n", "it has no histogram"),
            ("hello\n", "line 1 has another format"),
            (cut, "line "),
            (&spoilt, "has no histogram in its line at "),
        ] {
            let error = IntervalLog::parse(text).unwrap_err();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
