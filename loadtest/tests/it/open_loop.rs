//! Open loops: the schedule, the messages sent, and the response times of late replies.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{assert_exit, json, loadtest, number_after, stdout};
use crate::serve::Target;
use crate::targets::{Counter, SIZE, hold, read_message, target};

/// Runs to the end and checks the invariants of every run.
#[track_caller]
fn run(arguments: &[&str], exit: i32) -> Value {
    let output = loadtest(&[&["--format", "json"][..], arguments].concat());
    assert_exit(&output, exit);
    let report = json(&output);
    assert_eq!(report["internal_errors"], Value::Array(Vec::new()));
    assert_adds_up(&report);
    report
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a count"))
}

/// Checks that every message has one outcome and one response time, and that the intervals add up
/// to the run.
#[track_caller]
fn assert_adds_up(report: &Value) {
    let load = &report["load"];
    let [completed, errors, timed_out, in_flight, never_sent] = [
        &load["completed"],
        &load["errors"]["total"],
        &load["timed_out"],
        &load["in_flight"],
        &load["never_sent"],
    ]
    .map(count);
    let sent = completed + errors + timed_out + in_flight;
    assert_eq!(count(&load["sent"]), sent, "{load}");
    assert_eq!(count(&load["scheduled"]), sent + never_sent, "{load}");
    let intervals = report["intervals"].as_array().unwrap();
    let sum = |field: &str| -> u64 {
        let inside = intervals.iter().filter(|interval| interval["phase"] != "warm-up");
        inside.map(|interval| count(&interval[field])).sum()
    };
    assert_eq!(sum("scheduled"), count(&load["scheduled"]));
    assert_eq!(sum("completed"), completed);
    assert_eq!(sum("errors"), errors);
    assert_eq!(sum("timed_out"), timed_out);
    let response = &report["latency_us"]["response"];
    if let Some(samples) = response["samples"].as_u64() {
        assert_eq!(samples, sent + never_sent - errors, "{response}");
        assert_eq!(count(&response["censored"]), timed_out + in_flight + never_sent);
    }
}

/// Goal: the number of scheduled messages follows from the rate alone, exactly, and the target
/// receives no other message.
///
/// Method: every kind of schedule over two workers, to a target that counts; a long drain, so that
/// every message is answered.
///
/// Kills: each worker sending at the full rate; a rate per connection; a message that is sent
/// twice, or counted and not sent; warm-up messages in the figures.
#[test]
fn the_schedule_follows_from_the_rate() {
    for (schedule, scheduled) in [
        (&["-R", "500", "-d", "1s"][..], 500),
        (&["-R", "500", "-d", "1s", "--dispatch", "per-conn"], 500),
        (&["-R", "0:1k", "-d", "1s"], 500),
        (&["--stages", "500ms:1k,500ms:0"], 500),
    ] {
        let counter = Counter::default();
        let received = counter.clone();
        let url = target(move |stream| counter.echo(stream, || ()));
        let common = ["-c", "6", "-t", "2", "--warmup", "200ms", "--drain", "60s", &url];
        let report = run(&[&common[..], schedule].concat(), 0);
        assert_eq!(report["load"]["scheduled"], scheduled, "{schedule:?}");
        let (sent, warmup) = (&report["load"]["sent"], &report["load"]["warmup_completed"]);
        assert_eq!(received.get(), count(sent) + count(warmup), "{schedule:?}");
        assert_eq!(report["load"]["completed"], report["load"]["sent"], "{schedule:?}");
        assert_eq!(report["config"]["mode"], "open loop");
        assert!(report["generator"]["send_lag_us"]["p99"].is_f64());
    }
}

/// Goal: random arrivals are determined by the seed.
///
/// Method: the number of messages in a window, twice with the same seed and once with another.
///
/// Kills: a seed that is not used; a schedule that differs between the main thread and the workers
/// (an internal error).
#[test]
fn random_arrivals_depend_on_the_seed() {
    let scheduled = |seed: &str| {
        let poisson = ["-R", "2k", "-d", "500ms", "--arrivals", "poisson", "--seed", seed];
        let report = run(&[&["-c", "4", "-t", "2", "--warmup", "0"], &poisson[..]].concat(), 0);
        assert_eq!(report["config"]["arrivals"], "poisson");
        count(&report["load"]["scheduled"])
    };
    let first = scheduled("1");
    assert_eq!(scheduled("1"), first);
    assert_ne!(scheduled("2"), first);
}

