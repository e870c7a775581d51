//! Every order of events of a channel with several receivers.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;

use super::error::{RecvError, SendError, TryRecvError};
use super::*;
use crate::enumeration::visit_all;
use crate::sync::tests::Counter;

const RECEIVERS: usize = 3;
const CAPACITY: usize = 2;
const SENDS_MAX: u32 = 4;

#[derive(Clone, Copy, Debug)]
enum Event {
    Send,
    DropSender,
    Subscribe(usize),
    /// A wait is polled, and stays alive if it is pending.
    Poll(usize),
    /// A wait is polled and dropped.
    PollAndDrop(usize),
    Drop(usize),
}

/// A value that counts how many of its kind are alive.
struct Value {
    number: u32,
    alive: Rc<Cell<i32>>,
}

impl Value {
    fn new(number: u32, alive: &Rc<Cell<i32>>) -> Value {
        alive.set(alive.get() + 1);
        Value { number, alive: Rc::clone(alive) }
    }
}

impl Clone for Value {
    fn clone(&self) -> Value {
        Value::new(self.number, &self.alive)
    }
}

impl Drop for Value {
    fn drop(&mut self) {
        self.alive.set(self.alive.get() - 1);
    }
}

/// What the channel must do: the positions of its receivers, and which of them wait.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Model {
    sent_count: u32,
    is_closed: bool,
    positions: [Option<u32>; RECEIVERS],
    waits: [bool; RECEIVERS],
}

impl Model {
    fn start(&self) -> u32 {
        self.sent_count.saturating_sub(CAPACITY as u32)
    }

    /// The result of a receive.
    fn take(&mut self, receiver: usize) -> Result<u32, TryRecvError> {
        let (start, sent_count) = (self.start(), self.sent_count);
        let position = self.positions[receiver].as_mut().unwrap();
        if *position < start {
            let missed_count = start - std::mem::replace(position, start);
            return Err(TryRecvError::Lagged(u64::from(missed_count)));
        }
        if *position == sent_count {
            let is_closed = self.is_closed;
            return Err(if is_closed { TryRecvError::Closed } else { TryRecvError::Empty });
        }
        *position += 1;
        Ok(*position - 1)
    }

    /// The number of values that some receiver still gets.
    fn len(&self) -> usize {
        let first = self.positions.iter().flatten().min().copied();
        let first = first.unwrap_or(self.sent_count).max(self.start());
        (self.sent_count - first) as usize
    }
}

struct Rig {
    sender: Option<Sender<Value>>,
    receivers: [Option<Receiver<Value>>; RECEIVERS],
    counters: [Counter; RECEIVERS],
    alive: Rc<Cell<i32>>,
    model: Model,
}

impl Rig {
    fn new() -> Rig {
        let (sender, receiver) = channel(CAPACITY);
        let mut model = Model::default();
        model.positions[0] = Some(0);
        let receivers = [Some(receiver), None, None];
        let (counters, alive) = Default::default();
        Rig { sender: Some(sender), receivers, counters, alive, model }
    }

    fn is_possible(&self, event: Event) -> bool {
        match event {
            Event::Send => self.sender.is_some() && self.model.sent_count < SENDS_MAX,
            Event::DropSender => self.sender.is_some(),
            Event::Subscribe(receiver) => {
                self.sender.is_some() && self.receivers[receiver].is_none()
            }
            Event::Poll(receiver) | Event::PollAndDrop(receiver) | Event::Drop(receiver) => {
                self.receivers[receiver].is_some()
            }
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Send => self.send(),
            Event::DropSender => {
                self.sender = None;
                self.model.is_closed = true;
                self.check_woken();
            }
            Event::Subscribe(receiver) => {
                self.receivers[receiver] = self.sender.as_ref().map(Sender::subscribe);
                self.model.positions[receiver] = Some(self.model.sent_count);
            }
            Event::Poll(receiver) => self.poll(receiver, true),
            Event::PollAndDrop(receiver) => self.poll(receiver, false),
            Event::Drop(receiver) => {
                self.receivers[receiver] = None;
                self.model.positions[receiver] = None;
                self.model.waits[receiver] = false;
            }
        }
        let expected_len = self.model.len();
        assert_eq!(self.alive.get(), expected_len as i32, "values in the ring");
        for (receiver, position) in self.receivers.iter().zip(self.model.positions) {
            let len = receiver.as_ref().map(|receiver| receiver.len() as u32);
            assert_eq!(len, position.map(|position| self.model.sent_count - position));
        }
    }

