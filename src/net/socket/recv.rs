//! The reading side of a socket.
//!
//! One multishot receive, armed at the first read and owned by the socket. Filled buffers queue
//! here until somebody takes them; dropping a reader loses nothing.
//!
//! ```text
//!             read, queue empty                  final completion
//!   Idle ─────────────────────▶ Multishot ───────────────────────────────▶ Idle
//!    ▲ │                            │ queue full, tasks have run            ▲
//!    │ │ ... after ENOBUFS          ▼                                       │
//!    │ └──────▶ Private        Cancelling ── final completion (or bytes) ───┤
//!    │             └──────────── completion, at once ───────────────────────┘
//!
//!   which receive is next       poll first?   after
//!   Shared    multishot         if the pool   the start, bytes
//!                               is empty
//!   Private   RecvInto          no: at once   ENOBUFS; a private buffer filled, and no pool
//!   Quiet     multishot         yes           a private receive that found nothing (EAGAIN)
//! ```
//!
//! - **Backpressure.** When the queue is full ([`RecvQueue::is_full`]) and still is after the ready
//!   tasks have run, the receive is cancelled, and armed again when the reader has taken all of it,
//!   so a slow reader closes TCP's window instead of eating the pool (H53). What lands until the
//!   cancel has taken effect is what one enter brings: no more than the buffers that are lent.
//! - **An empty pool** ends the multishot (H47), perhaps hiding the end of the stream (H48). The
//!   next receive goes into a buffer of the socket's own, so reading goes on even if the program
//!   holds every buffer of the pool. That receive never waits. If nothing was there, the multishot
//!   is armed again and polls first: it looks for a buffer only when bytes have come. So an idle
//!   socket holds no memory, and an empty pool makes no socket spin.
//! - **A final completion may carry bytes** (H49). The state says nothing about success.
//!
//! **Invariant.** At most one receive is in flight per socket (H43): a request is submitted in
//! `Idle` only. While `Private`, its buffer is neither touched nor dropped.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use super::idle::Idle;
use super::recv_queue::RecvQueue;
use super::stream::{Socket, SocketOp};
use crate::buf::{Pool, RecvBuf};
use crate::driver::request::Key;
use crate::op::OpResult;
use crate::op::recv::{self, Received};

/// Buffers that the kernel fills for one multishot receive before it waits for the socket again
/// (`MULTISHOT_MAX_RETRY`, H53).
///
/// On a Unix socket it may then miss the end: up to 6.12.85 and 6.18.44 at least, a wake-up that came
/// before the last of the bytes were read is not looked for again (H54). So a receive that has filled as
/// many in a row is armed anew there, which makes the kernel look.
const MULTISHOT_RETRIES: u8 = 32;

#[derive(Default)]
pub(super) struct Reading {
    queue: RecvQueue,
    armed: RecvState,
    next: Next,
    /// Whether `settle_reading` is due.
    is_settling: bool,
    /// Completions of the multishot since the reader last took something.
    burst_count: u8,
    /// A burst has reached [`MULTISHOT_RETRIES`].
    is_spent: bool,
    /// Nobody will read again: what still arrives is thrown away.
    is_unwanted: bool,
    /// The descriptor is about to be handed over: no further receive is armed.
    is_leaving: bool,
    end: Option<End>,
    reader: Option<Waker>,
    pub(super) idle: Option<Box<Idle>>,
}

#[derive(Default)]
enum RecvState {
    #[default]
    Idle,
    Multishot(Key),
    /// A receive into `target`, which belongs to the kernel until the completion.
    Private {
        key: Key,
        target: Vec<u8>,
    },
    Cancelling,
}

/// Which receive fits when the next is armed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Next {
    /// The multishot.
    #[default]
    Shared,
    /// One into a buffer of the socket's own: something is there, and the pool was empty.
    Private,
    /// The multishot, looking for a buffer only when something is there: nothing was just now.
    Quiet,
}