/// Goal: a stall of the target is in the response times of all messages that were due in it,
/// although only a few could be sent. The service times show only these few.
///
/// Method: the target stalls for S = 300 ms in every second; 1 000/s over 4 connections for three
/// seconds. At any phase, 0.9 s of the 3 s are stall, so 30 % of the messages are due in one and
/// wait, evenly spread, for up to S. So 22.5 % of them wait at least S/4 and 7.5 % at least 3/4 S.
/// A stall at the end of the window can reduce these figures by a third at most, to 15 % and 5 %.
/// Only 4 of 300 messages can be sent into a stall, so it does not affect the service times of
/// most.
///
/// Kills: measuring response times from the actual send; a message that is due only after the reply
/// to the last one; leaving out messages that were not sent.
#[test]
fn a_stall_delays_all_messages_due_in_it() {
    const PERIOD: Duration = Duration::from_secs(1);
    const STALL: Duration = Duration::from_millis(300);
    let begun = Instant::now();
    let counter = Counter::default();
    let received = counter.clone();
    let url = target(move |stream| {
        counter.echo(stream, || {
            let into_period = begun.elapsed().as_nanos() % PERIOD.as_nanos();
            let into_period = Duration::from_nanos(into_period as u64);
            // The fault that is tested, not a way to wait for something.
            std::thread::sleep(STALL.saturating_sub(into_period));
        });
    });
    let report = run(&["-c", "4", "-R", "1k", "-d", "3s", "--warmup", "0", &url], 0);
    assert_eq!(report["load"]["scheduled"], 3_000);
    let us = |column: &str, name: &str| {
        report["latency_us"][column]["percentiles"][name].as_f64().unwrap()
    };
    let stall_us = STALL.as_secs_f64() * 1e6;
    let latencies = &report["latency_us"];
    assert!(us("response", "p90") >= stall_us / 4.0, "{latencies:#}");
    assert!(us("response", "p99") >= stall_us * 3.0 / 4.0, "{latencies:#}");
    assert!(us("service", "p50") < stall_us / 10.0, "{latencies:#}");
    let (completed, in_flight) = (&report["load"]["completed"], &report["load"]["in_flight"]);
    assert_eq!(received.get(), count(completed) + count(in_flight));
}

/// Goal: with `any` a stuck connection holds up one message, with `per-conn` all of its own.
///
/// Method: the first of four connections is never answered. `any`: 400 messages, one of which is
/// not answered. `per-conn`: a window of 400 messages, 100 of which belong to the stuck connection.
///
/// Kills: assigning messages to a connection without room; `per-conn` that lets other connections
/// send them.
#[test]
fn a_stuck_connection_holds_up_its_own_messages() {
    let stuck_first = || {
        let accepted = Arc::new(AtomicU64::new(0));
        target(move |stream| match accepted.fetch_add(1, Ordering::SeqCst) {
            0 => hold(stream),
            _ => Counter::default().echo(stream, || ()),
        })
    };
    let common = ["-c", "4", "-R", "400", "--warmup", "0"];
    let url = stuck_first();
    let any = run(&[&common[..], &["-n", "400", "--timeout", "2s", &url]].concat(), 0);
    assert_eq!(any["load"]["scheduled"], 400);
    assert_eq!(any["load"]["completed"], 399);
    assert_eq!(any["load"]["timed_out"], 1);

    let url = stuck_first();
    let own = ["--dispatch", "per-conn", "-d", "1s", "--drain", "0", "--timeout", "60s", &url];
    let per_conn = run(&[&common[..], &own].concat(), 0);
    assert_eq!(per_conn["load"]["scheduled"], 400);
    assert!(count(&per_conn["load"]["never_sent"]) >= 99, "{}", per_conn["load"]);
    assert!(count(&per_conn["load"]["in_flight"]) >= 1);
    assert_eq!(per_conn["connections"]["per_conn"]["min"], 0);
}

