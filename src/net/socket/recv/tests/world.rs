//! The world around a receiving side: the kernel, the tasks, the pool and the clock.
//!
//! It performs what the side asks for as `Socket` does, and checks the invariants after each input.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Wake;
use std::time::Duration;

use super::super::*;
use super::Input;
use crate::sys::errno;

/// Of one delivery. Two fill the queue.
const LONG_LEN: usize = crate::net::socket::recv_queue::QUEUED_BYTES_MAX / 2;
const SHORT_LEN: usize = 3;

/// Deliveries that may be unread, so that the states are few.
const UNREAD_MAX: usize = 2;
const IDLE_NS: u64 = 100;

/// A receive that the kernel has.
struct Flight {
    key: Key,
    request: Request,
    was_cancelled: bool,
}

pub(super) struct World {
    side: RecvSide,
    pool: Rc<Pool>,
    held: Vec<RecvBuf>,
    flight: Option<Flight>,
    flights_count: u32,
    /// What the kernel has delivered and no reader has taken.
    unread: VecDeque<Vec<u8>>,
    deliveries_count: u8,
    wakers: [Waker; 2],
    /// The reader that waits.
    waiting: Option<usize>,
    /// The last completion found no buffer, or nothing to receive into a private one.
    expects: NextRecv,
    is_settle_due: bool,
    /// A reader has put back the rest of the first of them.
    is_partial: bool,
    has_ended: bool,
    /// Completions since a reader last took something, with more to follow.
    burst_count: u8,
    timer: Option<u64>,
    now_ns: u64,
    /// When the read that waits began to, and whether the next one has to fail.
    since_ns: Option<u64>,
    is_expired: bool,
    is_closed: bool,
}

struct Quiet;

impl Wake for Quiet {
    fn wake(self: Arc<Self>) {}
}

impl World {
    /// Polls a read, and performs what it needs as `Socket` does.
    fn read(&mut self, reader: usize, is_refused: bool) -> Option<RecvBuf> {
        let waker = self.wakers[reader].clone();
        let is_expired = std::mem::take(&mut self.is_expired);
        match self.side.poll(&waker) {
            RecvPoll::Bytes(buffer) => {
                (self.burst_count, self.is_partial) = (0, false);
                return Some(buffer);
            }
            RecvPoll::Eof | RecvPoll::Failed(_) => {
                assert!(self.has_ended && self.unread.is_empty(), "{} unread", self.unread.len());
            }
            RecvPoll::TimedOut => assert!(is_expired && self.unread.is_empty()),
            RecvPoll::Wait(wait) => {
                assert!(!self.is_readable() && !is_expired, "{} unread", self.unread.len());
                assert_eq!(wait.must_arm, self.flight.is_none());
                if wait.must_arm && !self.arm(is_refused) {
                    return None;
                }
                assert_eq!(wait.is_new_reader, self.waiting != Some(reader));
                if wait.is_new_reader {
                    drop(self.side.set_reader(waker));
                }
                self.waiting = Some(reader);
                if wait.begins_idle {
                    self.begin_idle();
                }
            }
        }
        None
    }

    fn read_all(&mut self, reader: usize, is_refused: bool) {
        if let Some(buffer) = self.read(reader, is_refused) {
            self.expect(&buffer);
        }
    }

    fn read_one(&mut self) {
        let mut buffer = self.read(0, false).expect("something is queued");
        self.expect(&buffer[..1]);
        buffer.advance(1);
        self.is_partial = true;
        self.side.unread(buffer, &self.pool);
    }

    fn arm(&mut self, is_refused: bool) -> bool {
        let stderr = std::io::stderr();
        let Some(request) = self.side.arm(stderr.as_fd(), &self.pool) else { return true };
        assert!(self.flight.is_none(), "two receives in flight");
        assert!(self.side.arm(stderr.as_fd(), &self.pool).is_none(), "armed twice");
        assert!(!self.side.is_unwanted, "armed without a reader to come");
        match std::mem::take(&mut self.expects) {
            NextRecv::Shared => {}
            NextRecv::Private => assert!(matches!(request, Request::RecvInto { .. })),
            NextRecv::Quiet => {
                assert!(matches!(request, Request::Recv { poll_first: true, .. }), "it would spin");
            }
        }
        if is_refused || self.is_closed {
            self.side.armed(None);
            return false;
        }
        self.flights_count += 1;
        let key = Key::new(0, self.flights_count, 1);
        self.flight = Some(Flight { key, request, was_cancelled: false });
        self.side.armed(Some(key));
        true
    }

