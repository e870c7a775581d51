//! Failures of connections, by stage, class and errno, and the table that counts them.
//!
//! Every failure of a connection becomes one [`Failure`], and equal failures are counted together.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;
use std::{fmt, io};

use crate::base::errno;

/// Stage of a connection at its failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Connect,
    /// The TLS handshake, after the connect.
    Tls,
    /// The handshake of the protocol, before the first message.
    Handshake,
    Send,
    Recv,
}

impl Stage {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stage::Connect => "connect",
            Stage::Tls => "tls",
            Stage::Handshake => "handshake",
            Stage::Send => "send",
            Stage::Recv => "recv",
        }
    }
}

/// Kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// No listener at the address.
    Refused,
    /// No route.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The peer reset the connection.
    Reset,
    /// The peer closed between two messages.
    Eof,
    /// The peer closed in the middle of a reply.
    Short,
    /// More bytes than were sent, or different ones.
    Mismatch,
    /// The reply to another message of this connection (`--verify`).
    Order,
    /// The reply to a message of another connection (`--verify`).
    CrossTalk,
    /// A reply with an unexpected status. The connection stays open.
    Status,
    /// Bytes that are not a reply of the protocol.
    Malformed,
    /// The peer announced that it closes the connection after a reply, so later messages get no
    /// reply. Without such messages it is not an error.
    Closed,
    /// A TLS failure; see the reason.
    Tls,
    /// Any other failure; see the errno.
    Io,
}

impl Class {
    pub(crate) const ALL: [Class; 14] = [
        Class::Refused,
        Class::Unreachable,
        Class::Timeout,
        Class::Reset,
        Class::Eof,
        Class::Short,
        Class::Mismatch,
        Class::Order,
        Class::CrossTalk,
        Class::Status,
        Class::Malformed,
        Class::Closed,
        Class::Tls,
        Class::Io,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Class::Refused => "refused",
            Class::Unreachable => "unreachable",
            Class::Timeout => "timeout",
            Class::Reset => "reset",
            Class::Eof => "eof",
            Class::Short => "short",
            Class::Mismatch => "mismatch",
            Class::Order => "order",
            Class::CrossTalk => "cross-talk",
            Class::Status => "status",
            Class::Malformed => "malformed",
            Class::Closed => "closed",
            Class::Tls => "tls",
            Class::Io => "io",
        }
    }
}

/// One failure of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) class: Class,
    pub(crate) errno: Option<i32>,
    /// Status of the reply, of [`Class::Status`].
    pub(crate) status: Option<u16>,
    /// Reason, of [`Class::Tls`], [`Class::Malformed`] and failed handshakes.
    pub(crate) reason: Option<&'static str>,
}

impl Failure {
    /// A failure that no system call reported.
    pub(crate) const fn of(stage: Stage, class: Class) -> Failure {
        Failure { stage, class, errno: None, status: None, reason: None }
    }

    /// A reply with an unexpected status.
    pub(crate) const fn of_status(status: u16) -> Failure {
        Failure { status: Some(status), ..Failure::of(Stage::Recv, Class::Status) }
    }

    /// Bytes that are not a reply of the protocol.
    pub(crate) const fn malformed(stage: Stage, reason: &'static str) -> Failure {
        Failure { reason: Some(reason), ..Failure::of(stage, Class::Malformed) }
    }

    pub(crate) const fn of_tls(stage: Stage, reason: &'static str) -> Failure {
        Failure { reason: Some(reason), ..Failure::of(stage, Class::Tls) }
    }

