//! The answers of the kernel, by kind of operation.

use std::os::fd::RawFd;

use super::Run;
use super::books::{Conn, File, InEnd, Kind, Op, pattern};
use super::descriptors;
use super::kernel::CONNS_MAX;
use crate::driver::request::{OpKind, Request};
use crate::driver::uring::scripted::Script;
use crate::net::Overflow;
use crate::sys::errno;

const ECONNRESET: i32 = 104;
const ECONNREFUSED: i32 = 111;
/// An internal errno that some kernels let through (H19).
pub(super) const RESTART: i32 = 512;

/// Bytes that one connection receives, or little more, so that the pattern is long enough.
const DELIVERED_MAX: usize = 180_000;

impl Run {
    /// The answer that lets the program go on.
    pub(super) fn satisfy(&self, op: Op) {
        if self.is_past(op) {
            return;
        }
        match op.submitted.request {
            _ if op.is_cancel_lost => {}
            _ if op.is_cancelled && !matches!(op.submitted.request, Request::Send { .. }) => {
                self.fail(op, errno::ECANCELED);
            }
            Request::Accept { .. } => {
                let wanted_count = match self.books.borrow().listener_of(op) {
                    Some(listener) => listener.waiting_count.saturating_sub(listener.untaken_count),
                    None => 0,
                };
                (0..wanted_count).for_each(|_| self.accept(op, true));
            }
            // The program has dropped the resource: ending the operation is the library's task.
            _ if self.books.borrow().is_orphan(op) => {}
            Request::Recv { .. } | Request::RecvInto { .. } => self.end_stream(op),
            Request::Send { source_len, .. } => self.send(op, source_len as usize),
            Request::Connect { .. } => self.connected(op),
            Request::Poll { .. } => self.polled(op, libc::POLLIN | libc::POLLOUT, false),
            Request::PollChanges { .. } => self.polled(op, libc::POLLIN | libc::POLLOUT, true),
        }
    }

    /// The last completion of an operation that has done something.
    pub(super) fn succeed(&self, op: Op) {
        if self.is_past(op) {
            return;
        }
        let both = libc::POLLIN | libc::POLLOUT;
        match op.submitted.request {
            Request::Accept { .. } => self.accept(op, false),
            Request::Recv { .. } | Request::RecvInto { .. } => self.receive(op, 5, false),
            Request::Send { source_len, .. } => self.send(op, source_len as usize),
            Request::Connect { .. } => self.connected(op),
            Request::Poll { .. } | Request::PollChanges { .. } => self.polled(op, both, false),
        }
    }

    pub(super) fn answer_accept(&self, op: Op) {
        match self.choices.byte() % 16 {
            0..=11 if self.books.borrow().conns.len() >= CONNS_MAX * 2 => {}
            0..=8 => self.accept(op, true),
            9..=11 => self.accept(op, false),
            12 => self.fail(op, self.choices.of(&[errno::ECONNABORTED, errno::EINTR, RESTART])),
            13..=14 => {
                let code = self.choices.of(&[errno::EMFILE, errno::ENFILE, errno::ENOMEM]);
                self.books.borrow_mut().exhausted_errors += 1;
                self.fail(op, code);
            }
            _ => {
                let code = self.choices.of(&[errno::EINVAL, errno::EOPNOTSUPP]);
                if let Kind::Listener(number) = op.kind {
                    self.books.borrow_mut().listeners[number].errors.push(code);
                }
                self.fail(op, code);
            }
        }
    }

    /// Accepts a connection: the descriptor is the library's from now on.
    pub(super) fn accept(&self, op: Op, more: bool) {
        let Kind::Listener(listener) = op.kind else { panic!("{op:?} accepts nothing") };
        let Request::Accept { is_multishot, .. } = op.submitted.request else {
            panic!("{op:?} accepts nothing");
        };
        if self.books.borrow().find_op(op.submitted.user_data).is_none() {
            return; // ended by an earlier one
        }
        let more = more && is_multishot;
        let open_count = self.books.borrow().open_count(listener);
        let number = self.new_conn();
        let mut books = self.books.borrow_mut();
        if let Some((max, Overflow::LeaveInBacklog)) = books.listeners[listener].limit
            && open_count >= max
        {
            books.violated(format_args!("listener {listener} accepts beyond {max} connections"));
        }
        books.listeners[listener].untaken_count += 1;
        books.conns[number].listener = Some(listener);
        let fd = books.conns[number].fd;
        books.trace.note("accepted", number as u64, i64::from(more));
        drop(books);
        self.complete(op, fd, more);
    }

