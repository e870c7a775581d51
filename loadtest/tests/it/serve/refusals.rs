//! Servers that cannot start: one line with the reason, and the exit code.

use std::net::TcpListener;

use super::Target;
use crate::common::{assert_exit, loadtest, stderr, stdout};

/// Goal: a port that is in use is refused, also if the threads of the server would share it.
///
/// Method: a port of a plain listener and one of a server with two threads; a server with one and
/// with two threads on each.
///
/// Kills: two servers that share a port and its connections; a panic; exit code 0.
#[test]
fn a_port_in_use_is_refused() {
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

/// Goal: invalid arguments are exit code 2 and one line that names the argument.
///
/// Method: a table.
///
/// Kills: the help in place of an error; silently ignoring an option of another kind of server.
#[test]
fn bad_arguments_name_the_option() {
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
        (&["serve", "lossy", "--fault", "lose:3"], "use one of drop, reset, half-close"),
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
