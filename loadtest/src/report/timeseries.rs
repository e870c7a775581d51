//! The intervals as lines: JSON objects (`.ndjson`) or CSV, with the field names of the report.
//!
//! Histograms are omitted; they are in the JSON report and in the interval log.

use crate::report::model::Report;
use crate::report::model::interval::Interval;

/// One JSON object per interval.
pub(crate) fn ndjson(report: &Report) -> String {
    let mut text = String::new();
    for interval in &report.intervals {
        let mut value = serde_json::to_value(interval).expect("all keys are strings");
        if let Some(object) = value.as_object_mut() {
            object.remove("hdr_v2");
        }
        text += &value.to_string();
        text.push('\n');
    }
    text
}

/// A header, then one line per interval. A missing figure is empty.
pub(crate) fn csv(report: &Report) -> String {
    let mut text = "t_s,length_s,phase,scheduled,completed,errors,timed_out,open_connections,\
                    p50,p99,p99_9,max,send_lag_p99\n"
        .to_owned();
    for interval in &report.intervals {
        // Without `..`, so that a new figure is a compile error here.
        let Interval {
            t_s,
            length_s,
            phase,
            scheduled,
            completed,
            errors,
            timed_out,
            open_connections,
            p50,
            p99,
            p99_9,
            max,
            send_lag_p99,
            hdr_v2: _,
        } = interval;
        let counts = [*scheduled, *completed, *errors, *timed_out, u64::from(*open_connections)];
        let counts = counts.map(|count| count.to_string()).join(",");
        let optional = |value: &Option<f64>| value.map(|us| us.to_string()).unwrap_or_default();
        let times = [p50, p99, p99_9, max, send_lag_p99].map(optional).join(",");
        text += &format!("{t_s},{length_s},{phase},{counts},{times}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    /// Goal: both formats have every interval with every figure, by the report's names.
    ///
    /// Method: compare each line with the interval it came from.
    ///
    /// Kills: a column out of order; a histogram in each line; a null printed as one in CSV.
    #[test]
    fn every_interval_is_a_line() {
        let mut report = fixture::open_loop();
        report.intervals[1].p99 = None;
        let (ndjson, csv) = (ndjson(&report), csv(&report));
        let mut rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
        let names = rows.next().unwrap();
        assert_eq!(ndjson.lines().count(), report.intervals.len());
        for (interval, line) in report.intervals.iter().zip(ndjson.lines()) {
            let mut expected = serde_json::to_value(interval).unwrap();
            expected.as_object_mut().unwrap().remove("hdr_v2").expect("the fixture has them");
            let found: serde_json::Value = serde_json::from_str(line).unwrap();
            assert_eq!(found, expected);
            let row = rows.next().unwrap();
            assert_eq!(row.len(), expected.as_object().unwrap().len());
            for (name, text) in names.iter().zip(row) {
                match &expected[name] {
                    serde_json::Value::Null => assert_eq!(text, "", "{name}"),
                    serde_json::Value::String(expected) => assert_eq!(text, expected, "{name}"),
                    expected => assert_eq!(text.parse::<f64>().ok(), expected.as_f64(), "{name}"),
                }
            }
        }
        assert_eq!(rows.next(), None);
    }
}
