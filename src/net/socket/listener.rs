//! The state of a listener.
//!
//! One multishot accept, armed at the first `accept()` and owned by the listener, and a queue of
//! connections. Dropping an `accept()` loses no connection: the next one finds it in the queue.
//!
//! ```text
//!          accept()                         final completion
//!  Idle ─────────────▶ InFlight ──────────────────────────────────────▶ Idle
//!   ▲ │                  │ queue full                                    │ out of descriptors
//!   │ │ max_connections  ▼                                               ▼ or memory
//!   │ ▼              Cancelling ── final completion ──▶ Idle          Resting
//!  Full                                                                  │
//!   one has closed                                   one timer, 100 ms ──┴──▶ Idle
//! ```
//!
//! - **Backpressure.** The kernel accepts as long as the accept is armed (H52). With
//!   [`QUEUED_CONNECTIONS_MAX`] waiting it is cancelled, and armed again when they have been taken,
//!   so further peers wait in the listen backlog.
//! - **A limit** on open connections is exact: while it is set and overflow stays in the backlog, each
//!   accept takes one connection, and none is in flight while as many as may be are open.
//! - **First poll takes it.** A connection belongs to the `accept()` that is polled first, whether
//!   or not another one was woken for it: that one may be alive and never be polled again. For the
//!   same reason a connection that is still queued when the tasks have run wakes the next waiter,
//!   turn by turn.
//! - **Errors** go to the accepts that wait, or else to the next one, once. The next accept asks the
//!   kernel again.
//! - **Shortage** (H50). Every retry would fail at once, for ever, so accepting backs off,
//!   with one timer however often the shortage shows itself, and reports once until it is over.
//!
//! **Invariant.** At most one accept is in flight. A connection that arrives for a closed listener
//! is closed (H38).

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use socket2::SockRef;

use super::admission::{Connection, Limit, Overflow};
use crate::driver::request::{Interest, Key, Tag};
use crate::error::Unhandled;
use crate::op::OpResult;
use crate::op::accept::{self, Accepted};
use crate::reactor::{Expire, Owner, Reactor, TimerKey};
use crate::sys::{errno, fork};
use crate::task::coop;
use crate::task::wait_list::{self, WaitList, WaiterId};

/// Accepted connections that may wait for an `accept()`.
pub(in crate::net) const QUEUED_CONNECTIONS_MAX: usize = 256;

/// Connections the kernel may hold for us, before `net.core.somaxconn` cuts it.
pub(in crate::net) const BACKLOG: i32 = 4096;

/// How long accepting pauses when descriptors or memory have run out.
const ACCEPT_BACKOFF_NS: u64 = 100_000_000;

/// The tag of the only operation of a listener.
const ACCEPT: Tag = 1;

pub(in crate::net) struct Listening {
    reactor: Rc<Reactor>,
    queue: RefCell<VecDeque<Connection>>,
    /// How many connections may be open, if the program has set a limit.
    limit: Option<Rc<Limit>>,
    armed: Cell<AcceptState>,
    is_closed: Cell<bool>,
    /// A shortage has been reported and is not over.
    is_short: Cell<bool>,
    failure: Cell<Failure>,
    /// Whether `prepare` is due, to wake the next waiter or to arm again.
    is_prepare_due: Cell<bool>,
    waiters: RefCell<WaitList>,
    /// The program gives the socket away: nothing is armed again.
    is_leaving: Cell<bool>,
    /// Woken when nothing is in flight any more, once `is_leaving`.
    leaver: RefCell<Option<Waker>>,
    /// Whether the program has seen the descriptor.
    is_shared: Cell<bool>,
    /// What remains to be done when the descriptor has been closed.
    at_close: RefCell<Option<Box<dyn FnOnce()>>>,
    /// Last, so that the queue is gone when the port becomes free. `None` once it was given away.
    fd: Option<OwnedFd>,
}

#[derive(Clone, Copy, Debug)]
enum AcceptState {
    Idle,
    InFlight(Key),
    Cancelling,
    Resting(TimerKey),
    /// As many connections as may be are open. The timer never fires; it ends with the loop.
    Full(TimerKey),
}

/// The last error.
#[derive(Clone, Copy, Default, Debug)]
struct Failure {
    /// Errors so far. An accept that waits gets the next one.
    count: u64,
    code: i32,
    /// No accept has got it yet.
    is_pending: bool,
}

