//! An interval log read back (`loadtest report RUN.hlog`): histograms by tag, and nothing else of the
//! run. It may be somebody else's, as long as its values are nanoseconds.

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

/// What the lines of one tag add up to.
#[derive(Debug)]
struct Tagged {
    tag: Option<String>,
    lines: u64,
    histogram: Histogram<u64>,
}

#[derive(Debug)]
pub(crate) struct IntervalLog {
    started: Option<Duration>,
    /// In the order in which their first lines came.
    by_tag: Vec<Tagged>,
}

impl IntervalLog {
    /// Or why that is none.
    pub(crate) fn parse(text: &str) -> Result<IntervalLog, String> {
        let mut log = IntervalLog { started: None, by_tag: Vec::new() };
        for entry in IntervalLogIterator::new(text.as_bytes()) {
            match entry {
                Ok(LogEntry::StartTime(since)) => log.started = Some(since),
                Ok(LogEntry::BaseTime(_)) => {}
                Ok(LogEntry::Interval(line)) => log.take(&line)?,
                Err(LogIteratorError::ParseError { offset }) => {
                    let number = text[..offset].lines().count() + 1;
                    return Err(format!("is no interval log: line {number} is not of its form"));
                }
            }
        }
        match log.by_tag.is_empty() {
            true => Err("is no interval log: it has no histogram".to_owned()),
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

    /// A table for people.
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
        // A log of others may have been begun when no clock can show it.
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

    /// Of the response times, or else of the service times, or else of the tag that came first.
    pub(crate) fn to_hgrm(&self) -> String {
        let of =
            |wanted: &str| self.by_tag.iter().find(|tagged| tagged.tag.as_deref() == Some(wanted));
        let main = of("response").or_else(|| of("service")).or(self.by_tag.first());
        hgrm::percentiles(&main.expect("a log has a histogram").histogram)
    }
}

/// One that grows when a later line has larger values.
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

    /// Goal: what is read back is what the report has.
    ///
    /// Method: the logs of an open and a closed loop: the percentile text is the report's own, byte by
    /// byte, and the rows have its samples and percentiles.
    ///
    /// Kills: the last line of a tag in place of the sum; the warm-up among the rest; microseconds.
    #[test]
    fn what_was_written_is_read() {
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

    /// Goal: logs of others are read: without tags, and with values beyond the first line's bounds.
    ///
    /// Method: two lines by hand, the second one of another range; a start beyond all times.
    ///
    /// Kills: refusing what has no tag; losing what does not fit; a panic over a start.
    #[test]
    fn logs_of_others() {
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

    /// Goal: what is no log is refused, with the place.
    ///
    /// Method: nothing, prose, a line that is cut, a histogram that is none.
    ///
    /// Kills: a table of nothing; a panic.
    #[test]
    fn what_is_no_log() {
        let log = hlog::render(&fixture::open_loop());
        let last = log.trim_end().rfind('\n').unwrap();
        let cut = &log[..last + 30];
        let spoilt = log.replacen("HISTF", "HASTF", 1);
        for (text, wanted) in [
            ("", "it has no histogram"),
            ("#a comment\n", "it has no histogram"),
            ("hello\n", "line 1 is not of its form"),
            (cut, "line "),
            (&spoilt, "has no histogram in its line at "),
        ] {
            let error = IntervalLog::parse(text).unwrap_err();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
