//! [`Mutex`].

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use super::gate::{Gate, Held};
use super::value::{Exclusive, Value};

/// A lock whose guard may be held across an await.
///
/// This is tokio's `Mutex` without atomics, and asyncio's `Lock` with a value. Waiters take the
/// lock first come, first served: neither `try_lock` nor a task that unlocks and locks in a loop
/// overtakes them. Within one task, or between two awaits, a `RefCell` is enough: no other task
/// runs there.
///
/// A woken waiter reserves nothing: a future of [`lock`](Mutex::lock) that is alive and not polled
/// does not keep the lock from others, as it does in tokio. See [`Semaphore`](super::Semaphore).
///
/// A panic while the lock is held unlocks it. There is no poisoning, as in tokio: the value may be
/// half changed.
///
/// ```
/// use std::rc::Rc;
/// use ringloop::sync::Mutex;
/// use ringloop::task::yield_now;
///
/// ringloop::run(async {
///     let total = Rc::new(Mutex::new(0));
///     let tasks: Vec<_> = (1..=3)
///         .map(|count| {
///             let total = Rc::clone(&total);
///             ringloop::spawn(async move {
///                 let mut total = total.lock().await;
///                 let before = *total;
///                 yield_now().await; // no other task changes the value meanwhile
///                 *total = before + count;
///             })
///         })
///         .collect();
///     for task in tasks {
///         task.await.unwrap();
///     }
///     assert_eq!(*total.lock().await, 6);
/// });
/// ```
pub struct Mutex<T> {
    gate: Rc<Gate>,
    value: Value<T>,
}

/// The guard of a [`Mutex`]. Dropping it unlocks.
///
/// ```
/// use ringloop::sync::Mutex;
///
/// ringloop::run(async {
///     let mutex = Mutex::new(1);
///     let mut guard = mutex.lock().await;
///     *guard += 1;
///     assert!(mutex.try_lock().is_err());
///     drop(guard);
///     assert_eq!(*mutex.lock().await, 2);
/// });
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct MutexGuard<'a, T> {
    value: Exclusive<T>, // given back before the permit is released
    _held: Held,
    mutex: &'a Mutex<T>,
}

/// The guard of a [`Mutex`] that does not borrow it. Dropping it unlocks.
///
/// ```
/// use std::rc::Rc;
/// use ringloop::sync::Mutex;
///
/// ringloop::run(async {
///     let mutex = Rc::new(Mutex::new(1));
///     let mut guard = Rc::clone(&mutex).lock_owned().await;
///     ringloop::spawn(async move { *guard += 1 }).await.unwrap();
///     assert_eq!(*mutex.lock().await, 2);
/// });
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct OwnedMutexGuard<T> {
    value: Exclusive<T>, // given back before the permit is released
    _held: Held,
    mutex: Rc<Mutex<T>>,
}

/// The error of [`Mutex::try_lock`], [`RwLock::try_read`](super::RwLock::try_read) and
/// [`RwLock::try_write`](super::RwLock::try_write): the lock is held, or others wait for it.
///
/// ```
/// use ringloop::sync::Mutex;
///
/// let mutex = Mutex::new(());
/// let _guard = mutex.try_lock().unwrap();
/// let error = mutex.try_lock().unwrap_err();
/// assert_eq!(error.to_string(), "the lock is held, or others wait for it");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TryLockError(());

impl<T> Mutex<T> {
    /// An unlocked mutex.
    ///
    /// ```
    /// assert!(ringloop::sync::Mutex::new(1).try_lock().is_ok());
    /// ```
    pub fn new(value: T) -> Mutex<T> {
        Mutex { gate: Gate::new(1), value: Value::new(value) }
    }