/// Goal: messages to a silent target are timed out or never sent, and both have response times.
///
/// Method: a target that never answers. Two messages may be outstanding on each of three
/// connections, then all connections are lost. The run is to last an hour and ends at once.
///
/// Kills: dropping the later messages of a connection that timed out; dropping the backlog.
#[test]
fn a_silent_target_leaves_no_message_uncounted() {
    let url = target(hold);
    let limits = ["--timeout", "200ms", "--warmup", "0", "-d", "1h"];
    let report = run(&[&["-c", "3", "-p", "2", "-R", "1k", &url][..], &limits].concat(), 3);
    assert_eq!(report["load"]["timed_out"], 6);
    assert_eq!(report["load"]["completed"], 0);
    let response = &report["latency_us"]["response"];
    assert_eq!(count(&report["load"]["scheduled"]), 3_600_000, "the schedule is complete");
    assert_eq!(response["samples"], report["load"]["scheduled"]);
    assert!(response["max"].as_f64().unwrap() >= 199_000.0, "{response}");
    // At least the messages that were due during the timeout of 200 ms, without the first six.
    assert!(count(&report["load"]["never_sent"]) >= 100, "{}", report["load"]);
}

/// Goal: a connection has as many messages outstanding as `--pipeline` allows, and replies are
/// assigned to their messages.
///
/// Method: a target that answers only when it has eight messages, and splits the eight replies at
/// odd positions. With fewer outstanding messages it would never answer.
///
/// Kills: waiting for the first reply; counting a piece of several replies as one.
#[test]
fn a_pipeline_has_its_depth() {
    for load in [&[][..], &["-R", "10k"]] {
        let url = target(|mut stream| {
            for _ in 0..10 {
                let batch: Vec<u8> = (0..8).flat_map(|_| read_message(&mut stream)).collect();
                for piece in batch.chunks(3 * SIZE - 1) {
                    stream.write_all(piece).unwrap();
                }
            }
            hold(stream);
        });
        let common = ["-c", "1", "-p", "8", "-n", "80", "--warmup", "0", &url];
        let report = run(&[&common[..], load].concat(), 0);
        assert_eq!(report["load"]["completed"], 80);
        assert_eq!(report["load"]["scheduled"], 80);
    }
}

/// Goal: `--requests` is the number of messages over all workers, and the run ends with the last
/// reply.
///
/// Method: an odd number over two workers, to a target that counts; without a duration.
///
/// Kills: a number per worker or per connection; waiting for a duration; counting the warm-up.
#[test]
fn a_number_of_requests_ends_the_run() {
    for load in [&[][..], &["-R", "2k"], &["-R", "2k", "--dispatch", "per-conn"]] {
        let counter = Counter::default();
        let received = counter.clone();
        let url = target(move |stream| counter.echo(stream, || ()));
        let common = ["-c", "3", "-t", "2", "-n", "101", "--warmup", "0", &url];
        let report = run(&[&common[..], load].concat(), 0);
        assert_eq!(report["load"]["scheduled"], 101, "{load:?}");
        assert_eq!(report["load"]["completed"], 101, "{load:?}");
        assert_eq!(received.get(), 101, "{load:?}");
    }
}

/// Goal: a closed loop pauses for the think time between a reply and the next message.
///
/// Method: ten messages on one connection with pauses of 30 ms.
///
/// Kills: no pause; a pause before the first message only.
#[test]
fn a_closed_loop_pauses_after_replies() {
    let report = run(&["-c", "1", "-n", "10", "--think", "30ms", "--warmup", "0"], 0);
    assert_eq!(report["load"]["completed"], 10);
    let phases = report["phases"].as_array().unwrap();
    let measured = phases.iter().find(|phase| phase["name"] == "measured").unwrap();
    assert!(measured["seconds"].as_f64().unwrap() >= 0.27, "{phases:?}");
    assert!(report["latency_us"]["response"].is_null(), "a closed loop has no schedule");
}

