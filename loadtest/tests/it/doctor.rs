//! `loadtest doctor`: its result must match a run.

use std::net::TcpListener;

use crate::common::{
    assert_exit, json, loadtest, loadtest_with_files, number_after, stderr, stdout, unused_url,
};
use crate::sandbox::without_io_uring;

/// Goal: on a healthy machine the checkup reports that a run is possible, with the same driver as a
/// run.
///
/// Method: checkup as text and as JSON, and a short run with the same arguments.
///
/// Kills: a driver with other settings than a worker's; a difference between text and JSON.
#[test]
fn the_checkup_matches_a_run() {
    let output = loadtest(&["doctor", "-c", "20", "--format", "json"]);
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "");
    let checkup = json(&output);
    let run = loadtest(&["-c", "20", "-d", "100ms", "--drain", "60s", "--format", "json"]);
    assert_exit(&run, 0);
    let run = json(&run);
    assert_eq!(checkup["driver"]["used"], run["generator"]["drivers"][0]);
    assert_eq!(checkup["limits"]["files_needed"], run["env"]["limits"]["files_needed"]);
    assert_eq!(checkup["machine"]["kernel"], run["env"]["kernel"]);
    assert_eq!(checkup["problems"].as_array().map(Vec::len), Some(0), "{checkup}");
    assert_eq!(checkup["exit_code"], 0);
    // A server was started and killed. Null means that its port was not free within a second.
    let killed = &checkup["killed_server"];
    assert_eq!(killed["error"], serde_json::Value::Null, "{killed}");
    assert!(killed["port_held_ms"].as_f64().is_none_or(|ms| ms > 0.0), "{killed}");

    let text = loadtest(&["doctor", "-c", "20"]);
    assert_exit(&text, 0);
    let text = stdout(&text);
    let used = &checkup["driver"]["used"];
    let (kind, reason) = (used["kind"].as_str().unwrap(), used["reason"].as_str().unwrap());
    let line = format!("   doctor   driver {kind}, because {reason}\n");
    assert!(text.contains(&line), "no '{line}' in:\n{text}");
    for label in ["seccomp  ", "time namespace  ", "fork  ", "killed server   its port is "] {
        assert!(text.contains(&format!("             {label}")), "no '{label}' in:\n{text}");
    }
    for candidate in checkup["driver"]["candidates"].as_array().unwrap() {
        for step in candidate["steps"].as_array().unwrap() {
            let (outcome, name) =
                (step["outcome"].as_str().unwrap(), step["name"].as_str().unwrap());
            assert!(text.contains(&format!("{outcome:<9}{name}")), "no {name} in:\n{text}");
        }
    }
    assert!(text.ends_with("a run with 20 connections is possible\n"), "{text}");
}

/// Goal: limits that are too low are reported with the text of a refused run, and the offered
/// number of connections fits.
///
/// Method: a run and a checkup under a limit of 64 files, for too many connections, and for the
/// offered number.
///
/// Kills: a different calculation; an exit code other than 4; the raised limit as the soft one.
#[test]
fn too_few_files_are_a_problem() {
    let refused = loadtest_with_files(64, &["-c", "100"]);
    let line = stderr(&refused).trim_end().strip_prefix("loadtest: ").unwrap().to_owned();
    let output = loadtest_with_files(64, &["doctor", "-c", "100", "--format", "json"]);
    assert_exit(&output, 4);
    let checkup = json(&output);
    assert_eq!(checkup["problems"], serde_json::json!([line]));
    assert_eq!((&checkup["exit_code"], &checkup["limits"]["files_hard"]), (&4.into(), &64.into()));

    let text = loadtest_with_files(64, &["doctor", "-c", "100"]);
    assert_exit(&text, 4);
    assert!(stdout(&text).contains(&format!("\nProblem      {line}\n")), "{}", stdout(&text));
    assert!(stdout(&text).ends_with("is not possible (exit 4)\n"), "{}", stdout(&text));

    let fit = number_after(&line, "or -c ").to_string();
    assert_exit(&loadtest_with_files(64, &["doctor", "-c", &fit, "--format", "quiet"]), 0);
}

/// Goal: if io_uring is refused, the table has the step, the error and the advice. A run is
/// possible unless io_uring is demanded.
///
/// Method: a filter, with either choice of driver.
///
/// Kills: exchanged exit codes; a missing cause.
#[test]
fn a_refused_io_uring_is_explained() {
    if std::env::var_os("RINGLOOP_DRIVER").is_some() {
        println!("SKIP: RINGLOOP_DRIVER leaves no choice");
        return;
    }
    let (auto, strict) = without_io_uring(|| {
        let strict = ["doctor", "-c", "20", "--driver", "uring"];
        (loadtest(&["doctor", "-c", "20"]), loadtest(&strict))
    });
    assert_exit(&auto, 0);
    let text = stdout(&auto);
    for part in [
        "doctor   driver epoll, because io_uring: io_uring_setup failed: Operation not permitted",
        "\nio_uring     cannot be used\n             works    eventfd\n",
        "\n             failed   io_uring_",
        "\nepoll        works\n",
        "seccomp         filter (",
        "\nAdvice       io_uring is switched off here",
        "a run with 20 connections is possible",
    ] {
        assert!(text.contains(part), "no '{part}' in:\n{text}");
    }
    assert_exit(&strict, 1);
    let text = stdout(&strict);
    assert!(text.contains("\nProblem      io_uring: io_uring_setup failed"), "{text}");
    assert!(!text.contains("Advice       io_uring is switched"), "advice twice:\n{text}");
}

/// Goal: a target with a listener has a connect time, one without is exit code 3.
///
/// Method: a listener, then none.
///
/// Kills: a target that is not tried; success for a refused connect.
#[test]
fn the_doctor_connects_to_the_target() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let output = loadtest(&["doctor", "--format", "json", &url]);
    assert_exit(&output, 0);
    let checkup = json(&output);
    assert!(checkup["target"]["connect_us"].as_f64().is_some_and(|us| us > 0.0), "{checkup}");
    assert_eq!(checkup["connections"], 50, "the default with a URL");
    assert!(listener.accept().is_ok(), "the doctor has connected");

    let url = unused_url();
    let output = loadtest(&["doctor", &url]);
    assert_exit(&output, 3);
    assert!(stdout(&output).contains(&format!("Problem      no answer from {url}")));
}
