//! What an error is: at which stage, of which class, with which errno; and a table that counts them.
//!
//! "read 3268" tells nobody anything. Every failure of a connection becomes one [`Failure`], and
//! equal failures are counted together.

use std::io;

use crate::errno;

/// Where a connection was when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Connect,
    Send,
    Recv,
}

impl Stage {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stage::Connect => "connect",
            Stage::Send => "send",
            Stage::Recv => "recv",
        }
    }
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Class {
    /// Nobody listens there.
    Refused,
    /// No route.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// The peer cut the connection.
    Reset,
    /// The peer closed between two messages.
    Eof,
    /// The peer closed in the middle of a reply.
    Short,
    /// More bytes than were sent, or other ones.
    Mismatch,
    /// The reply to another message of this connection (`--verify`).
    Order,
    /// The reply to a message of another connection (`--verify`).
    CrossTalk,
    /// A reply with a status that was not expected. The connection goes on.
    Status,
    /// No reply of the protocol at all.
    Malformed,
    /// The peer said that it closes the connection after a reply, and what waited behind that reply
    /// gets none. Without a message it is no error.
    Closed,
    /// Anything else; the errno says what.
    Io,
}

impl Class {
    pub(crate) const ALL: [Class; 13] = [
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
    /// What the reply said, of [`Class::Status`].
    pub(crate) status: Option<u16>,
}

impl Failure {
    /// A failure that no system call reported.
    pub(crate) const fn of(stage: Stage, class: Class) -> Failure {
        Failure { stage, class, errno: None, status: None }
    }

    /// A reply that says that it is not what was asked for.
    pub(crate) const fn of_status(status: u16) -> Failure {
        Failure { status: Some(status), ..Failure::of(Stage::Recv, Class::Status) }
    }

    pub(crate) fn from_io(stage: Stage, error: &io::Error) -> Failure {
        let errno = error.raw_os_error();
        let class = match errno {
            Some(libc::ECONNREFUSED) => Class::Refused,
            Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EHOSTDOWN) => {
                Class::Unreachable
            }
            Some(libc::ECONNRESET | libc::EPIPE | libc::ECONNABORTED) => Class::Reset,
            Some(libc::ETIMEDOUT) => Class::Timeout,
            Some(_) => Class::Io,
            None if error.kind() == io::ErrorKind::TimedOut => Class::Timeout,
            None => Class::Io,
        };
        Failure { stage, class, errno, status: None }
    }

    /// A reply that did not come within our own patience: no system call failed.
    pub(crate) const REPLY_TIMEOUT: Failure = Failure::of(Stage::Recv, Class::Timeout);

    pub(crate) fn errno_name(&self) -> Option<String> {
        self.errno.map(errno::name)
    }
}

/// How often one kind of failure happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailureCount {
    pub(crate) failure: Failure,
    /// During the whole run.
    pub(crate) total: u64,
    /// Of these, messages that were sent in the measured window.
    pub(crate) measured: u64,
}

/// Counts failures by kind. Its size is bounded by the kinds there are, never by how many happen.
#[derive(Clone, Debug, Default)]
pub(crate) struct FailureTable {
    rows: Vec<FailureCount>,
}

impl FailureTable {
    pub(crate) fn count(&mut self, failure: Failure, is_measured: bool) {
        self.add(FailureCount { failure, total: 1, measured: u64::from(is_measured) });
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
            Ok(index) => {
                self.rows[index].total += count.total;
                self.rows[index].measured += count.measured;
            }
            Err(index) => self.rows.insert(index, count),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: errno decides the class, and an error without one still has a class.
    ///
    /// Method: one error per class.
    ///
    /// Kills: counting a broken pipe apart from a reset; calling a connect that ran out of time "io".
    #[test]
    fn classes_follow_errno() {
        let class =
            |errno| Failure::from_io(Stage::Recv, &io::Error::from_raw_os_error(errno)).class;
        assert_eq!(class(libc::ECONNREFUSED), Class::Refused);
        assert_eq!(class(libc::EHOSTUNREACH), Class::Unreachable);
        assert_eq!(class(libc::EPIPE), Class::Reset);
        assert_eq!(class(libc::ECONNRESET), Class::Reset);
        assert_eq!(class(libc::ETIMEDOUT), Class::Timeout);
        assert_eq!(class(libc::EMFILE), Class::Io);
        let late = Failure::from_io(Stage::Connect, &io::ErrorKind::TimedOut.into());
        assert_eq!((late.class, late.errno_name()), (Class::Timeout, None));
    }

    /// Goal: equal failures share a row, different ones do not, and merging adds both columns.
    ///
    /// Method: count into two tables, merge, read the rows.
    ///
    /// Kills: a key that ignores the stage or the errno; merging only the totals.
    #[test]
    fn equal_failures_are_counted_together() {
        let reset = Failure::from_io(Stage::Send, &io::Error::from_raw_os_error(libc::EPIPE));
        let eof = Failure::of(Stage::Recv, Class::Eof);
        let mut table = FailureTable::default();
        table.count(eof, true);
        table.count(reset, false);
        let mut other = FailureTable::default();
        other.count(eof, true);
        other.count(eof, false);
        table.merge(&other);
        assert_eq!(
            table.rows(),
            [
                FailureCount { failure: reset, total: 1, measured: 0 },
                FailureCount { failure: eof, total: 3, measured: 2 },
            ]
        );
    }
}