    /// Takes `buffer` out of what is unread, from the beginning.
    fn expect(&mut self, buffer: &[u8]) {
        let mut rest = buffer;
        while !rest.is_empty() {
            let mut piece = self.unread.pop_front().expect("bytes that were delivered");
            let count = piece.len().min(rest.len());
            assert!(rest[..count] == piece[..count], "other bytes, or in another order");
            rest = &rest[count..];
            if count < piece.len() {
                self.unread.push_front(piece.split_off(count));
            }
        }
    }

    fn complete(&mut self, result: i32, buffer: Option<RecvBuf>, more: bool) {
        if !more {
            (self.flight, self.burst_count) = (None, 0);
        }
        if result > 0 {
            self.is_expired = false;
        }
        let is_transient = [-errno::ENOBUFS, -errno::EAGAIN, -errno::ECANCELED].contains(&result);
        self.has_ended |= result <= 0 && !is_transient;
        let answer = OpResult { result, more, buffer };
        let effects = self.side.complete(answer, &self.pool);
        self.perform(effects);
    }

    fn deliver(&mut self, len: usize, more: bool) {
        self.deliveries_count = self.deliveries_count.wrapping_add(1);
        let mut storage = vec![0; len.max(4 * SHORT_LEN)]; // a short one is short in it
        storage[0] = self.deliveries_count;
        if !self.side.is_unwanted {
            self.unread.push_back(storage[..len].to_vec());
        }
        self.burst_count += 1;
        if !more {
            self.expects = NextRecv::Shared;
        }
        self.complete(len as i32, Some(RecvBuf::private(storage, len)), more);
        if self.burst_count == MULTISHOT_RETRIES && self.is_armed() {
            assert!(self.is_settle_due, "the kernel may not look again");
        }
    }

    fn fill_private(&mut self, is_filled: bool) {
        let len = if is_filled { 8 } else { 5 };
        if !self.side.is_unwanted {
            self.unread.push_back(vec![0; len]);
        }
        let is_dry = self.pool.available_count() == 0;
        self.expects = if is_filled && is_dry { NextRecv::Private } else { NextRecv::Shared };
        self.complete(len as i32, None, false);
    }

    fn stop(&mut self) {
        let stop = self.side.stop();
        self.unread.clear();
        self.is_partial = false;
        self.woken(stop.wake);
        self.cancelled(stop.cancel);
        assert_eq!(stop.remove_timer.is_some(), self.timer.take().is_some());
        assert!(self.flight.as_ref().is_none_or(|flight| flight.was_cancelled));
    }

    fn settle(&mut self, have_tasks_run: bool, is_unix: bool) {
        let is_spent = is_unix && self.side.is_spent;
        let step = self.side.settle(have_tasks_run, || is_unix);
        if step == RecvSettle::Later {
            return assert!(!have_tasks_run);
        }
        self.is_settle_due = false;
        if let RecvSettle::Cancel(key) = step {
            assert!(is_spent || self.is_full(), "cancelled for no reason");
            self.cancelled(Some(key));
        }
        let is_armed = self.is_armed();
        assert!(!is_armed || !is_spent, "the kernel may not look again");
        assert!(!is_armed || !self.is_full(), "nothing stops the flood");
    }

    fn perform(&mut self, effects: RecvEffects) {
        if effects.wake.is_some() && self.side.is_leaving {
            assert!(self.flight.is_none(), "woken before the final completion");
        }
        self.woken(effects.wake);
        if effects.must_settle {
            assert!(!std::mem::replace(&mut self.is_settle_due, true), "settled twice");
        }
        if effects.must_arm && !self.arm(false) {
            let reader = self.side.take_reader();
            self.woken(reader);
        }
    }

    fn woken(&mut self, waker: Option<Waker>) {
        let Some(waker) = waker else { return };
        let reader = self.waiting.take().expect("a reader that waits");
        assert!(waker.will_wake(&self.wakers[reader]), "another one was woken");
    }

    fn cancelled(&mut self, key: Option<Key>) {
        let Some(key) = key else { return };
        let flight = self.flight.as_mut().expect("a receive to cancel");
        assert_eq!(flight.key, key);
        assert!(!std::mem::replace(&mut flight.was_cancelled, true), "cancelled twice");
    }

    /// Polls a handover, as `Socket` does.
    fn leave(&mut self) {
        let timer = self.side.remove_idle(); // it would hold the socket
        assert_eq!(timer.is_some(), self.timer.take().is_some());
        self.is_expired = false;
        let RecvLeave::Wait { cancel, is_new_reader } = self.side.leave(&self.wakers[0]) else {
            return assert!(self.flight.is_none());
        };
        self.cancelled(cancel);
        assert_eq!(is_new_reader, self.waiting != Some(0));
        if is_new_reader {
            drop(self.side.set_reader(self.wakers[0].clone()));
        }
        self.waiting = Some(0);
        assert!(self.flight.as_ref().is_some_and(|flight| flight.was_cancelled));
    }

