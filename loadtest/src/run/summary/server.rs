//! Builds the server and the network section of the report from the samples.

use std::time::Duration;

use crate::host::procfs::counters::TcpCounters;
use crate::report::model::server::{Network, Server};
use crate::run::server_stats::ServerSample;

/// The server section of the report.
pub(super) fn server(
    sample: &ServerSample,
    tcp: TcpCounters,
    measured: Duration,
    completed: u64,
) -> Server {
    let per = |total: f64| move |ran_ns: u64| (total > 0.0).then(|| ran_ns as f64 / total);
    let share = sample.ran_ns.and_then(per(measured.as_nanos() as f64));
    let per_message_ns = sample.ran_ns.and_then(per(completed as f64));
    Server {
        pid: *sample.pids.first().expect("no sample without a process"),
        pids: sample.pids.clone(),
        kind: sample.kind.clone(),
        driver: sample.driver.clone(),
        cpu_percent: share.map(|share| share * 100.0),
        cpu_us_per_message: per_message_ns.map(|ns| ns / 1e3),
        rss_bytes: sample.rss_bytes,
        fds: sample.descriptors,
        voluntary_switches: sample.switches.map(|switches| switches.voluntary),
        involuntary_switches: sample.switches.map(|switches| switches.involuntary),
        listen_overflows: tcp.listen_overflows,
        listen_drops: tcp.listen_drops,
        retransmits: tcp.retransmits,
    }
}

/// The network section of the report.
pub(super) fn network(tcp: TcpCounters) -> Network {
    Network {
        listen_overflows: tcp.listen_overflows,
        listen_drops: tcp.listen_drops,
        retransmits: tcp.retransmits,
        syn_retransmits: tcp.syn_retransmits,
        established_resets: tcp.established_resets,
        resets_sent: tcp.resets_sent,
    }
}
