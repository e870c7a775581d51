//! The report as text for a terminal of 100 columns.

pub(crate) mod bars;
pub(crate) mod comparison;
pub(crate) mod conclusions;
pub(crate) mod lines;
pub(crate) mod target;

use std::fmt::Write as _;

use crate::base::driver::DriverUsed;
use crate::base::figures::{bytes, grouped, seconds, time_us};
use crate::measure::failure::Class;
use crate::report::model::distribution::Distribution;
use crate::report::model::generator::GeneratorVerdict;
use crate::report::model::generator::{Generator, Lag};
use crate::report::model::settings::{Config, HttpSettings};
use crate::report::model::{Latencies, Report};
use crate::report::text::bars::{bar, scale};
use crate::report::text::conclusions::{confidence, find_max, reps, thresholds};

const BETWEEN_COLUMNS: &str = "     ";

pub(crate) fn render(report: &Report) -> String {
    let mut sections = vec![header(report), load(report), connections(report)];
    sections.push(latency(report) + &confidence(report));
    let mut health = errors(report);
    for outage in &report.outages {
        health += &format!("Outage       {}\n", lines::outage(outage));
    }
    health += &generator(&report.generator);
    if let Some(server) = &report.server {
        health += &target::server(server);
    }
    if let Some(network) = &report.network {
        health += &target::network(network, report.server.is_some());
    }
    sections.push(health);
    let notes: Vec<String> =
        report.notes.iter().map(|note| format!("Note         {note}\n")).collect();
    if !notes.is_empty() {
        sections.push(notes.concat());
    }
    if !report.thresholds.is_empty() {
        sections.push(thresholds(&report.thresholds, report.exit_code));
    }
    if !report.reps.is_empty() {
        sections.push(reps(&report.reps));
    }
    if let Some(found) = &report.find_max {
        sections.push(find_max(found, report.exit_code));
    }
    if let Some(baseline) = &report.baseline {
        sections.push(comparison::baseline(baseline));
    }
    if let Some(aborted) = &report.aborted {
        sections.push(format!("{} (exit {})\n", lines::aborted(aborted), report.exit_code));
    }
    if report.gave_up.is_some() {
        sections.push(format!("gave up (exit {})\n", report.exit_code));
    }
    if report.interrupted {
        sections.push(format!("interrupted (exit {})\n", report.exit_code));
    }
    sections.join("\n")
}

fn header(report: &Report) -> String {
    let (config, limits) = (&report.config, &report.env.limits);
    let mut text = format!(
        "ringloop loadtest {}   {}   driver {}\n",
        report.tool.version,
        report.target.protocol,
        drivers(
            &report.generator.drivers,
            report.server.as_ref().and_then(|server| server.driver.as_ref())
        )
    );
    let _ = writeln!(text, "{}   {}", report.target.url, report.started_at);
    let _ = writeln!(text, "{}", mode(config));
    let labels: Vec<String> =
        report.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let names: Vec<String> = report.name.iter().cloned().chain(labels).collect();
    if !names.is_empty() {
        let _ = writeln!(text, "{}", names.join("   "));
    }
    let workers = if config.threads == 1 { "worker" } else { "workers" };
    let _ = writeln!(
        text,
        "{}{}{}   {}   {} conns{}   {} {workers}",
        config.http.as_ref().map(requests).unwrap_or_default(),
        message_size(config),
        config.ws.as_ref().map(|ws| format!(" {} messages", ws.messages)).unwrap_or_default(),
        socket(report),
        grouped(config.connections.into()),
        if config.pipeline > 1 { format!(" x {}", config.pipeline) } else { String::new() },
        config.threads
    );
    let details: Vec<String> =
        report.generator.drivers.iter().map(DriverUsed::with_detail).collect();
    let _ = writeln!(text, "{}", details.join(" and "));
    if let Some(tls) = &config.tls {
        let suite = report.target.tls.as_deref().unwrap_or("TLS");
        let _ = writeln!(text, "{suite}   {}   {}", tls.name, tls.trust);
    }
    let ports = match limits.ports_available {
        _ if report.target.is_unix() => "none".to_owned(),
        Some(available) => format!("{} of {}", grouped(limits.ports_needed), grouped(available)),
        None => grouped(limits.ports_needed),
    };
    let sources = match &config.sources[..] {
        [] => String::new(),
        sources => format!(" from each of {}", sources.join(", ")),
    };
    let _ = writeln!(
        text,
        "ports {ports}{sources}   fds {} of {}   ramp {} connects/s, {} in flight at most",
        grouped(limits.files_needed),
        grouped(limits.files_limit),
        grouped(config.connects_per_s.round() as u64),
        grouped(config.connects_in_flight_max.into())
    );
    let phases: Vec<String> = report
        .phases
        .iter()
        .map(|phase| format!("{} {}", phase.name, seconds(phase.seconds)))
        .collect();
    let _ = writeln!(text, "{}", phases.join("   "));
    text
}

