//! [`Receiver`].

use std::fmt;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::error::RecvError;
use super::shared::{Ref, Shared};
use crate::sync::wait_list::{WaiterId, wait_in};
use crate::sync::waking::wake_each;
use crate::task::coop;

/// The receiving half of a `watch` channel. Clones have seen what their original has seen.
pub struct Receiver<T> {
    shared: Rc<Shared<T>>,
    /// The version of the value that was seen last.
    seen: u64,
    waiter_id: WaiterId,
}

impl<T> Receiver<T> {
    pub(super) fn new(shared: &Rc<Shared<T>>) -> Receiver<T> {
        Receiver::that_has_seen(Rc::clone(shared), shared.version())
    }

    fn that_has_seen(shared: Rc<Shared<T>>, seen: u64) -> Receiver<T> {
        shared.add_receiver();
        Receiver { shared, seen, waiter_id: WaiterId::default() }
    }

    /// The current value, which does not count as seen: [`changed`](Receiver::changed) still
    /// returns for it.
    ///
    /// # Panics
    ///
    /// Inside of the closure of [`Sender::send_modify`](super::Sender::send_modify) on the same
    /// channel.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::watch::channel(1);
    /// sender.send(2).expect("there is a receiver");
    /// assert_eq!(*receiver.borrow(), 2);
    /// assert_eq!(receiver.has_changed(), Ok(true));
    /// ```
    #[track_caller]
    pub fn borrow(&self) -> Ref<T> {
        self.shared.read(self.is_unseen())
    }

    /// The current value, which counts as seen.
    ///
    /// # Panics
    ///
    /// As [`borrow`](Receiver::borrow).
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::watch::channel(1);
    /// sender.send(2).expect("there is a receiver");
    /// assert_eq!(*receiver.borrow_and_update(), 2);
    /// assert_eq!(receiver.has_changed(), Ok(false));
    /// ```
    #[track_caller]
    pub fn borrow_and_update(&mut self) -> Ref<T> {
        let value = self.shared.read(self.is_unseen());
        self.seen = self.shared.version();
        value
    }

    /// Whether the current value was not seen yet.
    ///
    /// # Errors
    ///
    /// If all senders were dropped, also if the last value was not seen. That is tokio's rule.
    ///
    /// ```
    /// let (sender, receiver) = ringloop::sync::watch::channel(1);
    /// assert_eq!(receiver.has_changed(), Ok(false));
    /// drop(sender);
    /// assert!(receiver.has_changed().is_err());
    /// ```
    pub fn has_changed(&self) -> Result<bool, RecvError> {
        match self.shared.sender_count() {
            0 => Err(RecvError(())),
            _ => Ok(self.is_unseen()),
        }
    }

    /// Makes the current value count as not seen.
    ///
    /// ```
    /// let (_sender, mut receiver) = ringloop::sync::watch::channel(1);
    /// receiver.mark_changed();
    /// assert_eq!(receiver.has_changed(), Ok(true));
    /// ```
    pub fn mark_changed(&mut self) {
        self.seen = self.shared.version().wrapping_sub(1);
    }

    /// Makes the current value count as seen.
    ///
    /// ```
    /// let (sender, mut receiver) = ringloop::sync::watch::channel(1);
    /// sender.send(2).expect("there is a receiver");
    /// receiver.mark_unchanged();
    /// assert_eq!(receiver.has_changed(), Ok(false));
    /// ```
    pub fn mark_unchanged(&mut self) {
        self.seen = self.shared.version();
    }

    /// Whether both receivers belong to the same channel.
    ///
    /// ```
    /// let (_sender, receiver) = ringloop::sync::watch::channel(1);
    /// assert!(receiver.same_channel(&receiver.clone()));
    /// ```
    pub fn same_channel(&self, other: &Receiver<T>) -> bool {
        Rc::ptr_eq(&self.shared, &other.shared)
    }

    /// Waits for a value that this receiver has not seen, and marks it as seen. Returns at once if
    /// there is one.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a future that is dropped has marked no value as seen.
    ///
    /// # Errors
    ///
    /// If all senders were dropped and the last value was seen.
    ///
    /// ```
    /// use ringloop::sync::watch;
    ///
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = watch::channel(0);
    ///     ringloop::spawn(async move {
    ///         for value in 1..=3 {
    ///             sender.send(value).expect("there is a receiver");
    ///         }
    ///     });
    ///     receiver.changed().await.expect("a change");
    ///     assert_eq!(*receiver.borrow(), 3); // the last one; 1 and 2 were replaced
    ///     assert!(receiver.changed().await.is_err()); // the sender has ended
    /// });
    /// ```
    pub async fn changed(&mut self) -> Result<(), RecvError> {
        let mut wait = Wait { receiver: self };
        coop::leaf_fn_anywhere(|cx| wait.poll_changed(cx)).await
    }

