//! The kernel's side: which operations complete, when, and with what.

use std::os::fd::RawFd;
use std::rc::Rc;

use super::Run;
use super::books::{Conn, File, InEnd, Kind, Op, pattern};
use super::{descriptors, memory};
use crate::driver::request::{Flags, Request, Verb};
use crate::driver::uring::entry::Entry;
use crate::driver::uring::scripted::{FailAt, Script};
use crate::sys::errno;

const ECONNRESET: i32 = 104;
const ECONNREFUSED: i32 = 111;
/// An internal errno that some kernels let through (H19).
const RESTART: i32 = 512;

/// Connections of one run.
pub(super) const CONNS_MAX: usize = 20;

/// Bytes that one connection receives, so that the pattern is long enough.
const DELIVERED_MAX: usize = 60_000;

impl Run {
    /// Has the script report to the books, and lets the kernel act when the loop sleeps.
    pub(super) fn connect(self: &Rc<Run>) {
        let run = Rc::downgrade(self);
        self.script.observe(move |user_data, entry| {
            if let Some(run) = run.upgrade() {
                run.consumed(user_data, entry);
            }
        });
        let run = Rc::downgrade(self);
        self.script.direct(move |_script| {
            if let Some(run) = run.upgrade() {
                run.while_asleep();
            }
        });
    }

    fn consumed(&self, user_data: u64, entry: Entry) {
        let mut books = self.books.borrow_mut();
        match entry {
            Entry::Op(request) => books.submitted(user_data, request),
            Entry::Cancel { target } => {
                books.trace.note("cancel", target, 0);
                books.cancels.push((user_data, target));
            }
            Entry::Timeout { deadline_ns } | Entry::TimeoutUpdate { deadline_ns, .. } => {
                books.trace.note("timeout", user_data, deadline_ns as i64);
            }
            Entry::Nop | Entry::WakeRead { .. } => {}
        }
    }

    /// The loop is about to sleep and nothing is to come.
    fn while_asleep(&self) {
        self.look();
        if self.is_kind.get() {
            return self.answer_everything();
        }
        self.is_asleep.set(true);
        for _ in 0..self.choices.below(4) {
            self.step();
        }
        self.is_asleep.set(false);
    }

    /// The kernel looks at its cancels, and the oracle at the memory.
    pub(super) fn look(&self) {
        self.books.borrow_mut().check_memory();
        self.check_buffers();
        let cancels = std::mem::take(&mut self.books.borrow_mut().cancels);
        for (cancel, target) in cancels {
            self.cancel(cancel, target);
        }
    }

    fn check_buffers(&self) {
        let mut ids = self.script.provided_ids();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        if ids.len() < count {
            self.books.borrow_mut().violated(format_args!("a buffer was lent twice: {ids:?}"));
        }
    }

    /// One decision of the kernel.
    pub(super) fn step(&self) {
        self.look();
        match self.choices.byte() % 32 {
            0..=21 => self.answer_one(),
            22..=25 => (0..2 + self.choices.below(40)).for_each(|_| self.answer_one()),
            26 => self.answer_everything(),
            27 => {
                let code =
                    self.choices.of(&[errno::EINTR, errno::EAGAIN, errno::EBUSY, errno::ENOMEM]);
                self.fail_enter(code);
            }
            28 => self.script.set_consume_max([None, Some(1), Some(3)][self.choices.below(3)]),
            29 => self.script.fail_timeout_update(self.choices.of(&[errno::EINVAL, errno::ENOMEM])),
            30 => self.script.stall_ns(self.choices.of(&[1, 1_000_000, 200_000_000])),
            _ if self.is_asleep.get() => {} // the sleep ends with what is hidden
            _ => self.script.show(),
        }
    }

    pub(super) fn fail_enter(&self, code: i32) {
        let at = self.choices.of(&[FailAt::BeforeSubmission, FailAt::AfterSubmission]);
        self.books.borrow_mut().trace.note("enter fails", at as u64, i64::from(code));
        self.script.fail_enter(at, code);
    }

    /// Answers everything in flight in the way that lets the program go on.
    pub(super) fn answer_everything(&self) {
        if self.books.borrow().is_mute {
            return;
        }
        let ops: Vec<Op> = self.books.borrow().ops.clone();
        for op in ops {
            self.satisfy(op);
        }
    }