fn requests(http: &HttpSettings) -> String {
    match http.requests {
        1 => format!("{} ", http.method),
        requests => format!("{} of {} URLs in turn, ", http.method, grouped(requests)),
    }
}

fn message_size(config: &Config) -> String {
    let longest = bytes(config.message_bytes.into());
    match config.message_bytes_min {
        Some(shortest) => format!("{} to {longest}", bytes(shortest.into())),
        None => longest,
    }
}

/// The options of the sockets.
fn socket(report: &Report) -> String {
    let config = &report.config;
    let mut text = match config.nodelay {
        _ if report.target.is_unix() => "Unix socket",
        true => "TCP_NODELAY",
        false => "Nagle",
    }
    .to_owned();
    for (name, size) in [("rcvbuf", config.rcvbuf_bytes), ("sndbuf", config.sndbuf_bytes)] {
        if let Some(size) = size {
            let _ = write!(text, "   {name} {}", bytes(size.into()));
        }
    }
    text
}

fn mode(config: &Config) -> String {
    let (Some(rate), Some(arrivals), Some(dispatch)) =
        (&config.rate, &config.arrivals, &config.dispatch)
    else {
        let mode = &config.mode;
        return format!("{mode}: service times, from the actual send, of a target under full load");
    };
    let seed =
        if arrivals == "poisson" { format!(", seed {}", config.seed) } else { String::new() };
    let spin = config.spin_us.filter(|us| *us > 0.0);
    let spin = spin.map(|us| format!(", spin {}", time_us(us))).unwrap_or_default();
    let deadline = config.deadline_s.map_or(String::new(), |deadline_s| {
        format!(", later than {} is shed", time_us(deadline_s * 1e6))
    });
    format!("{} {rate} ({arrivals}, dispatch {dispatch}{seed}{spin}{deadline})", config.mode)
}

/// The drivers of the workers with their reasons, and that of the built-in server if it differs.
fn drivers(of_workers: &[DriverUsed], of_server: Option<&DriverUsed>) -> String {
    let mut headlines: Vec<String> = of_workers.iter().map(DriverUsed::headline).collect();
    headlines.dedup(); // they are sorted; drivers may differ in their details only
    let mut text = headlines.join("; ");
    let of_server = of_server.map(DriverUsed::headline);
    if let Some(other) = of_server.filter(|server| headlines != [server.as_str()]) {
        let _ = write!(text, "; server {other}");
    }
    text
}

fn load(report: &Report) -> String {
    let load = &report.load;
    let outcomes = format!(
        "completed {} | errors {} | timed out {} | in flight {}",
        grouped(load.completed),
        grouped(load.errors.total),
        grouped(load.timed_out),
        grouped(load.in_flight),
    );
    let achieved = grouped(load.achieved_rate.round() as u64);
    let mut text = match load.offered_rate {
        None => format!(
            "Load         sent {} | {outcomes}\n             {achieved} msg/s",
            grouped(load.sent)
        ),
        Some(offered) => {
            let shed = match report.config.deadline_s {
                Some(_) => format!(" (shed {})", grouped(load.shed)),
                None => String::new(),
            };
            let percent = if offered > 0.0 { load.achieved_rate * 100.0 / offered } else { 0.0 };
            format!(
                "Load         scheduled {} | {outcomes} | never sent {}{shed}\n             \
                 offered {}/s | achieved {achieved}/s ({percent:.3} %)",
                grouped(load.scheduled),
                grouped(load.never_sent),
                grouped(offered.round() as u64)
            )
        }
    };
    let _ = writeln!(
        text,
        "   out {}  in {}   warm-up replies {} (in none of the figures)",
        bytes(load.bytes_sent),
        bytes(load.bytes_received),
        grouped(load.warmup_completed)
    );
    text
}

