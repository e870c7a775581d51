//! The epoll driver: the same requests, on readiness.
//!
//! Some facts about epoll that shape this file:
//!
//! - **Interest is per open file, and goes away with it.** A descriptor is added once, for every
//!   edge, at its first request: one system call per connection, not per operation. An edge that
//!   finds nothing pending takes it out, as others may be busy with the file. When the last
//!   descriptor of the file closes, the kernel forgets it, and not when ours does: a duplicate, in
//!   this process or in a child, would go on waking a loop that cannot know why. So the owner that
//!   closes a socket calls [`Epoll::deregister`] first, which removes it. The next owner of the
//!   number is then new here as well.
//! - **An edge is news, not a state.** It says that something has changed since we last looked. So
//!   a new operation is tried first, and only `EAGAIN` makes it wait. A spurious edge costs one
//!   call that returns `EAGAIN`.
//! - **A short read means "empty" on plain TCP only** (H86), and there not after an event with
//!   `RDHUP`, `HUP` or `ERR` (one more read returns the end) or `PRI` (a read stops at the mark of
//!   urgent data). On any other socket a read also stops where the kernel cuts: at descriptors or
//!   credentials on a Unix socket, at a record under kTLS. There a socket is read until `EAGAIN`.
//!   Which kind it is is asked at its first short read. A descriptor that the program has seen may
//!   get kTLS at any time, so its socket counts as another kind from then on ([`Epoll::expose`]).
//! - **A failed connect is writable**, and so, for a moment, is one that has not begun. A second
//!   `connect` tells: `EISCONN`, `EALREADY`, or why not.
//! - **What epoll refuses is always ready.** `EPERM` says that the file (a regular one) has no
//!   notion of readiness, and `poll(2)` then says yes to everything.
//! - **Timeouts.** `epoll_pwait2` (5.11) takes nanoseconds. Without it a timerfd ends the sleep,
//!   because milliseconds would fire late, or early and spin.
//!
//! Multishot requests are emulated: the request stays until it is cancelled or ends, and each call
//! that brings something posts a completion with MORE.
//!
//! ```text
//!           push                  a call brought something (multishot: stays)
//!  absent ────────▶ runnable ────────────────────────────────────────▶ completion
//!                     ▲   │ EAGAIN                        cancel ─────▶ ECANCELED
//!                     │   ▼
//!                    waiting for an edge
//! ```
//!
//! **Invariant.** A pending operation is on the run list, or its last call has seen `EAGAIN` (or a
//! short read that means "empty") and no edge has come since, so the next change makes one.
#![allow(unsafe_code)] // socket calls on lent memory

mod alarm;
#[cfg(test)]
mod tests;
mod tried;

use std::collections::VecDeque;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::Arc;

use super::request::{Completion, Flags, Interest, Key, PushOutcome, Request, Wait};
use super::stats::DriverStats;
use crate::buf::{Loan, Pool};
use crate::sys::epoll::{self, Event, TimerFd};
use crate::sys::eventfd::EventFd;
use crate::sys::socket::is_plain_tcp;
use crate::sys::{clock, errno};
use alarm::Alarm;
use tried::{Tried, at_once, connected, once, polled, refused};

/// Operations tried in one wait. The rest are tried in the next, before it may sleep.
const TRIES_PER_WAIT_MAX: usize = 128;

/// Completions that one multishot operation may post in one go, so that a busy socket does not
/// starve the others (H53).
const SHOTS_PER_TRY_MAX: usize = 4;

/// The same for accepts, which bring little each.
const ACCEPTS_PER_TRY_MAX: usize = 32;

/// `data` of the two descriptors that are the driver's own. Sockets carry their number.
const WAKE_FD: u64 = u64::MAX;
const TIMER: u64 = u64::MAX - 1;

