//! Checks that two runs had the same load on the same machine.

use crate::report::model::Report;
use crate::report::model::generator::GeneratorVerdict;

/// Reasons why the figures cannot be compared; empty if they can.
pub(super) fn incomparable(base: &Report, new: &Report) -> Vec<String> {
    let mut reasons = Vec::new();
    let (a, b) = (&base.config, &new.config);
    let mut load = |name: &str, base: String, new: String| {
        if base != new {
            reasons.push(format!("different load: {name} {base} and {new}"));
        }
    };
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
    load("protocol", base.target.protocol.clone(), new.target.protocol.clone());
    load("mode", a.mode.clone(), b.mode.clone());
    load("rate", or_none(&a.rate), or_none(&b.rate));
    load("arrivals", or_none(&a.arrivals), or_none(&b.arrivals));
    load("dispatch", or_none(&a.dispatch), or_none(&b.dispatch));
    load("deadline", format!("{:?}", a.deadline_s), format!("{:?}", b.deadline_s));
    load("pipeline", a.pipeline.to_string(), b.pipeline.to_string());
    load("think", or_none(&a.think), or_none(&b.think));
    load("connections", a.connections.to_string(), b.connections.to_string());
    let message_size =
        |config: &crate::report::model::settings::Config| match config.message_bytes_min {
            Some(shortest) => format!("{shortest}..{}", config.message_bytes),
            None => config.message_bytes.to_string(),
        };
    load("message size", message_size(a), message_size(b));
    load("threads", a.threads.to_string(), b.threads.to_string());
    load("idle connections", a.idle.to_string(), b.idle.to_string());
    let socket = |config: &crate::report::model::settings::Config| {
        let size = |size: Option<u32>| size.map_or("default".to_owned(), |size| size.to_string());
        let (rcvbuf, sndbuf) = (size(config.rcvbuf_bytes), size(config.sndbuf_bytes));
        format!("nodelay {}, rcvbuf {rcvbuf}, sndbuf {sndbuf}", config.nodelay)
    };
    load("sockets", socket(a), socket(b));
    load("verify", a.verify.to_string(), b.verify.to_string());
    let churn = |config: &crate::report::model::settings::Config| {
        (config.requests_per_conn, config.conn_lifetime_s, config.close.clone())
    };
    load("churn", format!("{:?}", churn(a)), format!("{:?}", churn(b)));

    for (name, run) in [("base", base), ("new", new)] {
        if run.generator.verdict == GeneratorVerdict::Saturated {
            reasons.push(format!("generator saturated: the figures of {name} describe the client"));
        }
    }
    for (name, base, new) in [
        ("kernel", &base.env.kernel, &new.env.kernel),
        ("processor", &base.env.cpu, &new.env.cpu),
        ("cores", &base.env.cores.map(|n| n.to_string()), &new.env.cores.map(|n| n.to_string())),
    ] {
        if base != new {
            reasons.push(format!("different {name}: {} and {}", or_none(base), or_none(new)));
        }
    }
    reasons
}

/// Other differences between comparable runs.
pub(super) fn differences(base: &Report, new: &Report) -> Vec<String> {
    let mut found = Vec::new();
    let mut note = |name: &str, base: String, new: String| {
        if base != new {
            found.push(format!("{name}: {base} and {new}"));
        }
    };
    let seconds = |seconds: f64| format!("{seconds} s");
    let server = |report: &Report| {
        let driver = report.server.as_ref().and_then(|server| server.driver.as_ref());
        driver.map_or_else(|| "unknown".to_owned(), |driver| driver.kind.clone())
    };
    note("tool", base.tool.version.clone(), new.tool.version.clone());
    note("driver of the generator", base.env.driver.clone(), new.env.driver.clone());
    note("driver of the server", server(base), server(new));
    note("duration", seconds(base.config.duration_s), seconds(new.config.duration_s));
    note("warm-up", seconds(base.config.warmup_s), seconds(new.config.warmup_s));
    note("interrupted", base.interrupted.to_string(), new.interrupted.to_string());
    let aborted = |report: &Report| match &report.aborted {
        Some(aborted) => format!("by {} after {} s", aborted.expr, aborted.at_s),
        None => "no".to_owned(),
    };
    note("aborted", aborted(base), aborted(new));
    let failed = |report: &Report| {
        let load = &report.load;
        (load.errors.total + load.timed_out + load.never_sent).to_string()
    };
    note("messages without a reply", failed(base), failed(new));
    found
}
