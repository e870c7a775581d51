//! The bars beside the percentiles.

use crate::base::figures::bar_label;
use crate::report::model::distribution::BarRow;

/// Cells of a bar that stands for all samples.
const BAR_CELLS: usize = 32;

pub(super) fn scale() -> String {
    let quarter = BAR_CELLS / 4;
    let marks: String = ["0", "25", "50", "75"].map(|mark| format!("{mark:<quarter$}")).concat();
    format!("{:9}{marks}100 %", "")
}

pub(super) fn bar(row: &BarRow) -> String {
    let label = match row.up_to_us {
        Some(us) => format!("≤ {:>5}", bar_label(us)),
        None => format!("> {:>5}", bar_label(row.over_us)),
    };
    // A rare value must not be printed as 0.00.
    let share = match row.percent {
        percent if percent > 0.0 && percent < 0.005 => "<0.01".to_owned(),
        percent => format!("{percent:.2}"),
    };
    let blocks = blocks(row.percent);
    format!("{label} ▏{blocks:<width$}{share:>7} %", width = BAR_CELLS + 1)
}

/// A bar in eighths of a cell. Any share above zero shows at least one eighth.
fn blocks(percent: f64) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (percent / 100.0 * (BAR_CELLS * 8) as f64).round() as usize;
    let eighths = if percent > 0.0 { eighths.clamp(1, BAR_CELLS * 8) } else { 0 };
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the length of a bar is its share, and a rare value is visible.
    ///
    /// Method: shares of 0, 0.001, 50 and 100 %.
    ///
    /// Kills: rounding a rare slow reply away; a bar longer than its scale.
    #[test]
    fn bars_are_in_proportion() {
        assert_eq!(blocks(0.0), "");
        assert_eq!(blocks(0.001), "▏");
        assert_eq!(blocks(50.0), "█".repeat(BAR_CELLS / 2));
        assert_eq!(blocks(100.0), "█".repeat(BAR_CELLS));
        assert_eq!(blocks(100.0 / 64.0), "▌");
    }

    /// Goal: the scale stands above the bars' ends.
    ///
    /// Method: compare columns of the scale with those of a full bar.
    ///
    /// Kills: a label column that is wider in one of the two.
    #[test]
    fn the_scale_fits_the_bars() {
        let row = BarRow { over_us: 32, up_to_us: Some(64), count: 1, percent: 100.0 };
        let (scale, bar) = (scale(), bar(&row));
        let column = |text: &str, mark: char| text.chars().position(|c| c == mark).unwrap();
        assert_eq!(column(&bar, '█'), column(&scale, '0'));
        let last = bar.chars().count() - bar.chars().rev().position(|c| c == '█').unwrap();
        assert_eq!(column(&scale, '1'), last);
    }
}
