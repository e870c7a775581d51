//! The table of results, in Markdown.

use std::fmt;

/// Nanoseconds per operation, of each contestant and round.
#[derive(Debug)]
pub(crate) struct Table {
    contestants: &'static [&'static str],
    rows: Vec<(&'static str, Vec<Vec<f64>>)>,
}

impl Table {
    pub(crate) fn new(contestants: &'static [&'static str]) -> Table {
        Table { contestants, rows: Vec::new() }
    }

    /// Adds the rounds of one operation, for each contestant.
    pub(crate) fn add(&mut self, name: &'static str, mut rounds_ns: Vec<Vec<f64>>) {
        rounds_ns.iter_mut().for_each(|ns| ns.sort_by(f64::total_cmp));
        self.rows.push((name, rounds_ns));
    }
}

/// The figures of one contestant.
fn min_and_median(sorted: &[f64]) -> (f64, f64) {
    (sorted[0], sorted[sorted.len() / 2])
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| ns per operation, min / median ")?;
        self.contestants.iter().try_for_each(|name| write!(f, "| {name} "))?;
        writeln!(f, "| ratio to the best peer, min / median |")?;
        writeln!(f, "|:--{}|--:|", "|--:".repeat(self.contestants.len()))?;
        for (name, rounds_ns) in &self.rows {
            let figures: Vec<(f64, f64)> =
                rounds_ns.iter().map(|sorted| min_and_median(sorted)).collect();
            write!(f, "| {name} ")?;
            for (min, median) in &figures {
                write!(f, "| {min:.0} / {median:.0} ")?;
            }
            let peers = &figures[1..];
            let best =
                |pick: fn(&(f64, f64)) -> f64| peers.iter().map(pick).fold(f64::MAX, f64::min);
            let (min, median) = figures[0];
            let (best_min, best_median) = (best(|figure| figure.0), best(|figure| figure.1));
            writeln!(f, "| {:.2} / {:.2} |", min / best_min, median / best_median)?;
        }
        Ok(())
    }
}
