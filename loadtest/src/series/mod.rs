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