    fn begin_idle(&mut self) {
        self.since_ns = Some(self.now_ns);
        if let Some(deadline_ns) = self.side.idle_began(self.now_ns) {
            self.set_timer(deadline_ns);
        }
    }

    fn set_timer(&mut self, deadline_ns: u64) {
        assert!(self.timer.replace(deadline_ns).is_none(), "two timers");
        self.side.idle_timer_set(TimerKey::for_tests(deadline_ns));
    }

    fn timer_fires(&mut self) {
        let deadline_ns = self.timer.take().expect("a timer is set");
        self.now_ns = self.now_ns.max(deadline_ns);
        let due_ns = self.since_ns.filter(|_| self.waiting.is_some()).map(|since| since + IDLE_NS);
        match self.side.idle_fired(self.now_ns, false) {
            IdleFired::Nothing => assert_eq!(self.waiting, None, "the read is not limited"),
            IdleFired::SetAgain(deadline_ns) => {
                assert_eq!(due_ns, Some(deadline_ns));
                assert!(deadline_ns > self.now_ns, "it would fire in every turn");
                self.set_timer(deadline_ns);
            }
            IdleFired::Expired => {
                assert!(due_ns.is_some_and(|due_ns| due_ns <= self.now_ns), "too early");
                self.is_expired = true;
                let reader = self.side.take_reader();
                self.woken(reader);
            }
        }
    }

    /// Whether a read has something to return.
    fn is_readable(&self) -> bool {
        !self.unread.is_empty() || self.has_ended
    }

    /// Whether the multishot is in flight and has not been cancelled.
    fn is_armed(&self) -> bool {
        matches!(self.side.state, RecvState::Multishot { key: Some(_) })
    }

    fn is_full(&self) -> bool {
        self.unread.iter().map(Vec::len).sum::<usize>() >= 2 * LONG_LEN
    }

    fn is_private(&self) -> bool {
        matches!(self.flight, Some(Flight { request: Request::RecvInto { .. }, .. }))
    }

    fn is_multishot(&self) -> bool {
        matches!(self.flight, Some(Flight { request: Request::Recv { .. }, .. }))
    }

    /// What must hold between any two inputs.
    fn check(&self) {
        let side = &self.side;
        match (&side.state, &self.flight) {
            (RecvState::Idle, None) => {}
            (RecvState::Multishot { key }, Some(flight)) => {
                assert!(matches!(flight.request, Request::Recv { .. }));
                assert_eq!(*key, (!flight.was_cancelled).then_some(flight.key));
            }
            (RecvState::Private { key, target: owned }, Some(flight)) => {
                let Request::RecvInto { target, target_len, .. } = flight.request else {
                    panic!("{:?} is in flight", flight.request);
                };
                assert_eq!((target.cast_const(), target_len), (owned.as_ptr(), owned.len() as u32));
                assert_eq!(*key, (!flight.was_cancelled).then_some(flight.key));
            }
            (_, flight) => panic!("in flight: {}", flight.is_some()),
        }
        assert_eq!(side.reader.is_some(), self.waiting.is_some(), "a waker is lost");
        if self.waiting.is_some() {
            assert!(self.flight.is_some(), "nothing will wake the reader");
            assert!(side.is_leaving || !self.is_readable(), "the reader sleeps beside bytes");
            assert!(!self.is_expired, "the reader sleeps beyond its timeout");
            let is_limited = self.timer.is_some() || self.is_closed;
            assert!(side.idle.is_none() || is_limited, "nothing limits the read");
            assert!(side.idle.is_some() || self.timer.is_none(), "a timer without a limit");
        }
        assert!(
            !self.is_full() || !self.is_armed() || self.is_settle_due,
            "nothing stops the flood"
        );
        assert_eq!(side.is_settling, self.is_settle_due);
        assert!(!side.is_unwanted || side.queue.is_empty(), "bytes are kept for no reader");
    }
}

impl World {
    pub(super) fn new() -> World {
        World {
            side: RecvSide::default(),
            pool: Pool::new(1, 8).expect("memory for a pool"),
            held: Vec::new(),
            flight: None,
            flights_count: 0,
            unread: VecDeque::new(),
            deliveries_count: 0,
            wakers: [Waker::from(Arc::new(Quiet)), Waker::from(Arc::new(Quiet))],
            waiting: None,
            expects: NextRecv::Shared,
            is_settle_due: false,
            is_partial: false,
            has_ended: false,
            burst_count: 0,
            timer: None,
            now_ns: 1,
            since_ns: None,
            is_expired: false,
            is_closed: false,
        }
    }