/// Where an accept stands. Starts without a place among the others.
#[derive(Default)]
pub(super) struct AcceptWaiter {
    waiter_id: WaiterId,
    /// The errors that came before it began to wait.
    failures_before: Option<u64>,
}

impl Listening {
    pub(in crate::net) fn new(
        reactor: Rc<Reactor>,
        fd: OwnedFd,
        limit: Option<(usize, Overflow)>,
    ) -> Rc<Listening> {
        Rc::new_cyclic(|this| Listening {
            reactor,
            queue: RefCell::default(),
            limit: limit.map(|(max, overflow)| Limit::new(max, overflow, Weak::clone(this))),
            armed: Cell::new(AcceptState::Idle),
            is_closed: Cell::new(false),
            is_short: Cell::new(false),
            failure: Cell::default(),
            is_prepare_due: Cell::new(false),
            waiters: RefCell::default(),
            is_leaving: Cell::new(false),
            leaver: RefCell::default(),
            is_shared: Cell::new(false),
            at_close: RefCell::default(),
            fd: Some(fd),
        })
    }

    pub(in crate::net) fn reactor(&self) -> &Rc<Reactor> {
        &self.reactor
    }

    pub(super) fn poll_accept(
        self: &Rc<Self>,
        place: &mut AcceptWaiter,
        waker: &Waker,
    ) -> Poll<io::Result<Connection>> {
        let connection = self.queue.borrow_mut().pop_front();
        if let Some(connection) = connection {
            return Poll::Ready(Ok(connection));
        }
        if let Some(error) = self.take_error(place) {
            return Poll::Ready(Err(error));
        }
        if let Err(error) = self.arm() {
            return Poll::Ready(Err(error));
        }
        place.failures_before = Some(self.failure.get().count);
        wait_list::wait_in(&self.waiters, |list| list, &mut place.waiter_id, waker);
        Poll::Pending
    }

    /// An `accept()` is over or was dropped. If it had been woken in vain, `prepare` wakes another.
    pub(super) fn leave(&self, place: &mut AcceptWaiter) {
        place.failures_before = None;
        let waker = self.waiters.borrow_mut().leave(&mut place.waiter_id);
        drop(waker); // user code: not under the borrow
    }

    /// The error that an accept has to return, if there is one.
    fn take_error(&self, place: &AcceptWaiter) -> Option<io::Error> {
        let failure = self.failure.get();
        let has_failed = place.failures_before.is_some_and(|before| before != failure.count);
        if !failure.is_pending && !has_failed {
            return None;
        }
        self.failure.set(Failure { is_pending: false, ..failure });
        Some(io::Error::from_raw_os_error(failure.code))
    }

    /// No `accept()` will come again. The descriptor is closed when the accept in flight has ended.
    ///
    /// `shutdown(2)` would stop accepting at once, but it acts on the open file, and so on every process
    /// that the socket was handed to (H85). So the accept is cancelled, and that right here, by a pass
    /// through the kernel: until it has ended, peers would connect, and the port would stay taken (H36).
    pub(in crate::net) fn close(&self) {
        self.is_closed.set(true);
        let connections = self.queue.take();
        drop(connections);
        if self.reactor.disown() {
            return; // in a forked child: the parent still accepts
        }
        self.disarm();
        if matches!(self.armed.get(), AcceptState::Cancelling) {
            self.reactor.collect_now();
        }
    }

    /// The program has seen the descriptor, so another one may name this socket.
    pub(in crate::net) fn share(&self) {
        self.is_shared.set(true);
    }

    /// Whether another descriptor may name this socket.
    pub(in crate::net) fn may_be_shared(&self) -> bool {
        self.is_shared.get() || fork::may_have_happened()
    }

    /// Calls `then` when the descriptor has been closed.
    pub(in crate::net) fn at_close(&self, then: impl FnOnce() + 'static) {
        *self.at_close.borrow_mut() = Some(Box::new(then));
    }

    /// Stops accepting and gives away the socket, as it is, with the connections that were accepted and
    /// not taken, in order. If the future is dropped, the listener closes.
    pub(in crate::net) async fn give_away(
        self: Rc<Self>,
    ) -> io::Result<(OwnedFd, Vec<Connection>)> {
        let reactor = Rc::clone(&self.reactor);
        let mut this = Leaving(Some(self));
        let given = coop::leaf_fn(reactor.home(), |cx| this.poll_quiet(cx.waker())).await;
        let mut listening = Rc::try_unwrap(given).ok().expect("counted by `poll_quiet`");
        let queue = std::mem::take(listening.queue.get_mut());
        let fd = listening.fd.take().expect("given away once");
        listening.reactor.deregister(fd.as_raw_fd());
        Ok((fd, queue.into()))
    }