pub(crate) struct Epoll {
    epoll: epoll::Epoll,
    pool: Rc<Pool>,
    wake_fd: Arc<EventFd>,
    /// By descriptor number. Numbers are small: the kernel gives out the lowest that is free.
    sockets: Vec<Socket>,
    /// Where the operation of each slot is, by the key's index.
    places: Vec<(RawFd, Direction)>,
    run_list: VecDeque<(RawFd, Direction)>,
    /// What was pushed since operations were last tried. A flush tries these only: a busy multishot
    /// operation gets its share once a turn.
    fresh: VecDeque<(RawFd, Direction)>,
    /// Completions decided outside a wait: cancelled operations.
    decided: Vec<Completion>,
    /// `Some` where the kernel has no `epoll_pwait2`.
    timer: Option<Alarm>,
    /// A buffer that was lent for a call which brought nothing. The next call gets it.
    spare: Option<Loan>,
    events: Vec<Event>,
    stats: DriverStats,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Direction {
    In,
    Out,
    /// The end of the peer's bytes. Apart from `In`, as a receive may be pending beside it.
    HangUp,
}

#[derive(Default)]
struct Socket {
    is_added: bool,
    short_read: ShortRead,
    input: InterestSide,
    output: InterestSide,
    hang_up: InterestSide,
}

/// What a read that fills less than its buffer means.
#[derive(Clone, Copy, Default)]
enum ShortRead {
    #[default]
    NotAsked,
    /// Nothing is left: the socket is plain TCP.
    Empty,
    /// Something may be left. Stays until the descriptor is closed.
    MayHaveMore,
}

/// One direction of a socket.
#[derive(Default)]
struct InterestSide {
    pending: Option<(Key, Request)>,
    is_on_run_list: bool,
}

impl Epoll {
    pub(crate) fn new(pool: Rc<Pool>, wake_fd: Arc<EventFd>) -> io::Result<Epoll> {
        let epoll = epoll::Epoll::new()?;
        let timer = match epoll.wait(Some(0), &mut Vec::new()) {
            Ok(()) => None,
            // Not there, or a sandbox that does not know it.
            Err(error) if matches!(error.raw_os_error(), Some(errno::ENOSYS | errno::EPERM)) => {
                Some(TimerFd::new()?)
            }
            Err(error) => return Err(error),
        };
        Epoll::with(epoll, timer, pool, wake_fd)
    }

    fn with(
        epoll: epoll::Epoll,
        timer: Option<TimerFd>,
        pool: Rc<Pool>,
        wake_fd: Arc<EventFd>,
    ) -> io::Result<Epoll> {
        epoll.add(wake_fd.raw(), epoll::LEVEL_IN, WAKE_FD)?;
        if let Some(timer) = &timer {
            epoll.add(timer.raw(), epoll::LEVEL_IN, TIMER)?;
        }
        Ok(Epoll {
            epoll,
            pool,
            wake_fd,
            sockets: Vec::new(),
            places: Vec::new(),
            run_list: VecDeque::new(),
            fresh: VecDeque::new(),
            decided: Vec::new(),
            timer: timer.map(Alarm::new),
            spare: None,
            events: Vec::new(),
            stats: DriverStats::default(),
        })
    }

    pub(crate) fn features(&self) -> Vec<&'static str> {
        vec![if self.timer.is_none() { "epoll_pwait2" } else { "timerfd" }]
    }

    pub(crate) fn push(&mut self, key: Key, request: Request) -> PushOutcome {
        let (fd, direction) = place(&request);
        self.stats.submissions += 1;
        let index = key.index() as usize;
        if index >= self.places.len() {
            self.places.resize(index + 1, (fd, direction));
        }
        self.places[index] = (fd, direction); // also of one that fails here: it may be cancelled
        if let Err(error) = self.add(fd, &request) {
            self.decide(key, refused(&error, &request));
            return PushOutcome::Taken;
        }
        let side = self.sockets[fd as usize].side(direction);
        assert!(side.pending.is_none(), "{request:?} while {:?} is pending", side.pending);
        side.pending = Some((key, request));
        if !std::mem::replace(&mut side.is_on_run_list, true) {
            self.fresh.push_back((fd, direction));
        }
        PushOutcome::Taken
    }

