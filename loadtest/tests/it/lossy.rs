//! Both accounts of one run: what `serve lossy` says it did, and what the tester says it saw.
//!
//! Every run ends by its number of messages, so no duration decides how many there are.

use serde_json::Value;

use crate::common::{assert_exit, json, loadtest};
use crate::serve::{DRIVERS, Target};

/// The target's counters and the report of a run against it, from which nothing has vanished.
#[track_caller]
fn both_accounts(target: &[&str], tester: &[&str]) -> (Value, Value) {
    let target = Target::start(&[&["lossy"], target].concat());
    let url = format!("tcp://{}", target.addr);
    let common = ["--warmup", "0", "--reconnect", "always", "--verify", "--format", "json", &url];
    let output = loadtest(&[&common[..], tester].concat());
    let counters = target.stop();
    assert_exit(&output, 0);
    let report = json(&output);
    assert_eq!(report["internal_errors"], Value::Array(Vec::new()));
    let load = &report["load"];
    let fates = [&load["completed"], &load["errors"]["total"], &load["timed_out"]];
    let fates: u64 = fates.into_iter().map(count).sum();
    assert_eq!(load["in_flight"], 0, "the last message was waited for: {load}");
    assert_eq!(load["scheduled"], fates, "{load}");
    assert_eq!(counters["messages"], fates, "{counters} and {load}");
    (counters, report)
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a count"))
}

/// What did not get its reply, by class; those that are zero are left out.
fn lost_messages(report: &Value) -> Vec<(String, u64)> {
    let load = &report["load"];
    let errors = load["errors"].as_object().unwrap();
    let classes = errors.iter().filter(|(class, _)| *class != "total");
    let classes = classes.map(|(class, number)| (class.clone(), count(number)));
    let timed_out = ("timed_out".to_owned(), count(&load["timed_out"]));
    classes.chain([timed_out]).filter(|(_, number)| *number > 0).collect()
}

/// Goal: each kind of fault is counted as what it is, as often as the target did it, and as nothing
/// else.
///
/// Method: one kind at a time, at every fifth message of a connection, on both drivers. A held-back
/// reply needs a message that does not wait for it, and spoils two; as one connection ends with its
/// sixth message then, it has nobody beside it who could take the last of the messages.
///
/// Kills: a class that takes another's errors; a failure counted for a message that had its reply, or
/// twice; a fault that is not noticed; a connection that does not come back.
#[test]
fn each_fault_is_counted_by_both() {
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
            let (counters, report) = both_accounts(&["--fault", &rule], &arguments);
            let struck = count(&counters["faults"][fault]);
            assert_eq!(counters["faults"], serde_json::json!({ fault: struck }), "{driver}");
            let wanted = [(class.to_owned(), struck * messages_each)];
            assert_eq!(lost_messages(&report), wanted, "{fault} {driver}: {}", report["failures"]);
            // Each connection ends with its fifth or sixth message, and only the last ones end before.
            assert!(struck >= 20, "{fault} {driver}: {counters}");
        }
    }
}

/// Goal: a reply that never comes is a timeout, once for each time that the target dropped one.
///
/// Method: ten connections whose fifth message is dropped, twice. The patience is long enough for a
/// reply that is merely late.
///
/// Kills: a timeout that is an error too; one for each message of the connection; a connection that
/// is not given up with its message.
#[test]
fn dropped_replies_are_timeouts() {
    let arguments = ["-c", "10", "-n", "100", "--timeout", "2s"];
    let (counters, report) = both_accounts(&["--fault", "drop:5"], &arguments);
    assert_eq!(counters["faults"], serde_json::json!({ "drop": 20 }));
    assert_eq!(lost_messages(&report), [("timed_out".to_owned(), 20)]);
    assert_eq!(report["load"]["completed"], 80);
    assert_eq!(report["connections"]["lost"], 20);
}

/// Goal: faults of many kinds at once are told apart.
///
/// Method: six kinds at places that differ from connection to connection, two workers and two
/// threads of the target.
///
/// Kills: a failure that is put down to the connection's next; counters of one thread or one worker
/// in place of all.
#[test]
fn many_faults_are_told_apart() {
    let rules = "reset:17,short:19,half-close:23,corrupt:29,extra:31,cross-talk:13";
    let target = ["--fault", rules, "--seed", "7", "--threads", "2"];
    let (counters, report) = both_accounts(&target, &["-c", "8", "-t", "2", "-n", "2k"]);
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
