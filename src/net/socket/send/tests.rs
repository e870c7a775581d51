//! Enumeration of the sending side's states, without a ring.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::task::Wake;

use super::*;
use crate::enumeration::visit_all;

/// Longer than what is copied. Two reach the mark.
const LONG_LEN: usize = HIGH_WATER_BYTES / 2;
const SHORT_LEN: usize = 3;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Input {
    /// A task polls a write of so many bytes with its waker: as a copy, or of an owned buffer.
    Write(usize, usize),
    Push(usize),
    Flush(usize),
    Fin {
        fails: bool,
    },
    /// The turn is about to enter the kernel. The loop may refuse to start an operation.
    Prepare {
        is_refused: bool,
    },
    /// The kernel has taken all, or all but one byte.
    Sent {
        is_short: bool,
    },
    Fail(i32),
    Abandon,
    Stop,
}

const INPUTS: &[Input] = &[
    Input::Write(0, SHORT_LEN),
    Input::Write(0, LONG_LEN),
    Input::Write(1, SHORT_LEN),
    Input::Push(SHORT_LEN),
    Input::Push(LONG_LEN),
    Input::Flush(0),
    Input::Flush(1),
    Input::Fin { fails: false },
    Input::Fin { fails: true },
    Input::Prepare { is_refused: false },
    Input::Prepare { is_refused: true },
    Input::Sent { is_short: false },
    Input::Sent { is_short: true },
    Input::Fail(errno::EINTR),
    Input::Fail(errno::ECANCELED),
    Input::Fail(errno::ECONNRESET),
    Input::Abandon,
    Input::Stop,
];

/// A send that the kernel has.
struct Flight {
    key: Key,
    source: *const u8,
    len: usize,
    was_cancelled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Waits {
    ForRoom(usize),
    ForFlush(usize),
}

struct World {
    side: SendSide,
    flight: Option<Flight>,
    flights_count: u32,
    /// What was queued and not taken by the kernel.
    unsent: Vec<u8>,
    writes_count: u8,
    wakers: [Waker; 2],
    waiting: Option<Waits>,
    is_prepare_due: bool,
    fins_count: u32,
    is_fin_queued: bool,
    does_fin_fail: bool,
    has_failed: bool,
    is_stopped: bool,
}

struct Quiet;

impl Wake for Quiet {
    fn wake(self: Arc<Self>) {}
}

impl World {
    fn new() -> World {
        World {
            side: SendSide::default(),
            flight: None,
            flights_count: 0,
            unsent: Vec::new(),
            writes_count: 0,
            wakers: [Waker::from(Arc::new(Quiet)), Waker::from(Arc::new(Quiet))],
            waiting: None,
            is_prepare_due: false,
            fins_count: 0,
            is_fin_queued: false,
            does_fin_fail: false,
            has_failed: false,
            is_stopped: false,
        }
    }

    /// Whether a write or a flush goes on. If not, it waits if it should.
    fn may_go_on(&mut self, found: SendPoll, waits: Waits) -> bool {
        let has_ended = self.has_failed || self.is_stopped;
        match found {
            SendPoll::Ready => {
                assert!(!has_ended, "an error is lost");
                return true;
            }
            SendPoll::Failed(_) => assert!(has_ended || self.is_fin_queued),
            SendPoll::Wait { is_new_writer } => {
                assert!(!has_ended && !self.unsent.is_empty(), "nothing to wait for");
                let (Waits::ForRoom(task) | Waits::ForFlush(task)) = waits;
                assert_eq!(
                    is_new_writer,
                    self.waiting.is_none_or(|former| task_of(former) != task)
                );
                if is_new_writer {
                    drop(self.side.set_writer(self.wakers[task].clone()));
                }
                self.waiting = Some(waits);
            }
        }
        false
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        self.writes_count = self.writes_count.wrapping_add(1);
        let bytes = vec![self.writes_count; len];
        self.unsent.extend_from_slice(&bytes);
        bytes
    }

    fn queued(&mut self, queued: SendQueued) {
        if queued == SendQueued::MustPrepare {
            self.prepare_later();
        }
    }

    fn prepare_later(&mut self) {
        assert!(!std::mem::replace(&mut self.is_prepare_due, true), "prepared twice");
        assert!(self.flight.is_none(), "there is a send in flight");
    }

