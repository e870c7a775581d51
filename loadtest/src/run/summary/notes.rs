//! Notes about facts that limit the meaning of the figures.

use crate::base::address::Address;
use crate::base::figures;
use crate::host::procfs;
use crate::report::model::Report;
use crate::report::model::settings::Config;
use crate::report::text::lines;
use crate::run::summary::measurements::Measurements;

pub(super) fn notes(report: &Report, measured: &Measurements) -> Vec<String> {
    let mut notes = measured.notes.clone();
    notes.extend(measured.ready.iter().find_map(|ready| ready.advice).map(str::to_owned));
    let connections = &report.connections;
    if report.config.connections < connections.asked {
        notes.push(format!(
            "--fit: {} connections instead of {}",
            figures::grouped(report.config.connections.into()),
            figures::grouped(connections.asked.into())
        ));
    }
    if let Some(slow @ 1..) = connections.slow_connects {
        let why = match measured.address {
            Address::Tcp(_) => "SYNs were lost and retransmitted (accept queue too short?)",
            Address::Unix(_) => "the backlog was full",
        };
        notes.push(format!(
            "{} connects took 1 s or more: {why}; try a lower --connect-rate or \
             --connect-concurrency",
            figures::grouped(slow)
        ));
    }
    if let Some(overflows @ 1..) = measured.tcp.listen_overflows {
        notes.push(format!(
            "an accept queue was full {} times (of any listener in this network namespace): these \
             connects were retransmitted or failed",
            figures::grouped(overflows)
        ));
    }
    notes.extend(buffer_notes(&report.config));
    let has_none_left = measured.lengths.ended_without_connections;
    if has_none_left && connections.opened > 0 && connections.lost >= connections.opened {
        notes.push("every connection was lost before the end".to_owned());
    }
    if let early @ 1.. = report.load.answered_early {
        notes.push(format!(
            "{} messages got a reply before they were fully sent: the bytes sent do not include \
             their unsent parts",
            figures::grouped(early)
        ));
    }
    notes.extend(lines::lost_target(report));
    if let (Some(_), Some(most)) = (&report.gave_up, report.config.requests_max) {
        let (sent, most) = (figures::grouped(report.load.sent), figures::grouped(most));
        notes.push(format!("{sent} of the {most} messages of --requests were sent"));
    }
    if connections.served > 0 && report.load.completed == 0 && !report.interrupted {
        notes.push(
            "no message of the measured window got a reply in time: try a longer --duration or \
             --drain"
                .to_owned(),
        );
    }
    notes
}

/// Notes about buffer sizes, which the kernel reduces silently.
fn buffer_notes(config: &Config) -> Vec<String> {
    let note = |(option, requested, sysctl): (&str, Option<u32>, &str)| {
        let (requested, most) = (u64::from(requested?), procfs::sysctl(sysctl)?);
        (requested > most).then(|| {
            format!("{option} {requested} is more than the kernel allows: {sysctl} is {most}")
        })
    };
    let buffers = [
        ("--rcvbuf", config.rcvbuf_bytes, "net.core.rmem_max"),
        ("--sndbuf", config.sndbuf_bytes, "net.core.wmem_max"),
    ];
    buffers.into_iter().filter_map(note).collect()
}
