//! [`RwLock`].

mod guards;

use std::fmt;
use std::rc::Rc;

use super::gate::Gate;
use super::mutex::{TryLockError, try_take};
use super::value::Value;

pub use guards::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLockReadGuard, RwLockWriteGuard};

/// The number of guards that may read at once, as in tokio. A writer takes as many permits.
const READERS_MAX: u32 = u32::MAX >> 3;

/// A lock for one writer or many readers, whose guards may be held across an await.
///
/// This is tokio's `RwLock` without atomics. Readers and writers take the lock first come, first
/// served: a reader waits behind a writer that waits, so readers do not starve writers. As a
/// consequence, a task that holds a read guard and waits for another one waits without end if a
/// writer waits in between.
///
/// A woken waiter reserves nothing: a future that is alive and not polled does not keep the lock
/// from others. See [`Semaphore`](super::Semaphore).
///
/// A panic while the lock is held unlocks it. There is no poisoning, as in tokio.
///
/// ```
/// use ringloop::sync::RwLock;
///
/// ringloop::run(async {
///     let lock = RwLock::new(1);
///     {
///         let (first, second) = (lock.read().await, lock.read().await);
///         assert_eq!(*first + *second, 2);
///         assert!(lock.try_write().is_err());
///     }
///     *lock.write().await += 1;
///     assert_eq!(*lock.read().await, 2);
/// });
/// ```
pub struct RwLock<T> {
    gate: Rc<Gate>,
    readers_max: u32,
    value: Value<T>,
}

impl<T> RwLock<T> {
    /// An unlocked lock.
    ///
    /// ```
    /// assert!(ringloop::sync::RwLock::new(1).try_write().is_ok());
    /// ```
    pub fn new(value: T) -> RwLock<T> {
        RwLock::with_max_readers(value, READERS_MAX)
    }

    /// An unlocked lock that at most `max_readers` guards read at once.
    ///
    /// # Panics
    ///
    /// If `max_readers` is 0 or more than `u32::MAX >> 3`.
    ///
    /// ```
    /// use ringloop::sync::RwLock;
    ///
    /// let lock = RwLock::with_max_readers((), 1);
    /// let _guard = lock.try_read().unwrap();
    /// assert!(lock.try_read().is_err());
    /// ```
    #[track_caller]
    pub fn with_max_readers(value: T, max_readers: u32) -> RwLock<T> {
        let is_valid = (1..=READERS_MAX).contains(&max_readers);
        assert!(is_valid, "{max_readers} readers: not between 1 and {READERS_MAX}");
        let gate = Gate::new(max_readers as usize);
        RwLock { gate, readers_max: max_readers, value: Value::new(value) }
    }

