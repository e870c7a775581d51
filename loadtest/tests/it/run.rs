//! Successful runs.

use serde_json::Value;

use crate::common::{
    Server, assert_exit, json, kill, loadtest, number_after, scratch_file, stderr, stdout, within,
};

/// A run in which every connection is served even on a busy machine, at the latest in the drain.
const SHORT: [&str; 6] = ["-d", "1s", "--warmup", "100ms", "--drain", "60s"];

fn short<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    [&SHORT[..], arguments].concat()
}

fn count(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is not a count"))
}

/// Goal: without a URL the program starts its own server, and every connection is served.
///
/// Method: fifty connections for a second; read the summary.
///
/// Kills: counting opened connections as served; output on stderr in a good run; a missing chart.
#[test]
fn a_run_without_a_url_tests_its_own_server() {
    let output = loadtest(&short(&["-c", "50"]));
    assert_exit(&output, 0);
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    for wanted in [
        "closed loop (saturation)",
        "opened 50/50 in ",
        "served 50/50",
        "lost 0",
        "errors 0 | timed out 0",
        "Errors       none",
        "warm-up 0.10 s   measured 1.00 s   drain ",
        "p99.99",
        "TCP_NODELAY",
        "█",
    ] {
        assert!(text.contains(wanted), "no '{wanted}' in:\n{text}");
    }
}

/// Goal: text and JSON have the same figures, and they add up.
///
/// Method: one run with both outputs. Compare counts exactly and times by their three printed
/// digits, and sum the outcomes and the bars.
///
/// Kills: computing a figure twice; an outcome missing in the sum; bars that lose samples.
#[test]
fn text_and_json_agree() {
    let path = scratch_file("agree.json");
    std::fs::write(&path, "x".repeat(100_000)).unwrap(); // longer than a report: must be truncated
    let output = loadtest(&short(&["-c", "20", "--json", path.to_str().unwrap()]));
    assert_exit(&output, 0);
    let text = stdout(&output);
    let report: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(&path).unwrap();

    let load = &report["load"];
    for (label, value) in [
        ("sent ", &load["sent"]),
        ("completed ", &load["completed"]),
        ("| errors ", &load["errors"]["total"]),
        ("timed out ", &load["timed_out"]),
        ("in flight ", &load["in_flight"]),
        ("warm-up replies ", &load["warmup_completed"]),
        ("opened ", &report["connections"]["opened"]),
        ("served ", &report["connections"]["served"]),
        ("CQ overflow ", &report["generator"]["cq_overflows"]),
        ("Server       pid ", &report["server"]["pid"]),
    ] {
        // The header of the text contains some of the labels, too.
        let body = &text[text.find("\nLoad").unwrap()..];
        assert_eq!(number_after(body, label), count(value), "{label}\n{text}");
    }
    let outcomes = count(&load["completed"])
        + count(&load["errors"]["total"])
        + count(&load["timed_out"])
        + count(&load["in_flight"]);
    assert_eq!(count(&load["sent"]), outcomes);

    let service = &report["latency_us"]["service"];
    let bars = service["bars"].as_array().unwrap();
    let in_bars: u64 = bars.iter().map(|bar| count(&bar["count"])).sum();
    assert_eq!(in_bars, count(&service["samples"]));
    for bar in bars {
        let percent = match bar["percent"].as_f64().unwrap() {
            percent if percent > 0.0 && percent < 0.005 => "<0.01 %".to_owned(),
            percent => format!("{percent:.2} %"),
        };
        assert!(text.contains(&percent), "no bar of {percent} in:\n{text}");
    }
    for (name, us) in service["percentiles"].as_object().unwrap() {
        assert_time(text, &format!("\n    {name} "), us.as_f64().unwrap());
    }
    assert_time(text, "\n    max ", service["max"].as_f64().unwrap());

    assert_eq!(report["schema_version"], 1);
    assert_eq!(report["exit_code"], 0);
    assert_eq!(report["interrupted"], false);
}

/// Finds the time after `label` and compares it with `us`, within the rounding of three digits.
#[track_caller]
fn assert_time(text: &str, label: &str, us: f64) {
    let (_, rest) = text.split_once(label).unwrap_or_else(|| panic!("no '{label}' in:\n{text}"));
    let mut words = rest.split_whitespace();
    let number: f64 = words.next().unwrap().parse().unwrap();
    let factor = match words.next().unwrap() {
        "ns" => 1e-3,
        "µs" => 1.0,
        "ms" => 1e3,
        "s" => 1e6,
        unit => panic!("unit {unit}"),
    };
    assert!((number * factor / us - 1.0).abs() < 0.006, "{label}: {number} for {us} µs");
}