/// Why there will be no more bytes, once the queue is empty.
#[derive(Clone, Copy, Debug)]
enum End {
    Eof,
    Failed(i32),
}

impl Socket {
    /// Takes the next filled buffer. An empty one is the end of the stream.
    pub(in crate::net) fn poll_recv(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<RecvBuf>> {
        let mut reading = self.reading.borrow_mut();
        if let Some(buffer) = reading.queue.pop() {
            reading.burst_count = 0;
            return Poll::Ready(Ok(buffer));
        }
        match reading.end {
            Some(End::Eof) => Poll::Ready(Ok(RecvBuf::empty())),
            Some(End::Failed(code)) => Poll::Ready(Err(self.reactor.error_of(code))),
            None => {
                drop(reading);
                let outcome = ready!(self.poll_readable(cx));
                Poll::Ready(Err(outcome.expect_err("there is nothing to read")))
            }
        }
    }

    /// Copies the next bytes into `target` and leaves them in place. 0 is the end of the stream, or
    /// an empty `target`.
    pub(in crate::net) fn poll_peek(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        target: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if target.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_readable(cx))?;
        let reading = self.reading.borrow();
        let count = reading.queue.copy_to(target);
        match reading.end {
            Some(End::Failed(code)) if count == 0 => Poll::Ready(Err(self.reactor.error_of(code))),
            _ => Poll::Ready(Ok(count)),
        }
    }

    /// Waits until [`poll_recv`](Self::poll_recv) has something to return: bytes, the end, or the
    /// error that ended the connection.
    pub(in crate::net) fn poll_readable(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let mut reading = self.reading.borrow_mut();
        if !reading.queue.is_empty() || reading.end.is_some() {
            return Poll::Ready(Ok(()));
        }
        if reading.idle.as_mut().is_some_and(|idle| idle.take_expiry()) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let is_idle_from_now = reading.idle.is_some() && reading.reader.is_none();
        drop(reading);
        if let Err(error) = self.arm_recv() {
            return Poll::Ready(Err(error));
        }
        self.set_reader(cx.waker());
        if is_idle_from_now {
            self.idle_begins();
        }
        Poll::Pending
    }

    /// Puts back what a reader has not used, to be read next.
    pub(super) fn unread(&self, buffer: RecvBuf) {
        let may_keep = !self.reactor.pool().is_scarce();
        self.reading.borrow_mut().queue.unread(buffer, may_keep);
    }

    /// Puts back a copy of what a reader has copied and not used.
    pub(super) fn unread_copy(&self, bytes: &[u8]) {
        self.reading.borrow_mut().queue.unread_copy(bytes);
    }

    /// The multishot receive has something to say.
    pub(super) fn received(self: &Rc<Self>, answer: OpResult) {
        let more = answer.more;
        let mut reading = self.reading.borrow_mut();
        if more {
            reading.burst_count = reading.burst_count.saturating_add(1);
            reading.is_spent |= reading.burst_count == MULTISHOT_RETRIES;
        } else {
            reading.armed = RecvState::Idle;
            (reading.burst_count, reading.is_spent) = (0, false);
        }
        reading.take_in(self.known(recv::finish(answer)), self.reactor.pool());
        self.after_receive(reading);
    }

    /// The receive into a private buffer has ended.
    pub(super) fn received_into(self: &Rc<Self>, answer: OpResult) {
        let mut reading = self.reading.borrow_mut();
        // A cancel leaves the state alone, so that the buffer stays where the kernel writes.
        let RecvState::Private { target, .. } = std::mem::take(&mut reading.armed) else {
            unreachable!("only `Private` has such a receive in flight");
        };
        let is_filled = answer.result == target.len() as i32;
        let received = self.known(recv::finish_into(answer, target));
        let next = match &received {
            Received::Bytes(_) if is_filled && self.reactor.pool().available_count() == 0 => {
                Next::Private
            }
            Received::Bytes(_) => Next::Shared,
            _nothing => Next::Quiet,
        };
        reading.take_in(received, self.reactor.pool());
        reading.next = next;
        self.after_receive(reading);
    }