/// Goal: the summary has both columns, the schedule and the outcomes, which add up.
///
/// Method: one run as text.
///
/// Kills: calling an open loop closed; one column under the title of the other.
#[test]
fn the_summary_of_an_open_loop_adds_up() {
    let output =
        loadtest(&["-c", "5", "-R", "1k", "-d", "1s", "--arrivals", "poisson", "--spin", "9us"]);
    assert_exit(&output, 0);
    let text = stdout(&output);
    for wanted in [
        "open loop 1 000/s (poisson, dispatch any, seed 1, spin 9.00 µs)",
        "response time     service time",
        "from schedule from actual send",
        "offered ",
        "achieved ",
        "never sent ",
        "send lag p99 ",
    ] {
        assert!(text.contains(wanted), "no '{wanted}' in:\n{text}");
    }
    assert!(!text.contains("closed loop"), "{text}");
    let scheduled = number_after(text, "scheduled ");
    let outcomes = ["completed ", "errors ", "timed out ", "in flight ", "never sent "];
    let body = &text[text.find("\nLoad").unwrap()..];
    assert_eq!(outcomes.map(|outcome| number_after(body, outcome)).iter().sum::<u64>(), scheduled);
}

/// Goal: messages that a connection has accepted and cannot send are counted as never sent.
///
/// Method: the target reads nothing, and one message is larger than all buffers on the way. The
/// first stays in flight, and three more are assigned to the connection, which has room for four.
///
/// Kills: looking for messages only in the schedule and in flight.
#[test]
fn messages_queued_on_a_connection_count_as_never_sent() {
    let url = target(|stream| {
        let _open = stream;
        loop {
            std::thread::park();
        }
    });
    let large = ["-c", "1", "-p", "4", "-s", "16MiB", "--timeout", "60s", "--warmup", "0"];
    let report = run(
        &[&large[..], &["-n", "10", "-R", "100", "-d", "1s", "--drain", "0", &url]].concat(),
        3,
    );
    assert_eq!(report["load"]["scheduled"], 10);
    assert_eq!(report["load"]["in_flight"], 1);
    assert_eq!(report["load"]["never_sent"], 9);
}

/// Goal: with `--deadline`, messages that are late when they could be sent are not sent. They are
/// counted, and their waits are response times.
///
/// Method: a target that stalls for 200 ms of every 500 ms and counts its messages, with both kinds
/// of dispatch. Without a deadline the same run sheds nothing.
///
/// Kills: a late message that is sent, or sent and counted as shed; one without an outcome or a
/// response time; shedding messages that are not late.
#[test]
fn late_messages_are_shed() {
    for dispatch in ["any", "per-conn"] {
        let stall = ["stall", "--stall-for", "200ms", "--stall-every", "500ms"];
        let load = ["-c", "1", "-R", "200", "-n", "300", "--warmup", "0", "--drain", "60s"];
        let mut target = Target::start(&stall);
        assert!(target.line().starts_with("stalling for 200ms every 500ms"));
        let url = format!("tcp://{}", target.addr);
        let arguments = [&load[..], &["--dispatch", dispatch, "--deadline", "50ms", &url]].concat();
        let report = run(&arguments, 0);
        let figures = &report["load"];
        assert_eq!(report["config"]["deadline_s"], 0.05);
        assert_eq!(figures["scheduled"], 300, "{figures}");
        let shed = count(&figures["shed"]);
        assert!(shed > 0, "{figures}");
        assert_eq!(figures["never_sent"], shed, "all others were sent: {figures}");
        assert_eq!(count(&figures["completed"]) + shed, 300, "{figures}");
        assert_eq!(target.stop()["messages"], figures["completed"]);

        let target = Target::start(&stall);
        let url = format!("tcp://{}", target.addr);
        let report = run(&[&load[..], &["--dispatch", dispatch, &url]].concat(), 0);
        assert_eq!(
            (&report["load"]["shed"], &report["load"]["completed"]),
            (&0.into(), &300.into())
        );
    }
    let deadline = ["-c", "1", "-R", "200", "-n", "20", "--warmup", "0", "--deadline", "60s"];
    let output = loadtest(&deadline);
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(text.contains("never sent 0 (shed 0)"), "{text}");
    assert!(text.contains(", later than 60.0 s is shed)"), "{text}");
}
