//! A connected socket and its operations, shared by a stream and its halves.
//!
//! **Invariant.** The descriptor is closed by the last `Rc` to this value, and every slot of an
//! operation in flight holds one. So the number is not reused while an operation names it (H36,
//! H37). Memory that is lent to the kernel belongs to the two sides, so it lives as long.
//!
//! The sides are state machines without a reactor. [`Socket`] calls their transitions and performs
//! what they return once the borrow has ended: submits, cancels, timers, wakes. Those of the
//! receiving side ([`RecvSide`]) are performed here, the others in the files beside this one.
//!
//! **Absent on purpose.** User code. Wakers go to `Reactor::wake_deferred`.

use std::cell::{OnceCell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use socket2::SockRef;

use super::closing::Closing;
use super::descriptor::Descriptor;
use super::hang_up::HangUp;
use super::listener::{Admission, Connection};
use super::recv::{RecvEffects, RecvPoll, RecvSettle, RecvSide, RecvWait};
use super::send::SendSide;
use crate::buf::RecvBuf;
use crate::driver::request::{Interest, Tag};
use crate::loop_id::Home;
use crate::op::OpResult;
use crate::reactor::{Expire, Owner, Reactor};

pub(in crate::net) struct Socket {
    pub(super) reactor: Rc<Reactor>,
    pub(super) recv: RefCell<RecvSide>,
    pub(super) send: RefCell<SendSide>,
    /// Set while the socket closes.
    pub(super) closing: RefCell<Option<Box<Closing>>>,
    /// Dropped after the fields above, so none of them is left when the number becomes free.
    pub(super) descriptor: Descriptor,
    /// Dropped after the descriptor, because an admission counts until the descriptor is closed.
    pub(super) rare: OnceCell<Box<Rare>>,
}

/// The parts of a socket that few connections need. Boxed, to keep idle sockets small.
#[derive(Default)]
pub(super) struct Rare {
    /// Created by the first `closed()`.
    pub(super) hang_up: OnceCell<RefCell<HangUp>>,
    _admission: Option<Admission>,
}

/// The operations of a socket. The discriminant is the tag of the completions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SocketOp {
    /// The multishot receive or the private one. At most one is in flight.
    Recv = 1,
    Send = 2,
    PollHangUp = 3,
}

impl SocketOp {
    pub(super) fn tag(self) -> Tag {
        self as Tag
    }

    fn from_tag(tag: Tag) -> SocketOp {
        match tag {
            1 => SocketOp::Recv,
            2 => SocketOp::Send,
            3 => SocketOp::PollHangUp,
            _ => unreachable!("no operation of a socket has tag {tag}"),
        }
    }
}

impl Socket {
    pub(in crate::net) fn new(
        reactor: Rc<Reactor>,
        connection: impl Into<Connection>,
    ) -> Rc<Socket> {
        let Connection { fd, admission } = connection.into();
        let rare = OnceCell::new();
        if admission.is_some() {
            let _ = rare.set(Box::new(Rare { _admission: admission, ..Rare::default() }));
        }
        Rc::new(Socket {
            reactor,
            recv: RefCell::default(),
            send: RefCell::default(),
            closing: RefCell::default(),
            descriptor: Descriptor::new(fd),
            rare,
        })
    }

    /// Wakes the tasks of futures that were leaked while they waited. Dropping their wakers here
    /// would be user code: the loop wakes and drops them when nothing is borrowed, and catches a
    /// panic.
    pub(super) fn wake_leftovers(&mut self) {
        let wakers = [self.recv.get_mut().take_reader(), self.send.get_mut().take_writer()];
        wakers.into_iter().for_each(|waker| self.reactor.wake_deferred(waker));
        self.wake_hang_up_waiters();
    }

    /// Returns the error that has ended the connection. The socket keeps it, because the kernel
    /// returns an error to one call only: a later receive or send would not get it.
    pub(in crate::net) fn take_error(&self) -> io::Result<Option<io::Error>> {
        self.descriptor.take_error()
    }

    /// Returns the loop of this socket.
    pub(in crate::net) fn home(&self) -> &Home {
        self.reactor.home()
    }

    /// Records that another descriptor may name this socket from now on.
    pub(in crate::net) fn share(&self) {
        self.descriptor.share();
    }