    /// What a receive has brought. The end of a connection that a send has found broken is no end: the
    /// kernel returns a reset once, and the send was given it.
    fn known(&self, received: Received) -> Received {
        match received {
            Received::End => self.broken().map_or(Received::End, Received::Failed),
            Received::Failed(code) => Received::Failed(self.connection_error(code)),
            other => other,
        }
    }

    /// The receive into a private buffer will never end: the buffer is the kernel's for good.
    pub(super) fn recv_into_abandoned(self: &Rc<Self>, answer: OpResult) {
        let mut reading = self.reading.borrow_mut();
        let RecvState::Private { target, .. } = std::mem::take(&mut reading.armed) else {
            unreachable!("only `Private` has such a receive in flight");
        };
        std::mem::forget(target);
        reading.take_in(self.known(recv::finish(answer)), self.reactor.pool());
        self.after_receive(reading);
    }

    /// Cancels the receive and throws away what was queued: nobody will read again. Idempotent.
    ///
    /// `is_exclusive`: no other descriptor shares the socket, so its receiving side may be shut down.
    pub(in crate::net) fn stop_reading(&self, is_exclusive: bool) {
        self.remove_idle_timeout();
        let mut reading = self.reading.borrow_mut();
        reading.is_unwanted = true;
        let key = match reading.armed {
            RecvState::Multishot(key) => {
                reading.armed = RecvState::Cancelling;
                Some(key)
            }
            RecvState::Private { key, .. } => Some(key),
            RecvState::Cancelling | RecvState::Idle => None,
        };
        let queue = std::mem::take(&mut reading.queue);
        let reader = reading.reader.take();
        drop(reading);
        drop(queue); // buffers go back to the pool
        self.reactor.wake_deferred(reader);
        match key {
            Some(key) if is_exclusive => self.reactor.end_recv(key, self.as_fd().as_raw_fd()),
            Some(key) => self.reactor.cancel(key),
            None => {}
        }
    }

    /// Ends the receive without throwing anything away, and waits until none is in flight.
    pub(super) fn poll_received_all(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut reading = self.reading.borrow_mut();
        let is_first = !std::mem::replace(&mut reading.is_leaving, true);
        let key = match reading.armed {
            RecvState::Idle => return Poll::Ready(()),
            RecvState::Multishot(key) => {
                reading.armed = RecvState::Cancelling;
                Some(key)
            }
            RecvState::Private { key, .. } if is_first => Some(key),
            RecvState::Private { .. } | RecvState::Cancelling => None,
        };
        drop(reading);
        if let Some(key) = key {
            self.reactor.cancel(key);
        }
        self.set_reader(cx.waker());
        Poll::Pending
    }

    /// Whether the connection is known to have ended, for reading.
    pub(super) fn has_ended(&self) -> bool {
        self.reading.borrow().end.is_some() || self.broken().is_some()
    }

    /// Takes all that no reader has taken.
    pub(super) fn take_received(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut reading = self.reading.borrow_mut();
        while let Some(buffer) = reading.queue.pop() {
            bytes.extend_from_slice(&buffer);
        }
        bytes
    }

