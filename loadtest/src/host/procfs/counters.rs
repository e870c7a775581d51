//! What the kernel has counted about TCP.
//!
//! The counters are of the whole network namespace: everything that runs in it adds to them.

use std::fs;

/// Counters at one moment, or what was added between two. `None` is what this kernel does not count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TcpCounters {
    /// Connections that found an accept queue full.
    pub(crate) listen_overflows: Option<u64>,
    /// Connections that a listener refused for this or any other reason.
    pub(crate) listen_drops: Option<u64>,
    /// Segments sent again, of any kind.
    pub(crate) retransmits: Option<u64>,
    /// Of these, a connection's first one, from either side.
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

    /// What was added between `earlier` and this reading.
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

/// Pairs of lines: names, then values, both behind the name of their table.
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

    /// Goal: each counter is the one of its name, and what is missing is unknown.
    ///
    /// Method: tables by hand, whose columns are in no order; the same without one of them.
    ///
    /// Kills: a table whose name is a part of another's; values of the column beside; zero for what
    /// is not counted.
    #[test]
    fn counters_have_names() {
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

    /// Goal: this kernel's tables are understood.
    ///
    /// Method: read them.
    ///
    /// Kills: a name that no kernel has; the wrong file.
    #[test]
    fn this_kernel_counts() {
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
