//! SIGINT and SIGTERM, on a thread of their own.
//!
//! The first one asks, the second one ends the process at once: a program that does not react to its
//! own Ctrl-C must not need a `kill -9`.

use std::time::{Duration, Instant};
use std::{io, process, thread};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::base::exit::{Error, Exit};

/// Signals so close together are one request: `timeout(1)` signals its child and then the group that
/// both are in, so the child gets each signal twice.
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
                SignalKind::Asks => on_first(signal),
                SignalKind::Repeats => {}
                SignalKind::Insists => {
                    clean_up();
                    process::exit(exit_of(signal).code().into());
                }
            }
        }
    };
    thread::Builder::new().name("signals".to_owned()).spawn(watcher).map_err(failed)?;
    Ok(())
}

/// The exit code that says which signal ended a run.
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
    Asks,
    Repeats,
    Insists,
}

impl Requests {
    fn arrived(&mut self, at: Instant) -> SignalKind {
        match self.first_at {
            None => {
                self.first_at = Some(at);
                SignalKind::Asks
            }
            Some(first_at) if at.duration_since(first_at) < SAME_REQUEST => SignalKind::Repeats,
            Some(_) => SignalKind::Insists,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a doubled signal is one request, a later one insists.
    ///
    /// Method: signals at three moments.
    ///
    /// Kills: aborting under `timeout -s INT`; a grace period that starts anew with each signal and
    /// never lets anyone insist.
    #[test]
    fn a_doubled_signal_is_one_request() {
        let mut requests = Requests::default();
        let first_at = Instant::now();
        assert_eq!(requests.arrived(first_at), SignalKind::Asks);
        assert_eq!(requests.arrived(first_at + SAME_REQUEST / 2), SignalKind::Repeats);
        assert_eq!(requests.arrived(first_at + SAME_REQUEST), SignalKind::Insists);
    }
}