    fn disarm(&self) {
        match self.armed.get() {
            AcceptState::InFlight(key) => {
                self.armed.set(AcceptState::Cancelling);
                self.reactor.cancel(key);
            }
            AcceptState::Resting(timer) | AcceptState::Full(timer) => {
                self.armed.set(AcceptState::Idle);
                self.reactor.remove_timer(timer);
            }
            AcceptState::Idle | AcceptState::Cancelling => {}
        }
    }

    /// A connection that counted has been closed.
    pub(super) fn has_room(self: &Rc<Self>) {
        if matches!(self.armed.get(), AcceptState::Full(_)) {
            self.prepare_later();
        }
    }

    fn arm(self: &Rc<Self>) -> io::Result<()> {
        match self.armed.get() {
            AcceptState::Idle => {}
            // In flight, or its end, its timer or a place will arm again.
            AcceptState::InFlight(_)
            | AcceptState::Cancelling
            | AcceptState::Resting(_)
            | AcceptState::Full(_) => {
                return Ok(());
            }
        }
        let limit = self.limit.as_ref();
        if limit.is_some_and(|limit| limit.is_closed()) && self.reactor.is_accepting() {
            let timer = self.reactor.expire_at(u64::MAX, Rc::clone(self) as Rc<_>);
            self.armed.set(AcceptState::Full(timer));
            return Ok(());
        }
        let request = match limit {
            Some(limit) if limit.is_exact() => accept::request_one(self),
            _ => accept::request(self),
        };
        let key = self.reactor.submit(Rc::clone(self) as Rc<_>, ACCEPT, request)?;
        self.armed.set(AcceptState::InFlight(key));
        Ok(())
    }

    /// Arms again for those who wait.
    fn arm_if_wanted(self: &Rc<Self>) {
        let is_over = self.is_closed.get() || self.is_leaving.get();
        // With a full queue the waiters have enough to take, and the one that empties it arms.
        let is_full = self.queue.borrow().len() >= QUEUED_CONNECTIONS_MAX;
        let is_wanted = self.waiters.borrow().is_waiting() && !is_over && !is_full;
        if is_wanted && self.arm().is_err() {
            self.wake_all(); // the loop is closing or broken: every `accept()` finds that out
        }
    }

    fn accepted(self: &Rc<Self>, answer: OpResult) {
        if !answer.more {
            self.armed.set(AcceptState::Idle);
        }
        match accept::finish(answer) {
            Accepted::Connection(fd) => self.connection(fd),
            Accepted::Nothing => {}
            Accepted::Exhausted(code) => self.rest(code),
            Accepted::Failed(code) => self.fail(code),
        }
        self.arm_if_wanted();
        if self.is_leaving.get() {
            let leaver = self.leaver.borrow_mut().take();
            self.reactor.wake_deferred(leaver);
        }
    }

    fn connection(self: &Rc<Self>, fd: OwnedFd) {
        self.is_short.set(false);
        if self.is_closed.get() {
            return; // drops it
        }
        let admission = self.limit.as_ref().map(Limit::admit);
        if let Some(None) = admission {
            return self.shed(&fd);
        }
        let queued_count = {
            let mut queue = self.queue.borrow_mut();
            queue.push_back(Connection { fd, admission: admission.flatten() });
            queue.len()
        };
        self.wake_next();
        if let AcceptState::InFlight(key) = self.armed.get()
            && queued_count >= QUEUED_CONNECTIONS_MAX
        {
            self.armed.set(AcceptState::Cancelling);
            self.reactor.cancel(key);
        }
    }

    /// Resets a connection that is one too many. The caller closes it.
    fn shed(&self, fd: &OwnedFd) {
        // A socket that cannot be set to reset closes in the ordinary way.
        let _ = SockRef::from(fd).set_linger(Some(Duration::ZERO));
        self.reactor.count_shed();
    }

