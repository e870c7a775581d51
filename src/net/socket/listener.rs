//! A listening socket and its accept operation: what the public listeners share.
//!
//! [`AcceptSide`] decides, and this type performs: it submits and cancels the accept, sets timers,
//! passes wakers on and closes descriptors, each once the borrow of the state has ended.
//!
//! **Invariant.** The descriptor is closed by the last `Rc` to this value, and the slot of the
//! accept holds one. A connection that arrives for a closed listener is closed (H38).

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use socket2::SockRef;

use super::accept_side::{
    AcceptEffects, AcceptPoll, AcceptSide, AcceptWaiter, Arrival, Refused, Start, Stop,
};
use super::admission::{Limit, Overflow};
use crate::driver::request::{Interest, Key, Request, Tag};
use crate::error::Unhandled;
use crate::op::OpResult;
use crate::op::accept::{self, Accepted};
use crate::reactor::{Expire, Owner, Reactor, TimerKey};
use crate::sync::wait_list::{self, Woken};
use crate::sys::{errno, fork};
use crate::task::coop;

/// The queue length at which accepting pauses.
pub(in crate::net) const QUEUED_CONNECTIONS_MAX: usize = 256;

/// The listen backlog. The kernel reduces it to `net.core.somaxconn`.
pub(in crate::net) const BACKLOG: i32 = 4096;

/// How long accepting pauses when descriptors or memory have run out.
const ACCEPT_BACKOFF_NS: u64 = 100_000_000;

/// The only operation of a listener.
const ACCEPT: Tag = 1;

pub(in crate::net) struct ListenerSocket {
    reactor: Rc<Reactor>,
    side: RefCell<AcceptSide<Connection>>,
    has_limit: bool,
    /// The accept in flight.
    key: Cell<Option<Key>>,
    timer: Cell<Option<TimerKey>>,
    /// Whether the program has seen the descriptor.
    is_shared: Cell<bool>,
    /// Called when the descriptor has been closed.
    at_close: RefCell<Option<Box<dyn FnOnce()>>>,
    /// `None` once it was given away.
    fd: Option<OwnedFd>,
}

/// The descriptor of a connection, and its admission if its listener has a limit.
pub(in crate::net) struct Connection {
    /// Closed before the admission ends.
    pub(super) fd: OwnedFd,
    pub(super) admission: Option<Admission>,
}

impl From<OwnedFd> for Connection {
    fn from(fd: OwnedFd) -> Connection {
        Connection { fd, admission: None }
    }
}

/// A connection that counts for its listener's limit, from its accept until its descriptor is
/// closed. It does not keep the listener alive. It must not be dropped while the listener's state
/// is borrowed.
pub(in crate::net) struct Admission(Weak<ListenerSocket>);

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(listener) = self.0.upgrade() {
            listener.connection_closed();
        }
    }
}

