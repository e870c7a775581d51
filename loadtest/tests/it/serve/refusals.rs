//! A server that cannot start says why, in one line, with the exit code that fits.

use std::net::TcpListener;

use super::Target;
use crate::common::{assert_exit, loadtest, stderr, stdout};

/// Goal: a port that is taken is refused, also for a server whose own threads share their port.
///
/// Method: a port taken by a plain listener, and one taken by a server of two threads; a server of
/// one and of two threads on each.
///
/// Kills: two servers that share a port and split the connections between them; a panic; exit
/// code 0.
#[test]
fn a_taken_port() {
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let shared = Target::start(&["echo", "--threads", "2"]);
    for addr in [plain.local_addr().unwrap(), shared.addr] {
        for threads in ["1", "2"] {
            let addr = addr.to_string();
            let output = loadtest(&["serve", "echo", "--listen", &addr, "--threads", threads]);
            assert_exit(&output, 1);
            let line = format!("loadtest: cannot listen on {addr}: Address already in use");
            assert!(stderr(&output).starts_with(&line), "{}", stderr(&output));
            assert_eq!(stderr(&output).lines().count(), 1);
            assert_eq!(stdout(&output), "", "an address that was not bound is announced");
        }
    }
}

/// Goal: arguments that make no sense are exit code 2 and one line that names the culprit.
///
/// Method: a table.
///
/// Kills: the help in place of an error; an option of another kind that is silently ignored.
#[test]
fn bad_arguments() {
    for (arguments, wanted) in [
        (&["serve"][..], "requires a subcommand"),
        (&["serve", "nonsense"], "nonsense"),
        (&["serve", "echo", "--listen", "here"], "--listen"),
        (&["serve", "echo", "--threads", "0"], "--threads"),
        (&["serve", "echo", "--threads", "2k"], "at most 1024"),
        (&["serve", "sink", "--size", "0"], "--size"),
        (&["serve", "echo", "--wat"], "--wat"),
        (&["serve", "echo", "--stall-for", "1s"], "--stall-for"),
        (&["serve", "stall", "--stall-for", "5s"], "shorter than --stall-every"),
        (&["serve", "stall", "--stall-every", "0"], "more than 0"),
        (&["serve", "lossy"], "--fault"),
        (&["serve", "lossy", "--fault", "lose:3"], "only drop, reset, half-close"),
        (&["serve", "lossy", "--fault", "drop:0"], "at least 1"),
        (&["serve", "lossy", "--fault", "short:3", "--size", "1"], "--size 2"),
        (&["serve", "echo", "--listen", "unix:"], "the path is missing"),
        (&["serve", "echo", "--listen", "unix:/a", "--threads", "2"], "--threads"),
        (&["serve", "lossy", "--fault", "reset:3", "--listen", "unix:/a"], "--fault reset"),
    ] {
        let output = loadtest(arguments);
        assert_exit(&output, 2);
        let line = stderr(&output);
        assert!(line.starts_with("loadtest: ") && line.lines().count() == 1, "{line}");
        assert!(line.contains(wanted), "no '{wanted}' in: {line}");
        assert_eq!(stdout(&output), "");
    }
}
