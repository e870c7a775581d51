//! The state of a descriptor that is watched.
//!
//! For each direction one poll, asked for when a task waits and owned by the watch, and those who
//! wait. An answer is for all of them, and then it is forgotten: the next one who waits asks the
//! kernel anew. So dropping a wait loses nothing. The poll it has asked for stays, and the task
//! that waits next shares it.
//!
//! ```text
//!          a task waits                            ready, failed
//!  Idle ──────────────────▶ InFlight(once) ────────────────────────▶ Idle, all waiters are woken
//!                               │ something besides
//!                               ▼                    ready            ended
//!                          InFlight(changes) ──────────▶ Cancelling ───────▶ Idle
//!                               │    ▲
//!                               └────┘ something besides
//! ```
//!
//! "Something besides" and the poll for changes that follows it: see `op::poll`.
//!
//! **Invariant.** At most one poll is in flight per direction. The descriptor is a duplicate that
//! no other value owns; it is closed by the last `Rc` to this value, and the slot of each poll
//! holds one.
//!
//! **Absent on purpose.** User code: the value that the program watches is not here, and wakers go
//! to `Reactor::wake_deferred`.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::rc::Rc;
use std::task::{Poll, Waker};

use crate::driver::request::{Interest, Key, Tag};
use crate::loop_id::Home;
use crate::op::OpResult;
use crate::op::poll::{self, Polled};
use crate::reactor::{Owner, Reactor};
use crate::sys::errno;
use crate::task::wait_list::{self, WaitList, WaiterId};

/// The tags of the polls of the two directions.
const READABLE: Tag = 1;
const WRITABLE: Tag = 2;

pub(super) struct Watch {
    reactor: Rc<Reactor>,
    input: WatchSide,
    output: WatchSide,
    /// No task can wait any more, though one that was leaked is still on a list.
    is_closed: Cell<bool>,
    fd: OwnedFd,
}

/// One direction.
#[derive(Default)]
struct WatchSide {
    armed: Cell<PollState>,
    waiters: RefCell<WaitList>,
    /// Answers so far. Who waits is waiting for the next one.
    answers_count: Cell<u64>,
    /// The errno of the last answer, if it was one.
    failure: Cell<Option<i32>>,
}

#[derive(Clone, Copy, Default, Debug)]
enum PollState {
    #[default]
    Idle,
    InFlight(Key),
    Cancelling,
}

/// What a poll in the kernel is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Ask {
    Once,
    Changes,
}

/// Where a wait stands. Starts without a place among the others.
pub(super) struct PollWaiter {
    interest: Interest,
    waiter_id: WaiterId,
    /// The answers that came before.
    answers_before: Option<u64>,
}

impl PollWaiter {
    pub(super) fn new(interest: Interest) -> PollWaiter {
        PollWaiter { interest, waiter_id: WaiterId::default(), answers_before: None }
    }
}

impl Watch {
    pub(super) fn new(reactor: Rc<Reactor>, fd: OwnedFd) -> Rc<Watch> {
        let (input, output) = (WatchSide::default(), WatchSide::default());
        Rc::new(Watch { reactor, input, output, is_closed: Cell::new(false), fd })
    }

    pub(super) fn home(&self) -> &Home {
        self.reactor.home()
    }

    pub(super) fn poll_ready(
        self: &Rc<Self>,
        place: &mut PollWaiter,
        waker: &Waker,
    ) -> Poll<io::Result<()>> {
        let side = self.side(place.interest);
        let answers_count = side.answers_count.get();
        if place.answers_before.is_some_and(|before| before != answers_count) {
            let failure = side.failure.get().map(io::Error::from_raw_os_error);
            return Poll::Ready(failure.map_or(Ok(()), Err));
        }
        if let Err(error) = self.arm(place.interest, Ask::Once) {
            return Poll::Ready(Err(error));
        }
        place.answers_before = Some(answers_count);
        wait_list::wait_in(&side.waiters, |list| list, &mut place.waiter_id, waker);
        Poll::Pending
    }

    /// A wait is over or was dropped. A result is for all waiters, so there is nothing to pass on.
    pub(super) fn leave(&self, place: &mut PollWaiter) {
        let waker = self.side(place.interest).waiters.borrow_mut().leave(&mut place.waiter_id);
        drop(waker); // user code: not under the borrow
    }

    /// No task will wait again.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        self.cancel(&self.input);
        self.cancel(&self.output);
    }

    fn side(&self, interest: Interest) -> &WatchSide {
        match interest {
            Interest::Readable => &self.input,
            Interest::Writable => &self.output,
            Interest::HangUp => unreachable!("a watch waits for no end"),
        }
    }

    fn arm(self: &Rc<Self>, interest: Interest, ask: Ask) -> io::Result<()> {
        let side = self.side(interest);
        match side.armed.get() {
            PollState::Idle => {
                let request = match ask {
                    Ask::Once => poll::request(&self.fd, interest),
                    Ask::Changes => poll::request_changes(&self.fd, interest),
                };
                let key = self.reactor.submit(Rc::clone(self) as Rc<_>, tag(interest), request)?;
                side.armed.set(PollState::InFlight(key));
            }
            // Shared, or its end will ask again.
            PollState::InFlight(_) | PollState::Cancelling => {}
        }
        Ok(())
    }

    fn cancel(&self, side: &WatchSide) {
        if let PollState::InFlight(key) = side.armed.get() {
            side.armed.set(PollState::Cancelling);
            self.reactor.cancel(key);
        }
    }

    fn polled(self: &Rc<Self>, interest: Interest, answer: &OpResult) {
        let side = self.side(interest);
        if !answer.more {
            side.armed.set(PollState::Idle);
        }
        let mut ask = Ask::Once;
        match poll::finish(interest, answer) {
            Polled::Ready => self.answer(side, None),
            Polled::Failed(code) => self.answer(side, Some(code)),
            Polled::SpuriousEvents => ask = Ask::Changes,
            Polled::Nothing => {}
        }
        let is_wanted = side.waiters.borrow().is_waiting() && !self.is_closed.get();
        if is_wanted && self.arm(interest, ask).is_err() {
            self.wake_all(side); // the loop is closing or broken, and they will find that out
        }
    }

    /// Wakes all waiters, and ends a poll that would go on.
    fn answer(&self, side: &WatchSide, failure: Option<i32>) {
        side.answers_count.set(side.answers_count.get() + 1);
        side.failure.set(failure);
        self.cancel(side);
        self.wake_all(side);
    }

    fn wake_all(&self, side: &WatchSide) {
        let woken = side.waiters.borrow_mut().wake_all();
        for waker in woken {
            self.reactor.wake_deferred(Some(waker));
        }
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
    fn complete(self: Rc<Self>, tag: Tag, answer: OpResult) {
        self.polled(interest(tag), &answer);
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
