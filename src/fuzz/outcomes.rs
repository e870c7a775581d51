//! What the program is given, compared with the books.

use std::io;

use super::books::{Books, InEnd, pattern};
use super::descriptors;

impl Books {
    /// The program has read these bytes. None are the end.
    pub(super) fn read(&mut self, number: usize, bytes: &[u8]) {
        self.trace.note("read", number as u64, bytes.len() as i64);
        let conn = &mut self.conns[number];
        let (start, delivered, end) = (conn.in_read, conn.in_delivered, conn.in_end);
        conn.in_read += bytes.len();
        if bytes.is_empty() {
            if end != Some(InEnd::Eof) || start != delivered {
                self.violated(format_args!(
                    "connection {number} ends at {start}; delivered {delivered} and {end:?}"
                ));
            }
        } else if start + bytes.len() > delivered || bytes != pattern(number, start, bytes.len()) {
            let len = bytes.len();
            self.violated(format_args!(
                "connection {number} reads {len} wrong bytes at {start}; delivered {delivered}"
            ));
        }
    }

    /// A read that asked for `asked` bytes at least has failed.
    pub(super) fn read_failed(&mut self, number: usize, asked: usize, error: &io::Error) {
        let conn = &self.conns[number];
        let code = error.raw_os_error();
        self.trace.note("read failed", number as u64, i64::from(code.unwrap_or(0)));
        let (read, delivered, end) = (conn.in_read, conn.in_delivered, conn.in_end);
        let is_end = end.is_some_and(|end| match end {
            InEnd::Failed(known) => code == Some(known),
            // A reset that a send was given: the kernel reports it once, and then the end.
            InEnd::Eof if code.is_some() => code == conn.out_error,
            InEnd::Eof => error.kind() == io::ErrorKind::UnexpectedEof,
        });
        let is_right = conn.is_damaged || is_end && delivered - read < asked;
        if !(self.is_broken || self.is_over || is_right) {
            self.violated(format_args!(
                "connection {number} fails to read {asked} at {read} of {delivered}, {end:?}: \
                 {error}"
            ));
        }
    }

    pub(super) fn write_failed(&mut self, number: usize, error: &io::Error) {
        let conn = &self.conns[number];
        let code = error.raw_os_error();
        self.trace.note("write failed", number as u64, i64::from(code.unwrap_or(0)));
        // A reset that a receive was given: the kernel reports it once, and then EPIPE.
        let of_reading = match conn.in_end {
            Some(InEnd::Failed(known)) if conn.out_error == Some(libc::EPIPE) => Some(known),
            _ => None,
        };
        let is_known = code.is_some() && (code == conn.out_error || code == of_reading);
        let is_closed = conn.is_fin_asked && code == Some(libc::EPIPE);
        if !(self.is_broken || self.is_over || is_known || is_closed) {
            let known = conn.out_error;
            self.violated(format_args!("connection {number} fails to write: {error}; {known:?}"));
        }
    }

    /// The library has reported that everything was sent.
    pub(super) fn flushed(&mut self, number: usize) {
        self.trace.note("flushed", number as u64, 0);
        let conn = &self.conns[number];
        let (taken, queued) = (conn.out_taken, conn.out_confirmed);
        if taken < queued {
            self.violated(format_args!("connection {number} is flushed: {taken} of {queued} sent"));
        }
    }

    /// The peer of a connection must have seen the end by now.
    pub(super) fn check_ended(&mut self, number: usize) {
        let peer = self.conns[number].peer;
        if peer.is_some_and(|peer| !descriptors::has_ended(peer)) {
            self.violated(format_args!("the peer of connection {number} has not seen the end"));
        }
    }

    /// Whether bytes of the connection may be lost.
    pub(super) fn may_lose(&self, number: usize) -> bool {
        let conn = &self.conns[number];
        self.is_broken
            || self.is_over
            || conn.out_error.is_some()
            || conn.is_aborted
            || conn.is_loss_known
    }
}
