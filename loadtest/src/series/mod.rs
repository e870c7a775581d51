//! Several runs that answer one question: is it always so (`--reps`), which server is faster (`ab`),
//! how much can it take (`--find-max`)?
//!
//! Each run is this program again, as a child process with the same options: no run inherits sockets,
//! memory or threads from the one before, and its report is the one it would have had alone.

pub(crate) mod ab;
pub(crate) mod find_max;
pub(crate) mod reps;
pub(crate) mod server;

use std::ffi::OsString;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};
use std::time::Duration;

use clap::Args;

use crate::analysis::compare::regression::RegressionLimit;
use crate::base::exit::{Error, Exit};
use crate::base::units;
use crate::host::{signals, sys};
use crate::plan::gate::Gate;
use crate::plan::load::Rate;
use crate::report::json;
use crate::report::model::Report;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Several runs")]
pub(crate) struct SeriesArgs {
    /// Run so many times; the report is of the run in the middle, with confidence intervals from all
    #[arg(long, value_name = "N", default_value = "1", value_parser = units::count)]
    pub(crate) reps: u32,
    /// Compare with this report of an earlier run
    #[arg(long, value_name = "RUN.json")]
    pub(crate) baseline: Option<PathBuf>,
    /// What may be worse than the baseline by how much, or exit 99: p99=10%,rate=5%
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = RegressionLimit::parse)]
    #[arg(requires = "baseline")]
    pub(crate) max_regression: Vec<RegressionLimit>,
    /// Look for the highest rate that meets --slo
    #[arg(long, requires = "slo")]
    pub(crate) find_max: bool,
    /// What the rate has to fulfil, as a --threshold
    #[arg(long, value_name = "EXPR", value_parser = Gate::parse, requires = "find_max")]
    pub(crate) slo: Option<Gate>,
    /// Where to look
    #[arg(long, value_name = "A:B", default_value = "1k:1m")]
    pub(crate) find_range: Rate,
    /// How long each rate is tried
    #[arg(long, value_name = "T", default_value = "5s", value_parser = units::span)]
    pub(crate) find_step: Duration,
    /// One run of several: its report goes to stdout as JSON, and nowhere else.
    #[arg(long, hide = true)]
    pub(crate) as_part: bool,
}

impl SeriesArgs {
    pub(crate) fn check(&self, has_schedule: bool) -> Result<(), Error> {
        let usage = |line: &str| Err(Error::new(Exit::Usage, line));
        // A part has the options of the whole, and is told its rate besides.
        if self.as_part || !self.find_max {
            return Ok(());
        }
        match self.find_range {
            _ if has_schedule => {
                usage("--find-max tries rates of its own: leave out --rate and --stages")
            }
            _ if self.reps > 1 => usage("--find-max cannot be combined with --reps"),
            Rate::Ramp(from, to) if from > 0.0 && from < to => Ok(()),
            _ => usage("--find-range goes from a rate to a higher one, as in 1k:100k"),
        }
    }
}

/// Starts runs and reads their reports.
#[derive(Debug)]
pub(crate) struct Runner {
    options: Vec<OsString>,
    /// The signal that somebody sent, or 0.
    signal: Arc<AtomicI32>,
    /// The process id of the run that takes place, or 0.
    running: Arc<AtomicU32>,
    /// The process group of the server that is tested, or 0.
    server: Arc<AtomicU32>,
}

impl Runner {
    /// `options` are those of a run, without the program's name.
    pub(crate) fn new(options: Vec<OsString>) -> Result<Runner, Error> {
        let signal = Arc::new(AtomicI32::new(0));
        let [running, server] = [0; 2].map(|none| Arc::new(AtomicU32::new(none)));
        let (asked, child) = (Arc::clone(&signal), Arc::clone(&running));
        let left_behind = (Arc::clone(&running), Arc::clone(&server));
        // A terminal tells the whole group, `kill` only us. The run takes both for one request.
        //
        // SeqCst, here and in `once`: either the run sees the signal or the signal finds the run.
        let on_first = move |number| {
            asked.store(number, Ordering::SeqCst);
            sys::signal(child.load(Ordering::SeqCst), number);
        };
        // Nobody else would end them: this process does not get to its destructors.
        let clean_up = move || {
            let (running, server) = &left_behind;
            sys::signal(running.load(Ordering::SeqCst), libc::SIGKILL);
            sys::signal_group(server.load(Ordering::SeqCst), libc::SIGKILL);
        };
        signals::watch_and_clean_up(on_first, clean_up)?;
        Ok(Runner { options, signal, running, server })
    }

    /// One run with `more` options, to its end.
    pub(crate) fn once(&self, more: &[String]) -> Result<Report, Error> {
        let failed = |what: &str, error: std::io::Error| {
            Error::could_not_run(format!("cannot {what} a run: {error}"))
        };
        let program =
            std::env::current_exe().map_err(|error| failed("find the program for", error))?;
        let mut child = Command::new(program)
            .arg("--as-part")
            .args(more)
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed("start", error))?;
        self.running.store(child.id(), Ordering::SeqCst);
        if let Some(signal) = self.interrupted() {
            sys::signal(child.id(), signal);
        }
        let mut text = String::new();
        let read = child.stdout.take().expect("it is piped").read_to_string(&mut text);
        // From here on the id may be somebody else's.
        self.running.store(0, Ordering::SeqCst);
        let status = child.wait().map_err(|error| failed("wait for", error))?;
        read.map_err(|error| failed("read the report of", error))?;
        if text.is_empty() {
            // A signal may come before it listens to any.
            if let Some(signal) = self.interrupted() {
                return Err(Error::new(signals::exit_of(signal), "interrupted"));
            }
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Err(match code.and_then(Exit::of_code) {
                Some(Exit::Ok) | None => {
                    Error::could_not_run(format!("a run ended without a report ({status})"))
                }
                // It has said why on stderr, which is ours.
                Some(exit) => Error::new(exit, ""),
            });
        }
        json::parse(&text)
            .map_err(|why| Error::could_not_run(format!("internal error: what a run wrote {why}")))
    }

    pub(crate) fn interrupted(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }
}

/// The options of this process, for its parts.
fn own_options() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
}

/// The command of the whole, for the report.
fn own_command() -> Vec<String> {
    std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect()
}
