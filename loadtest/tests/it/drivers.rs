//! The driver of a run, and the reason in its report.

use crate::common::{assert_exit, json, loadtest, stderr, stdout};
use crate::sandbox::without_io_uring;

const SHORT: [&str; 6] = ["-d", "1s", "--warmup", "100ms", "--drain", "60s"];

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

fn is_driver_given() -> bool {
    let is_given = std::env::var_os("RINGLOOP_DRIVER").is_some();
    if is_given {
        println!("SKIP: RINGLOOP_DRIVER leaves no choice");
    }
    is_given
}

/// Goal: if io_uring is refused, a run works on epoll. Its first line and the JSON have the driver
/// and the reason, for generator and server.
///
/// Method: 200 connections in a process tree with a filter, as text and as JSON.
///
/// Kills: a run that fails or loses a connection; a fallback that is reported on stderr only;
/// advice in the headline, or nowhere.
#[test]
fn a_run_works_where_io_uring_is_refused() {
    if is_driver_given() {
        return;
    }
    let reason = "io_uring: io_uring_setup failed: Operation not permitted (os error 1)";
    let run = |format: &'static str| {
        without_io_uring(move || {
            loadtest(&[&SHORT[..], &["-c", "200", "--format", format]].concat())
        })
    };
    let output = run("text");
    assert_exit(&output, 0);
    let text = stdout(&output);
    let wanted = format!("   tcp echo   driver epoll, because {reason}");
    assert!(first_line(text).ends_with(&wanted), "{text}");
    for part in ["served 200/200", "lost 0", "errors 0 | timed out 0", "Errors       none"] {
        assert!(text.contains(part), "no '{part}' in:\n{text}");
    }
    assert!(text.contains("\nNote         io_uring is switched off here"), "{text}");
    assert!(stderr(&output).contains(&format!("because {reason}")), "{}", stderr(&output));

    let output = run("json");
    assert_exit(&output, 0);
    let report = json(&output);
    assert_eq!(report["connections"]["served"], 200);
    assert_eq!(report["load"]["errors"]["total"], 0);
    for driver in [&report["generator"]["drivers"][0], &report["server"]["driver"]] {
        assert_eq!(driver["kind"], "epoll", "{report}");
        assert_eq!(driver["reason"], reason, "{report}");
    }
    assert!(report["env"]["driver"].as_str().is_some_and(|text| text.contains(reason)));
}

/// Goal: generator and server use the driver of the option, and the first line names the option as
/// the reason.
///
/// Method: each driver by option.
///
/// Kills: a server with its own choice; a lost option.
#[test]
fn the_driver_option_applies_to_both_ends() {
    for (option, kind) in [("uring", "io_uring"), ("epoll", "epoll")] {
        let arguments = [&SHORT[..], &["-c", "5", "--driver", option]].concat();
        let output = loadtest(&[&arguments[..], &["--json", "-"]].concat());
        assert_exit(&output, 0);
        let report = json(&output);
        for driver in [&report["generator"]["drivers"][0], &report["server"]["driver"]] {
            assert_eq!(driver["kind"], kind, "{report}");
        }
        let line = first_line(stderr(&output));
        assert!(line.ends_with(&format!("driver {kind}, because --driver {option}")), "{line}");
    }
}
