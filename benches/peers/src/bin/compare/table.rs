//! The table of results, in Markdown.

use peers::report::Report;

const HEADINGS: [&str; 12] = [
    "connections",
    "contestant",
    "CPU µs/msg min",
    "median",
    "ratio of minima",
    "of medians",
    "msg/s median",
    "p50 µs",
    "p99 µs",
    "p99.9 µs",
    "RSS MiB",
    "errors",
];

/// All rounds of one contestant at one number of connections.
#[derive(Debug)]
pub(crate) struct Row {
    connections: u64,
    name: String,
    cpu_us: Vec<f64>,
    messages_per_second: Vec<f64>,
    p50_us: Vec<f64>,
    p99_us: Vec<f64>,
    p999_us: Vec<f64>,
    rss_mib: Vec<f64>,
    error_count: u64,
}

impl Row {
    pub(crate) fn new(connections: u64, name: &str) -> Self {
        Self {
            connections,
            name: name.to_owned(),
            cpu_us: Vec::new(),
            messages_per_second: Vec::new(),
            p50_us: Vec::new(),
            p99_us: Vec::new(),
            p999_us: Vec::new(),
            rss_mib: Vec::new(),
            error_count: 0,
        }
    }

    pub(crate) fn add(&mut self, report: &Report) {
        self.error_count += report.errors;
        self.cpu_us.extend(report.cpu_us_per_message());
        self.messages_per_second.push(report.messages_per_second());
        self.p50_us.push(report.p50_us);
        self.p99_us.push(report.p99_us);
        self.p999_us.push(report.p999_us);
        let rss_mib = report
            .server
            .as_ref()
            .map(|server| server.rss_kib as f64 / 1024.0);
        self.rss_mib.extend(rss_mib);
    }

    /// Records a run without a report.
    pub(crate) fn add_failure(&mut self) {
        self.error_count += 1;
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.error_count == 0
    }
}

/// One run, as the text of the progress line.
pub(crate) fn brief(report: &Report) -> String {
    format!(
        "{} µs/msg, {:.0} msg/s, p99 {:.0} µs, {} errors",
        figure(report.cpu_us_per_message(), 2),
        report.messages_per_second(),
        report.p99_us,
        report.errors
    )
}

/// The whole table. Each group has one number of connections; its first row is the floor.
pub(crate) fn render(groups: &[Vec<Row>]) -> String {
    let mut lines: Vec<Vec<String>> = vec![HEADINGS.map(str::to_owned).to_vec()];
    for group in groups {
        for row in group {
            lines.push(cells(row, &group[0]));
        }
    }
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| {
            lines
                .iter()
                .map(|cells| cells[column].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();

    let mut text = String::new();
    for (index, cells) in lines.iter().enumerate() {
        for (column, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
            text.push_str("| ");
            match column {
                1 => text.push_str(&format!("{cell:<width$}")),
                _ => text.push_str(&format!("{cell:>width$}")),
            }
            text.push(' ');
        }
        text.push_str("|\n");
        if index == 0 {
            for (column, &width) in widths.iter().enumerate() {
                let dashes = "-".repeat(width + 1);
                text.push_str(&if column == 1 {
                    format!("|:{dashes}")
                } else {
                    format!("|{dashes}:")
                });
            }
            text.push_str("|\n");
        }
    }
    text
}

fn cells(row: &Row, floor: &Row) -> Vec<String> {
    let ratio = |of: fn(&[f64]) -> Option<f64>| Some(of(&row.cpu_us)? / of(&floor.cpu_us)?);
    vec![
        row.connections.to_string(),
        row.name.clone(),
        figure(minimum(&row.cpu_us), 2),
        figure(median(&row.cpu_us), 2),
        figure(ratio(minimum), 3),
        figure(ratio(median), 3),
        figure(median(&row.messages_per_second), 0),
        figure(median(&row.p50_us), 0),
        figure(median(&row.p99_us), 0),
        figure(median(&row.p999_us), 0),
        figure(median(&row.rss_mib), 1),
        row.error_count.to_string(),
    ]
}

fn figure(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}

fn minimum(values: &[f64]) -> Option<f64> {
    values.iter().copied().reduce(f64::min)
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let above = *sorted.get(sorted.len() / 2)?;
    let below = sorted[(sorted.len() - 1) / 2];
    Some((below + above) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use peers::report::ServerUse;

    fn row(name: &str, cpu_us: &[u64]) -> Row {
        let mut row = Row::new(100, name);
        for cpu_us in cpu_us {
            row.add(&Report {
                connections: 100,
                served: 100,
                messages: 1000,
                errors: 0,
                seconds: 2.0,
                p50_us: 1.0,
                p99_us: 2.0,
                p999_us: 3.0,
                server: Some(ServerUse {
                    cpu_ns: cpu_us * 1_000_000,
                    rss_kib: 2048,
                }),
            });
        }
        row
    }

    /// Goal: ratios are taken to the first row, of minima and of medians apart.
    ///
    /// Method: a floor of 4, 5, 9 µs and a peer of 6, 10, 11 µs; then a peer without any run.
    ///
    /// Kills: taking the mean for the median; dividing by the row before.
    #[test]
    fn ratios_are_to_the_first_row() {
        let (floor, peer) = (row("floor", &[9, 4, 5]), row("peer", &[10, 6, 11]));
        assert_eq!(
            cells(&peer, &floor)[2..7],
            ["6.00", "10.00", "1.500", "2.000", "500"]
        );
        assert_eq!(cells(&floor, &floor)[4..6], ["1.000", "1.000"]);

        let mut broken = Row::new(100, "broken");
        broken.add_failure();
        assert!(!broken.is_clean());
        assert_eq!(cells(&broken, &floor)[2..6], ["–", "–", "–", "–"]);
        let text = render(&[vec![floor, peer, broken]]);
        assert_eq!(text.lines().count(), 5);
        let widths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
        assert!(widths.iter().all(|&width| width == widths[0]), "{text}");
    }

    /// Goal: the median of an even number of values lies between the two in the middle.
    ///
    /// Method: none, one, two and three values.
    ///
    /// Kills: an index that is one off.
    #[test]
    fn medians_of_an_even_number_lie_between_the_middle_two() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 2.0]), Some(3.0));
        assert_eq!(median(&[4.0, 1.0, 2.0]), Some(2.0));
    }
}