    pub(crate) fn from_io(stage: Stage, error: &io::Error) -> Failure {
        let errno = error.raw_os_error();
        let class = match errno {
            // ENOENT is the missing path of a Unix socket.
            Some(libc::ECONNREFUSED | libc::ENOENT) => Class::Refused,
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN) => {
                Class::Unreachable
            }
            Some(libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED) => Class::Reset,
            Some(libc::ETIMEDOUT) => Class::Timeout,
            Some(_) => Class::Io,
            None if error.kind() == io::ErrorKind::TimedOut => Class::Timeout,
            None => Class::Io,
        };
        Failure { errno, ..Failure::of(stage, class) }
    }

    /// A reply that did not arrive within `--timeout`. No system call failed.
    pub(crate) const REPLY_TIMEOUT: Failure = Failure::of(Stage::Recv, Class::Timeout);

    pub(crate) fn errno_name(&self) -> Option<String> {
        self.errno.map(errno::name)
    }
}

/// Data to find a failure in the target's log or in a packet capture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Example {
    /// Number of the connection in the run.
    pub(crate) connection: u64,
    pub(crate) local: Option<Local>,
    pub(crate) unexpected: Option<UnexpectedBytes>,
}

/// Local address of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Local {
    Socket(SocketAddr),
    /// The connection never opened, so another socket may use its port by now.
    Source(IpAddr),
}

/// The first unexpected bytes of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UnexpectedBytes {
    /// Offset of the first byte in the reply.
    position: u64,
    bytes: [u8; UnexpectedBytes::MAX_OF_REPLY],
    len: u8,
    has_more: bool,
}

impl UnexpectedBytes {
    const MAX: usize = 16;

    /// Long enough for the first line of an HTTP head.
    const MAX_OF_REPLY: usize = 64;

    pub(crate) fn of(position: u64, all: &[u8]) -> UnexpectedBytes {
        UnexpectedBytes::cut(position, all, UnexpectedBytes::MAX)
    }

    /// The beginning of a reply that is wrong as a whole.
    pub(crate) fn of_reply(all: &[u8]) -> UnexpectedBytes {
        UnexpectedBytes::cut(0, all, UnexpectedBytes::MAX_OF_REPLY)
    }

    fn cut(position: u64, all: &[u8], most: usize) -> UnexpectedBytes {
        let len = all.len().min(most);
        let mut bytes = [0; UnexpectedBytes::MAX_OF_REPLY];
        bytes[..len].copy_from_slice(&all[..len]);
        UnexpectedBytes { position, bytes, len: len as u8, has_more: len < all.len() }
    }
}

impl fmt::Display for UnexpectedBytes {
    /// Formats bytes like a Rust byte string, which keeps text legible and other bytes exact.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.bytes[..usize::from(self.len)].escape_ascii();
        let more = if self.has_more { "…" } else { "" };
        write!(f, "\"{shown}\"{more} at byte {}", self.position)
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Local::Socket(addr) => addr.fmt(f),
            Local::Source(ip) => ip.fmt(f),
        }
    }
}

/// Count and times of one kind of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailureCount {
    pub(crate) failure: Failure,
    /// During the whole run.
    pub(crate) total: u64,
    /// Of these, messages that were sent in the measured window.
    pub(crate) measured: u64,
    pub(crate) first_at: Instant,
    pub(crate) last_at: Instant,
    /// Example of the first failure.
    pub(crate) example: Example,
}

/// Counts failures by kind. Its size is bounded by the number of kinds, not by the number of
/// failures.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailureTable {
    rows: Vec<FailureCount>,
}

impl FailureTable {
    pub(crate) fn count(
        &mut self,
        failure: Failure,
        is_measured: bool,
        at: Instant,
        example: Example,
    ) {
        self.add(FailureCount {
            failure,
            total: 1,
            measured: u64::from(is_measured),
            first_at: at,
            last_at: at,
            example,
        });
    }

    pub(crate) fn merge(&mut self, other: &FailureTable) {
        for row in &other.rows {
            self.add(*row);
        }
    }

    /// The rows, by stage, class and errno.
    pub(crate) fn rows(&self) -> &[FailureCount] {
        &self.rows
    }

    fn add(&mut self, count: FailureCount) {
        match self.rows.binary_search_by_key(&count.failure, |row| row.failure) {
            Ok(index) => self.rows[index].merge(count),
            Err(index) => self.rows.insert(index, count),
        }
    }
}