fn connections(report: &Report) -> String {
    let connections = &report.connections;
    let mut text = format!(
        "Connections  opened {}/{} in {}   served {}/{}   lost {}",
        grouped(connections.opened.into()),
        grouped(connections.asked.into()),
        seconds(connections.opened_in_s),
        grouped(connections.served.into()),
        grouped(connections.opened.into()),
        grouped(connections.lost.into())
    );
    if report.config.reconnect == "always" {
        let _ = write!(text, "   reconnects {}", grouped(connections.reconnects));
    }
    text.push('\n');
    if let Some(idle) = &connections.idle {
        let _ = writeln!(
            text,
            "             idle  open {}/{}   lost {}",
            grouped(idle.open.into()),
            grouped(idle.asked.into()),
            grouped(idle.lost.into())
        );
    }
    if let (Some(connect), Some(each)) = (&report.latency_us.connect, &connections.per_conn) {
        let _ = writeln!(
            text,
            "             connect  p50 {}  p99 {}  max {}   msgs/conn  {} … {} … {}   Jain {:.3}",
            time_us(connect.percentiles["p50"]),
            time_us(connect.percentiles["p99"]),
            time_us(connect.max),
            grouped(each.min),
            grouped(each.p50),
            grouped(each.max),
            each.jain
        );
    }
    if let Some(tls) = &report.latency_us.tls {
        let _ = writeln!(
            text,
            "             tls        p50 {}  p99 {}  max {}   handshakes {}",
            time_us(tls.percentiles["p50"]),
            time_us(tls.percentiles["p99"]),
            time_us(tls.max),
            grouped(tls.samples)
        );
    }
    if let Some(handshake) = &report.latency_us.handshake {
        let _ = writeln!(
            text,
            "             handshake  p50 {}  p99 {}  max {} (after the connect)",
            time_us(handshake.percentiles["p50"]),
            time_us(handshake.percentiles["p99"]),
            time_us(handshake.max)
        );
    }
    text
}

/// Percentiles on the left, bars on the right. The bars show the response times, if there are any.
fn latency(report: &Report) -> String {
    let Latencies { response, service, connect: _, tls: _, handshake: _ } = &report.latency_us;
    let columns: Vec<&Distribution> = [response, service].into_iter().flatten().collect();
    let Some(first) = columns.first() else {
        let none = match report.load.sent {
            0 => "no message was sent in the measured window",
            _ => "no message of the measured window got a correct reply",
        };
        return format!("Latency      {none}\n");
    };
    let row = |name: &str, figure: &dyn Fn(&Distribution) -> f64| {
        let figures: Vec<String> =
            columns.iter().map(|column| format!("{:>12}", time_us(figure(column)))).collect();
        format!("    {name:<7}{}", figures.join(BETWEEN_COLUMNS))
    };
    let mut left: Vec<String> = vec![String::new()];
    for (name, _) in first.shown(&report.config.percentiles) {
        left.push(row(&name, &|column| column.percentiles[&name]));
    }
    left.push(row("max", &|column| column.max));
    let mut right = vec![scale()];
    right.extend(first.bars.iter().map(bar));

    let mut text = match (response, service) {
        (Some(_), Some(_)) => {
            left[0] = "          from schedule from actual send".to_owned();
            "Latency       response time     service time\n".to_owned()
        }
        (Some(_), None) => "Latency      response time, from the scheduled send\n".to_owned(),
        (None, _) => "Latency      service time, from the actual send\n".to_owned(),
    };
    let width = if columns.len() == 1 { 30 } else { 47 };
    for index in 0..left.len().max(right.len()) {
        let left = left.get(index).map_or("", String::as_str);
        let right = right.get(index).map_or("", String::as_str);
        let _ = writeln!(text, "{}", format!("{left:<width$}{right}").trim_end());
    }
    if first.censored > 0 {
        let reasons = match response {
            Some(_) => "timed out, in flight or never sent",
            None => "timed out or still in flight",
        };
        let _ = writeln!(
            text,
            "  {} of {} samples are lower bounds: {reasons}",
            grouped(first.censored),
            grouped(first.samples)
        );
    }
    text
}