    pub(crate) fn cancel(&mut self, key: Key) {
        self.stats.cancels += 1;
        let (fd, direction) = self.places[key.index() as usize];
        let side = self.sockets[fd as usize].side(direction);
        if side.pending.is_some_and(|(pending, _)| pending == key) {
            side.pending = None;
            self.decide(key, -errno::ECANCELED);
        } else {
            self.stats.cancels_missed += 1; // its final completion is on the way
        }
    }

    /// The descriptor is about to be closed. No operation names it any more.
    pub(crate) fn deregister(&mut self, fd: RawFd) {
        if let Some(socket) = self.sockets.get_mut(fd as usize) {
            let pending = socket.pending();
            assert!(pending == [None; 3], "descriptor {fd} is closed with {pending:?} pending");
            if std::mem::take(socket).is_added {
                self.epoll.remove(fd);
            }
        }
    }

    /// The program has seen the descriptor, so the socket may become something else than plain TCP.
    pub(crate) fn expose(&mut self, fd: RawFd) {
        self.socket(fd).short_read = ShortRead::MayHaveMore;
    }

    /// Whether much that is new is waiting to be tried.
    pub(crate) fn is_half_full(&self) -> bool {
        self.fresh.len() >= TRIES_PER_WAIT_MAX / 2
    }

    /// Tries what was pushed, without looking for events.
    pub(crate) fn flush(&mut self) {
        let mut decided = std::mem::take(&mut self.decided);
        for _ in 0..self.fresh.len().min(TRIES_PER_WAIT_MAX) {
            let Some(place) = self.fresh.pop_front() else { break };
            self.attempt(place, &mut decided);
        }
        self.decided = decided;
    }

    /// Tries what was pushed, sleeps if that brought nothing and `wait` allows it, and tries what
    /// has become ready.
    pub(crate) fn wait(&mut self, wait: Wait, out: &mut Vec<Completion>) -> io::Result<()> {
        out.append(&mut self.decided);
        self.run_list.append(&mut self.fresh);
        self.run(out);
        let may_sleep = wait != Wait::Poll && out.is_empty() && self.run_list.is_empty();
        self.look(if may_sleep { wait } else { Wait::Poll })?;
        self.run(out);
        self.stats.completions += out.len() as u64;
        Ok(())
    }

    pub(crate) fn wake_fd(&self) -> &Arc<EventFd> {
        &self.wake_fd
    }

    pub(crate) fn stats(&self) -> DriverStats {
        self.stats
    }

    pub(crate) fn close(self) {
        self.pool.reclaim(); // nothing is ever lent for longer than one call
    }

    /// Has the descriptor watched, and returning `EAGAIN` where a flag of the call cannot say so.
    fn add(&mut self, fd: RawFd, request: &Request) -> io::Result<()> {
        if self.socket(fd).is_added {
            return Ok(());
        }
        match request {
            Request::Accept { .. } | Request::Connect { .. } => epoll::set_nonblocking(fd)?,
            Request::Recv { .. } | Request::RecvInto { .. } | Request::Send { .. } => {}
            Request::Poll { .. } | Request::PollChanges { .. } => {} // the flags are its owner's
        }
        self.epoll.add(fd, epoll::EVERY_EDGE, fd as u64)?;
        self.socket(fd).is_added = true;
        Ok(())
    }

    fn socket(&mut self, fd: RawFd) -> &mut Socket {
        let index = usize::try_from(fd).expect("descriptors are not negative");
        if index >= self.sockets.len() {
            self.sockets.resize_with(index + 1, Socket::default);
        }
        &mut self.sockets[index]
    }

    fn run_soon(&mut self, fd: RawFd, direction: Direction) {
        let side = self.sockets[fd as usize].side(direction);
        if !side.is_on_run_list {
            side.is_on_run_list = true;
            self.run_list.push_back((fd, direction));
        }
    }