    /// Does the same as [`share`](Self::share), for a program that may also set options such as
    /// `TCP_ULP`.
    pub(in crate::net) fn expose(&self) {
        self.share();
        self.reactor.expose(self.as_fd().as_raw_fd());
    }

    /// Records that the program has made this socket, and may have other descriptors of it.
    pub(in crate::net) fn mark_foreign(&self) {
        self.descriptor.mark_foreign();
    }

    /// Gives the descriptor away, still open. No operation may be in flight.
    ///
    /// # Errors
    ///
    /// Those of `fcntl(2)`. The descriptor is then closed.
    pub(super) fn into_fd(mut self) -> io::Result<OwnedFd> {
        self.reactor.deregister(self.as_fd().as_raw_fd());
        self.descriptor.take()
    }

    /// Whether the receiving side may be ended by `shutdown(2)`. That acts on the open file, so a
    /// duplicate, or the descriptor of a forked child, would read the end too.
    ///
    /// It is not used on a Unix socket that still has bytes to send. There the shutdown makes the
    /// peer's writes fail, and a peer that is writing may then give up before it has read them.
    pub(super) fn may_shut_down_reading(&self) -> bool {
        self.descriptor.is_exclusive() && !(self.is_sending() && self.descriptor.is_unix())
    }

    pub(in crate::net) fn options(&self) -> SockRef<'_> {
        self.descriptor.options()
    }
}

