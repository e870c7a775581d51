//! Every order of events of a bounded channel with several senders.

use std::collections::VecDeque;
use std::task::Poll;

use super::error::{TryRecvError, TrySendError};
use super::*;
use crate::enumeration::visit_all;
use crate::sync::tests::{ReadyQueue, TaskKey, Tasks};

const SENDERS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Event {
    /// A task begins to send, or its future is polled again.
    Poll(usize),
    Cancel(usize),
    /// The future of a task stays alive and is never polled again.
    Stall(usize),
    TrySend,
    Recv,
    /// The loop runs the next entry of its ready queue.
    Recheck,
    Close,
    DropReceiver,
}

struct Rig {
    tasks: Tasks<Result<(), u32>>,
    values: [u32; SENDERS],
    next_value: u32,
    sender: Sender<u32>,
    receiver: Option<Receiver<u32>>,
    /// What was sent and not received.
    sent: VecDeque<u32>,
    is_closed: bool,
    /// A `try_send` has failed although a slot was free.
    was_refused: bool,
    ready: ReadyQueue,
}

type Key = (Vec<usize>, Vec<TaskKey>, Vec<usize>, usize, bool, bool, bool, usize);

impl Rig {
    fn new(capacity: usize) -> Rig {
        let ready = ReadyQueue::new();
        let (sender, receiver) = channel(capacity);
        Rig {
            tasks: Tasks::new(SENDERS),
            values: [0; SENDERS],
            next_value: 0,
            sender,
            receiver: Some(receiver),
            sent: VecDeque::new(),
            is_closed: false,
            was_refused: false,
            ready,
        }
    }

    fn is_possible(&self, event: Event) -> bool {
        match event {
            Event::Poll(task) => !self.tasks.is_stalled(task),
            Event::Cancel(task) | Event::Stall(task) => {
                !self.tasks.is_idle(task) && !self.tasks.is_stalled(task)
            }
            Event::TrySend => true,
            Event::Recheck => self.ready.len() > 0,
            Event::Recv | Event::Close | Event::DropReceiver => self.receiver.is_some(),
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Poll(task) => drop(self.poll(task)),
            Event::Cancel(task) => self.tasks.cancel(task),
            Event::Stall(task) => self.tasks.stall(task),
            Event::TrySend => self.try_send(),
            Event::Recv => drop(self.receive()),
            Event::Recheck => {
                self.ready.run_next();
                self.tasks.note_recheck();
            }
            Event::Close => {
                self.receiver.as_mut().unwrap().close();
                self.is_closed = true;
            }
            Event::DropReceiver => {
                self.receiver = None;
                self.is_closed = true;
                self.sent.clear();
            }
        }
        self.tasks.note_wakes();
        assert_eq!(self.sender.max_capacity() - self.sender.capacity(), self.sent_len());
    }

    /// The slots in use: values that a dropped receiver has not taken keep theirs.
    fn sent_len(&self) -> usize {
        match &self.receiver {
            Some(receiver) => receiver.len(),
            None => self.sender.max_capacity() - self.sender.capacity(),
        }
    }

    /// Polls the send of a task. Returns whether it has ended.
    fn poll(&mut self, task: usize) -> bool {
        if self.tasks.is_idle(task) {
            let (value, sender) = (self.next_value, self.sender.clone());
            self.values[task] = value;
            self.next_value += 1;
            let send = async move { sender.send(value).await.map_err(|error| error.0) };
            self.tasks.begin(task, send);
        }
        let is_free = self.sender.capacity() > 0;
        match self.tasks.poll(task) {
            Poll::Pending => assert!(!self.is_closed),
            Poll::Ready(Err(value)) => {
                assert_eq!((self.is_closed, value), (true, self.values[task]))
            }
            Poll::Ready(Ok(())) => {
                assert!(!self.is_closed && is_free);
                self.sent.push_back(self.values[task]);
            }
        }
        self.tasks.is_idle(task)
    }