    /// Waits until no writer has the lock or waits for it, and locks for reading.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped future loses its place in the queue, and if it was woken, the next
    /// waiter is.
    ///
    /// ```
    /// use ringloop::sync::RwLock;
    ///
    /// ringloop::run(async {
    ///     let lock = RwLock::new(1);
    ///     assert_eq!(*lock.read().await, 1);
    /// });
    /// ```
    pub async fn read(&self) -> RwLockReadGuard<'_, T> {
        let acquired = self.gate.acquire(1).await;
        let held = acquired.expect("the gate of a lock is not closed");
        RwLockReadGuard::new(self.value.shared(), held)
    }

    /// Locks for reading, if no writer has it and no other task waits.
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if the lock is held by a writer, or for a waiter.
    ///
    /// ```
    /// use ringloop::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// assert_eq!(*lock.try_read().unwrap(), 1);
    /// ```
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        let held = try_take(&self.gate, 1)?;
        Ok(RwLockReadGuard::new(self.value.shared(), held))
    }

    /// Like [`read`](Self::read), with a guard that does not borrow the lock.
    ///
    /// # Cancel safety
    ///
    /// As [`read`](Self::read).
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::RwLock;
    ///
    /// ringloop::run(async {
    ///     let lock = Rc::new(RwLock::new(1));
    ///     let guard = Rc::clone(&lock).read_owned().await;
    ///     ringloop::spawn(async move { assert_eq!(*guard, 1) }).await.unwrap();
    /// });
    /// ```
    pub async fn read_owned(self: Rc<Self>) -> OwnedRwLockReadGuard<T> {
        let acquired = self.gate.acquire(1).await;
        let held = acquired.expect("the gate of a lock is not closed");
        OwnedRwLockReadGuard::new(self.value.shared(), held)
    }

    /// Like [`try_read`](Self::try_read), with a guard that does not borrow the lock.
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if the lock is held by a writer, or for a waiter.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::RwLock;
    ///
    /// let lock = Rc::new(RwLock::new(1));
    /// let _guard = Rc::clone(&lock).try_read_owned().unwrap();
    /// assert!(lock.try_write_owned().is_err());
    /// ```
    pub fn try_read_owned(self: Rc<Self>) -> Result<OwnedRwLockReadGuard<T>, TryLockError> {
        let held = try_take(&self.gate, 1)?;
        Ok(OwnedRwLockReadGuard::new(self.value.shared(), held))
    }

    /// Waits until no guard has the lock, and locks for writing.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: a dropped future loses its place in the queue, and if it was woken, the next
    /// waiter is.
    ///
    /// ```
    /// use ringloop::sync::RwLock;
    ///
    /// ringloop::run(async {
    ///     let lock = RwLock::new(1);
    ///     assert_eq!(*lock.write().await, 1);
    /// });
    /// ```
    pub async fn write(&self) -> RwLockWriteGuard<'_, T> {
        let acquired = self.gate.acquire(self.readers_max as usize).await;
        let held = acquired.expect("the gate of a lock is not closed");
        RwLockWriteGuard::new(self.value.exclusive(), held)
    }

    /// Locks for writing, if no guard has the lock and no other task waits for it.
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if the lock is held, or for a waiter.
    ///
    /// ```
    /// use ringloop::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// assert_eq!(*lock.try_write().unwrap(), 1);
    /// ```
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        let held = try_take(&self.gate, self.readers_max as usize)?;
        Ok(RwLockWriteGuard::new(self.value.exclusive(), held))
    }

    /// Like [`write`](Self::write), with a guard that does not borrow the lock.
    ///
    /// # Cancel safety
    ///
    /// As [`write`](Self::write).
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::RwLock;
    ///
    /// ringloop::run(async {
    ///     let lock = Rc::new(RwLock::new(1));
    ///     let guard = Rc::clone(&lock).write_owned().await;
    ///     ringloop::spawn(async move { assert_eq!(*guard, 1) }).await.unwrap();
    /// });
    /// ```
    pub async fn write_owned(self: Rc<Self>) -> OwnedRwLockWriteGuard<T> {
        let acquired = self.gate.acquire(self.readers_max as usize).await;
        let held = acquired.expect("the gate of a lock is not closed");
        OwnedRwLockWriteGuard::new(self.value.exclusive(), held)
    }

    /// Like [`try_write`](Self::try_write), with a guard that does not borrow the lock.
    ///
    /// # Errors
    ///
    /// [`TryLockError`] if the lock is held, or for a waiter.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::RwLock;
    ///
    /// let lock = Rc::new(RwLock::new(1));
    /// let _guard = Rc::clone(&lock).try_write_owned().unwrap();
    /// assert!(lock.try_write_owned().is_err());
    /// ```
    pub fn try_write_owned(self: Rc<Self>) -> Result<OwnedRwLockWriteGuard<T>, TryLockError> {
        let held = try_take(&self.gate, self.readers_max as usize)?;
        Ok(OwnedRwLockWriteGuard::new(self.value.exclusive(), held))
    }

    /// The value. No lock is needed, as no guard can exist.
    ///
    /// # Panics
    ///
    /// If a guard was leaked, as by `std::mem::forget`.
    ///
    /// ```
    /// let mut lock = ringloop::sync::RwLock::new(1);
    /// *lock.get_mut() += 1;
    /// assert_eq!(lock.into_inner(), 2);
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
    /// assert_eq!(ringloop::sync::RwLock::new(1).into_inner(), 1);
    /// ```
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T> From<T> for RwLock<T> {
    fn from(value: T) -> RwLock<T> {
        RwLock::new(value)
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut fields = f.debug_struct("RwLock");
        match self.try_read() {
            Ok(guard) => fields.field("value", &*guard),
            Err(_) => fields.field("value", &format_args!("<locked>")),
        };
        fields.finish()
    }
}

#[cfg(test)]
mod tests;
