//! Connecting to a Unix listener.
//!
//! **`connect(2)` is called here, not by the driver.** On a Unix socket it connects or fails within
//! the call, except when the backlog of the listener is full. Then a blocking connect sleeps, and a
//! non-blocking one fails with `EAGAIN`. There is no event to wait for: an unconnected socket polls
//! as writable (`POLLOUT | POLLHUP`).
//!
//! The drivers cannot wait either. io_uring (Linux 6.18) retries such a connect 128 times and then
//! uses one kernel thread for each, up to `RLIMIT_NPROC`; if the socket has `O_NONBLOCK`, it
//! returns `EAGAIN` after the retries. On epoll no edge ever comes. So connects that meet a full
//! backlog wait in a queue, one per address and loop, and only its first one retries. The rules of
//! the queue are in [`ConnectQueue`].

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::task::{Poll, Waker};

use socket2::{Domain, SockAddr, Socket, Type};

use super::addr;
use super::connect_queue::{ConnectQueue, LeaveEffects, QueueEffects};
use crate::reactor::{Expire, Reactor, TimerKey};
use crate::sync::wait_list::{self, WaiterId};
use crate::task::coop;

/// Connects a new socket to the listener at `path`.
pub(super) async fn connect(reactor: &Rc<Reactor>, path: &Path) -> io::Result<OwnedFd> {
    let (socket, addr) = match socket_for(path) {
        Ok(made) => made,
        Err(error) => return coop::ready(Err(error)).await,
    };
    let mut wait = ConnectWait { reactor, addr, socket: Some(socket), member: None };
    coop::leaf_fn(reactor.home(), |cx| wait.poll(cx.waker())).await
}

fn socket_for(path: &Path) -> io::Result<(Socket, SockAddr)> {
    let addr = addr::to_addr(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    Ok((socket, addr))
}

/// The address of the loop in memory, and the address of the listener.
type QueueKey = (usize, Vec<u8>);

thread_local! {
    /// The queues of this thread's loops. A queue is here while it has a member.
    static QUEUES: RefCell<BTreeMap<QueueKey, Rc<AddressQueue>>> =
        const { RefCell::new(BTreeMap::new()) };
}

/// Connects that wait for room in the backlog of one listener. Performs what [`ConnectQueue`]
/// decides.
struct AddressQueue {
    reactor: Rc<Reactor>,
    key: QueueKey,
    queue: RefCell<ConnectQueue>,
    timer: Cell<Option<TimerKey>>,
}

/// One connect, and its place in a queue if it waits.
struct ConnectWait<'a> {
    reactor: &'a Rc<Reactor>,
    addr: SockAddr,
    /// `None` once it has connected.
    socket: Option<Socket>,
    member: Option<(Rc<AddressQueue>, WaiterId)>,
}

impl ConnectWait<'_> {
    fn poll(&mut self, waker: &Waker) -> Poll<io::Result<OwnedFd>> {
        if !self.reactor.is_accepting() {
            return Poll::Ready(Err(self.reactor.refusal()));
        }
        if !self.is_its_turn() {
            return self.wait(waker);
        }
        let socket = self.socket.as_ref().expect("polled after completion");
        match socket.connect(&self.addr) {
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                self.wait(waker)
            }
            result => {
                if let Some((owner, _)) = &self.member {
                    let effects = owner.queue.borrow_mut().succeeded();
                    owner.perform(effects);
                }
                let socket = self.socket.take().expect("looked at above");
                Poll::Ready(result.map(|()| socket.into()))
            }
        }
    }

    /// Whether no other connect to the same address is before this one.
    fn is_its_turn(&self) -> bool {
        match &self.member {
            Some((owner, waiter_id)) => owner.queue.borrow().is_turn(waiter_id),
            None => QUEUES.with_borrow(|queues| !queues.contains_key(&self.key())),
        }
    }

    fn wait(&mut self, waker: &Waker) -> Poll<io::Result<OwnedFd>> {
        if self.member.is_none() {
            let owner = AddressQueue::join(self.reactor, self.key());
            self.member = Some((owner, WaiterId::default()));
        }
        let (owner, waiter_id) = self.member.as_mut().expect("joined above");
        wait_list::wait_in(&owner.queue, ConnectQueue::waiters, waiter_id, waker);
        let effects = owner.queue.borrow_mut().waits();
        owner.perform(effects);
        Poll::Pending
    }

    fn key(&self) -> QueueKey {
        let bytes = self.addr.as_pathname().map(|path| path.as_os_str().as_encoded_bytes());
        let name = bytes.or_else(|| self.addr.as_abstract_namespace()).unwrap_or_default();
        // The zero byte, which no path has, distinguishes abstract names from paths.
        let is_abstract = self.addr.as_pathname().is_none();
        let prefix: &[u8] = if is_abstract { b"\0" } else { b"" };
        (Rc::as_ptr(self.reactor).addr(), [prefix, name].concat())
    }
}

impl Drop for ConnectWait<'_> {
    fn drop(&mut self) {
        if let Some((owner, mut waiter_id)) = self.member.take() {
            owner.leave(&mut waiter_id);
        }
    }
}

impl AddressQueue {
    fn join(reactor: &Rc<Reactor>, key: QueueKey) -> Rc<AddressQueue> {
        let owner = QUEUES.with_borrow_mut(|queues| {
            let owner = queues.entry(key.clone()).or_insert_with(|| {
                Rc::new(AddressQueue {
                    reactor: Rc::clone(reactor),
                    key,
                    queue: RefCell::default(),
                    timer: Cell::new(None),
                })
            });
            Rc::clone(owner)
        });
        owner.queue.borrow_mut().join();
        owner
    }

    fn leave(&self, waiter_id: &mut WaiterId) {
        let effects = self.queue.borrow_mut().leave(waiter_id);
        let LeaveEffects { waker, is_empty, remove_timer } = effects;
        if is_empty {
            // If the thread is ending, the table and its queues are gone.
            let removed = QUEUES.try_with(|queues| queues.borrow_mut().remove(&self.key));
            drop(removed);
        }
        if remove_timer {
            self.reactor.remove_timer(self.timer.take().expect("the timer is set"));
        }
        drop(waker); // user code, which may join the next queue of this address
    }

    /// Performs the effects of a transition. Nothing is borrowed.
    fn perform(self: &Rc<Self>, effects: QueueEffects) {
        let QueueEffects { woken, set_timer_ns } = effects;
        woken.for_each(|waker| self.reactor.wake_deferred(Some(waker)));
        if let Some(pause_ns) = set_timer_ns {
            let at_ns = self.reactor.now_ns() + pause_ns;
            self.timer.set(Some(self.reactor.expire_at(at_ns, Rc::clone(self) as Rc<_>)));
        }
    }
}

impl Expire for AddressQueue {
    fn expire(self: Rc<Self>) {
        self.timer.set(None);
        let is_accepting = self.reactor.is_accepting();
        let effects = self.queue.borrow_mut().expired(is_accepting);
        self.perform(effects);
    }

    fn outlives_tasks(&self) -> bool {
        false
    }
}