    fn answer_one(&self) {
        let op = {
            let books = self.books.borrow();
            if books.ops.is_empty() || books.is_mute || books.violation.is_some() {
                return;
            }
            books.ops[self.choices.below(books.ops.len())]
        };
        if self.is_past(op) {
            return;
        }
        if op.is_cancelled && self.choices.one_in(2) {
            return self.end_cancelled(op);
        }
        match op.submitted.request {
            Request::Accept { .. } => self.answer_accept(op),
            Request::Recv { .. } => self.answer_recv(op),
            Request::RecvInto { target_len, .. } => self.answer_recv_into(op, target_len as usize),
            Request::Send { source, source_len, .. } => {
                self.answer_send(op, source, source_len as usize);
            }
            Request::Connect { .. } => self.answer_connect(op),
            Request::Poll { .. } | Request::PollChanges { .. } => self.answer_poll(op),
        }
    }

    // ---- cancels -----------------------------------------------------------------------------

    fn cancel(&self, cancel: u64, target: u64) {
        let found = self.books.borrow().find_op(target);
        let Some(place) = found else {
            return self.script.obey_cancel(cancel, target); // the driver's own, or too late
        };
        self.books.borrow_mut().ops[place].is_cancelled = true;
        let op = self.books.borrow().ops[place];
        if self.books.borrow().is_mute {
            return;
        }
        match self.choices.byte() % 8 {
            0..=3 => self.end_cancelled(op),
            4 => self.script.post_result(cancel, -errno::EALREADY), // still running
            5 => {
                // The operation is over, and its completion is on the way.
                self.satisfy(op);
                let is_over = self.books.borrow().find_op(target).is_none();
                if is_over {
                    self.script.post_result(cancel, -errno::ENOENT);
                }
            }
            _ => {} // it takes a while, or is lost (H33)
        }
    }

    /// Ends an operation that has been cancelled. It may have done something all the same.
    fn end_cancelled(&self, op: Op) {
        match op.submitted.request {
            Request::Recv { .. } if self.choices.one_in(4) && self.script.provided_count() > 0 => {
                self.finish(op, |script| {
                    script.complete_with_buffer(op.submitted, -errno::ECANCELED);
                });
            }
            Request::Recv { .. } | Request::RecvInto { .. } if self.choices.one_in(4) => {
                self.receive(op, 1 + self.choices.below(8), false);
            }
            Request::Accept { .. } if self.choices.one_in(4) => self.accept(op, false),
            Request::Send { source_len, .. } => {
                // Some of it may have been sent, and is not reported (H32).
                let count = self.choices.below(2) * source_len as usize;
                self.take_bytes(op, count);
                self.books.borrow_mut().conns[op.conn()].out_error = Some(errno::ECANCELED);
                self.fail(op, errno::ECANCELED);
            }
            _ if self.choices.one_in(8) => self.fail(op, self.choices.of(&[errno::EINTR, RESTART])),
            _ => self.fail(op, errno::ECANCELED),
        }
    }

    /// Whether the library has let go of the operation's descriptor, because the driver has failed.
    fn is_past(&self, op: Op) -> bool {
        let makes_descriptor = matches!(op.verb(), Verb::Accept | Verb::Connect);
        self.books.borrow().is_broken && makes_descriptor
    }

    // ---- answers by kind ---------------------------------------------------------------------

    /// The answer that lets the program go on.
    pub(super) fn satisfy(&self, op: Op) {
        if self.is_past(op) {
            return;
        }
        match op.submitted.request {
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
            Request::Recv { .. } | Request::RecvInto { .. } => self.end_stream(op),
            Request::Send { source_len, .. } => self.send(op, source_len as usize),
            Request::Connect { .. } => self.connected(op),
            Request::Poll { .. } => self.polled(op, libc::POLLIN | libc::POLLOUT, false),
            Request::PollChanges { .. } => self.polled(op, libc::POLLIN | libc::POLLOUT, true),
        }
    }