impl ListenerSocket {
    pub(in crate::net) fn new(
        reactor: Rc<Reactor>,
        fd: OwnedFd,
        limit: Option<(usize, Overflow)>,
    ) -> Rc<ListenerSocket> {
        let limit = limit.map(|(max, overflow)| Limit::new(max, overflow));
        Rc::new(ListenerSocket {
            reactor,
            has_limit: limit.is_some(),
            side: RefCell::new(AcceptSide::new(QUEUED_CONNECTIONS_MAX, limit)),
            key: Cell::new(None),
            timer: Cell::new(None),
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
        waiter: &mut AcceptWaiter,
        waker: &Waker,
    ) -> Poll<io::Result<Connection>> {
        let polled = self.side.borrow_mut().poll(waiter);
        match polled {
            AcceptPoll::Connection(connection) => return Poll::Ready(Ok(connection)),
            AcceptPoll::Failed(code) => {
                return Poll::Ready(Err(io::Error::from_raw_os_error(code)));
            }
            AcceptPoll::Pending(None) => {}
            AcceptPoll::Pending(Some(start)) => self.start(start)?,
        }
        wait_list::wait_in(&self.side, AcceptSide::waiters, &mut waiter.waiter_id, waker);
        Poll::Pending
    }

    /// An `accept()` has returned or was dropped.
    pub(super) fn leave(&self, waiter: &mut AcceptWaiter) {
        let waker = self.side.borrow_mut().leave(waiter);
        drop(waker); // user code: not under the borrow
    }

    /// A connection that counts for the limit has been closed.
    pub(super) fn connection_closed(self: &Rc<Self>) {
        let effects = self.side.borrow_mut().connection_closed();
        self.perform(effects);
    }

    /// Stops accepting for good. The descriptor is closed when the accept in flight has ended.
    ///
    /// `shutdown(2)` would stop accepting at once, but it acts on the open file, and so on every
    /// process that the socket was handed to (H85). So the accept is cancelled, in this call, by a
    /// pass through the kernel: until it has ended, peers would connect, and the port would stay
    /// taken (H36).
    pub(in crate::net) fn close(self: &Rc<Self>) {
        let queue = self.side.borrow_mut().close();
        drop(queue);
        if self.reactor.disown() {
            return; // in a forked child: the parent still accepts
        }
        self.disarm();
        let is_cancelling = self.side.borrow().is_cancelling();
        if is_cancelling {
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

    /// Stops accepting and gives the socket away, unchanged, with the connections that were
    /// accepted and not taken, in order. If the future is dropped, the listener closes.
    pub(in crate::net) async fn give_away(
        self: Rc<Self>,
    ) -> io::Result<(OwnedFd, Vec<Connection>)> {
        let reactor = Rc::clone(&self.reactor);
        let mut release = Release(Some(self));
        let released = coop::leaf_fn(reactor.home(), |cx| release.poll(cx.waker())).await;
        let mut listener = Rc::try_unwrap(released).ok().expect("counted by `poll`");
        let (queue, releaser) = listener.side.get_mut().take_rest();
        reactor.wake_deferred(releaser);
        let fd = listener.fd.take().expect("given away once");
        listener.reactor.deregister(fd.as_raw_fd());
        Ok((fd, queue.into()))
    }

    // ---- effects ---------------------------------------------------------------------------

    fn accepted(self: &Rc<Self>, result: OpResult) {
        let more = result.more;
        let arrival = match accept::finish(result) {
            Accepted::Connection(fd) => {
                let admission = self.has_limit.then(|| Admission(Rc::downgrade(self)));
                Arrival::Connection(Connection { fd, admission })
            }
            // No retry, as no timer would fire on a loop that ends.
            Accepted::Exhausted(_) if !self.reactor.is_accepting() => Arrival::Nothing,
            Accepted::Nothing => Arrival::Nothing,
            Accepted::Exhausted(code) => Arrival::Exhausted(code),
            Accepted::Failed(code) => Arrival::Failed(code),
        };
        if !more {
            self.key.set(None);
        }
        let effects = self.side.borrow_mut().completed(arrival, more);
        self.perform(effects);
    }

    fn disarm(self: &Rc<Self>) {
        let effects = self.side.borrow_mut().disarm();
        self.perform(effects);
    }

    /// Performs the effects of a transition. Nothing is borrowed.
    fn perform(self: &Rc<Self>, effects: AcceptEffects<Connection>) {
        let AcceptEffects { report, refused, woken, releaser, stop, start, prepare } = effects;
        if let Some(code) = report {
            let error = io::Error::from_raw_os_error(code);
            self.reactor.report(Unhandled::AcceptCapacity { error });
        }
        match refused {
            None => {}
            Some(Refused::Close(connection)) => drop(connection),
            Some(Refused::Reset(connection)) => self.reset(connection),
        }
        self.wake(woken);
        self.reactor.wake_deferred(releaser);
        match stop {
            None => {}
            Some(Stop::CancelAccept) => {
                self.reactor.cancel(self.key.get().expect("an accept is in flight"));
            }
            Some(Stop::RemoveTimer) => {
                self.reactor.remove_timer(self.timer.take().expect("a timer is set"));
            }
        }
        if let Some(start) = start
            && self.start(start).is_err()
        {
            // The loop is closing or broken: each `accept()` finds that out.
            let woken = self.side.borrow_mut().wake_all();
            self.wake(woken);
        }
        if prepare {
            self.reactor.prepare_later(Rc::clone(self) as Rc<_>);
        }
    }

    /// Submits an accept or sets a timer.
    fn start(self: &Rc<Self>, start: Start) -> io::Result<()> {
        let started = match start {
            Start::Accept => self.submit(accept::request(&**self)),
            Start::AcceptOne => self.submit(accept::request_one(&**self)),
            Start::BackOff => {
                self.set_timer(self.reactor.now_ns() + ACCEPT_BACKOFF_NS);
                Ok(())
            }
            Start::WaitForRoom if self.reactor.is_accepting() => {
                self.set_timer(u64::MAX);
                Ok(())
            }
            Start::WaitForRoom => Err(self.reactor.refusal()),
        };
        if started.is_err() {
            self.side.borrow_mut().start_failed();
        }
        started
    }

    fn submit(self: &Rc<Self>, request: Request) -> io::Result<()> {
        let key = self.reactor.submit(Rc::clone(self) as Rc<_>, ACCEPT, request)?;
        self.key.set(Some(key));
        Ok(())
    }

    fn set_timer(self: &Rc<Self>, deadline_ns: u64) {
        self.timer.set(Some(self.reactor.expire_at(deadline_ns, Rc::clone(self) as Rc<_>)));
    }

    fn wake(&self, woken: Woken) {
        woken.for_each(|waker| self.reactor.wake_deferred(Some(waker)));
    }

    /// Resets a connection that exceeds the limit.
    fn reset(&self, connection: Connection) {
        // A socket that cannot be set to reset closes in the ordinary way.
        let _ = SockRef::from(&connection.fd).set_linger(Some(Duration::ZERO));
        self.reactor.count_shed();
    }
}

/// A listener that is being given away. Closes it if that is not completed.
struct Release(Option<Rc<ListenerSocket>>);

impl Release {
    /// Waits until nothing names the descriptor. The listener then has one owner.
    fn poll(&mut self, waker: &Waker) -> Poll<Rc<ListenerSocket>> {
        let listener = self.0.as_ref().expect("polled after completion");
        listener.side.borrow_mut().release();
        listener.disarm();
        let is_idle = listener.side.borrow().is_idle();
        if is_idle && Rc::strong_count(listener) == 1 {
            return Poll::Ready(self.0.take().expect("looked at above"));
        }
        if is_idle {
            waker.wake_by_ref(); // the list of owners to prepare holds it until the turn ends
        }
        let waker = waker.clone(); // user code: not under the borrow
        let former = listener.side.borrow_mut().wait_for_release(waker);
        drop(former);
        Poll::Pending
    }
}

impl Drop for Release {
    fn drop(&mut self) {
        if let Some(listener) = self.0.take() {
            listener.close();
        }
    }
}

impl AsFd for ListenerSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_ref().expect("given away only by its last owner").as_fd()
    }
}

impl Owner for ListenerSocket {
    fn complete(self: Rc<Self>, tag: Tag, result: OpResult) {
        assert_eq!(tag, ACCEPT, "a listener only accepts");
        self.accepted(result);
    }

    fn abandon(self: Rc<Self>, _tag: Tag, _code: i32) {
        // Nothing was lent, and the next accept takes what waits.
        self.accepted(OpResult { result: -errno::ECANCELED, more: false, buffer: None });
    }

    fn watched(&self, _tag: Tag) -> Option<(RawFd, Interest)> {
        Some((self.as_fd().as_raw_fd(), Interest::Readable))
    }

    fn prepare(self: Rc<Self>) {
        let effects = self.side.borrow_mut().prepared();
        self.perform(effects);
    }
}

impl Expire for ListenerSocket {
    fn expire(self: Rc<Self>) {
        self.timer.set(None);
        let effects = self.side.borrow_mut().expired();
        self.perform(effects);
    }

    fn outlives_tasks(&self) -> bool {
        false
    }
}

impl Drop for ListenerSocket {
    fn drop(&mut self) {
        let (queue, releaser) = self.side.get_mut().take_rest();
        drop(queue);
        self.reactor.wake_deferred(releaser);
        let Some(fd) = self.fd.take() else { return }; // given away
        self.reactor.deregister(fd.as_raw_fd());
        drop(fd);
        if let Some(then) = self.at_close.get_mut().take() {
            then();
        }
    }
}
