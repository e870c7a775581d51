//! Every order of events of a channel for one value.

use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::*;
use crate::enumeration::visit_all;

#[derive(Clone, Copy, Debug)]
enum Event {
    Send,
    DropSender,
    PollClosed,
    PollReceiver,
    TryRecv,
    Close,
    DropReceiver,
}

const EVENTS: &[Event] = &[
    Event::Send,
    Event::DropSender,
    Event::PollClosed,
    Event::PollReceiver,
    Event::TryRecv,
    Event::Close,
    Event::DropReceiver,
];

/// Counts its wakes.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Count {
    fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// A value that counts its drops.
struct Value(Rc<Cell<usize>>);

impl Drop for Value {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

/// What the channel must do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
struct Model {
    was_sent: bool,
    was_taken: bool,
    is_sender_gone: bool,
    is_receiver_closed: bool,
    is_receiver_gone: bool,
    has_returned: bool,
    /// A task waits and was not woken.
    receiver_waits: bool,
    sender_waits: bool,
}

struct Rig {
    sender: Option<Sender<Value>>,
    receiver: Option<Receiver<Value>>,
    drops: Rc<Cell<usize>>,
    wakes: [Arc<Count>; 2],
    model: Model,
}

impl Rig {
    fn is_possible(&self, event: Event) -> bool {
        match event {
            Event::Send | Event::DropSender | Event::PollClosed => self.sender.is_some(),
            Event::TryRecv | Event::Close | Event::DropReceiver => self.receiver.is_some(),
            Event::PollReceiver => self.receiver.is_some() && !self.model.has_returned,
        }
    }

    fn apply(&mut self, event: Event) {
        let is_full = self.model.was_sent && !self.model.was_taken;
        let is_ended = !is_full
            && (self.model.is_sender_gone || self.model.is_receiver_closed || self.model.was_taken);
        let [receiver_waker, sender_waker] =
            self.wakes.each_ref().map(|count| Waker::from(Arc::clone(count)));
        match event {
            Event::Send => {
                let sent = self.sender.take().unwrap().send(Value(Rc::clone(&self.drops)));
                assert_eq!(sent.is_ok(), !is_ended);
                self.model.was_sent = sent.is_ok();
                self.model.is_sender_gone = true;
                std::mem::forget(sent); // a value that came back is not counted as dropped
                self.model.sender_waits = false;
            }
            Event::DropSender => {
                self.sender = None;
                self.model.is_sender_gone = true;
                self.model.sender_waits = false;
            }
            Event::PollClosed => {
                let sender = self.sender.as_mut().unwrap();
                let polled = sender.poll_closed(&mut Context::from_waker(&sender_waker));
                assert_eq!(polled.is_ready(), is_ended);
                self.model.sender_waits = !is_ended;
            }
            Event::PollReceiver => {
                let receiver = Pin::new(self.receiver.as_mut().unwrap());
                match receiver.poll(&mut Context::from_waker(&receiver_waker)) {
                    Poll::Pending => assert!(!is_full && !is_ended),
                    Poll::Ready(Ok(_)) => assert!(is_full),
                    Poll::Ready(Err(_)) => assert!(is_ended),
                }
                self.model.was_taken |= is_full;
                self.model.has_returned = is_full || is_ended;
                self.model.receiver_waits = !self.model.has_returned;
            }
            Event::TryRecv => {
                match self.receiver.as_mut().unwrap().try_recv() {
                    Ok(_) => assert!(is_full),
                    Err(TryRecvError::Empty) => assert!(!is_full && !is_ended),
                    Err(TryRecvError::Closed) => assert!(is_ended),
                }
                self.model.was_taken |= is_full;
            }
            Event::Close => {
                self.receiver.as_mut().unwrap().close();
                self.model.is_receiver_closed |= !is_full;
            }
            Event::DropReceiver => {
                self.receiver = None;
                self.model.is_receiver_closed = true;
                self.model.is_receiver_gone = true;
                self.model.receiver_waits = false;
            }
        }
        if self.model.is_receiver_gone {
            self.model.was_taken |= is_full;
        }
    }

    /// A task that waits for what has happened was woken.
    fn check_wakes(&mut self) {
        let has_result = self.model.is_sender_gone || self.model.is_receiver_closed;
        if self.model.receiver_waits && has_result {
            assert!(self.wakes[0].get() > 0, "the receiver sleeps: {:?}", self.model);
        }
        if self.model.sender_waits && self.model.is_receiver_closed {
            assert!(self.wakes[1].get() > 0, "the sender sleeps: {:?}", self.model);
        }
    }
}

/// Goal: in every order of events, the value is received or given back once, dropped once, and
/// each half that waits is woken by what it waits for.
///
/// Method: all orders of send, polls, `try_recv`, close and drops of the halves, against a model.
///
/// Kills: a `close` that discards a value that was sent; a drop of either half that does not wake
/// the other; a second receive of the same value; a `send` that succeeds after `close`.
#[test]
fn every_order_of_events_moves_the_value_once() {
    let visited = visit_all(EVENTS, |path| {
        let (sender, receiver) = channel();
        let mut rig = Rig {
            sender: Some(sender),
            receiver: Some(receiver),
            drops: Rc::default(),
            wakes: Default::default(),
            model: Model::default(),
        };
        for &event in path {
            if !rig.is_possible(event) {
                return None;
            }
            rig.apply(event);
            rig.check_wakes();
            assert_eq!(rig.drops.get(), usize::from(rig.model.was_taken), "{event:?}");
        }
        Some(rig.model)
    });
    assert!(visited.states > 20, "{visited:?}");
}

/// Sends on a second channel when it is dropped.
struct Sending(Cell<Option<Sender<u32>>>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.take().unwrap().send(7).unwrap();
    }
}

/// Goal: the destructor of a value that was not received may use channels.
/// Method: values that send on another channel, in a channel whose receiver is dropped.
/// Kills: a value that is dropped while the state of its channel is borrowed.
#[test]
fn destructors_of_values_may_send() {
    let (inner, mut second) = channel();
    let (sender, receiver) = channel();
    assert!(sender.send(Sending(Cell::new(Some(inner)))).is_ok());
    drop(receiver);
    assert_eq!(second.try_recv(), Ok(7));
}