    /// A connection of which the library owns one end, or will.
    pub(super) fn new_conn(&self) -> usize {
        let (fd, peer) = descriptors::pair();
        let inode = descriptors::inode(fd).expect("just opened");
        let mut books = self.books.borrow_mut();
        books.conns.push(Conn { fd, inode, peer: Some(peer), ..Conn::default() });
        let number = books.conns.len() - 1;
        books.files.push(File { fd, inode, kind: Kind::Conn(number) });
        number
    }

    pub(super) fn answer_recv(&self, op: Op) {
        match self.choices.byte() % 16 {
            0..=7 => self.receive(op, 1 + self.choices.below(200), true),
            8..=9 => self.receive(op, 1 + self.choices.below(200), false),
            10 => {
                // A flood, of single bytes or of full buffers.
                let len = self.choices.of(&[1, usize::MAX]);
                (0..20).for_each(|_| self.receive(op, len, true));
            }
            11..=12 if self.script.provided_count() == 0 => self.fail(op, errno::ENOBUFS),
            13 => self.end_stream(op),
            14 => self.fail_recv(op),
            _ => self.fail(op, self.choices.of(&[errno::EINTR, errno::EAGAIN, RESTART])),
        }
    }

    pub(super) fn answer_recv_into(&self, op: Op, target_len: usize) {
        match self.choices.byte() % 8 {
            0..=3 => self.receive(op, 1 + self.choices.below(200), false),
            4 => self.receive(op, target_len, false),
            5 => self.end_stream(op),
            6 => self.fail_recv(op),
            _ => self.fail(op, self.choices.of(&[errno::EINTR, errno::EAGAIN, RESTART])),
        }
    }

    /// Delivers up to `len` bytes of the connection's stream. A multishot that finds no buffer
    /// ends.
    pub(super) fn receive(&self, op: Op, len: usize, more: bool) {
        let number = op.conn();
        let is_known = self.books.borrow().find_op(op.submitted.user_data).is_some();
        if !is_known {
            return; // ended by an earlier one of a burst
        }
        let (start, end) = {
            let books = self.books.borrow();
            (books.conns[number].in_delivered, books.conns[number].in_end)
        };
        if end.is_some() || start > DELIVERED_MAX {
            return self.end_stream(op);
        }
        let (len, more) = match op.submitted.request {
            Request::RecvInto { target_len, .. } => (len.min(target_len as usize), false),
            _ if self.script.provided_count() == 0 => return self.fail(op, errno::ENOBUFS),
            _ => (len.min(self.script.provided_len()), more),
        };
        self.books.borrow_mut().conns[number].in_delivered += len;
        self.books.borrow_mut().trace.note("delivered", number as u64, len as i64);
        let bytes = pattern(number, start, len);
        let deliver = |script: &Script| {
            assert!(script.deliver(op.submitted, bytes, more), "a buffer was there");
        };
        match more {
            true => self.go_on(op, deliver),
            false => self.finish(op, deliver),
        }
    }

    /// Ends the stream, or repeats how it has ended.
    pub(super) fn end_stream(&self, op: Op) {
        let number = op.conn();
        let end = *self.books.borrow_mut().conns[number].in_end.get_or_insert(InEnd::Eof);
        let is_multishot = matches!(op.submitted.request, Request::Recv { .. });
        match end {
            InEnd::Failed(code) => self.fail(op, code),
            // An empty pool hides the end (H48).
            InEnd::Eof if is_multishot && self.script.provided_count() == 0 => {
                self.fail(op, errno::ENOBUFS);
            }
            InEnd::Eof => self.complete(op, 0, false),
        }
    }