    /// Waits until the value fulfils `predicate`, and returns it. It counts as seen. Returns at
    /// once if the current value fulfils it. `predicate` is called once for each value that this
    /// task finds, not for values that are replaced before.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. Values for which `predicate` has returned false may have been marked as seen.
    ///
    /// # Errors
    ///
    /// If all senders were dropped and the last value does not fulfil `predicate`.
    ///
    /// ```
    /// use ringloop::sync::watch;
    ///
    /// ringloop::run(async {
    ///     let (sender, mut receiver) = watch::channel(0);
    ///     ringloop::spawn(async move { sender.send(7) });
    ///     let value = receiver.wait_for(|value| *value > 5).await.expect("such a value");
    ///     assert_eq!(*value, 7);
    /// });
    /// ```
    pub async fn wait_for(
        &mut self,
        mut predicate: impl FnMut(&T) -> bool,
    ) -> Result<Ref<T>, RecvError> {
        let (mut wait, mut checked) = (Wait { receiver: self }, None);
        coop::leaf_fn_anywhere(|cx| wait.poll_for(cx, &mut predicate, &mut checked)).await
    }

    fn is_unseen(&self) -> bool {
        self.seen != self.shared.version()
    }
}

/// The wait of a receiver for a change.
struct Wait<'a, T> {
    receiver: &'a mut Receiver<T>,
}

impl<T> Wait<'_, T> {
    fn poll_changed(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), RecvError>> {
        let mut changed = self.check_changed();
        if changed.is_pending() {
            self.wait(cx);
            // The clone of the waker is user code, which may have sent a value.
            changed = self.check_changed();
        }
        changed
    }

    fn check_changed(&mut self) -> Poll<Result<(), RecvError>> {
        let receiver = &mut *self.receiver;
        if receiver.is_unseen() {
            receiver.mark_unchanged();
            return Poll::Ready(Ok(()));
        }
        match receiver.shared.sender_count() {
            0 => Poll::Ready(Err(RecvError(()))),
            _ => Poll::Pending,
        }
    }

    /// `checked` is the version for which `predicate` was called last.
    fn poll_for(
        &mut self,
        cx: &mut Context<'_>,
        predicate: &mut impl FnMut(&T) -> bool,
        checked: &mut Option<u64>,
    ) -> Poll<Result<Ref<T>, RecvError>> {
        let mut found = self.check_for(predicate, checked);
        if found.is_pending() {
            self.wait(cx);
            // The predicate and the clone of the waker are user code, which may have sent a value.
            found = self.check_for(predicate, checked);
        }
        found
    }

    fn check_for(
        &mut self,
        predicate: &mut impl FnMut(&T) -> bool,
        checked: &mut Option<u64>,
    ) -> Poll<Result<Ref<T>, RecvError>> {
        let receiver = &mut *self.receiver;
        let version = receiver.shared.version();
        if *checked != Some(version) {
            let value = receiver.borrow();
            let is_found = predicate(&value);
            receiver.seen = version;
            *checked = Some(version);
            if is_found {
                return Poll::Ready(Ok(value));
            }
        }
        match receiver.shared.sender_count() {
            0 if receiver.shared.version() == version => Poll::Ready(Err(RecvError(()))),
            _ => Poll::Pending,
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) {
        let Receiver { shared, waiter_id, .. } = &mut *self.receiver;
        wait_in(&shared.receivers, |list| list, waiter_id, cx.waker());
    }
}

impl<T> Drop for Wait<'_, T> {
    fn drop(&mut self) {
        let Receiver { shared, waiter_id, .. } = &mut *self.receiver;
        let waker = shared.receivers.borrow_mut().leave(waiter_id);
        drop(waker);
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Receiver<T> {
        Receiver::that_has_seen(Rc::clone(&self.shared), self.seen)
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        // The waker of a wait that was forgotten.
        let waker = self.shared.receivers.borrow_mut().leave(&mut self.waiter_id);
        wake_each(self.shared.remove_receiver());
        drop(waker);
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("Receiver");
        text.field("has_changed", &self.is_unseen()).finish_non_exhaustive()
    }
}
