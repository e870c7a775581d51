//! The kernel's side: which operations complete, when, and with what.

use std::rc::Rc;

use super::Run;
use super::answers::RESTART;
use super::books::{Kind, Op};
use super::memory;
use crate::driver::request::{Flags, OpKind, Request};
use crate::driver::uring::entry::Entry;
use crate::driver::uring::scripted::{FailAt, Script, Seen};
use crate::sys::errno;

/// Cancels of one operation that the kernel loses. The library takes an operation that ignores
/// three for one whose completion was dropped, if completions were.
const CANCELS_LOST_MAX: u32 = 2;

/// Connections of one run.
pub(super) const CONNS_MAX: usize = 20;

impl Run {
    /// Has the script report to the books, and lets the kernel act when the loop sleeps.
    pub(super) fn connect(self: &Rc<Run>) {
        let run = Rc::downgrade(self);
        self.script.observe(move |seen| {
            if let Some(run) = run.upgrade() {
                run.seen(seen);
            }
        });
        let run = Rc::downgrade(self);
        self.script.direct(move |_script| {
            if let Some(run) = run.upgrade() {
                run.while_asleep();
            }
        });
    }

    fn seen(&self, seen: Seen) {
        let mut books = self.books.borrow_mut();
        let (user_data, entry) = match seen {
            Seen::Pushed(user_data, Entry::Op(request)) => return books.pushed(user_data, request),
            Seen::Pushed(..) => return,
            Seen::Submitted(user_data, entry) => (user_data, entry),
            Seen::ShutDown(fd) => return books.shut_down(fd),
        };
        match entry {
            Entry::Op(request) => books.submitted(user_data, request),
            Entry::Cancel { target } => {
                books.trace.note("cancel", target, 0);
                books.cancels.push((user_data, target));
            }
            Entry::Timeout { deadline_ns } | Entry::TimeoutUpdate { deadline_ns, .. } => {
                books.trace.note("timeout", user_data, deadline_ns as i64);
            }
            Entry::Nop | Entry::WakePoll { .. } => {}
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
        self.end_shut_down();
    }

    /// Ends the receives of sockets whose receiving side has been shut down. They cannot miss it.
    fn end_shut_down(&self) {
        let ended: Vec<Op> = {
            let books = self.books.borrow();
            let is_ended = |op: &&Op| match op.submitted.request {
                Request::Recv { .. } | Request::RecvInto { .. } => books.conns[op.conn()].is_shut,
                _ => false,
            };
            let is_open = !books.is_mute && books.violation.is_none();
            books.ops.iter().filter(is_ended).filter(|_| is_open).copied().collect()
        };
        for op in ended {
            if self.choices.one_in(4) {
                self.receive(op, 3, true); // what had arrived before
            }
            if self.books.borrow().find_op(op.submitted.user_data).is_some() {
                self.end_stream(op);
            }
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
        self.books.borrow_mut().ops[place].is_cancel_lost = false; // until this one is
        let op = self.books.borrow().ops[place];
        self.books.borrow_mut().check_cancel(&op, self.script.now_ns(), self.linger_ns.get());
        if self.books.borrow().is_mute {
            return;
        }
        match self.choices.byte() % 8 {
            _ if op.cancels_lost >= CANCELS_LOST_MAX => self.end_cancelled(op),
            0..=3 => self.end_cancelled(op),
            4 => {
                self.script.post_result(cancel, -errno::EALREADY); // still running
                self.lose_cancel(place);
            }
            5 => {
                // The operation is over, and its completion is on the way.
                self.succeed(op);
                let is_over = self.books.borrow().find_op(target).is_none();
                if is_over {
                    self.script.post_result(cancel, -errno::ENOENT);
                }
            }
            _ => self.lose_cancel(place), // or it takes a while
        }
    }

    /// Without a watchdog the library has no means against a lost cancel (H33), so the kernel ends
    /// the operation later. With one, only another cancel does.
    fn lose_cancel(&self, place: usize) {
        let mut books = self.books.borrow_mut();
        books.ops[place].is_cancel_lost = books.is_watched;
        books.ops[place].cancels_lost += 1;
    }

    /// Drops the last completion of a receive, an accept or a poll: the kernel has no memory (H02).
    pub(super) fn lose_completion(&self) {
        let mut books = self.books.borrow_mut();
        if books.ops.is_empty() {
            return;
        }
        let place = self.choices.below(books.ops.len());
        let op = books.ops[place];
        match (op.op_kind(), op.kind) {
            (OpKind::Send | OpKind::Connect, _) => return,
            (_, Kind::Conn(number)) => books.conns[number].is_damaged = true,
            (_, Kind::Listener(number)) => books.listeners[number].is_damaged = true,
            (_, Kind::Watch(number)) => books.watches[number].is_damaged = true,
        }
        books.ops.remove(place); // its memory stays lent: nothing has ended the loan
        books.dropped_count += 1;
        books.trace.note("dropped completion", op.submitted.user_data, 0);
        drop(books);
        self.script.drop_completion(op.submitted);
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
    pub(super) fn is_past(&self, op: Op) -> bool {
        let makes_descriptor = matches!(op.op_kind(), OpKind::Accept | OpKind::Connect);
        self.books.borrow().is_broken && makes_descriptor
    }

    // ---- completions -------------------------------------------------------------------------

    pub(super) fn fail(&self, op: Op, code: i32) {
        self.complete(op, -code, false);
    }

    pub(super) fn complete(&self, op: Op, result: i32, more: bool) {
        let flags = if more { Flags::NONE.with_more() } else { Flags::NONE };
        let complete = |script: &Script| script.complete(op.submitted, result, flags);
        self.books.borrow_mut().trace.note("result", op.submitted.user_data, i64::from(result));
        match more {
            true => self.go_on(op, complete),
            false => self.finish(op, complete),
        }
    }

    pub(super) fn go_on(&self, op: Op, complete: impl FnOnce(&Script)) {
        let mut books = self.books.borrow_mut();
        books.check_open(&op);
        books.check_memory();
        if books.violation.is_none() {
            drop(books);
            complete(&self.script);
        }
    }

    /// The final completion: the kernel forgets the operation.
    pub(super) fn finish(&self, op: Op, complete: impl FnOnce(&Script)) {
        self.go_on(op, complete);
        memory::take_back(op.submitted.user_data);
        let mut books = self.books.borrow_mut();
        if let Some(place) = books.find_op(op.submitted.user_data) {
            books.ops.remove(place);
        }
    }
}