    fn answer_accept(&self, op: Op) {
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
    fn accept(&self, op: Op, more: bool) {
        let number = self.new_conn();
        let mut books = self.books.borrow_mut();
        let Kind::Listener(listener) = op.kind else { panic!("{op:?} accepts nothing") };
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

    fn answer_recv(&self, op: Op) {
        match self.choices.byte() % 16 {
            0..=7 => self.receive(op, 1 + self.choices.below(200), true),
            8..=9 => self.receive(op, 1 + self.choices.below(200), false),
            10 => (0..20).for_each(|_| self.receive(op, 1, true)),
            11..=12 if self.script.provided_count() == 0 => self.fail(op, errno::ENOBUFS),
            13 => self.end_stream(op),
            14 => self.fail_recv(op),
            _ => self.fail(op, self.choices.of(&[errno::EINTR, errno::EAGAIN, RESTART])),
        }
    }

    fn answer_recv_into(&self, op: Op, target_len: usize) {
        match self.choices.byte() % 8 {
            0..=3 => self.receive(op, 1 + self.choices.below(200), false),
            4 => self.receive(op, target_len, false),
            5 => self.end_stream(op),
            6 => self.fail_recv(op),
            _ => self.fail(op, self.choices.of(&[errno::EINTR, errno::EAGAIN, RESTART])),
        }
    }

    /// Delivers up to `len` bytes of the connection's stream. A multishot that finds no buffer ends.
    fn receive(&self, op: Op, len: usize, more: bool) {
        let number = op.conn();
        let is_known = self.books.borrow().find_op(op.submitted.user_data).is_some();
        if !is_known {
            return; // ended by an earlier one of a burst
        }
        let (start, end) = {
            let books = self.books.borrow();
            (books.conns[number].in_delivered, books.conns[number].in_end)
        };
        if end.is_some() || start + len > DELIVERED_MAX {
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
    fn end_stream(&self, op: Op) {
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

    fn fail_recv(&self, op: Op) {
        let number = op.conn();
        let code = self.choices.of(&[ECONNRESET, errno::ETIMEDOUT, errno::ENOMEM]);
        self.books.borrow_mut().conns[number].in_end.get_or_insert(InEnd::Failed(code));
        self.end_stream(op);
    }

    fn answer_send(&self, op: Op, source: *const u8, len: usize) {
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

    fn send(&self, op: Op, count: usize) {
        self.take_bytes(op, count);
        self.complete(op, count as i32, false);
    }

    /// The kernel reads the first bytes of a send's source.
    fn take_bytes(&self, op: Op, count: usize) {
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

    fn answer_connect(&self, op: Op) {
        match self.choices.byte() % 8 {
            0..=4 => self.connected(op),
            5 => self.fail(op, errno::ETIMEDOUT),
            _ => self.fail(op, ECONNREFUSED),
        }
    }

    /// The descriptor becomes one end of a pair: what connecting means to the model.
    fn connected(&self, op: Op) {
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

    fn answer_poll(&self, op: Op) {
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

    fn polled(&self, op: Op, events: i16, more: bool) {
        if let Kind::Watch(number) = op.kind {
            let side = usize::from(op.verb() == Verb::PollWritable);
            self.books.borrow_mut().watches[number].answers[side] += 1;
        }
        self.complete(op, i32::from(events), more);
    }

    // ---- completions -------------------------------------------------------------------------

    fn fail(&self, op: Op, code: i32) {
        self.complete(op, -code, false);
    }

    fn complete(&self, op: Op, result: i32, more: bool) {
        let flags = if more { Flags::NONE.with_more() } else { Flags::NONE };
        let complete = |script: &Script| script.complete(op.submitted, result, flags);
        self.books.borrow_mut().trace.note("result", op.submitted.user_data, i64::from(result));
        match more {
            true => self.go_on(op, complete),
            false => self.finish(op, complete),
        }
    }

    fn go_on(&self, op: Op, complete: impl FnOnce(&Script)) {
        let mut books = self.books.borrow_mut();
        books.check_open(&op);
        books.check_memory();
        if books.violation.is_none() {
            drop(books);
            complete(&self.script);
        }
    }

    /// The final completion: the kernel forgets the operation.
    fn finish(&self, op: Op, complete: impl FnOnce(&Script)) {
        self.go_on(op, complete);
        memory::take_back(op.submitted.user_data);
        let mut books = self.books.borrow_mut();
        if let Some(place) = books.find_op(op.submitted.user_data) {
            books.ops.remove(place);
        }
    }
}
