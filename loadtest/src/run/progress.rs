//! Progress display of a run, on stderr.
//!
//! The main thread draws it from the counters that the workers publish, so it costs the workers
//! nothing.

use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use clap::ValueEnum;

use crate::host::sys;
use crate::measure::published::Snapshot;

/// Width of a terminal that does not report one.
const COLUMNS: usize = 80;

/// Number of rates in the sparkline.
const RATES_MAX: usize = 16;

/// The current phase and its progress.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProgressStage {
    Ramp { requested: u32 },
    Warmup { elapsed: Duration, of: Duration },
    Measured { elapsed: Duration, of: Duration },
    Drain { elapsed: Duration, of: Duration },
}

/// Progress display; without a style it draws nothing.
#[derive(Debug)]
pub(crate) struct Progress {
    style: Style,
    before: Snapshot,
    drawn_at: Instant,
    rates: VecDeque<f64>,
    /// Start of the time without an open connection under load, and the number of failed connects
    /// then.
    down: Option<(Instant, u64)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Live,
    Plain,
    None,
}

impl Progress {
    pub(crate) fn new(style: ProgressStyle) -> Progress {
        let style = match style {
            ProgressStyle::Auto if !io::stderr().is_terminal() => Style::None,
            // A dumb terminal prints escape sequences as text.
            ProgressStyle::Auto if is_dumb(env::var_os("TERM").as_deref()) => Style::Plain,
            ProgressStyle::Auto => Style::Live,
            ProgressStyle::None => Style::None,
            ProgressStyle::Live => Style::Live,
            ProgressStyle::Plain => Style::Plain,
        };
        Progress {
            style,
            before: Snapshot::zero(),
            drawn_at: Instant::now(),
            rates: VecDeque::with_capacity(RATES_MAX),
            down: None,
        }
    }

    /// When to draw next. `None` means never.
    pub(crate) fn due(&self) -> Option<Instant> {
        let period = match self.style {
            Style::Live => Duration::from_millis(250),
            Style::Plain => Duration::from_secs(1),
            Style::None => return None,
        };
        Some(self.drawn_at + period)
    }

    pub(crate) fn draw(&mut self, stage: ProgressStage, now: Snapshot) {
        let since = self.drawn_at.elapsed();
        let seconds = since.as_secs_f64().max(1e-6);
        let rate = (now.replies - self.before.replies) as f64 / seconds;
        if self.rates.len() == RATES_MAX {
            self.rates.pop_front();
        }
        self.rates.push_back(rate);
        let has_load =
            matches!(stage, ProgressStage::Warmup { .. } | ProgressStage::Measured { .. });
        self.down = match now.alive {
            0 if has_load => self.down.or(Some((self.drawn_at, self.before.refused))),
            _ => None,
        };
        let mut line = line(stage, &now, &self.before, rate);
        if let Some((since, refused)) = self.down {
            line += &down(since.elapsed(), now.refused - refused);
        }
        let written = match self.style {
            Style::Live => {
                let mut stderr = io::stderr().lock();
                let shown = fit(&line, &sparkline(&self.rates), columns());
                write!(stderr, "\r\x1b[2K{shown}").and_then(|()| stderr.flush())
            }
            Style::Plain => writeln!(io::stderr().lock(), "{line}"),
            Style::None => Ok(()),
        };
        if written.is_err() {
            self.style = Style::None; // stderr is closed
        }
        self.before = now;
        self.drawn_at = Instant::now();
    }

    /// Clears the line for the next output.
    pub(crate) fn finish(&mut self) {
        if self.style == Style::Live {
            let _ = write!(io::stderr().lock(), "\r\x1b[2K");
        }
        self.style = Style::None;
    }
}

fn is_dumb(term: Option<&OsStr>) -> bool {
    term.is_some_and(|term| term == "dumb")
}

/// Width of the terminal: as the kernel reports it, else `COLUMNS` of the shell, else the default.
fn columns() -> usize {
    let from_env = || env::var("COLUMNS").ok()?.parse().ok().filter(|columns| *columns > 0);
    let reported = sys::terminal_columns(io::stderr().as_fd()).map(usize::from);
    reported.or_else(from_env).unwrap_or(COLUMNS)
}

/// The line and, if there is room, the chart. The last column stays free: a terminal may wrap after
/// it, and the wrapped line would not be redrawn.
fn fit(line: &str, chart: &str, columns: usize) -> String {
    let room = columns.saturating_sub(1);
    let with_chart = format!("{line}  {chart}");
    if with_chart.chars().count() <= room {
        return with_chart;
    }
    line.chars().take(room).collect()
}

fn line(stage: ProgressStage, now: &Snapshot, before: &Snapshot, rate: f64) -> String {
    let mut line = match stage {
        ProgressStage::Ramp { requested } => return ramp_line(requested, now),
        ProgressStage::Warmup { elapsed, of } => format!("warm-up {}", clock(elapsed, of)),
        ProgressStage::Measured { elapsed, of } => clock(elapsed, of),
        ProgressStage::Drain { elapsed, of } => format!("drain {}", clock(elapsed, of)),
    };
    let _ = write!(line, "  {}/s", short_count(rate));
    let percentile = |p| now.percentile_since(before, p).map(short_time);
    if let (Some(p50), Some(p99), Some(max)) =
        (percentile(50.0), percentile(99.0), percentile(100.0))
    {
        let _ = write!(line, "  p50 {p50} p99 {p99} max {max}");
    }
    let _ = write!(line, "  conns {}  err {}", now.alive, now.errors + now.refused);
    line
}

