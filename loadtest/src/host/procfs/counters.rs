//! TCP counters of the kernel.
//!
//! The counters belong to the network namespace: every process in it adds to them.

use std::fs;

/// Counters at one moment, or their difference between two. `None` is a counter that this kernel
/// does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcpCounters {
    /// Connections that found an accept queue full.
    pub(crate) listen_overflows: Option<u64>,
    /// Connections that a listener refused for this or any other reason.
    pub(crate) listen_drops: Option<u64>,
    /// Retransmitted segments of any kind.
    pub(crate) retransmits: Option<u64>,
    /// Retransmitted SYN segments, from either side.
    pub(crate) syn_retransmits: Option<u64>,
    /// Connections that ended by a reset, sent or received.
    pub(crate) established_resets: Option<u64>,
    pub(crate) resets_sent: Option<u64>,
}

impl TcpCounters {
    pub(crate) fn read() -> TcpCounters {
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        TcpCounters::parse(&read("/proc/net/netstat"), &read("/proc/net/snmp"))
    }

    fn parse(netstat: &str, snmp: &str) -> TcpCounters {
        TcpCounters {
            listen_overflows: counter(netstat, "TcpExt:", "ListenOverflows"),
            listen_drops: counter(netstat, "TcpExt:", "ListenDrops"),
            retransmits: counter(snmp, "Tcp:", "RetransSegs"),
            syn_retransmits: counter(netstat, "TcpExt:", "TCPSynRetrans"),
            established_resets: counter(snmp, "Tcp:", "EstabResets"),
            resets_sent: counter(snmp, "Tcp:", "OutRsts"),
        }
    }

    /// The difference between `earlier` and this reading.
    pub(crate) fn since(self, earlier: TcpCounters) -> TcpCounters {
        let added = |now: Option<u64>, before: Option<u64>| Some(now?.saturating_sub(before?));
        TcpCounters {
            listen_overflows: added(self.listen_overflows, earlier.listen_overflows),
            listen_drops: added(self.listen_drops, earlier.listen_drops),
            retransmits: added(self.retransmits, earlier.retransmits),
            syn_retransmits: added(self.syn_retransmits, earlier.syn_retransmits),
            established_resets: added(self.established_resets, earlier.established_resets),
            resets_sent: added(self.resets_sent, earlier.resets_sent),
        }
    }
}

/// Finds a counter. The text has pairs of lines, names and values, each after the table's name.
fn counter(text: &str, table: &str, name: &str) -> Option<u64> {
    let mut rows = text.lines().filter_map(|line| line.strip_prefix(table));
    while let (Some(names), Some(values)) = (rows.next(), rows.next()) {
        let place = names.split_ascii_whitespace().position(|it| it == name);
        if let Some(place) = place {
            return values.split_ascii_whitespace().nth(place)?.parse().ok();
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: counters are found by name, and a missing counter is unknown.
    ///
    /// Method: handwritten tables with columns in no order; the same without one table.
    ///
    /// Kills: a table whose name is part of another's; the value of a neighbouring column; zero for
    /// a missing counter.
    #[test]
    fn counters_are_found_by_name() {
        let netstat = "TcpExt: SyncookiesSent ListenDrops TCPSynRetrans ListenOverflows\n\
                       TcpExt: 1 22 33 21\nIpExt: InNoRoutes\nIpExt: 5\n";
        let snmp = "Icmp: InMsgs\nIcmp: 9\n\
                    Tcp: RtoMin MaxConn EstabResets RetransSegs InErrs OutRsts\n\
                    Tcp: 200 -1 44 55 6 66\n";
        let read = TcpCounters::parse(netstat, snmp);
        assert_eq!(read.listen_overflows.zip(read.listen_drops), Some((21, 22)));
        assert_eq!(read.syn_retransmits.zip(read.retransmits), Some((33, 55)));
        assert_eq!(read.established_resets.zip(read.resets_sent), Some((44, 66)));
        let less = TcpCounters::parse("", snmp);
        assert_eq!((less.listen_drops, less.retransmits), (None, Some(55)));
        let more = TcpCounters::parse(&netstat.replace("33", "40"), &snmp.replace("44", "50"));
        let added = more.since(read);
        assert_eq!((added.syn_retransmits, added.established_resets), (Some(7), Some(6)));
        assert_eq!((added.listen_overflows, added.since(less).listen_drops), (Some(0), None));
    }

    /// Goal: the running kernel has every counter.
    ///
    /// Method: read the tables.
    ///
    /// Kills: a name that no kernel uses; the wrong file.
    #[test]
    fn this_kernel_has_every_counter() {
        let TcpCounters {
            listen_overflows,
            listen_drops,
            retransmits,
            syn_retransmits,
            established_resets,
            resets_sent,
        } = TcpCounters::read();
        for counter in [
            listen_overflows,
            listen_drops,
            retransmits,
            syn_retransmits,
            established_resets,
            resets_sent,
        ] {
            assert!(counter.is_some());
        }
    }
}