    /// `answer.more` is false with every error, so the accept is idle here.
    fn rest(self: &Rc<Self>, code: i32) {
        let is_over = self.is_closed.get() || self.is_leaving.get();
        if is_over || !self.reactor.is_accepting() {
            return; // no retry, and on a loop that ends no timer would ever fire
        }
        if !self.is_short.replace(true) {
            let error = io::Error::from_raw_os_error(code);
            self.reactor.report(Unhandled::AcceptCapacity { error });
        }
        if matches!(self.armed.get(), AcceptState::Idle) {
            let deadline_ns = self.reactor.now_ns() + ACCEPT_BACKOFF_NS;
            let timer = self.reactor.expire_at(deadline_ns, Rc::clone(self) as Rc<_>);
            self.armed.set(AcceptState::Resting(timer));
        }
    }

    fn fail(&self, code: i32) {
        let count = self.failure.get().count + 1;
        self.failure.set(Failure { count, code, is_pending: true });
        self.wake_all();
    }

    /// Wakes the first waiter for what is queued. If it is still queued when the tasks have run,
    /// `prepare` wakes the next one: while there are both a queued connection and a waiter that has
    /// not been woken, `is_prepare_due` is set.
    fn wake_next(self: &Rc<Self>) {
        let woken = self.waiters.borrow_mut().wake_first();
        woken.for_each(|waker| self.reactor.wake_deferred(Some(waker)));
        if self.waiters.borrow().is_waiting() {
            self.prepare_later();
        }
    }

    fn prepare_later(self: &Rc<Self>) {
        if !self.is_prepare_due.replace(true) {
            self.reactor.prepare_later(Rc::clone(self) as Rc<_>);
        }
    }

    fn wake_all(&self) {
        let woken = self.waiters.borrow_mut().wake_all();
        for waker in woken {
            self.reactor.wake_deferred(Some(waker));
        }
    }
}

/// A listener that is being given away. Closes it if that does not come to its end.
struct Leaving(Option<Rc<Listening>>);

impl Leaving {
    /// Waits until nothing names the descriptor. The listener then has one owner.
    fn poll_quiet(&mut self, waker: &Waker) -> Poll<Rc<Listening>> {
        let listening = self.0.as_ref().expect("polled after completion");
        listening.is_leaving.set(true);
        listening.disarm();
        let is_idle = matches!(listening.armed.get(), AcceptState::Idle);
        if is_idle && Rc::strong_count(listening) == 1 {
            return Poll::Ready(self.0.take().expect("looked at above"));
        }
        if is_idle {
            waker.wake_by_ref(); // the list of those to prepare holds it until the turn ends
        }
        let waker = waker.clone(); // user code: not under the borrow
        let former = listening.leaver.borrow_mut().replace(waker);
        drop(former);
        Poll::Pending
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if let Some(listening) = self.0.take() {
            listening.close();
        }
    }
}

impl AsFd for Listening {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("given away only by its last owner").as_fd()
    }
}

impl Owner for Listening {
    fn complete(self: Rc<Self>, tag: Tag, answer: OpResult) {
        assert_eq!(tag, ACCEPT, "a listener only accepts");
        self.accepted(answer);
    }

    fn abandon(self: Rc<Self>, _tag: Tag, _code: i32) {
        // Nothing was lent, and the next accept takes what waits.
        self.accepted(OpResult { result: -errno::ECANCELED, more: false, buffer: None });
    }

    fn watched(&self, _tag: Tag) -> Option<(RawFd, Interest)> {
        Some((self.as_fd().as_raw_fd(), Interest::Readable))
    }

    fn prepare(self: Rc<Self>) {
        self.is_prepare_due.set(false);
        if !self.queue.borrow().is_empty() {
            self.wake_next();
        }
        if let AcceptState::Full(timer) = self.armed.get() {
            self.armed.set(AcceptState::Idle);
            self.reactor.remove_timer(timer);
            self.arm_if_wanted();
        }
    }
}

impl Expire for Listening {
    fn expire(self: Rc<Self>) {
        self.armed.set(AcceptState::Idle);
        self.arm_if_wanted();
    }

    fn outlives_tasks(&self) -> bool {
        false
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.reactor.wake_deferred(self.leaver.get_mut().take());
        let Some(fd) = self.fd.take() else { return }; // given away
        self.reactor.deregister(fd.as_raw_fd());
        drop(fd);
        if let Some(then) = self.at_close.get_mut().take() {
            then();
        }
    }
}