    fn try_send(&mut self) {
        let (is_free, is_any_asleep) = (self.sender.capacity() > 0, self.tasks.is_any_asleep());
        match self.sender.try_send(self.next_value) {
            Ok(()) => {
                assert!(is_free && !is_any_asleep && !self.is_closed);
                self.sent.push_back(self.next_value);
                self.next_value += 1;
            }
            Err(TrySendError::Closed(_)) => assert!(self.is_closed),
            Err(TrySendError::Full(_)) => {
                assert!(!is_free || !self.tasks.key().0.is_empty());
                self.was_refused |= is_free;
            }
        }
    }

    fn receive(&mut self) -> Option<u32> {
        let received = self.receiver.as_mut().unwrap().try_recv();
        match (received, self.sent.pop_front()) {
            (Ok(value), expected) => assert_eq!(Some(value), expected),
            (Err(TryRecvError::Empty), None) => assert!(!self.is_closed),
            (Err(TryRecvError::Disconnected), None) => assert!(self.is_closed),
            (received, expected) => panic!("{received:?} in place of {expected:?}"),
        }
        received.ok()
    }

    fn key(&self) -> Key {
        let (order, tasks, woken) = self.tasks.key();
        let is_gone = self.receiver.is_none();
        let refused = self.was_refused && self.ready.len() > 0;
        (order, tasks, woken, self.sent.len(), self.is_closed, is_gone, refused, self.ready.len())
    }

    /// Runs the tasks that were woken and the ready queue, until nothing is left to run. Returns
    /// the tasks whose sends have ended, in order.
    fn run(&mut self) -> Vec<usize> {
        let mut ended = Vec::new();
        loop {
            if let Some(task) = self.tasks.next_woken() {
                if self.poll(task) {
                    ended.push(task);
                }
            } else if self.ready.len() > 0 {
                self.apply(Event::Recheck);
            } else {
                return ended;
            }
        }
    }

    /// Receives until no sender that can be polled waits.
    fn drain(mut self) {
        let waiting = self.tasks.waiting();
        // Tasks that were slow may be overtaken, and several slots are taken in any order.
        let is_one = self.sender.max_capacity() == 1;
        let is_ordered = is_one && !self.is_closed && !self.tasks.is_any_passed_over();
        let mut ended = self.run();
        while ended.len() < waiting.len() {
            assert!(!self.is_closed, "a sender sleeps, and the channel is closed");
            assert_eq!(self.sender.capacity(), 0, "a sender sleeps, and a slot is free");
            assert!(self.receive().is_some());
            self.tasks.note_wakes();
            ended.extend(self.run());
        }
        if is_ordered {
            assert_eq!(ended, waiting, "in the order in which they began to wait");
        }
        while self.receiver.is_some() && self.receive().is_some() {}
    }
}

/// Goal: in every order of events, a value that was sent is received once and in order, a dropped
/// send takes no slot, and a send that is not polled holds no slot back: the other senders send, in
/// the order in which they began to wait (E6, E7). A close ends all sends.
///
/// Method: all orders of polls, cancels and stalls of two sends, `try_send`, receives, rechecks,
/// close and drop, on channels with one and with two slots; then of three sends without the others.
/// In each state, the tasks that were woken and the ready queue run to the end; then the receiver
/// takes value by value.
///
/// Kills: a receive that frees no slot; a dropped send that keeps a wake; a `try_send` that
/// overtakes a waiting task; a close that wakes one sender only; values that are taken from the
/// back.
#[test]
fn every_order_of_events_sends_in_order() {
    let sends = |count| {
        (0..count).flat_map(|task| [Event::Poll(task), Event::Cancel(task), Event::Stall(task)])
    };
    let others = [Event::TrySend, Event::Close, Event::DropReceiver];
    let receives = [Event::Recv, Event::Recheck];
    let few: Vec<Event> = sends(2).chain(receives).chain(others).collect();
    let many: Vec<Event> = sends(SENDERS).chain(receives).collect();
    for (capacity, events) in [(1, &few), (2, &few), (1, &many)] {
        let visited = visit_all(events, |path| {
            let mut rig = Rig::new(capacity);
            for &event in path {
                if !rig.is_possible(event) {
                    return None;
                }
                rig.apply(event);
            }
            let key = rig.key();
            rig.drain();
            Some(key)
        });
        assert!(visited.states > 100, "{visited:?}");
    }
}
