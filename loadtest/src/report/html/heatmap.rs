//! Heat map of messages by time and latency. It shows modes and pauses that percentiles hide.

use std::collections::BTreeMap;

use crate::base::figures::{grouped, time_us};
use crate::report::html::page::{Page, figure, section, tick_time};
use crate::report::html::series::{over_time, time_axis};
use crate::report::html::svg::Scale;
use crate::report::model::distribution::us;
use crate::report::model::interval::Interval;

/// Limit of columns: neighbouring intervals are merged until they fit.
const COLUMNS_MAX: usize = 160;

/// Rows per doubling of the latency.
const ROWS_PER_DOUBLING: f64 = 4.0;

/// Number of colour intensities in the style sheet.
const DEGREES: f64 = 9.0;

/// One or more intervals that form a column.
#[derive(Debug)]
struct Column {
    from_s: f64,
    to_s: f64,
    /// Messages by row.
    rows: BTreeMap<i32, u64>,
}

pub(super) fn panel(page: &Page<'_>) -> String {
    let columns = columns(page);
    let rows = || columns.iter().flat_map(|column| column.rows.keys().copied());
    let (Some(first), Some(last)) = (rows().min(), rows().max()) else {
        return String::new(); // the section above reports that there are no intervals
    };
    let fullest = columns.iter().flat_map(|column| column.rows.values().copied()).max();
    let fullest = fullest.unwrap_or(1);
    let y = Scale::Log { from: bottom_us(first), to: bottom_us(last + 1) };
    let mut chart = over_time(page, 320.0, y, "heat map of latency over time");
    chart.y_axis("latency (log)", tick_time);
    time_axis(&mut chart, page);
    for column in &columns {
        for (row, count) in &column.rows {
            let (low, high) = (bottom_us(*row), bottom_us(row + 1));
            let title = format!("{} at {} – {}", grouped(*count), time_us(low), time_us(high));
            let class = format!("h h{}", degree(*count, fullest));
            chart.block(&class, (column.from_s, low), (column.to_s, high), &title);
        }
    }
    let caption = format!(
        "The colour intensity is logarithmic in the messages; the fullest cell has {}.",
        grouped(fullest)
    );
    let sentence = "Every message with a reply or a timeout, by time and latency.";
    section("Heat map of latency", sentence, &figure(&chart.finish(), &caption))
}

fn columns(page: &Page<'_>) -> Vec<Column> {
    let intervals = &page.report.intervals;
    let merged = intervals.len().div_ceil(COLUMNS_MAX).max(1);
    let groups = intervals.chunks(merged);
    let columns = groups.map(|group| {
        let mut rows = BTreeMap::new();
        for histogram in group.iter().filter_map(Interval::histogram) {
            for step in histogram.iter_recorded() {
                let value = us(histogram.median_equivalent(step.value_iterated_to()));
                *rows.entry(row_of(value)).or_default() += step.count_since_last_iteration();
            }
        }
        let (from_s, to_s) = (group[0].t_s, group[group.len() - 1].end_s());
        Column { from_s, to_s, rows }
    });
    columns.collect()
}

fn row_of(us: f64) -> i32 {
    (us.max(1e-3).log2() * ROWS_PER_DOUBLING).floor() as i32
}

/// The lower bound of a row's latencies.
fn bottom_us(row: i32) -> f64 {
    (f64::from(row) / ROWS_PER_DOUBLING).exp2()
}

/// The colour intensity of a cell: 1 for a single message, up to [`DEGREES`] for the fullest cell.
fn degree(count: u64, fullest: u64) -> u32 {
    let share = (count as f64).ln_1p() / (fullest as f64).ln_1p();
    (share * DEGREES).ceil().clamp(1.0, DEGREES) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a message is in the row whose bounds contain it, and rare messages are visible.
    ///
    /// Method: latencies from nanoseconds to a minute; counts from one to that of the fullest cell.
    ///
    /// Kills: rows and bounds with different rounding; an intensity of zero, or one without a
    /// style.
    #[test]
    fn rows_contain_their_messages_visibly() {
        for value in [0.5, 1.0, 74.3, 1_999.0, 2_048.0, 6e7] {
            let row = row_of(value);
            assert!(bottom_us(row) <= value && value < bottom_us(row + 1), "{value}");
        }
        assert_eq!((degree(1, 1), degree(1, 1_000_000), degree(1_000_000, 1_000_000)), (9, 1, 9));
    }
}