    /// Wakes the reader if it has something to take; arms again if it still waits; slows down if
    /// nobody takes anything.
    fn after_receive(self: &Rc<Self>, mut reading: std::cell::RefMut<'_, Reading>) {
        if reading.is_unwanted {
            let unwanted = std::mem::take(&mut reading.queue);
            drop(reading);
            drop(unwanted);
            return;
        }
        if !reading.queue.is_empty()
            && let Some(idle) = &mut reading.idle
        {
            idle.forget_expiry();
        }
        let is_crowded = (reading.queue.is_full() || reading.is_spent)
            && matches!(reading.armed, RecvState::Multishot(_));
        let must_settle = is_crowded && !std::mem::replace(&mut reading.is_settling, true);
        let is_idle = matches!(reading.armed, RecvState::Idle);
        let has_news = match reading.is_leaving {
            true => is_idle,
            false => !reading.queue.is_empty() || reading.end.is_some(),
        };
        let reader = if has_news { reading.reader.take() } else { None };
        let must_arm = reading.reader.is_some() && is_idle;
        drop(reading);

        self.reactor.wake_deferred(reader);
        if must_settle {
            self.reactor.prepare_later(Rc::clone(self) as Rc<_>);
        }
        if must_arm && self.arm_recv().is_err() {
            // The loop is closing or broken. The reader's next poll says so.
            let reader = self.reading.borrow_mut().reader.take();
            self.reactor.wake_deferred(reader);
        }
    }

    /// Cancels the receive if more is queued than should be, now that the ready tasks have run, or if the
    /// kernel may not look at the socket again.
    pub(super) fn settle_reading(self: &Rc<Self>) {
        let mut reading = self.reading.borrow_mut();
        if !reading.is_settling {
            return;
        }
        if !self.reactor.have_tasks_run() {
            // A flush between two polls. The reader's may be still to come.
            return self.reactor.prepare_later(Rc::clone(self) as Rc<_>);
        }
        reading.is_settling = false;
        let is_spent = std::mem::take(&mut reading.is_spent);
        let RecvState::Multishot(key) = reading.armed else { return };
        if reading.queue.is_full() || (is_spent && self.is_unix()) {
            reading.armed = RecvState::Cancelling;
            drop(reading);
            self.reactor.cancel(key);
        }
    }

    /// Has a receive in flight, whatever kind fits.
    fn arm_recv(self: &Rc<Self>) -> io::Result<()> {
        let mut reading = self.reading.borrow_mut();
        if !matches!(reading.armed, RecvState::Idle) {
            return Ok(()); // in flight, or on its way out: its final completion arms again
        }
        let owner = Rc::clone(self);
        let pool = self.reactor.pool();
        let next = std::mem::take(&mut reading.next);
        reading.armed = if next == Next::Private {
            let mut target = vec![0; pool.buffer_len() as usize];
            let request = recv::request_into(&**self, &mut target);
            let key = self.reactor.submit(owner, SocketOp::RecvInto.tag(), request)?;
            RecvState::Private { key, target }
        } else {
            let poll_first = next == Next::Quiet || pool.available_count() == 0;
            let request = recv::request(&**self, poll_first);
            RecvState::Multishot(self.reactor.submit(owner, SocketOp::Recv.tag(), request)?)
        };
        Ok(())
    }

    fn set_reader(&self, waker: &Waker) {
        let is_same = {
            let reading = self.reading.borrow();
            reading.reader.as_ref().is_some_and(|reader| reader.will_wake(waker))
        };
        if !is_same {
            let waker = waker.clone(); // cloning and dropping are user code: not under the borrow
            let former = self.reading.borrow_mut().reader.replace(waker);
            drop(former);
        }
    }
}

impl Reading {
    /// Whether a read waits, or has been dropped since it began to.
    pub(super) fn has_reader(&self) -> bool {
        self.reader.is_some()
    }

    pub(super) fn take_reader(&mut self) -> Option<Waker> {
        self.reader.take()
    }

    fn take_in(&mut self, received: Received, pool: &Pool) {
        match received {
            // A reader that waits takes the buffer in this turn, most probably. It waits only while
            // the queue is empty, so this is at most one buffer, and of all of them no more than
            // half of the pool.
            Received::Bytes(buffer) => {
                let may_keep = self.reader.is_some() && !pool.is_scarce();
                self.queue.push(buffer, may_keep);
            }
            Received::End => self.end = Some(End::Eof),
            Received::NoBuffers => self.next = Next::Private,
            Received::Nothing => {}
            Received::Failed(code) => self.end = Some(End::Failed(code)),
        }
    }
}