    fn decide(&mut self, key: Key, result: i32) {
        self.decided.push(Completion { key, result, flags: Flags::NONE });
    }

    /// Collects events. A signal or a full event array is no news about any one descriptor.
    fn look(&mut self, wait: Wait) -> io::Result<()> {
        self.stats.enter_calls += 1;
        self.stats.sleeps += u64::from(wait != Wait::Poll);
        let mut events = std::mem::take(&mut self.events);
        let outcome = match &mut self.timer {
            None => {
                let timeout_ns = match wait {
                    Wait::Poll => Some(0),
                    Wait::Until(at_ns) => Some(at_ns.saturating_sub(clock::monotonic_ns())),
                    Wait::Forever => None,
                };
                self.epoll.wait(timeout_ns, &mut events)
            }
            Some(alarm) => {
                if let Wait::Until(deadline_ns) = wait {
                    alarm.set(deadline_ns)?;
                }
                self.epoll.wait_plain(wait != Wait::Poll, &mut events)
            }
        };
        for event in events.drain(..) {
            self.note(event);
        }
        self.events = events;
        match outcome {
            Err(error) if error.raw_os_error() == Some(errno::EINTR) => {
                self.stats.enter_retries += 1;
                Ok(())
            }
            outcome => outcome,
        }
    }

    fn note(&mut self, event: Event) {
        let fd = match event.data {
            WAKE_FD => return epoll::drain_count(self.wake_fd.raw()),
            TIMER => return self.timer.iter_mut().for_each(Alarm::has_fired),
            fd => fd as RawFd,
        };
        let Some(socket) = self.sockets.get_mut(fd as usize) else { return };
        if event.events & epoll::MORE_TO_READ != 0 {
            socket.short_read = ShortRead::MayHaveMore;
        }
        let pending = socket.pending();
        if pending == [None; 3] {
            socket.is_added = false; // its next request adds it again
            return self.epoll.remove(fd);
        }
        let directions = [
            (Direction::In, epoll::READABLE),
            (Direction::Out, epoll::WRITABLE),
            (Direction::HangUp, epoll::HUNG_UP),
        ];
        for ((direction, events), pending) in directions.into_iter().zip(pending) {
            if event.events & events != 0 && pending.is_some() {
                self.run_soon(fd, direction);
            }
        }
    }

    /// Tries what is on the run list now; what that puts on it again waits for the next time.
    fn run(&mut self, out: &mut Vec<Completion>) {
        for _ in 0..self.run_list.len().min(TRIES_PER_WAIT_MAX) {
            let Some(place) = self.run_list.pop_front() else { return };
            self.attempt(place, out);
        }
    }

    fn attempt(&mut self, (fd, direction): (RawFd, Direction), out: &mut Vec<Completion>) {
        let side = self.sockets[fd as usize].side(direction);
        side.is_on_run_list = false;
        let Some((key, request)) = side.pending else { return }; // cancelled meanwhile
        match self.perform(key, request, out) {
            Tried::Ended(result) => {
                self.sockets[fd as usize].side(direction).pending = None;
                out.push(Completion { key, result, flags: Flags::NONE });
            }
            Tried::WaitsForEdge => {}
            Tried::HasMore => self.run_soon(fd, direction),
        }
    }

    fn perform(&mut self, key: Key, request: Request, out: &mut Vec<Completion>) -> Tried {
        match request {
            Request::Accept { fd, is_multishot } => accept(key, fd, is_multishot, out),
            // A buffer is looked for when bytes are there, asked or not.
            Request::Recv { fd, poll_first: _ } => self.recv(key, fd, out),
            Request::RecvInto { fd, target, target_len } => {
                // SAFETY: the slot's owner keeps the target valid and untouched until the final
                // completion, which has not been posted.
                at_once(unsafe { epoll::recv(fd, target, target_len) })
            }
            Request::Send { fd, source, source_len } => {
                // SAFETY: as above, for a source that is read.
                once(unsafe { epoll::send(fd, source, source_len) })
            }
            Request::Connect { fd, addr, addr_len } => {
                // SAFETY: as above, for an address that is read.
                connected(unsafe { epoll::connect(fd, addr, addr_len) })
            }
            // Changes are asked for where a poll answers more than was asked, which is not here.
            Request::Poll { fd, interest } | Request::PollChanges { fd, interest } => {
                polled(epoll::poll(fd, interest.events()))
            }
        }
    }

