//! The lines about the target: its process and the TCP counters.

use std::fmt::Write as _;

use crate::base::figures::{bytes, grouped};
use crate::report::model::server::{Network, Server};

pub(super) fn server(server: &Server) -> String {
    let mut text = format!("Server       pid {} {}", server.pid, server.kind);
    if server.pids.len() > 1 {
        let _ = write!(text, " and {} more", server.pids.len() - 1);
    }
    if let Some(cpu) = server.cpu_percent {
        let _ = write!(text, "   cpu {cpu:.0} % of one core");
    }
    if let Some(us) = server.cpu_us_per_message {
        let _ = write!(text, " = {us:.2} µs/msg");
    }
    if let Some(rss) = server.rss_bytes {
        let _ = write!(text, "   rss {}", bytes(rss));
    }
    if let Some(fds) = server.fds {
        let _ = write!(text, "   fds {}", grouped(fds));
    }
    text.push('\n');
    let further = [
        ("listen overflow", server.listen_overflows),
        ("listen drops", server.listen_drops),
        ("retrans", server.retransmits),
        ("voluntary switches", server.voluntary_switches),
        ("involuntary", server.involuntary_switches),
    ];
    text + &line("", &further)
}

/// The TCP counters that the server's lines do not show.
pub(super) fn network(network: &Network, has_server: bool) -> String {
    let mut counters = Vec::new();
    if !has_server {
        counters.push(("listen overflow", network.listen_overflows));
        counters.push(("listen drops", network.listen_drops));
        counters.push(("retrans", network.retransmits));
    }
    counters.push(("SYN retrans", network.syn_retransmits));
    counters.push(("connections reset", network.established_resets));
    counters.push(("RST sent", network.resets_sent));
    line("Network", &counters)
}

/// A line of the known figures; empty if none is known.
fn line(label: &str, figures: &[(&str, Option<u64>)]) -> String {
    let known = figures.iter().filter_map(|(name, value)| Some((name, (*value)?)));
    let known: Vec<String> =
        known.map(|(name, value)| format!("{name} {}", grouped(value))).collect();
    if known.is_empty() { String::new() } else { format!("{label:<13}{}\n", known.join("   ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    /// Goal: the server's lines show every known figure by name, and the network's line adds the
    /// other counters.
    ///
    /// Method: a report with all figures; two processes with few figures; no server.
    ///
    /// Kills: swapped figures; a zero for an unknown figure; the same counter twice.
    #[test]
    fn known_figures_of_the_target_are_shown_once() {
        let report = fixture::closed_loop();
        let (mut it, network) = (report.server.unwrap(), report.network.unwrap());
        assert_eq!(
            server(&it),
            "Server       pid 4242 echo   cpu 88 % of one core = 17.60 µs/msg   \
             rss 40.0 MiB   fds 20\n             \
             listen overflow 3   listen drops 4   retrans 5   \
             voluntary switches 12 345   involuntary 67\n"
        );
        it.pids.push(4_243);
        (it.cpu_percent, it.cpu_us_per_message, it.rss_bytes, it.fds) = (None, None, None, None);
        (it.listen_overflows, it.listen_drops, it.retransmits) = (None, None, None);
        (it.voluntary_switches, it.involuntary_switches) = (None, None);
        assert_eq!(server(&it), "Server       pid 4242 echo and 1 more\n");
        let rest = "SYN retrans 6   connections reset 7   RST sent 8\n";
        assert_eq!(super::network(&network, true), format!("Network      {rest}"));
        assert_eq!(
            super::network(&network, false),
            format!("Network      listen overflow 3   listen drops 4   retrans 5   {rest}")
        );
    }
}
