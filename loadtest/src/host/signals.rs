//! SIGINT and SIGTERM, handled on a separate thread.
//!
//! The first signal requests the end of the run. The second one ends the process at once, so that a
//! run that does not react to the first never needs a `kill -9`.

use std::time::{Duration, Instant};
use std::{io, process, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::base::exit::{Error, Exit};

/// Signals within this time are one request: `timeout(1)` signals its child and then the process
/// group of both, so the child receives each signal twice.
const SAME_REQUEST: Duration = Duration::from_millis(250);

/// Calls `on_first` with the first signal's number.
pub(crate) fn watch(on_first: impl Fn(i32) + Send + 'static) -> Result<(), Error> {
    watch_and_clean_up(on_first, || ())
}

/// Calls `on_first` with the first signal's number, and `clean_up` before the second one ends the
/// process.
pub(crate) fn watch_and_clean_up(
    on_first: impl Fn(i32) + Send + 'static,
    clean_up: impl Fn() + Send + 'static,
) -> Result<(), Error> {
    let failed =
        |error: io::Error| Error::could_not_run(format!("cannot watch for signals: {error}"));
    let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(failed)?;
    let watcher = move || {
        let mut requests = Requests::default();
        for signal in signals.forever() {
            match requests.arrived(Instant::now()) {
                SignalKind::First => on_first(signal),
                SignalKind::Duplicate => {}
                SignalKind::Second => {
                    clean_up();
                    process::exit(exit_of(signal).code().into());
                }
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watcher).map_err(failed)?;
    Ok(())
}

/// The exit code of a run that this signal ended.
pub(crate) fn exit_of(signal: i32) -> Exit {
    if signal == SIGTERM { Exit::Terminated } else { Exit::Interrupted }
}

#[derive(Debug, Default)]
struct Requests {
    first_at: Option<Instant>,
}

#[must_use]
#[derive(Debug, PartialEq, Eq)]
enum SignalKind {
    First,
    Duplicate,
    Second,
}

impl Requests {
    fn arrived(&mut self, at: Instant) -> SignalKind {
        match self.first_at {
            None => {
                self.first_at = Some(at);
                SignalKind::First
            }
            Some(first_at) if at.duration_since(first_at) < SAME_REQUEST => SignalKind::Duplicate,
            Some(_) => SignalKind::Second,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a doubled signal is one request, and a later one ends the process.
    ///
    /// Method: signals at three moments.
    ///
    /// Kills: aborting under `timeout -s INT`; a grace period that starts anew with each signal, so
    /// that no signal ends the process.
    #[test]
    fn a_doubled_signal_is_one_request() {
        let mut requests = Requests::default();
        let first_at = Instant::now();
        assert_eq!(requests.arrived(first_at), SignalKind::First);
        assert_eq!(requests.arrived(first_at + SAME_REQUEST / 2), SignalKind::Duplicate);
        assert_eq!(requests.arrived(first_at + SAME_REQUEST), SignalKind::Second);
    }
}