/// The part of the line while no connection is open.
fn down(elapsed: Duration, retries: u64) -> String {
    format!("  DOWN {:.1}s, {retries} connects failed", elapsed.as_secs_f64())
}

fn ramp_line(requested: u32, now: &Snapshot) -> String {
    let mut line = format!("ramp {}/{requested}", now.opened);
    if now.refused > 0 {
        let _ = write!(line, "  err {}", now.refused);
    }
    line
}

fn clock(elapsed: Duration, of: Duration) -> String {
    if of < Duration::from_secs(10) {
        format!("{:.1}s/{:.1}s", elapsed.as_secs_f64(), of.as_secs_f64())
    } else {
        format!("{}s/{}s", elapsed.as_secs(), of.as_secs())
    }
}

fn short_count(count: f64) -> String {
    match count {
        count if count < 999.5 => format!("{count:.0}"),
        count if count < 999_950.0 => format!("{:.1}k", count / 1e3),
        count => format!("{:.2}m", count / 1e6),
    }
}

fn short_time(time: Duration) -> String {
    let us = time.as_nanos() as f64 / 1e3;
    match us {
        us if us < 999.5 => format!("{us:.0}µs"),
        us if us < 999_500.0 => format!("{:.1}ms", us / 1e3),
        us => format!("{:.1}s", us / 1e6),
    }
}

/// One block per rate, scaled to the highest rate.
fn sparkline(rates: &VecDeque<f64>) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let top = rates.iter().copied().fold(0.0, f64::max);
    let block = |rate: &f64| match top {
        0.0 => BLOCKS[0],
        top => BLOCKS[((rate / top * 7.0).round() as usize).min(7)],
    };
    rates.iter().map(block).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// `live` when stderr is a terminal, otherwise `none`
    Auto,
    /// One line, redrawn four times a second
    Live,
    /// One line a second
    Plain,
    None,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::published::Published;

    /// Goal: the live line shows phase, rate, latency, connections and errors.
    ///
    /// Method: a snapshot with known counts, rendered in three phases.
    ///
    /// Kills: latencies of the whole run instead of the interval; hiding failed connects.
    #[test]
    fn the_line_shows_phase_rate_and_errors() {
        let published = Published::new();
        published.reply(Duration::from_secs(5));
        let before = Snapshot::take([&published].into_iter());
        for _ in 0..100 {
            published.reply(Duration::from_micros(70));
        }
        published.alive.add_one();
        published.refused.add_one();
        published.errors.add_one();
        let now = Snapshot::take([&published].into_iter());
        let (elapsed, of) = (Duration::from_secs(12), Duration::from_secs(30));
        let measured = line(ProgressStage::Measured { elapsed, of }, &now, &before, 49_900.0);
        assert!(measured.starts_with("12s/30s  49.9k/s  p50 "), "{measured}");
        assert!(measured.ends_with("µs  conns 1  err 2"), "{measured}");
        let ramp = line(ProgressStage::Ramp { requested: 10 }, &now, &before, 0.0);
        assert_eq!(ramp, "ramp 0/10  err 1");
        let idle = line(ProgressStage::Warmup { elapsed, of }, &before, &before, 0.0);
        assert_eq!(idle, "warm-up 12s/30s  0/s  conns 0  err 0");
    }

    /// Goal: the live line never fills the width of its terminal.
    ///
    /// Method: a long line with and without its chart in terminals of many widths; a cut line keeps
    /// its beginning. `TERM=dumb` is recognised.
    ///
    /// Kills: a line that wraps, so that each drawing leaves a row behind; a chart in place of the
    /// figures; bytes counted as columns.
    #[test]
    fn the_line_fits_its_terminal() {
        let line = "12s/30s  49.9k/s  p50 74µs p99 310µs max 2.1ms  conns 10000  err 0";
        let chart = "▁".repeat(RATES_MAX);
        for columns in 0..120 {
            let shown = fit(line, &chart, columns);
            let len = shown.chars().count();
            assert!(len < columns.max(1), "{len} of {columns}");
            assert!(line.starts_with(&shown) || shown.ends_with(&chart), "{shown}");
        }
        assert_eq!(fit(line, &chart, 80), line);
        assert_eq!(fit(line, &chart, 100), format!("{line}  {chart}"));
        assert!(is_dumb(Some(OsStr::new("dumb"))) && !is_dumb(Some(OsStr::new("xterm"))));
        assert!(!is_dumb(None));
    }

    /// Goal: a sparkline is scaled to its highest rate, which may be zero.
    ///
    /// Method: rising rates; only zeros.
    ///
    /// Kills: dividing by zero; an index beyond the blocks.
    #[test]
    fn a_sparkline_scales_to_its_highest_rate() {
        assert_eq!(sparkline(&VecDeque::from([0.0, 50.0, 100.0])), "▁▅█");
        assert_eq!(sparkline(&VecDeque::from([0.0, 0.0])), "▁▁");
    }
}
