//! The signals that one loop listens for.
//!
//! The handler (`sys::signal`) notes a signal and notifies the wake fd. Each turn takes what was
//! noted, after its wait, and passes it to the listeners, in the order in which they began to
//! listen.
//!
//! **Invariant.** Nothing is borrowed while a listener is called, so it may end its own listening
//! and that of others. The process listens for a signal as long as a loop has a listener for it.
//!
//! **Absent on purpose.** Futures and user code: `signal` has the listeners.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use crate::driver::Unparker;
use crate::sys::signal::{self, Attachment, bit};

/// The number of a signal, and the number of a listener for it.
pub(super) type ListenerPlace = (i32, u64);

/// A receiver of signals. It runs in a turn of the loop, and calls no user code.
pub(crate) trait SignalListener {
    fn receive(self: Rc<Self>, number: i32);
}

/// The signals and the listeners of one loop.
pub(crate) struct LoopSignals {
    unparker: Unparker,
    /// The loop's place in the handler, from the first listener to the end of the loop.
    attachment: RefCell<Option<Attachment>>,
    /// By signal and in order.
    listeners: RefCell<BTreeMap<ListenerPlace, Entry>>,
    next_id: Cell<u64>,
    is_closed: Cell<bool>,
}

#[derive(Clone)]
struct Entry {
    listener: Rc<dyn SignalListener>,
    is_hard: bool,
}

impl LoopSignals {
    pub(super) fn new(unparker: Unparker) -> LoopSignals {
        LoopSignals {
            unparker,
            attachment: RefCell::default(),
            listeners: RefCell::default(),
            next_id: Cell::new(0),
            is_closed: Cell::new(false),
        }
    }

    /// Passes the signals that have come to their listeners. Returns how many signals.
    pub(super) fn dispatch(&self) -> usize {
        let pending = match &*self.attachment.borrow() {
            Some(attachment) => attachment.take_pending(),
            None => return 0,
        };
        let is_pending = |number: &i32| pending & bit(*number) != 0;
        let mut count = 0;
        for number in (1..=signal::NUMBER_MAX).filter(is_pending) {
            count += 1;
            self.dispatch_one(number);
        }
        count
    }

    /// Whether signals have come that `dispatch` has not taken.
    pub(super) fn has_pending(&self) -> bool {
        self.attachment.borrow().as_ref().is_some_and(Attachment::has_pending)
    }

    fn dispatch_one(&self, number: i32) {
        let entries = self.entries(number);
        if entries.is_empty() {
            signal::redeliver(number); // the last listener has gone since the handler ran
        }
        entries.into_iter().for_each(|entry| entry.listener.receive(number));
    }

    /// The listeners for a signal, in order. Nothing is borrowed while they are used.
    fn entries(&self, number: i32) -> Vec<Entry> {
        let listeners = self.listeners.borrow();
        let range = listeners.range((number, 0)..=(number, u64::MAX));
        range.map(|(_, entry)| entry.clone()).collect()
    }

    /// Begins to listen. A closed loop accepts the listener and never calls it.
    pub(super) fn add(
        &self,
        number: i32,
        listener: Rc<dyn SignalListener>,
        is_hard: bool,
    ) -> io::Result<ListenerPlace> {
        let place = (number, self.next_id.replace(self.next_id.get() + 1));
        if self.is_closed.get() {
            return Ok(place);
        }
        let is_first = self.entries(number).is_empty();
        let mut attachment = self.attachment.borrow_mut();
        if attachment.is_none() {
            *attachment = Some(self.unparker.attach_to_signals()?);
        }
        let attachment = attachment.as_ref().expect("made above");
        if is_first {
            attachment.listen(number)?;
        }
        if is_hard {
            attachment.set_hard(number, true);
        }
        self.listeners.borrow_mut().insert(place, Entry { listener, is_hard });
        Ok(place)
    }

    /// Ends listening. A signal that was not taken is sent again if no other listener of the
    /// process has it.
    pub(super) fn remove(&self, place: ListenerPlace, mut has_untaken: bool) {
        let Some(entry) = self.listeners.borrow_mut().remove(&place) else {
            return; // the loop has closed
        };
        drop(entry);
        let (number, _) = place;
        let rest = self.entries(number);
        if let Some(attachment) = &*self.attachment.borrow() {
            if rest.is_empty() {
                has_untaken |= attachment.unlisten(number);
            } else {
                attachment.set_hard(number, rest.iter().any(|entry| entry.is_hard));
            }
        }
        if has_untaken && rest.is_empty() {
            signal::redeliver(number);
        }
    }

    /// Ends all listening, and leaves the place in the handler. Later listeners are never called.
    pub(super) fn close(&self) {
        self.is_closed.set(true);
        let listeners = self.listeners.take();
        let attachment = self.attachment.take();
        let mut last = None;
        for &(number, _) in listeners.keys() {
            if last.replace(number) != Some(number)
                && attachment.as_ref().is_some_and(|attachment| attachment.unlisten(number))
            {
                signal::redeliver(number);
            }
        }
    }
}
