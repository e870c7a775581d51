//! Every order of events of a channel with the last value.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use super::*;
use crate::enumeration::visit_all;
use crate::sync::tests::Counter;

const RECEIVERS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Event {
    Send,
    /// A closure that leaves the value as it is.
    ModifyNothing,
    DropSender,
    Subscribe(usize),
    /// A wait for a change is polled, and stays alive if it is pending.
    Poll(usize),
    /// A wait is polled and dropped.
    PollAndDrop(usize),
    Update(usize),
    Drop(usize),
    /// The wait of the sender for the end of the receivers.
    PollClosed,
}

/// What the channel must do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Model {
    is_closed: bool,
    /// Of each receiver: whether it has not seen the last value.
    unseen: [Option<bool>; RECEIVERS],
    waits: [bool; RECEIVERS],
    sender_waits: bool,
}

struct Rig {
    sender: Option<Sender<u32>>,
    receivers: [Option<Receiver<u32>>; RECEIVERS],
    counters: [Counter; RECEIVERS],
    sender_counter: Counter,
    sent_count: u32,
    model: Model,
}

impl Rig {
    fn new() -> Rig {
        let (sender, receiver) = channel(0);
        let (counters, sender_counter) = Default::default();
        let mut model = Model::default();
        model.unseen[0] = Some(false);
        let (sender, receivers) = (Some(sender), [Some(receiver), None, None]);
        Rig { sender, receivers, counters, sender_counter, sent_count: 0, model }
    }

    fn is_possible(&self, event: Event) -> bool {
        match event {
            Event::Send | Event::ModifyNothing | Event::DropSender => self.sender.is_some(),
            // The wait that was left alive would borrow the sender.
            Event::PollClosed => self.sender.is_some() && !self.model.sender_waits,
            Event::Subscribe(receiver) => {
                self.sender.is_some() && self.receivers[receiver].is_none()
            }
            Event::Poll(receiver)
            | Event::PollAndDrop(receiver)
            | Event::Update(receiver)
            | Event::Drop(receiver) => self.receivers[receiver].is_some(),
        }
    }

    fn apply(&mut self, event: Event) {
        let receiver_count = self.receivers.iter().flatten().count();
        match event {
            Event::Send => {
                let sent = self.sender.as_ref().unwrap().send(self.sent_count + 1);
                assert_eq!(sent.is_ok(), receiver_count > 0);
                if sent.is_ok() {
                    self.sent_count += 1;
                    self.model.unseen.iter_mut().flatten().for_each(|unseen| *unseen = true);
                    self.check_woken();
                }
            }
            Event::ModifyNothing => {
                assert!(!self.sender.as_ref().unwrap().send_if_modified(|_| false));
            }
            Event::DropSender => {
                self.sender = None;
                self.model.is_closed = true;
                self.check_woken();
            }
            Event::Subscribe(receiver) => {
                self.receivers[receiver] = self.sender.as_ref().map(Sender::subscribe);
                self.model.unseen[receiver] = Some(false);
            }
            Event::Poll(receiver) => self.poll(receiver, true),
            Event::PollAndDrop(receiver) => self.poll(receiver, false),
            Event::Update(receiver) => {
                let value = self.receivers[receiver].as_mut().unwrap().borrow_and_update();
                assert_eq!((*value, value.has_changed()), (self.sent_count, self.unseen(receiver)));
                self.model.unseen[receiver] = Some(false);
            }
            Event::Drop(receiver) => {
                self.receivers[receiver] = None;
                self.model.unseen[receiver] = None;
                self.model.waits[receiver] = false;
                if receiver_count == 1 {
                    let waits = std::mem::take(&mut self.model.sender_waits);
                    assert_eq!(self.sender_counter.was_woken(), waits);
                }
            }
            Event::PollClosed => {
                let sender = self.sender.as_ref().unwrap();
                let mut wait = Box::pin(sender.closed());
                let is_ready = self.sender_counter.poll(wait.as_mut()).is_ready();
                assert_eq!(is_ready, receiver_count == 0);
                self.model.sender_waits = !is_ready;
                std::mem::forget(wait);
            }
        }
        for counter in &self.counters {
            assert!(!counter.was_woken(), "a wake without a change");
        }
    }

    fn unseen(&self, receiver: usize) -> bool {
        self.model.unseen[receiver].unwrap()
    }

    /// Each receiver that waited was woken, and no longer waits.
    fn check_woken(&mut self) {
        for (waits, counter) in self.model.waits.iter_mut().zip(&self.counters) {
            assert_eq!(counter.was_woken(), std::mem::take(waits));
        }
    }