/// Goal: stdout has one document.
///
/// Method: JSON by format, JSON by `--json -`, and no output.
///
/// Kills: mixing text and JSON in one stream; output of a quiet run.
#[test]
fn stdout_carries_one_document() {
    let output = loadtest(&short(&["-c", "2", "--format", "json"]));
    assert_exit(&output, 0);
    assert_eq!(json(&output)["connections"]["served"], 2);
    assert_eq!(stderr(&output), "");

    let output = loadtest(&short(&["-c", "2", "--json", "-"]));
    assert_exit(&output, 0);
    assert_eq!(json(&output)["connections"]["served"], 2);
    assert!(stderr(&output).contains("served 2/2"));

    let output = loadtest(&short(&["-c", "2", "--format", "quiet"]));
    assert_exit(&output, 0);
    assert_eq!((stdout(&output), stderr(&output)), ("", ""));
}

/// Goal: several workers share the connections and report together.
///
/// Method: seven connections on two workers, without a warm-up.
///
/// Kills: losing the remainder of an uneven share; reporting one worker's figures.
#[test]
fn workers_share_the_connections() {
    let arguments = ["-c", "7", "-t", "2", "--warmup", "0", "--format", "json"];
    let output = loadtest(&short(&arguments));
    assert_exit(&output, 0);
    let report = json(&output);
    assert_eq!(report["connections"]["opened"], 7);
    assert_eq!(report["connections"]["served"], 7);
    assert_eq!(report["load"]["warmup_completed"], 0);
    assert!(report["connections"]["per_conn"]["min"].as_u64().unwrap() > 0);
}

/// Goal: a message larger than all buffers on its way does not deadlock.
///
/// Method: 8 MiB, which no socket buffer holds, on two connections.
///
/// Kills: sending everything before receiving anything.
#[test]
fn large_messages_do_not_deadlock() {
    let arguments = ["-c", "2", "-s", "8MiB", "--format", "json", "--drain", "60s"];
    let output = loadtest(&short(&arguments));
    assert_exit(&output, 0);
    let report = json(&output);
    assert_eq!(report["connections"]["served"], 2);
    assert_eq!(report["load"]["errors"]["total"], 0);
}

/// Goal: `serve` and a run with a URL work as two programs, and SIGTERM ends the server with exit
/// code 0.
///
/// Method: start a server, test it twice, end it.
///
/// Kills: a server that ends with its first client; another exit code.
#[test]
fn a_separate_server_can_be_tested() {
    let mut server = Server::start();
    for _ in 0..2 {
        let output = loadtest(&short(&["-c", "10", "--format", "json", &server.url]));
        assert_exit(&output, 0);
        let report = json(&output);
        assert_eq!(report["connections"]["served"], 10);
        assert_eq!(report["target"]["url"], server.url.as_str());
        assert_eq!(report["server"]["pid"], server.child.id());
    }
    let pid = server.child.id();
    kill(pid, "TERM");
    let status = within(
        "the server does not end",
        move || server.child.wait().unwrap(),
        || kill(pid, "KILL"),
    );
    assert_eq!(status.code(), Some(0));
}

/// Goal: the options of sockets are reported, and a note reports a buffer that the kernel does not
/// grant.
///
/// Method: a run with each option, one of them above every limit of the kernel; text and JSON.
///
/// Kills: a header with defaults in place of the actual options; a smaller buffer without a note.
#[test]
fn socket_options_are_reported() {
    let short = ["-c", "2", "-n", "20", "--warmup", "0"];
    let set = ["--no-nodelay", "--rcvbuf", "4KiB", "--sndbuf", "8KiB"];
    let output = loadtest(&[&short[..], &set].concat());
    assert_exit(&output, 0);
    let text = stdout(&output);
    assert!(text.contains("   Nagle   rcvbuf 4.00 KiB   sndbuf 8.00 KiB   2 conns"), "{text}");
    assert!(!text.contains("net.core"), "{text}");

    let output = loadtest(&[&short[..], &["--rcvbuf", "16MiB", "--format", "json"]].concat());
    assert_exit(&output, 0);
    let report = json(&output);
    let config = &report["config"];
    assert_eq!((&config["nodelay"], &config["rcvbuf_bytes"]), (&true.into(), &16_777_216.into()));
    assert_eq!(config["sndbuf_bytes"], Value::Null);
    let most = std::fs::read_to_string("/proc/sys/net/core/rmem_max").unwrap();
    let most: u64 = most.trim().parse().unwrap();
    let is_noted = report["notes"]
        .as_array()
        .unwrap()
        .iter()
        .any(|note| note.as_str().unwrap().contains(&format!("net.core.rmem_max is {most}")));
    assert_eq!(is_noted, most < 16_777_216, "{report}");
}