    pub(super) fn fail_recv(&self, op: Op) {
        let number = op.conn();
        let code = self.choices.of(&[ECONNRESET, errno::ETIMEDOUT, errno::ENOMEM]);
        self.books.borrow_mut().conns[number].in_end.get_or_insert(InEnd::Failed(code));
        self.end_stream(op);
    }

    pub(super) fn answer_send(&self, op: Op, source: *const u8, len: usize) {
        self.books.borrow_mut().check_source(op.kind, source, len);
        match self.choices.byte() % 16 {
            0..=5 => self.send(op, len),
            6..=8 => self.send(op, 1),
            9..=11 => self.send(op, 1 + self.choices.below(len)),
            12..=13 => self.fail(op, self.choices.of(&[errno::EINTR, errno::EAGAIN, RESTART])),
            _ => {
                let code =
                    self.choices.of(&[ECONNRESET, errno::EPIPE, errno::ENOBUFS, errno::ETIMEDOUT]);
                self.books.borrow_mut().conns[op.conn()].out_error = Some(code);
                self.fail(op, code);
            }
        }
    }

    pub(super) fn send(&self, op: Op, count: usize) {
        self.take_bytes(op, count);
        self.complete(op, count as i32, false);
    }

    /// The kernel reads the first bytes of a send's source.
    pub(super) fn take_bytes(&self, op: Op, count: usize) {
        let Request::Send { source, .. } = op.submitted.request else {
            panic!("{op:?} sends nothing");
        };
        let mut books = self.books.borrow_mut();
        books.check_memory();
        if books.violation.is_none() {
            books.check_source(op.kind, source, count);
            books.conns[op.conn()].out_taken += count;
        }
    }

    pub(super) fn answer_connect(&self, op: Op) {
        match self.choices.byte() % 8 {
            0..=4 => self.connected(op),
            5 => self.fail(op, errno::ETIMEDOUT),
            _ => self.fail(op, ECONNREFUSED),
        }
    }

    /// The descriptor becomes one end of a pair: what connecting means to the model.
    pub(super) fn connected(&self, op: Op) {
        let (fd, peer) = descriptors::pair();
        {
            let mut books = self.books.borrow_mut();
            books.check_open(&op);
            let target: RawFd = super::books::fd_of(op.submitted.request);
            descriptors::replace(target, fd);
            let inode = descriptors::inode(target).expect("just connected");
            let conn = &mut books.conns[op.conn()];
            (conn.inode, conn.peer) = (inode, Some(peer));
            let file = books.files.iter_mut().find(|file| file.kind == op.kind);
            file.expect("known since the connect").inode = inode;
            let place = books.find_op(op.submitted.user_data).expect("in flight");
            books.ops[place].inode = inode;
        }
        let place = self.books.borrow().find_op(op.submitted.user_data).expect("in flight");
        let op = self.books.borrow().ops[place];
        self.complete(op, 0, false);
    }

    pub(super) fn answer_poll(&self, op: Op) {
        let is_multishot = matches!(op.submitted.request, Request::PollChanges { .. });
        let both = libc::POLLIN | libc::POLLOUT;
        match self.choices.byte() % 8 {
            0..=3 => self.polled(op, both, is_multishot && self.choices.one_in(2)),
            4 => self.polled(op, libc::POLLERR | libc::POLLHUP, false),
            // A poll for writing also answers when the peer has finished sending.
            5 => self.polled(op, both | libc::POLLRDHUP, is_multishot),
            6 => self.fail(op, self.choices.of(&[errno::EINTR, RESTART])),
            _ => {
                if let Kind::Watch(number) = op.kind {
                    self.books.borrow_mut().watches[number].errors.push(errno::ENOMEM);
                }
                self.fail(op, errno::ENOMEM);
            }
        }
    }

    pub(super) fn polled(&self, op: Op, events: i16, more: bool) {
        if let Kind::Watch(number) = op.kind {
            let side = usize::from(op.op_kind() == OpKind::PollWritable);
            self.books.borrow_mut().watches[number].answers[side] += 1;
        }
        self.complete(op, i32::from(events), more);
    }
}
