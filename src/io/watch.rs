//! A watched descriptor and its polls: what an [`AsyncFd`](super::AsyncFd) holds.
//!
//! [`PollSide`] decides, one for each direction, and this type performs: it submits and cancels the
//! polls and passes wakers on, once the borrow of the state has ended.
//!
//! **Invariant.** The descriptor is a duplicate that no other value owns. It is closed by the last
//! `Rc` to this value, and the slot of each poll holds one.
//!
//! **Absent on purpose.** User code: the value that the program watches is not here, and wakers go
//! to `Reactor::wake_deferred`.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::poll_side::{PollEffects, PollSide, PollWaiter, Start, WaitPoll};
use crate::driver::request::{Interest, Key, Tag};
use crate::loop_id::Home;
use crate::op::{OpResult, poll};
use crate::reactor::{Owner, Reactor};
use crate::sync::wait_list::{self, Woken};
use crate::sys::errno;

/// The tags of the polls of the two directions.
const READABLE: Tag = 1;
const WRITABLE: Tag = 2;

pub(super) struct Watch {
    reactor: Rc<Reactor>,
    input: Direction,
    output: Direction,
    fd: OwnedFd,
}

#[derive(Default)]
struct Direction {
    side: RefCell<PollSide>,
    /// The poll in flight.
    key: Cell<Option<Key>>,
}

impl Watch {
    pub(super) fn new(reactor: Rc<Reactor>, fd: OwnedFd) -> Rc<Watch> {
        let (input, output) = (Direction::default(), Direction::default());
        Rc::new(Watch { reactor, input, output, fd })
    }

    pub(super) fn home(&self) -> &Home {
        self.reactor.home()
    }

    pub(super) fn poll_ready(
        self: &Rc<Self>,
        interest: Interest,
        waiter: &mut PollWaiter,
        waker: &Waker,
    ) -> Poll<io::Result<()>> {
        let side = &self.direction(interest).side;
        let polled = side.borrow_mut().poll(waiter);
        match polled {
            WaitPoll::Ready => return Poll::Ready(Ok(())),
            WaitPoll::Failed(code) => {
                return Poll::Ready(Err(io::Error::from_raw_os_error(code)));
            }
            WaitPoll::Pending(None) => {}
            WaitPoll::Pending(Some(start)) => self.start(interest, start)?,
        }
        wait_list::wait_in(side, PollSide::waiters, &mut waiter.waiter_id, waker);
        Poll::Pending
    }

    /// A wait has returned or was dropped.
    pub(super) fn leave(&self, interest: Interest, waiter: &mut PollWaiter) {
        let waker = self.direction(interest).side.borrow_mut().leave(waiter);
        drop(waker); // user code: not under the borrow
    }

    /// No task will wait again.
    pub(super) fn close(self: &Rc<Self>) {
        for interest in [Interest::Readable, Interest::Writable] {
            let effects = self.direction(interest).side.borrow_mut().close();
            self.perform(interest, effects);
        }
    }

    fn direction(&self, interest: Interest) -> &Direction {
        match interest {
            Interest::Readable => &self.input,
            Interest::Writable => &self.output,
            Interest::HangUp => unreachable!("a watch does not poll for a hang-up"),
        }
    }

    fn polled(self: &Rc<Self>, interest: Interest, result: &OpResult) {
        let direction = self.direction(interest);
        if !result.more {
            direction.key.set(None);
        }
        let polled = poll::finish(interest, result);
        let effects = direction.side.borrow_mut().completed(polled, result.more);
        self.perform(interest, effects);
    }

    /// Performs the effects of a transition. Nothing is borrowed.
    fn perform(self: &Rc<Self>, interest: Interest, effects: PollEffects) {
        let PollEffects { woken, cancel, start } = effects;
        let direction = self.direction(interest);
        self.wake(woken);
        if cancel {
            self.reactor.cancel(direction.key.get().expect("a poll is in flight"));
        }
        if let Some(start) = start
            && self.start(interest, start).is_err()
        {
            // The loop is closing or broken: each waiter finds that out.
            let woken = direction.side.borrow_mut().wake_all();
            self.wake(woken);
        }
    }

    fn start(self: &Rc<Self>, interest: Interest, start: Start) -> io::Result<()> {
        let direction = self.direction(interest);
        let request = match start {
            Start::Once => poll::request(&self.fd, interest),
            Start::Changes => poll::request_changes(&self.fd, interest),
        };
        let submitted = self.reactor.submit(Rc::clone(self) as Rc<_>, tag(interest), request);
        match submitted {
            Ok(key) => direction.key.set(Some(key)),
            Err(_) => direction.side.borrow_mut().start_failed(),
        }
        submitted.map(drop)
    }

    fn wake(&self, woken: Woken) {
        woken.for_each(|waker| self.reactor.wake_deferred(Some(waker)));
    }
}

fn tag(interest: Interest) -> Tag {
    match interest {
        Interest::Readable => READABLE,
        Interest::Writable => WRITABLE,
        Interest::HangUp => unreachable!("a watch does not poll for a hang-up"),
    }
}

fn interest(tag: Tag) -> Interest {
    match tag {
        READABLE => Interest::Readable,
        WRITABLE => Interest::Writable,
        _ => unreachable!("no poll of a watch has tag {tag}"),
    }
}

impl Owner for Watch {
    fn complete(self: Rc<Self>, tag: Tag, result: OpResult) {
        self.polled(interest(tag), &result);
    }

    fn abandon(self: Rc<Self>, tag: Tag, _code: i32) {
        // Nothing was lent.
        self.complete(tag, OpResult { result: -errno::ECANCELED, more: false, buffer: None });
    }

    fn watched(&self, tag: Tag) -> Option<(RawFd, Interest)> {
        Some((self.fd.as_raw_fd(), interest(tag)))
    }

    fn prepare(self: Rc<Self>) {
        unreachable!("a watch submits at once");
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.reactor.deregister(self.fd.as_raw_fd());
    }
}
