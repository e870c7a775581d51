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
//! backlog wait in a line, one per address and loop, and only the first of the line retries.
//!
//! ```text
//!  no line ── EAGAIN ──▶ waiting ── its turn ──▶ connect(2) ── done ──▶ the next one's turn
//!                            ▲                     │ EAGAIN
//!                            └──── a pause ────────┘
//! ```
//!
//! The pause doubles while no connect succeeds, from [`PAUSE_MIN_NS`] to [`PAUSE_MAX_NS`], and is
//! short again after a success. So a line moves about as fast as the listener accepts, and costs
//! one system call per pause whatever its length. The order of the line is not strict: several of
//! its connects may be awake at once.
//!
//! **Invariant.** While a connect of the line waits and has not been woken, the timer of the line
//! is set. So a connect that was woken and is not polled, or was dropped, delays the others by one
//! pause.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::rc::Rc;
use std::task::{Poll, Waker};

use socket2::{Domain, SockAddr, Socket, Type};

use super::addr;
use crate::reactor::{Expire, Reactor, TimerKey};
use crate::task::coop;
use crate::task::wait_list::{self, WaitList, WaiterId};

/// The pauses of a line whose first connect meets a full backlog.
const PAUSE_MIN_NS: u64 = 50_000;
const PAUSE_MAX_NS: u64 = 16_000_000;

/// Connects a new socket to the listener at `path`.
pub(super) async fn connect(reactor: &Rc<Reactor>, path: &Path) -> io::Result<OwnedFd> {
    let (socket, addr) = match socket_for(path) {
        Ok(made) => made,
        Err(error) => return coop::ready(Err(error)).await,
    };
    let mut waiting = ConnectWait { reactor, addr, socket: Some(socket), line: None };
    coop::leaf_fn(reactor.home(), |cx| waiting.poll(cx.waker())).await
}

fn socket_for(path: &Path) -> io::Result<(Socket, SockAddr)> {
    let addr = addr::to_addr(path)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    Ok((socket, addr))
}

/// The address of the loop in memory, and the address of the listener.
type LineKey = (usize, Vec<u8>);

thread_local! {
    /// The lines of this thread's loops. A line is here while a connect waits in it.
    static LINES: RefCell<BTreeMap<LineKey, Rc<Line>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Connects that wait for room in the backlog of one listener.
struct Line {
    reactor: Rc<Reactor>,
    key: LineKey,
    waiters: RefCell<WaitList>,
    members_count: Cell<usize>,
    timer: Cell<Option<TimerKey>>,
    pause_ns: Cell<u64>,
}

/// One connect that waits.
struct ConnectWait<'a> {
    reactor: &'a Rc<Reactor>,
    addr: SockAddr,
    /// `None` once it has connected.
    socket: Option<Socket>,
    line: Option<(Rc<Line>, WaiterId)>,
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
                if let Some((line, _)) = &self.line {
                    line.pause_ns.set(PAUSE_MIN_NS);
                    line.wake_next();
                }
                let socket = self.socket.take().expect("looked at above");
                Poll::Ready(result.map(|()| socket.into()))
            }
        }
    }

    /// Whether no other connect to the same address is before this one.
    fn is_its_turn(&self) -> bool {
        match &self.line {
            Some((line, waiter_id)) => line.waiters.borrow().is_first_awake(waiter_id),
            None => LINES.with_borrow(|lines| !lines.contains_key(&self.key())),
        }
    }

    fn wait(&mut self, waker: &Waker) -> Poll<io::Result<OwnedFd>> {
        if self.line.is_none() {
            let line = Line::join(self.reactor, self.key());
            self.line = Some((line, WaiterId::default()));
        }
        let (line, waiter_id) = self.line.as_mut().expect("joined above");
        wait_list::wait_in(&line.waiters, |list| list, waiter_id, waker);
        line.set_timer();
        Poll::Pending
    }

    fn key(&self) -> LineKey {
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
        if let Some((line, mut waiter_id)) = self.line.take() {
            let waker = line.waiters.borrow_mut().leave(&mut waiter_id);
            drop(waker); // user code: not under the borrow
            line.leave();
        }
    }
}

impl Line {
    fn join(reactor: &Rc<Reactor>, key: LineKey) -> Rc<Line> {
        let line = LINES.with_borrow_mut(|lines| {
            let line = lines.entry(key.clone()).or_insert_with(|| {
                Rc::new(Line {
                    reactor: Rc::clone(reactor),
                    key,
                    waiters: RefCell::default(),
                    members_count: Cell::new(0),
                    timer: Cell::new(None),
                    pause_ns: Cell::new(PAUSE_MIN_NS),
                })
            });
            Rc::clone(line)
        });
        line.members_count.set(line.members_count.get() + 1);
        line
    }

    fn leave(&self) {
        self.members_count.set(self.members_count.get() - 1);
        if self.members_count.get() > 0 {
            return;
        }
        // If the thread is ending, the table and its lines are gone.
        let removed = LINES.try_with(|lines| lines.borrow_mut().remove(&self.key));
        if let Some(timer) = self.timer.take() {
            self.reactor.remove_timer(timer);
        }
        drop(removed);
    }

    /// Wakes the first connect that waits. If it is not polled, the timer wakes the next one.
    fn wake_next(self: &Rc<Self>) {
        let woken = self.waiters.borrow_mut().wake_first();
        woken.for_each(|waker| self.reactor.wake_deferred(Some(waker)));
        if self.waiters.borrow().is_waiting() {
            self.set_timer();
        }
    }

    fn set_timer(self: &Rc<Self>) {
        if self.timer.get().is_some() {
            return;
        }
        let pause_ns = self.pause_ns.get();
        self.pause_ns.set(PAUSE_MAX_NS.min(2 * pause_ns));
        let at_ns = self.reactor.now_ns() + pause_ns;
        self.timer.set(Some(self.reactor.expire_at(at_ns, Rc::clone(self) as Rc<_>)));
    }
}

impl Expire for Line {
    fn expire(self: Rc<Self>) {
        self.timer.set(None);
        if self.reactor.is_accepting() {
            return self.wake_next();
        }
        let woken = self.waiters.borrow_mut().wake_all();
        for waker in woken {
            self.reactor.wake_deferred(Some(waker)); // each finds that the loop has ended
        }
    }

    fn outlives_tasks(&self) -> bool {
        false
    }
}