    /// Multishot `recv(2)` into buffers of the pool.
    fn recv(&mut self, key: Key, fd: RawFd, out: &mut Vec<Completion>) -> Tried {
        for _ in 0..SHOTS_PER_TRY_MAX {
            let Some(loan) = self.spare.take().or_else(|| self.pool.lend()) else {
                // Without a byte or an end to be read, no buffer is missing.
                return match epoll::is_readable(fd) {
                    true => Tried::Ended(-errno::ENOBUFS),
                    false => Tried::WaitsForEdge,
                };
            };
            // SAFETY: the loan is `target_len` writable bytes of the pool, which have no other user
            // while it is lent (`buf::pool`).
            let result = unsafe { epoll::recv(fd, loan.target, loan.target_len) };
            if result <= 0 {
                self.spare = Some(loan);
                return once(result);
            }
            let flags = Flags::NONE.with_more().with_buffer(loan.id);
            out.push(Completion { key, result, flags });
            let is_short = (result as u32) < loan.target_len;
            if is_short && self.sockets[fd as usize].is_empty_after_short_read(fd) {
                return Tried::WaitsForEdge;
            }
        }
        Tried::HasMore
    }
}

/// Multishot `accept4(2)`.
fn accept(key: Key, fd: RawFd, is_multishot: bool, out: &mut Vec<Completion>) -> Tried {
    for _ in 0..ACCEPTS_PER_TRY_MAX {
        let result = epoll::accept(fd);
        if result < 0 {
            // The kernel looks for a free number first and for a connection second, so a shortage
            // is one only if a connection waits.
            let is_shortage = matches!(-result, errno::EMFILE | errno::ENFILE);
            let is_real = !is_shortage || epoll::is_readable(fd);
            return if is_real { once(result) } else { Tried::WaitsForEdge };
        }
        if !is_multishot {
            return Tried::Ended(result);
        }
        out.push(Completion { key, result, flags: Flags::NONE.with_more() });
    }
    Tried::HasMore
}

/// Where a request waits.
fn place(request: &Request) -> (RawFd, Direction) {
    match *request {
        Request::Accept { fd, .. } | Request::Recv { fd, .. } | Request::RecvInto { fd, .. } => {
            (fd, Direction::In)
        }
        Request::Send { fd, .. } | Request::Connect { fd, .. } => (fd, Direction::Out),
        Request::Poll { fd, interest } | Request::PollChanges { fd, interest } => match interest {
            Interest::Readable => (fd, Direction::In),
            Interest::Writable => (fd, Direction::Out),
            Interest::HangUp => (fd, Direction::HangUp),
        },
    }
}

impl Socket {
    fn side(&mut self, direction: Direction) -> &mut InterestSide {
        match direction {
            Direction::In => &mut self.input,
            Direction::Out => &mut self.output,
            Direction::HangUp => &mut self.hang_up,
        }
    }

    /// What is pending: in, out, and for the peer's end.
    fn pending(&self) -> [Option<(Key, Request)>; 3] {
        [self.input.pending, self.output.pending, self.hang_up.pending]
    }

    fn is_empty_after_short_read(&mut self, fd: RawFd) -> bool {
        if matches!(self.short_read, ShortRead::NotAsked) {
            self.short_read = match is_plain_tcp(fd) {
                true => ShortRead::Empty,
                false => ShortRead::MayHaveMore,
            };
        }
        matches!(self.short_read, ShortRead::Empty)
    }
}