fn errors(report: &Report) -> String {
    if report.failures.is_empty() {
        let is_compared = |class: &&Class| match class {
            Class::Order | Class::CrossTalk => report.config.verify,
            Class::Tls => report.config.tls.is_some(),
            _ => true,
        };
        let classes = Class::ALL.iter().filter(is_compared);
        let classes: Vec<String> = classes.map(|class| format!("{} 0", class.name())).collect();
        return format!("Errors       none   ({})\n", classes.join("  "));
    }
    let mut text = String::new();
    for (index, row) in report.failures.iter().enumerate() {
        let label = if index == 0 { "Errors" } else { "" };
        let _ = write!(text, "{label:<13}{}", lines::failure(row));
        if row.measured != row.count {
            let _ = write!(text, "   (in the measured window {})", grouped(row.measured));
        }
        text.push('\n');
        if let Some(details) = lines::failure_details(row) {
            let _ = writeln!(text, "               {details}");
        }
    }
    text
}

fn generator(generator: &Generator) -> String {
    let verdict = match generator.verdict {
        GeneratorVerdict::Healthy => "healthy",
        GeneratorVerdict::Marginal => "marginal",
        GeneratorVerdict::Saturated => "SATURATED (the figures describe the client)",
        GeneratorVerdict::Unknown => "unknown",
    };
    let busiest = generator
        .cpu_percent
        .iter()
        .copied()
        .fold(None, |most: Option<f64>, cpu| Some(most.map_or(cpu, |most| most.max(cpu))));
    let mut cpu = busiest.map(|cpu| format!("   cpu {cpu:.0} %")).unwrap_or_default();
    let spin_time = generator.spin_percent.iter().copied().fold(0.0, f64::max);
    if spin_time >= 0.5 {
        let _ = write!(cpu, " (of it {spin_time:.0} % spinning)");
    }
    let wait = generator
        .run_queue_wait_percent
        .map(|wait| format!("   run queue wait {wait:.1} %"))
        .unwrap_or_default();
    let rss = generator.rss_bytes.map(|rss| format!("   rss {}", bytes(rss))).unwrap_or_default();
    let lag = |name, lag: Option<Lag>| {
        lag.map(|lag| format!("   {name} lag p99 {}, max {}", time_us(lag.p99), time_us(lag.max)))
            .unwrap_or_default()
    };
    let (send, turn) = (lag("send", generator.send_lag_us), lag("loop", generator.loop_lag_us));
    let reason = generator.verdict_reason.as_ref();
    let reason = reason.map(|reason| format!("             {reason}\n")).unwrap_or_default();
    format!(
        "Generator    {verdict}{cpu}{send}{turn}{wait}   CQ overflow {}   ENOBUFS {}{rss}\n\
         {reason}",
        grouped(generator.cq_overflows),
        grouped(generator.pool_exhausted)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: the headline names every driver exactly once.
    ///
    /// Method: workers that differ in details only; with and without a built-in server; workers
    /// with different drivers.
    ///
    /// Kills: the generator's driver shown as the server's; the same driver three times.
    #[test]
    fn drivers_are_named_once() {
        let used = |kind: &str, detail: &str, reason: &str| DriverUsed {
            kind: kind.to_owned(),
            detail: detail.to_owned(),
            reason: reason.to_owned(),
        };
        let (a, alike, b) = (used("a", "1", "x"), used("a", "2", "x"), used("b", "1", "y"));
        let workers = [a.clone(), alike.clone()];
        assert_eq!(drivers(&workers, Some(&a)), "a, because x");
        assert_eq!(drivers(&workers, None), "a, because x");
        assert_eq!(drivers(&workers, Some(&b)), "a, because x; server b, because y");
        let mixed = [a.clone(), b.clone()];
        assert_eq!(drivers(&mixed, None), "a, because x; b, because y");
        let all = "a, because x; b, because y; server a, because x";
        assert_eq!(drivers(&mixed, Some(&alike)), all);
    }
}