    fn perform(&mut self, effects: SendEffects) {
        if effects.must_reset {
            self.has_failed = true;
            self.unsent.clear();
        }
        if let Some(buffer) = &effects.spare {
            assert!(self.flight.is_none() && !buffer.is_empty());
        }
        if effects.must_prepare {
            self.prepare_later();
        }
        self.woken(effects.wake);
        if effects.must_send_fin {
            assert!(self.unsent.is_empty() && self.flight.is_none(), "the end overtakes bytes");
            assert!(self.is_fin_queued, "nothing has ended the stream");
            self.fins_count += 1;
            let failure = self.does_fin_fail.then_some(errno::EPIPE);
            self.has_failed |= self.does_fin_fail;
            let writer = self.side.fin_sent(failure);
            self.woken(writer);
        }
    }

    fn woken(&mut self, waker: Option<Waker>) {
        let Some(waker) = waker else { return };
        let task = task_of(self.waiting.take().expect("a task that waits"));
        assert!(waker.will_wake(&self.wakers[task]), "another one was woken");
    }

    fn prepare(&mut self, is_refused: bool) {
        self.is_prepare_due = false;
        let stderr = std::io::stderr();
        let Some(request) = self.side.begin(stderr.as_fd()) else { return };
        assert!(self.flight.is_none(), "two sends in flight");
        assert!(!self.has_failed && !self.is_stopped, "bytes follow a gap");
        assert!(self.side.begin(stderr.as_fd()).is_none(), "begun twice");
        let Request::Send { source, source_len, .. } = request else { panic!("{request:?}") };
        if is_refused {
            let effects = self.side.begun(Err(errno::ENOBUFS));
            assert!(effects.must_reset);
            return self.perform(effects);
        }
        self.flights_count += 1;
        let key = Key::new(0, self.flights_count, 1);
        let len = source_len as usize;
        self.flight = Some(Flight { key, source, len, was_cancelled: false });
        let effects = self.side.begun(Ok(key));
        self.perform(effects);
    }

    fn complete(&mut self, result: i32) {
        self.flight = None;
        if result > 0 {
            self.unsent.drain(..result as usize);
        }
        let may_be_lost = [-errno::ECANCELED, -errno::ECONNRESET].contains(&result);
        let effects = self.side.complete(OpResult { result, more: false, buffer: None });
        assert_eq!(effects.must_reset, may_be_lost);
        self.perform(effects);
    }

    fn is_possible(&self, input: Input) -> bool {
        match input {
            Input::Write(..) | Input::Push(_) => self.side.queue.len() <= 2,
            Input::Fin { .. } => !self.is_fin_queued,
            Input::Prepare { .. } => self.is_prepare_due,
            Input::Sent { is_short: true } => self.flight.as_ref().is_some_and(|send| send.len > 1),
            Input::Sent { .. } | Input::Fail(_) | Input::Abandon => self.flight.is_some(),
            Input::Flush(_) | Input::Stop => true,
        }
    }

    fn apply(&mut self, input: Input) -> bool {
        if !self.is_possible(input) {
            return false;
        }
        match input {
            Input::Write(task, len) => {
                let found = self.side.poll_room(&self.wakers[task]);
                if self.may_go_on(found, Waits::ForRoom(task)) {
                    let bytes = self.bytes(len);
                    let queued = self.side.append(&bytes, Vec::new);
                    self.queued(queued);
                }
            }
            Input::Push(len) => {
                let found = self.side.poll_room(&self.wakers[0]);
                if self.may_go_on(found, Waits::ForRoom(0)) {
                    let bytes = OutBytes::Rc(self.bytes(len).into());
                    let queued = self.side.push(bytes, Vec::new);
                    self.queued(queued);
                }
            }
            Input::Flush(task) => {
                let found = self.side.poll_flushed(&self.wakers[task]);
                if self.may_go_on(found, Waits::ForFlush(task)) {
                    assert!(self.unsent.is_empty(), "flushed before it was sent");
                }
            }
            Input::Fin { fails } => {
                (self.is_fin_queued, self.does_fin_fail) = (true, fails);
                let effects = self.side.queue_fin();
                self.perform(effects);
            }
            Input::Prepare { is_refused } => self.prepare(is_refused),
            Input::Sent { is_short } => {
                let len = self.flight.as_ref().map_or(0, |send| send.len);
                self.complete((len - usize::from(is_short)) as i32);
            }
            Input::Fail(code) => self.complete(-code),
            Input::Abandon => {
                self.flight = None;
                let effects = self.side.abandon(errno::ECANCELED);
                assert!(effects.must_reset);
                self.perform(effects);
            }
            Input::Stop => {
                self.is_stopped = true;
                if let Some(key) = self.side.stop() {
                    let flight = self.flight.as_mut().expect("a send to cancel");
                    assert_eq!(flight.key, key);
                    assert!(!std::mem::replace(&mut flight.was_cancelled, true), "cancelled twice");
                }
                let lent_len = self.flight.as_ref().map_or(0, |send| send.len);
                self.unsent.truncate(lent_len);
                assert!(self.flight.as_ref().is_none_or(|send| send.was_cancelled));
            }
        }
        self.check();
        true
    }