    fn is_possible(&self, input: Input) -> bool {
        let has_room =
            self.unread.len() < UNREAD_MAX || (2..=MULTISHOT_RETRIES).contains(&self.burst_count);
        let has_reader = !self.side.is_unwanted && !self.side.is_leaving;
        match input {
            Input::Read(_) | Input::ReadRefused => has_reader,
            Input::ReadOne => has_reader && !self.unread.is_empty() && !self.is_partial,
            Input::SetIdle => has_reader && self.side.idle.is_none(),
            Input::Short { .. } | Input::Long { .. } => {
                self.is_multishot() && !self.has_ended && has_room
            }
            Input::Private { .. } => self.is_private() && has_room,
            Input::Fail(errno::ENOBUFS) => self.is_multishot(),
            Input::Fail(_) | Input::End => self.flight.is_some() && !self.has_ended,
            Input::Abandon => self.flight.is_some(),
            Input::Settle { .. } => self.is_settle_due,
            Input::Hold => self.held.is_empty(),
            Input::Tick => self.timer.is_some_and(|deadline_ns| deadline_ns > self.now_ns),
            Input::TimerFires => self.timer.is_some(),
            Input::LoopEnds => self.timer.is_some() && !self.is_closed,
            Input::Leave => !self.side.is_unwanted,
            Input::Release | Input::Stop => true,
        }
    }

    /// Applies an input. Returns whether it is possible in this state.
    pub(super) fn apply(&mut self, input: Input) -> bool {
        if !self.is_possible(input) {
            return false;
        }
        match input {
            Input::Read(reader) => self.read_all(reader, false),
            Input::ReadRefused => self.read_all(0, true),
            Input::ReadOne => self.read_one(),
            Input::Short { more } => self.deliver(SHORT_LEN, more),
            Input::Long { more } => self.deliver(LONG_LEN, more),
            Input::Private { is_filled } => self.fill_private(is_filled),
            Input::Fail(code) => {
                if code == errno::ENOBUFS {
                    self.expects = NextRecv::Private;
                } else if self.is_private() {
                    self.expects = NextRecv::Quiet;
                }
                self.complete(-code, None, false);
            }
            Input::End => self.complete(0, None, false),
            Input::Abandon => {
                (self.flight, self.is_closed, self.expects) = (None, true, NextRecv::Shared);
                let answer = OpResult { result: -errno::ECANCELED, more: false, buffer: None };
                let effects = self.side.abandon(answer, &self.pool);
                self.perform(effects);
            }
            Input::Settle { have_tasks_run, is_unix } => self.settle(have_tasks_run, is_unix),
            Input::Hold => {
                let loan = self.pool.lend().expect("the only buffer");
                self.held.push(self.pool.filled(loan.id, 1));
            }
            Input::Release => self.held.clear(),
            Input::SetIdle => {
                if self.side.set_idle(IdleTimeout::new(Duration::from_nanos(IDLE_NS))) {
                    self.begin_idle();
                }
            }
            Input::Tick => self.now_ns += IDLE_NS / 2,
            Input::TimerFires => self.timer_fires(),
            Input::LoopEnds => {
                (self.timer, self.is_closed) = (None, true);
                let step = self.side.idle_fired(self.now_ns, true);
                assert_eq!(step, IdleFired::Nothing, "the receive fails, and with it the read");
            }
            Input::Leave => self.leave(),
            Input::Stop => self.stop(),
        }
        self.check();
        true
    }

    /// What later inputs depend on, in the side and in the world around it.
    pub(super) fn state(&self) -> String {
        let side = &self.side;
        let burst = match self.burst_count {
            few @ 0..=1 => few,
            last if last >= MULTISHOT_RETRIES - 1 => last.min(MULTISHOT_RETRIES + 1),
            _some => 2,
        };
        let unread = self.unread.iter().take(UNREAD_MAX + 1).map(|piece| piece.len() > SHORT_LEN);
        let unread: Vec<bool> = unread.collect();
        format!(
            "{:?} {:?} {:?} {:?} {} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.flight.as_ref().map(|flight| (self.is_private(), flight.was_cancelled)),
            (side.next, side.end, side.is_settling, side.is_spent),
            (side.is_unwanted, side.is_leaving, self.is_closed),
            (side.queue.is_full(), self.is_full(), self.is_partial, unread),
            burst,
            self.waiting,
            self.held.len(),
            self.timer.map(|deadline_ns| deadline_ns.saturating_sub(self.now_ns)),
            self.since_ns.map(|since_ns| (self.now_ns - since_ns).min(IDLE_NS)),
            (side.idle.as_ref().map(|idle| idle.has_expired()), self.is_expired),
            self.expects,
        )
    }
}