    fn send(&mut self) {
        let count = self.receivers.iter().flatten().count();
        let value = Value::new(self.model.sent_count, &self.alive);
        match self.sender.as_ref().unwrap().send(value) {
            Ok(sent_count) => assert_eq!(sent_count, count),
            Err(SendError(_)) => assert_eq!(count, 0),
        }
        if count > 0 {
            self.model.sent_count += 1;
            self.check_woken();
        }
    }

    /// Each receiver that waited was woken, and no longer waits.
    fn check_woken(&mut self) {
        for (waits, counter) in self.model.waits.iter_mut().zip(&self.counters) {
            assert_eq!(counter.was_woken(), std::mem::take(waits));
        }
    }

    fn poll(&mut self, receiver: usize, is_kept: bool) {
        let expected = self.model.take(receiver);
        self.model.waits[receiver] = expected == Err(TryRecvError::Empty) && is_kept;
        let counter = &self.counters[receiver];
        let mut wait = Box::pin(self.receivers[receiver].as_mut().unwrap().recv());
        let polled = counter.poll(wait.as_mut());
        if is_kept && polled.is_pending() {
            std::mem::forget(wait);
        }
        let polled = match polled {
            std::task::Poll::Pending => Err(TryRecvError::Empty),
            std::task::Poll::Ready(Ok(value)) => Ok(value.number),
            std::task::Poll::Ready(Err(RecvError::Closed)) => Err(TryRecvError::Closed),
            std::task::Poll::Ready(Err(RecvError::Lagged(n))) => Err(TryRecvError::Lagged(n)),
        };
        assert_eq!(polled, expected);
    }
}

/// Goal: in every order of events, each receiver gets every value that was sent since it was made,
/// in order, or the number of those that it missed, and then the end. A value is dropped when no
/// receiver will take it. A receiver that waits is woken by the next value and by the end.
///
/// Method: all orders of sends, subscribes, polls, dropped waits and drops of three receivers on a
/// ring of two values, against positions in a model.
///
/// Kills: a value that is kept until it is overwritten; a drop of a receiver that leaves its values
/// or its waker; a lag that is counted once too often; the end before the last values.
#[test]
fn every_order_of_events_passes_each_value_to_each_receiver() {
    let mut events = vec![Event::Send, Event::DropSender];
    for receiver in 0..RECEIVERS {
        events.extend([Event::Subscribe(receiver), Event::Poll(receiver)]);
        events.extend([Event::PollAndDrop(receiver), Event::Drop(receiver)]);
    }
    let visited = visit_all(&events, |path| {
        let mut rig = Rig::new();
        for &event in path {
            if !rig.is_possible(event) {
                return None;
            }
            rig.apply(event);
        }
        Some(rig.model)
    });
    assert!(visited.states > 1000, "{visited:?}");
}

thread_local! {
    static SENDER: RefCell<Option<Sender<Hostile>>> = const { RefCell::new(None) };
}

/// A value whose clone and destructor use its channel.
struct Hostile(u32);

impl Clone for Hostile {
    fn clone(&self) -> Hostile {
        SENDER.with_borrow(|sender| {
            let sender = sender.as_ref().unwrap();
            drop(sender.send(Hostile(self.0 + 1)));
            drop(sender.subscribe());
        });
        Hostile(self.0)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        SENDER
            .with_borrow(|sender| assert!(sender.as_ref().is_none_or(|sender| sender.len() <= 2)));
    }
}

/// Goal: the clone and the destructor of a value may use the channel that the value is in.
/// Method: a clone that sends and subscribes, and a destructor that reads the length.
/// Kills: a clone or a drop of a value while the ring is borrowed.
#[test]
fn clones_of_values_may_send_on_their_channel() {
    let (sender, mut first) = channel(2);
    let mut second = sender.subscribe();
    SENDER.set(Some(sender.clone()));
    drop(sender.send(Hostile(1)));
    assert!(Counter::default().poll(pin!(first.recv())).is_ready());
    assert_eq!(second.try_recv().map(|value| value.0).ok(), Some(1));
    assert_eq!(first.try_recv().map(|value| value.0).ok(), Some(2));
    drop((first, second));
    drop(SENDER.take());
}
