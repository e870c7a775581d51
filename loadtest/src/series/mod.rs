//! Series of runs: repetitions (`--reps`), two servers (`ab`) and the search for the highest rate
//! (`--find-max`).
//!
//! Each run is this program as a child process with the same options. So no run inherits sockets,
//! memory or threads from the previous one, and its report is that of a single run.

pub(crate) mod ab;
pub(crate) mod find_max;
pub(crate) mod reps;
pub(crate) mod server;

use std::ffi::OsString;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

use crate::base::exit::{Error, Exit};
use crate::host::{signals, sys};
use crate::report::json;
use crate::report::model::Report;

/// Starts runs and reads their reports.
#[derive(Debug)]
pub(crate) struct Runner {
    options: Vec<OsString>,
    /// The received signal, or 0.
    signal: Arc<AtomicI32>,
    /// The process id of the current run, or 0.
    running: Arc<AtomicU32>,
    /// The process group of the server under test, or 0.
    server: Arc<AtomicU32>,
}

impl Runner {
    /// `options` are those of a run, without the program's name.
    pub(crate) fn new(options: Vec<OsString>) -> Result<Runner, Error> {
        let signal = Arc::new(AtomicI32::new(0));
        let [running, server] = [0; 2].map(|none| Arc::new(AtomicU32::new(none)));
        let (received, child) = (Arc::clone(&signal), Arc::clone(&running));
        let left_behind = (Arc::clone(&running), Arc::clone(&server));
        // A terminal signals the whole process group, `kill` only this process. The run treats both
        // signals as one request.
        //
        // SeqCst, here and in `once`: either `once` sees the signal, or this closure sees the run.
        let on_first = move |number| {
            received.store(number, Ordering::SeqCst);
            sys::signal(child.load(Ordering::SeqCst), number);
        };
        // This process exits without its destructors, so the children are killed here.
        let clean_up = move || {
            let (running, server) = &left_behind;
            sys::signal(running.load(Ordering::SeqCst), libc::SIGKILL);
            sys::signal_group(server.load(Ordering::SeqCst), libc::SIGKILL);
        };
        signals::watch_and_clean_up(on_first, clean_up)?;
        Ok(Runner { options, signal, running, server })
    }

    /// Runs once with `more` options and returns the report.
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
        // After `wait` another process may get the id.
        self.running.store(0, Ordering::SeqCst);
        let status = child.wait().map_err(|error| failed("wait for", error))?;
        read.map_err(|error| failed("read the report of", error))?;
        if text.is_empty() {
            // The signal may arrive before the child handles signals.
            if let Some(signal) = self.interrupted() {
                return Err(Error::new(signals::exit_of(signal), "interrupted"));
            }
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            return Err(match code.and_then(Exit::of_code) {
                Some(Exit::Ok) | None => {
                    Error::could_not_run(format!("a run ended without a report ({status})"))
                }
                // The child has printed the reason on the shared stderr.
                Some(exit) => Error::new(exit, ""),
            });
        }
        json::parse(&text).map_err(|why| {
            Error::could_not_run(format!("internal error: the report of a run {why}"))
        })
    }

    pub(crate) fn interrupted(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }
}

/// The options of this process, for its child processes.
fn own_options() -> Vec<OsString> {
    std::env::args_os().skip(1).collect()
}

/// The command of the series, for the report.
fn own_command() -> Vec<String> {
    std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect()
}