    fn poll(&mut self, receiver: usize, is_kept: bool) {
        let is_unseen = self.unseen(receiver);
        let mut wait = Box::pin(self.receivers[receiver].as_mut().unwrap().changed());
        let polled = self.counters[receiver].poll(wait.as_mut()).map(|result| result.is_ok());
        let is_pending = polled.is_pending();
        match polled {
            std::task::Poll::Pending => assert!(!is_unseen && !self.model.is_closed),
            std::task::Poll::Ready(is_changed) => {
                assert_eq!(is_changed, is_unseen);
                assert!(is_changed || self.model.is_closed);
            }
        }
        if is_kept && is_pending {
            std::mem::forget(wait);
        }
        self.model.waits[receiver] = is_kept && is_pending;
        self.model.unseen[receiver] = Some(false);
    }
}

/// Goal: in every order of events, a receiver learns of the last value once, and then of the end.
/// A task that waits is woken by what it waits for, and by nothing else.
///
/// Method: all orders of sends, changes in place, subscribes, polls, dropped waits, reads and
/// drops, of three receivers, against a model.
///
/// Kills: the end before the last value; a new receiver that has not seen the current value; a drop
/// of a receiver that leaves its waker; a wake for a change that was none.
#[test]
fn every_order_of_events_shows_the_last_value() {
    let mut events = vec![Event::Send, Event::ModifyNothing, Event::DropSender, Event::PollClosed];
    for receiver in 0..RECEIVERS {
        events.extend([Event::Subscribe(receiver), Event::Poll(receiver), Event::Drop(receiver)]);
        events.extend([Event::PollAndDrop(receiver), Event::Update(receiver)]);
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
    assert!(visited.states > 100, "{visited:?}");
}

fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

/// Goal: a change in place while a `Ref` is alive panics with the reason, and the channel goes on.
/// Method: each operation that needs the value for itself, with a `Ref` alive, then without.
/// Kills: a value that is lost by the panic; a `send_replace` that panics after it has replaced.
#[test]
fn changes_in_place_need_the_value_alone() {
    let (sender, receiver) = channel(1);
    let held = receiver.borrow();
    assert!(panics(|| sender.send_modify(|value| *value = 2)));
    assert!(panics(|| assert!(sender.send_if_modified(|_| true))));
    assert!(panics(|| assert_eq!(sender.send_replace(2), 1)));
    assert_eq!((*held, *receiver.borrow(), receiver.has_changed()), (1, 1, Ok(false)));
    drop(held);
    sender.send_modify(|value| *value += 1);
    assert_eq!((sender.send_replace(3), *receiver.borrow()), (2, 3));
}

/// Goal: a closure that panics or that uses its channel leaves the channel usable.
/// Method: a closure that panics half-way, and closures that read and send.
/// Kills: a value that does not return to its place; a wake for a closure that has panicked.
#[test]
fn closures_that_panic_leave_the_channel_usable() {
    let (sender, receiver) = channel(1);
    assert!(panics(|| sender.send_modify(|value| {
        *value = 2;
        panic!("half-way");
    })));
    assert_eq!((*receiver.borrow(), receiver.has_changed()), (2, Ok(false)));
    assert!(panics(|| sender.send_modify(|_| drop(receiver.borrow()))));
    assert!(panics(|| sender.send_modify(|_| sender.send(3).unwrap())));
    sender.send(4).unwrap();
    assert_eq!(*receiver.borrow(), 4);
}

/// Goal: the predicate of `wait_for` is called once for each value that is found, and may use the
/// channel.
/// Method: a predicate that counts its calls and sends the value that it waits for.
/// Kills: a second call for the same value; a predicate that runs under a borrow; a value that was
/// sent by the predicate and is missed.
#[test]
fn predicates_may_send_what_they_wait_for() {
    let (sender, mut receiver) = channel(1);
    let mut calls = Vec::new();
    let task = Counter::default();
    {
        let mut wait = pin!(receiver.wait_for(|&value| {
            calls.push(value);
            if value == 2 {
                sender.send(3).unwrap();
            }
            value == 3
        }));
        assert!(task.poll(wait.as_mut()).is_pending());
        assert!(task.poll(wait.as_mut()).is_pending());
        sender.send(2).unwrap();
        assert!(task.was_woken());
        let found = task.poll(wait.as_mut());
        assert!(matches!(found, std::task::Poll::Ready(Ok(value)) if *value == 3));
    }
    assert_eq!(calls, [1, 2, 3]);
}