    /// What must hold between any two inputs.
    fn check(&self) {
        let side = &self.side;
        let queued = side.queue.iter().map(|chunk| chunk.as_slice()).collect::<Vec<_>>().concat();
        assert!(
            queued[side.head_sent.min(queued.len())..] == self.unsent[..],
            "other bytes are queued"
        );
        assert_eq!(side.is_in_flight, self.flight.is_some());
        if let Some(flight) = &self.flight {
            let chunk = &side.queue.front().expect("the lent chunk was dropped").as_slice();
            let rest = &chunk[side.head_sent..];
            assert_eq!((rest.as_ptr(), rest.len()), (flight.source, flight.len), "it was changed");
            assert_eq!(side.key, (!flight.was_cancelled).then_some(flight.key));
        }
        let has_ended = self.has_failed || self.is_stopped;
        assert_eq!(side.failure().is_some(), has_ended);
        if !has_ended {
            assert_eq!(side.queued_bytes, self.unsent.len());
            let is_begun = self.flight.is_some() || self.is_prepare_due;
            assert!(self.unsent.is_empty() || is_begun, "nothing sends the bytes");
            let is_fin_due = self.is_fin_queued && self.unsent.is_empty();
            assert_eq!(self.fins_count, u32::from(is_fin_due), "the end of the stream");
        }
        assert_eq!(side.is_dirty, self.is_prepare_due);
        assert_eq!(side.writer.is_some(), self.waiting.is_some(), "a waker is lost");
        match self.waiting {
            _ if self.is_stopped => {} // the end of the socket wakes it
            Some(_) if self.has_failed => panic!("a writer sleeps beside an error"),
            Some(Waits::ForRoom(_)) => {
                assert!(self.unsent.len() >= HIGH_WATER_BYTES, "a writer sleeps beside room");
            }
            Some(Waits::ForFlush(_)) => assert!(!self.unsent.is_empty(), "all is sent"),
            None => {}
        }
    }

    /// What later inputs depend on, in the side and in the world around it.
    fn state(&self) -> String {
        let side = &self.side;
        let chunk_of = |chunk: &OutBytes| {
            (matches!(chunk, OutBytes::Vec(_)), chunk.as_slice().len().div_ceil(LONG_LEN))
        };
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?}",
            self.flight.as_ref().map(|send| send.was_cancelled),
            side.queue.iter().map(chunk_of).collect::<Vec<_>>(),
            (side.head_sent > 0, self.unsent.len() >= HIGH_WATER_BYTES, side.queued_bytes > 0),
            (side.is_dirty, side.failed, side.fin),
            self.waiting,
            (self.is_fin_queued, self.does_fin_fail, self.fins_count),
            (self.has_failed, self.is_stopped),
        )
    }
}

fn task_of(waits: Waits) -> usize {
    let (Waits::ForRoom(task) | Waits::ForFlush(task)) = waits;
    task
}

/// Goal: in every state that can be reached there is at most one send, and the chunk it was given
/// is neither changed, moved nor dropped until the completion. It is cancelled at most once. Bytes
/// leave once and in order, also after a short and an interrupted send; the end leaves behind them.
/// An error stays, and a writer that waits is woken when it can go on.
///
/// Method: all inputs in all states, breadth first, against a model of the kernel and of the tasks.
///
/// Kills: `append` to the chunk in flight; `stop` that drops it, or leaves its key; `begin`
/// although a send is in flight; `head_sent` that is not added to, or not set back; an end that
/// does not wait for the queue, or is not sent by the last completion; a writer that is not woken
/// by room or by an error; a completion that leaves queued bytes without a send; a lost byte
/// without a reset.
#[test]
fn sending_keeps_its_invariants_in_every_state() {
    let visited = visit_all(INPUTS, |path| {
        let mut world = World::new();
        path.iter().all(|&input| world.apply(input)).then(|| world.state())
    });
    assert!(visited.states > 1000, "{visited:?}");
}