impl FailureCount {
    fn merge(&mut self, other: FailureCount) {
        self.total += other.total;
        self.measured += other.measured;
        self.last_at = self.last_at.max(other.last_at);
        if other.first_at < self.first_at {
            self.first_at = other.first_at;
            self.example = other.example;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Goal: errno decides the class, and an error without one still has a class.
    ///
    /// Method: one error per class.
    ///
    /// Kills: counting a broken pipe separately from a reset; the class `io` for a connect timeout.
    #[test]
    fn classes_follow_errno() {
        let class =
            |errno| Failure::from_io(Stage::Recv, &io::Error::from_raw_os_error(errno)).class;
        assert_eq!(class(libc::ECONNREFUSED), Class::Refused);
        assert_eq!(class(libc::ENOENT), Class::Refused);
        assert_eq!(class(libc::EHOSTUNREACH), Class::Unreachable);
        assert_eq!(class(libc::EPIPE), Class::Reset);
        assert_eq!(class(libc::ECONNRESET), Class::Reset);
        assert_eq!(class(libc::ETIMEDOUT), Class::Timeout);
        assert_eq!(class(libc::EMFILE), Class::Io);
        let late = Failure::from_io(Stage::Connect, &io::ErrorKind::TimedOut.into());
        assert_eq!((late.class, late.errno_name()), (Class::Timeout, None));
    }

    /// Goal: equal failures share a row, different ones do not. Merging adds both columns, and
    /// keeps the first and the last time with the example of the first failure.
    ///
    /// Method: count into two tables at known times, merge them in either order, read the rows.
    ///
    /// Kills: a key that ignores the stage or the errno; merging only the totals; the example of
    /// the worker that is merged last; a last time that is the first one.
    #[test]
    fn equal_failures_are_counted_together() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let on = |connection| Example { connection, ..Example::default() };
        let reset = Failure::from_io(Stage::Send, &io::Error::from_raw_os_error(libc::EPIPE));
        let eof = Failure::of(Stage::Recv, Class::Eof);
        let mut table = FailureTable::default();
        table.count(eof, true, at(5), on(7));
        table.count(reset, false, at(6), on(8));
        let mut other = FailureTable::default();
        other.count(eof, true, at(3), on(1));
        other.count(eof, false, at(4), on(2));
        let row = |failure, total, measured, [first, last]: [u64; 2], connection| FailureCount {
            failure,
            total,
            measured,
            first_at: at(first),
            last_at: at(last),
            example: on(connection),
        };
        for [into, from] in [[&table, &other], [&other, &table]] {
            let mut merged = into.clone();
            merged.merge(from);
            let expected = [row(reset, 1, 0, [6, 6], 8), row(eof, 3, 2, [3, 5], 1)];
            assert_eq!(merged.rows(), expected);
        }
    }

    /// Goal: any unexpected bytes are shown legibly and briefly.
    ///
    /// Method: text with a line break, bytes that are not text, exactly as many bytes as fit, and
    /// more.
    ///
    /// Kills: a control character that reaches the terminal; truncated bytes without an ellipsis.
    #[test]
    fn unexpected_bytes_are_legible() {
        let shown = |bytes: &[u8]| UnexpectedBytes::of(9, bytes).to_string();
        assert_eq!(shown(b"HTTP/1.1\r\n"), r#""HTTP/1.1\r\n" at byte 9"#);
        assert_eq!(shown(b"\x00\xff\"\x1b"), r#""\x00\xff\"\x1b" at byte 9"#);
        assert_eq!(shown(b"0123456789abcdef"), "\"0123456789abcdef\" at byte 9");
        assert_eq!(shown(b"0123456789abcdefg"), "\"0123456789abcdef\"… at byte 9");
        let reply = UnexpectedBytes::of_reply(&[b'x'; 65]).to_string();
        assert_eq!(reply, format!("\"{}\"… at byte 0", "x".repeat(64)));
    }
}