/// Receiving.
impl Socket {
    /// Waits for the next filled buffer and takes it. An empty one is the end of the stream.
    pub(in crate::net) fn poll_recv(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<RecvBuf>> {
        let found = self.recv.borrow_mut().poll(cx.waker());
        match found {
            RecvPoll::Bytes(buffer) => Poll::Ready(Ok(buffer)),
            RecvPoll::Eof => Poll::Ready(Ok(RecvBuf::empty())),
            RecvPoll::Failed(code) => Poll::Ready(Err(self.reactor.error_of(code))),
            RecvPoll::TimedOut => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            RecvPoll::Wait(wait) => {
                if wait.must_arm {
                    self.arm_recv()?;
                }
                self.wait_to_recv(wait, cx.waker());
                Poll::Pending
            }
        }
    }

    /// Waits for bytes and copies them into `target`, without taking them. 0 is the end of the
    /// stream, or an empty `target`.
    pub(in crate::net) fn poll_peek(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
        target: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        if target.is_empty() {
            return Poll::Ready(Ok(0));
        }
        ready!(self.poll_readable(cx))?;
        let count = self.recv.borrow().peek(target);
        Poll::Ready(count.map_err(|code| self.reactor.error_of(code)))
    }

    /// Waits until [`poll_recv`](Self::poll_recv) has something to return: bytes, the end, or the
    /// error that ended the connection.
    pub(in crate::net) fn poll_readable(
        self: &Rc<Self>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if self.recv.borrow().is_readable() {
            return Poll::Ready(Ok(()));
        }
        self.poll_recv(cx).map_ok(drop) // takes nothing, because it waits or fails
    }

    /// Puts back bytes that a reader has not used. They are read next.
    pub(super) fn unread(&self, buffer: RecvBuf) {
        self.recv.borrow_mut().unread(buffer, self.reactor.pool());
    }

    /// Puts back a copy of bytes that a reader has copied and not used.
    pub(super) fn unread_copy(&self, bytes: &[u8]) {
        self.recv.borrow_mut().unread_copy(bytes);
    }

    /// Whether the end of the connection, or its error, has been received.
    pub(super) fn has_ended(&self) -> bool {
        self.recv.borrow().has_ended() || self.descriptor.broken().is_some()
    }

    /// Ends the receive and drops the queued bytes: there will be no reader. Idempotent.
    ///
    /// `is_exclusive`: no other descriptor shares the socket, so its receiving side may be shut
    /// down.
    pub(in crate::net) fn stop_reading(&self, is_exclusive: bool) {
        let stop = self.recv.borrow_mut().stop();
        if let Some(timer) = stop.remove_timer {
            self.reactor.remove_timer(timer);
        }
        self.reactor.wake_deferred(stop.wake);
        match stop.cancel {
            Some(key) if is_exclusive => self.reactor.end_recv(key, self.as_fd().as_raw_fd()),
            Some(key) => self.reactor.cancel(key),
            None => {}
        }
    }

    /// Submits the receive that fits, unless one is in flight.
    fn arm_recv(self: &Rc<Self>) -> io::Result<()> {
        let request = self.recv.borrow_mut().arm(self.as_fd(), self.reactor.pool());
        let Some(request) = request else { return Ok(()) };
        let submitted =
            self.reactor.submit(Rc::clone(self) as Rc<_>, SocketOp::Recv.tag(), request);
        self.recv.borrow_mut().armed(submitted.as_ref().ok().copied());
        submitted.map(drop)
    }

    fn wait_to_recv(self: &Rc<Self>, wait: RecvWait, waker: &Waker) {
        if wait.is_new_reader {
            self.set_reader(waker);
        }
        if wait.begins_idle {
            self.idle_began();
        }
    }

    pub(super) fn set_reader(&self, waker: &Waker) {
        let waker = waker.clone(); // cloning and dropping are user code: not under the borrow
        let former = self.recv.borrow_mut().set_reader(waker);
        drop(former);
    }

    /// Returns the result of a receive, with the error to report. After a send has failed with the
    /// connection's error, a receive finds the end of the stream. That end is not an orderly one,
    /// so it is replaced by the error.
    fn known(&self, answer: OpResult) -> OpResult {
        let result = match answer.result {
            0 => -self.descriptor.broken().unwrap_or(0),
            other => self.descriptor.known_result(other),
        };
        OpResult { result, ..answer }
    }

    fn perform_recv(self: &Rc<Self>, effects: RecvEffects) {
        self.reactor.wake_deferred(effects.wake);
        if effects.must_settle {
            self.reactor.prepare_later(Rc::clone(self) as Rc<_>);
        }
        if effects.must_arm && self.arm_recv().is_err() {
            // The loop is closing or broken. The reader's next poll fails for that reason.
            let reader = self.recv.borrow_mut().take_reader();
            self.reactor.wake_deferred(reader);
        }
    }

    fn settle_recv(self: &Rc<Self>) {
        let have_tasks_run = self.reactor.have_tasks_run();
        let step = self.recv.borrow_mut().settle(have_tasks_run, || self.descriptor.is_unix());
        match step {
            RecvSettle::Nothing => {}
            RecvSettle::Later => self.reactor.prepare_later(Rc::clone(self) as Rc<_>),
            RecvSettle::Cancel(key) => self.reactor.cancel(key),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl Owner for Socket {
    fn complete(self: Rc<Self>, tag: Tag, answer: OpResult) {
        match SocketOp::from_tag(tag) {
            SocketOp::Recv => {
                let answer = self.known(answer);
                let effects = self.recv.borrow_mut().complete(answer, self.reactor.pool());
                self.perform_recv(effects);
            }
            SocketOp::Send => self.complete_send(answer),
            SocketOp::PollHangUp => self.complete_hang_up(&answer),
        }
    }

    fn abandon(self: Rc<Self>, tag: Tag, code: i32) {
        let answer = OpResult { result: -code, more: false, buffer: None };
        match SocketOp::from_tag(tag) {
            SocketOp::Recv => {
                let answer = self.known(answer);
                let effects = self.recv.borrow_mut().abandon(answer, self.reactor.pool());
                self.perform_recv(effects);
            }
            SocketOp::Send => self.abandon_send(code),
            SocketOp::PollHangUp => self.complete_hang_up(&answer), // nothing was lent
        }
        if self.reactor.ended_ns().is_some() {
            self.give_up_closing(); // the loop leaks the socket, so the descriptor stays open
        }
    }

    fn watched(&self, tag: Tag) -> Option<(RawFd, Interest)> {
        match SocketOp::from_tag(tag) {
            SocketOp::Recv => Some((self.as_fd().as_raw_fd(), Interest::Readable)),
            SocketOp::Send => Some((self.as_fd().as_raw_fd(), Interest::Writable)),
            SocketOp::PollHangUp => Some((self.as_fd().as_raw_fd(), Interest::HangUp)),
        }
    }

    fn prepare(self: Rc<Self>) {
        self.begin_send();
        self.settle_recv();
    }
}

impl Expire for Socket {
    fn expire(self: Rc<Self>) {
        self.linger_expired();
    }

    fn outlives_tasks(&self) -> bool {
        true // it bounds the sending of the last bytes
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(fd) = self.descriptor.number() {
            self.reactor.deregister(fd);
        }
        self.closed();
    }
}
