//! Signals that end the process, and those that must not.

use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{Command, ExitStatus, Stdio};

use ringloop::signal::{SignalKind, shutdown, signal};

use super::{SIGINT, SIGTERM, SIGUSR1, USR1, USR2};
use crate::common::{poll_once, turns, until};
use crate::raising::{is_handled, raise, restore_defaults};
use crate::suite::Driver;

/// The environment variable that has a body do its part in a process of its own.
const CELL: &str = "RINGLOOP_SIGNAL_CELL";

/// Runs `cell` with `argument` in a process of its own: this body, started again. Returns how that
/// process ended. In that process it does not return.
pub(super) fn in_a_process(
    on: Driver,
    body: &str,
    argument: &str,
    cell: impl AsyncFnOnce(String),
) -> ExitStatus {
    if let Ok(argument) = std::env::var(CELL) {
        restore_defaults();
        on.run(cell(argument));
        std::process::exit(0);
    }
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command.args([&format!("{}::{body}", on.name()), "--exact", "--nocapture"]);
    command.env(CELL, argument).env("RINGLOOP_DRIVER", on.name());
    let output = command.stdin(Stdio::null()).output().expect("a process");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!text.contains("panicked"), "{text}");
    output.status
}

/// Goal: a signal that has come and that no listener has taken is sent again when the last listener
/// is dropped.
///
/// Method: in a process of its own, two listeners. One is dropped between the signal and the look
/// of the loop, and the other one receives it. The next signal comes, the loop looks, and the last
/// listener is dropped. In another process the last one is dropped before the loop has looked.
///
/// Kills: a signal that is dropped with the listener; one that is sent again while there is another
/// listener.
pub(super) fn untaken_signals_are_sent_again(on: Driver) {
    let body = "untaken_signals_are_sent_again";
    for looks in ["1", "0"] {
        let ended = in_a_process(on, body, looks, async |looks| {
            let (first, mut second) = (signal(USR1).unwrap(), signal(USR1).unwrap());
            raise(SIGUSR1);
            drop(first);
            second.recv().await.unwrap();
            drop(signal(USR2).unwrap());
            raise(SIGUSR1);
            if looks == "1" {
                turns(2).await;
            }
            drop(second);
            unreachable!("the signal ends the process");
        });
        assert_eq!(ended.signal(), Some(SIGUSR1), "{looks}: {ended}");
    }
}

/// Goal: the first SIGINT or SIGTERM is received, and the second ends the process.
///
/// Method: in a process of its own: SIGTERM, which is received; the dispositions are those of
/// before; then SIGINT.
///
/// Kills: a shutdown that listens on; one that restores one of the two.
pub(super) fn the_first_signal_is_graceful_and_the_second_is_hard(on: Driver) {
    let body = "the_first_signal_is_graceful_and_the_second_is_hard";
    let ended = in_a_process(on, body, "", async |_| {
        let mut request = shutdown().unwrap();
        assert!(poll_once(pin!(request.recv())).await.is_pending());
        raise(SIGTERM);
        // Before any task runs: also if none takes the signal.
        until(|| !is_handled(SIGTERM)).await;
        assert!(!is_handled(SIGINT));
        assert_eq!(request.recv().await.unwrap(), SignalKind::terminate());
        raise(SIGINT);
        unreachable!("the signal ends the process");
    });
    assert_eq!(ended.signal(), Some(SIGINT), "{ended}");
}

/// Goal: the second signal ends a process whose loop is blocked and has not seen the first.
///
/// Method: in a process of its own, two signals without a turn. One alone is received.
///
/// Kills: a second signal that only sets the bit again; a first one that ends the process.
pub(super) fn the_second_signal_ends_a_blocked_loop(on: Driver) {
    let body = "the_second_signal_ends_a_blocked_loop";
    let ended = in_a_process(on, body, "", async |_| {
        let mut request = shutdown().unwrap();
        raise(SIGINT);
        assert_eq!(request.recv().await.unwrap(), SignalKind::interrupt());
        let _request = shutdown().unwrap();
        raise(SIGINT);
        raise(SIGTERM);
        unreachable!("the signal ends the process");
    });
    assert_eq!(ended.signal(), Some(SIGTERM), "{ended}");
}

/// Goal: a program that calls `recv` again awaits further signals, and is not ended by them.
///
/// Method: three signals, each received by a call that begins before it comes.
///
/// Kills: a second call that does not listen.
pub(super) fn further_signals_can_be_awaited(on: Driver) {
    on.run(async {
        let mut request = shutdown().unwrap();
        for number in [SIGINT, SIGTERM, SIGINT] {
            let mut receive = pin!(request.recv());
            assert!(poll_once(receive.as_mut()).await.is_pending());
            raise(number);
            assert_eq!(receive.await.unwrap().as_raw(), number);
        }
        assert!(!is_handled(SIGINT));
    });
}
