//! Compares the counters of `serve lossy` with the report of a run against it.
//!
//! Every run ends by its number of messages, so this number depends on no duration.

use serde_json::Value;

use crate::common::{assert_exit, json, loadtest};
use crate::serve::{DRIVERS, Target};

/// Runs against a lossy target. Returns the target's counters and the report, and checks that every
/// message has an outcome.
#[track_caller]
fn counters_and_report(target: &[&str], tester: &[&str]) -> (Value, Value) {
    let target = Target::start(&[&["lossy"], target].concat());
    let url = format!("tcp://{}", target.addr);
    let common = ["--warmup", "0", "--reconnect", "always", "--verify", "--format", "json", &url];
    let output = loadtest(&[&common[..], tester].concat());
    let counters = target.stop();
    assert_exit(&output, 0);
    let report = json(&output);
    assert_eq!(report["internal_errors"], Value::Array(Vec::new()));
    let load = &report["load"];
    let outcomes = [&load["completed"], &load["errors"]["total"], &load["timed_out"]];
    let outcomes: u64 = outcomes.into_iter().map(count).sum();
    assert_eq!(load["in_flight"], 0, "the run waits for the last reply: {load}");
    assert_eq!(load["scheduled"], outcomes, "{load}");
    assert_eq!(counters["messages"], outcomes, "{counters} and {load}");
    (counters, report)
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a count"))
}

/// The number of messages without their reply, by class, without the classes that are zero.
fn lost_messages(report: &Value) -> Vec<(String, u64)> {
    let load = &report["load"];
    let errors = load["errors"].as_object().unwrap();
    let classes = errors.iter().filter(|(class, _)| *class != "total");
    let classes = classes.map(|(class, number)| (class.clone(), count(number)));
    let timed_out = ("timed_out".to_owned(), count(&load["timed_out"]));
    classes.chain([timed_out]).filter(|(_, number)| *number > 0).collect()
}

/// Goal: each kind of fault is counted in its own class, as often as the target injected it, and in
/// no other class.
///
/// Method: one kind at a time, at every fifth message of a connection, on both drivers. A delayed
/// reply needs pipelined messages and spoils two. As it ends a connection with its sixth message,
/// that run has one connection only, so that no other one takes the last message.
///
/// Kills: a class that takes another's errors; a failure counted for a message with a reply, or
/// twice; a fault that is not detected; a connection that is not reopened.
#[test]
fn each_fault_is_counted_by_both_ends() {
    for (fault, class, messages_each, arguments) in [
        ("reset", "reset", 1, &["-c", "4", "-n", "203"][..]),
        ("half-close", "eof", 1, &["-c", "4", "-n", "203"]),
        ("short", "short", 1, &["-c", "4", "-n", "203"]),
        ("corrupt", "mismatch", 1, &["-c", "4", "-n", "203"]),
        ("extra", "mismatch", 1, &["-c", "4", "-n", "203"]),
        ("cross-talk", "cross-talk", 1, &["-c", "4", "-n", "203"]),
        ("reorder", "order", 2, &["-c", "1", "-p", "2", "-n", "120"]),
    ] {
        for driver in DRIVERS {
            let rule = format!("{fault}:5");
            let arguments = [arguments, &["--driver", driver]].concat();
            let (counters, report) = counters_and_report(&["--fault", &rule], &arguments);
            let injected = count(&counters["faults"][fault]);
            assert_eq!(counters["faults"], serde_json::json!({ fault: injected }), "{driver}");
            let wanted = [(class.to_owned(), injected * messages_each)];
            assert_eq!(lost_messages(&report), wanted, "{fault} {driver}: {}", report["failures"]);
            // Each connection but the last ones ends with its fifth or sixth message.
            assert!(injected >= 20, "{fault} {driver}: {counters}");
        }
    }
}

/// Goal: each dropped reply is one timeout.
///
/// Method: ten connections whose fifth message is dropped, twice. The timeout is long enough for a
/// slow reply.
///
/// Kills: a timeout that is also an error; a timeout for each message of the connection; a
/// connection that is kept after its timeout.
#[test]
fn dropped_replies_are_timeouts() {
    let arguments = ["-c", "10", "-n", "100", "--timeout", "2s"];
    let (counters, report) = counters_and_report(&["--fault", "drop:5"], &arguments);
    assert_eq!(counters["faults"], serde_json::json!({ "drop": 20 }));
    assert_eq!(lost_messages(&report), [("timed_out".to_owned(), 20)]);
    assert_eq!(report["load"]["completed"], 80);
    assert_eq!(report["connections"]["lost"], 20);
}

/// Goal: faults of many kinds in one run are counted in their classes.
///
/// Method: six kinds at positions that differ between connections, two workers and two threads of
/// the target.
///
/// Kills: a failure counted for the next connection; counters of one thread or one worker only.
#[test]
fn many_faults_have_their_own_classes() {
    let rules = "reset:17,short:19,half-close:23,corrupt:29,extra:31,cross-talk:13";
    let target = ["--fault", rules, "--seed", "7", "--threads", "2"];
    let (counters, report) = counters_and_report(&target, &["-c", "8", "-t", "2", "-n", "2k"]);
    let faults = &counters["faults"];
    let wanted = [
        ("cross-talk", count(&faults["cross-talk"])),
        ("eof", count(&faults["half-close"])),
        ("mismatch", count(&faults["corrupt"]) + count(&faults["extra"])),
        ("reset", count(&faults["reset"])),
        ("short", count(&faults["short"])),
    ];
    let wanted = wanted.map(|(class, number)| (class.to_owned(), number));
    assert_eq!(lost_messages(&report), wanted, "{counters}");
}