    /// Waits for the lock.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped future loses its place in the queue, and if it was woken, the next
    /// waiter is.
    ///
    /// ```
    /// use ringloop::sync::Mutex;
    ///
    /// ringloop::run(async {
    ///     let mutex = Mutex::new(1);
    ///     *mutex.lock().await += 1;
    ///     assert_eq!(mutex.into_inner(), 2);
    /// });
    /// ```
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        let acquired = self.gate.acquire(1).await;
        self.guard(acquired.expect("the gate of a mutex is not closed"))
    }

    /// Locks, if the lock is free and no other task waits for it.
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if it is held, or for a waiter.
    ///
    /// ```
    /// use ringloop::sync::Mutex;
    ///
    /// let mutex = Mutex::new(1);
    /// let guard = mutex.try_lock().unwrap();
    /// assert!(mutex.try_lock().is_err());
    /// drop(guard);
    /// ```
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError> {
        Ok(self.guard(try_take(&self.gate, 1)?))
    }

    /// Like [`lock`](Self::lock), with a guard that does not borrow the mutex.
    ///
    /// # Cancel safety
    ///
    /// As [`lock`](Self::lock).
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::Mutex;
    ///
    /// ringloop::run(async {
    ///     let mutex = Rc::new(Mutex::new(1));
    ///     let guard = Rc::clone(&mutex).lock_owned().await;
    ///     assert!(mutex.try_lock().is_err());
    ///     drop(guard);
    /// });
    /// ```
    pub async fn lock_owned(self: Rc<Self>) -> OwnedMutexGuard<T> {
        let acquired = self.gate.acquire(1).await;
        self.owned_guard(acquired.expect("the gate of a mutex is not closed"))
    }

    /// Like [`try_lock`](Self::try_lock), with a guard that does not borrow the mutex.
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if it is held, or for a waiter.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::Mutex;
    ///
    /// let mutex = Rc::new(Mutex::new(1));
    /// let _guard = Rc::clone(&mutex).try_lock_owned().unwrap();
    /// assert!(mutex.try_lock_owned().is_err());
    /// ```
    pub fn try_lock_owned(self: Rc<Self>) -> Result<OwnedMutexGuard<T>, TryLockError> {
        let held = try_take(&self.gate, 1)?;
        Ok(self.owned_guard(held))
    }

    /// The value. No lock is needed, as no guard can exist.
    ///
    /// # Panics
    ///
    /// If a guard was leaked, as by `std::mem::forget`.
    ///
    /// ```
    /// let mut mutex = ringloop::sync::Mutex::new(1);
    /// *mutex.get_mut() += 1;
    /// assert_eq!(mutex.into_inner(), 2);
    /// ```
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    /// Returns the value.
    ///
    /// # Panics
    ///
    /// If a guard was leaked, as by `std::mem::forget`.
    ///
    /// ```
    /// assert_eq!(ringloop::sync::Mutex::new(1).into_inner(), 1);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }

    fn guard(&self, held: Held) -> MutexGuard<'_, T> {
        MutexGuard { value: self.value.exclusive(), _held: held, mutex: self }
    }

    fn owned_guard(self: Rc<Self>, held: Held) -> OwnedMutexGuard<T> {
        OwnedMutexGuard { value: self.value.exclusive(), _held: held, mutex: self }
    }
}

/// Takes permits of a lock, whose gate is never closed.
pub(super) fn try_take(gate: &Rc<Gate>, count: usize) -> Result<Held, TryLockError> {
    gate.attempt(count).map_err(|_| TryLockError(()))
}

impl<'a, T> MutexGuard<'a, T> {
    /// The mutex of the guard.
    ///
    /// ```
    /// use ringloop::sync::{Mutex, MutexGuard};
    ///
    /// let mutex = Mutex::new(1);
    /// let guard = mutex.try_lock().unwrap();
    /// assert!(std::ptr::eq(MutexGuard::mutex(&guard), &mutex));
    /// ```
    pub fn mutex(this: &Self) -> &'a Mutex<T> {
        this.mutex
    }
}

impl<T> OwnedMutexGuard<T> {
    /// The mutex of the guard.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::{Mutex, OwnedMutexGuard};
    ///
    /// let mutex = Rc::new(Mutex::new(1));
    /// let guard = Rc::clone(&mutex).try_lock_owned().unwrap();
    /// assert!(Rc::ptr_eq(OwnedMutexGuard::mutex(&guard), &mutex));
    /// ```
    pub fn mutex(this: &Self) -> &Rc<Mutex<T>> {
        &this.mutex
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> Deref for OwnedMutexGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for OwnedMutexGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T> From<T> for Mutex<T> {
    fn from(value: T) -> Mutex<T> {
        Mutex::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("Mutex");
        match self.try_lock() {
            Ok(guard) => fields.field("value", &*guard),
            Err(_) => fields.field("value", &format_args!("<locked>")),
        };
        fields.finish()
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Debug> fmt::Debug for OwnedMutexGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for OwnedMutexGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock is held, or others wait for it")
    }
}

impl std::error::Error for TryLockError {}

#[cfg(test)]
impl<T> Mutex<T> {
    pub(super) fn gate(&self) -> &Rc<Gate> {
        &self.gate
    }
}

#[cfg(test)]
mod tests;
