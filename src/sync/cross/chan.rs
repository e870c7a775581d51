//! The state of a channel between threads, under one lock.
//!
//! ```text
//!  free slot ──── push ────▶ in the queue ──── take ────▶ free slot
//! ```
//!
//! The slots of a bounded channel are permits, and senders wait for them. A sender that was woken
//! has reserved nothing. There is no common ready queue on which a recheck could run, so waiters
//! are passed over as soon as they were woken: while a slot is free, no sender sleeps. A freed slot
//! therefore wakes all senders that wait, and the first that is polled takes it.
//!
//! **Invariant.** No user code runs under the lock: values and wakers are moved out of the state,
//! and woken, cloned or dropped when the lock was released. So no thread blocks or panics with the
//! lock, and a value is dropped by the one side that has taken it out.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::primitives::{Mutex, MutexGuard};
use crate::sync::mpsc::error::{TryRecvError, TrySendError};
use crate::sync::permits::{PERMITS_MAX, Permits, Polled};
use crate::sync::wait_list::WaiterId;
use crate::sync::waking::wake_each;

pub(super) struct Chan<T> {
    state: Mutex<State<T>>,
    slots_max: usize,
}

struct State<T> {
    queue: VecDeque<T>,
    /// Free slots, and the senders that wait for one. Closed with the receiver.
    slots: Permits,
    /// The task or thread that waits for a value.
    receiver: Option<Waker>,
    sender_count: usize,
    is_receiver_gone: bool,
}

impl<T> State<T> {
    fn take(&mut self) -> Result<T, TryRecvError> {
        match self.queue.pop_front() {
            Some(value) => {
                self.slots.release(1);
                Ok(value)
            }
            None if self.sender_count == 0 || self.slots.is_closed() => {
                Err(TryRecvError::Disconnected)
            }
            None => Err(TryRecvError::Empty),
        }
    }

    /// The senders to wake: all that wait, if a slot is free.
    fn woken_senders(&mut self) -> Vec<Waker> {
        let mut woken = Vec::new();
        while let Some(waker) = self.slots.next_to_wake() {
            woken.push(waker);
            self.slots.pass_over_all();
        }
        woken
    }
}

impl<T> Chan<T> {
    /// A channel with one sender. Without a limit, it has more slots than memory has.
    pub(super) fn new(slots_max: Option<usize>) -> Arc<Chan<T>> {
        let slots_max = slots_max.unwrap_or(PERMITS_MAX);
        let state = State {
            queue: VecDeque::new(),
            slots: Permits::new(slots_max),
            receiver: None,
            sender_count: 1,
            is_receiver_gone: false,
        };
        Arc::new(Chan { state: Mutex::new(state), slots_max })
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn len(&self) -> usize {
        self.lock().queue.len()
    }

    pub(super) fn slots_max(&self) -> usize {
        self.slots_max
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lock().slots.is_closed()
    }

    pub(super) fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        let mut state = self.lock();
        if state.slots.is_closed() {
            drop(state);
            return Err(TrySendError::Closed(value));
        }
        if state.slots.attempt(1).is_err() {
            let woken = state.woken_senders();
            drop(state);
            wake_each(woken);
            return Err(TrySendError::Full(value));
        }
        push(state, value);
        Ok(())
    }

    /// Polls a send. The value is taken when it is sent, and stays if the receiver is closed.
    pub(super) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        value: &mut Option<T>,
        waiter_id: &mut WaiterId,
    ) -> Poll<Result<(), ()>> {
        let mut clone = None;
        loop {
            let mut state = self.lock();
            match state.slots.poll(waiter_id, 1) {
                Polled::Taken(former) => {
                    push(state, value.take().expect("a send that has not ended"));
                    drop(former);
                    return Poll::Ready(Ok(()));
                }
                Polled::Closed(former) => {
                    drop(state);
                    drop(former);
                    return Poll::Ready(Err(()));
                }
                Polled::Unavailable if state.slots.is_waiting_with(waiter_id, cx.waker()) => {
                    return Poll::Pending;
                }
                Polled::Unavailable => {}
            }
            // The clone of a waker is user code, so the state is read anew after it.
            let Some(clone) = clone.take() else {
                drop(state);
                clone = Some(cx.waker().clone());
                continue;
            };
            let former = state.slots.wait(waiter_id, 1, clone);
            let woken = state.woken_senders();
            drop(state);
            wake_each(woken);
            drop(former);
            return Poll::Pending;
        }
    }

    /// Removes a send that is dropped. If it was woken, the next one is.
    pub(super) fn leave(&self, waiter_id: &mut WaiterId) {
        let mut state = self.lock();
        let own = state.slots.leave(waiter_id);
        let woken = state.woken_senders();
        drop(state);
        wake_each(woken);
        drop(own);
    }

    pub(super) fn try_recv(&self) -> Result<T, TryRecvError> {
        let mut state = self.lock();
        let taken = state.take();
        let woken = state.woken_senders();
        drop(state);
        wake_each(woken);
        taken
    }

    pub(super) fn poll_recv(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut clone = None;
        loop {
            let mut state = self.lock();
            let taken = state.take();
            if !matches!(taken, Err(TryRecvError::Empty)) {
                let (own, woken) = (state.receiver.take(), state.woken_senders());
                drop(state);
                wake_each(woken);
                drop(own);
                return Poll::Ready(taken.ok());
            }
            if state.receiver.as_ref().is_some_and(|own| own.will_wake(cx.waker())) {
                return Poll::Pending;
            }
            if let Some(clone) = clone.take() {
                let former = state.receiver.replace(clone);
                drop(state);
                drop(former);
                return Poll::Pending;
            }
            drop(state);
            clone = Some(cx.waker().clone());
        }
    }

    /// Refuses further sends, and ends those that wait.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        let woken = state.slots.close();
        drop(state);
        wake_each(woken);
    }

    /// The receiver is dropped. Drops the values that it has not taken.
    pub(super) fn receiver_dropped(&self) {
        let mut state = self.lock();
        state.is_receiver_gone = true;
        let woken = state.slots.close();
        let (own, values) = (state.receiver.take(), std::mem::take(&mut state.queue));
        drop(state);
        wake_each(woken);
        drop((own, values));
    }

    pub(super) fn add_sender(&self) {
        self.lock().sender_count += 1;
    }

    pub(super) fn remove_sender(&self) {
        let mut state = self.lock();
        state.sender_count -= 1;
        let is_last = state.sender_count == 0;
        let receiver = if is_last { state.receiver.take() } else { None };
        drop(state);
        wake_each(receiver);
    }
}

/// Adds a value, for which a slot was taken, and wakes the receiver.
fn push<T>(mut state: MutexGuard<'_, State<T>>, value: T) {
    assert!(!state.is_receiver_gone, "slots are closed with the receiver");
    state.queue.push_back(value);
    let receiver = state.receiver.take();
    drop(state);
    wake_each(receiver);
}
