//! The guards of a lock for readers and writers.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use crate::sync::gate::{Gate, Held};
use crate::sync::value::Exclusive;

/// A guard that reads the value of an [`RwLock`](crate::sync::RwLock). Dropping it unlocks.
///
/// ```
/// use ringloop::sync::RwLock;
///
/// ringloop::run(async {
///     let lock = RwLock::new(1);
///     let guard = lock.read().await;
///     assert_eq!(*guard, 1);
/// });
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct RwLockReadGuard<'a, T> {
    value: Rc<T>, // given back before the permits are released
    _held: Held,
    gate: PhantomData<&'a Gate>,
}

/// A guard that writes the value of an [`RwLock`](crate::sync::RwLock). Dropping it unlocks.
///
/// ```
/// use ringloop::sync::RwLock;
///
/// ringloop::run(async {
///     let lock = RwLock::new(1);
///     let mut guard = lock.write().await;
///     *guard += 1;
///     assert_eq!(*guard, 2);
/// });
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct RwLockWriteGuard<'a, T> {
    value: Exclusive<T>, // given back before the permits are released
    held: Held,
    gate: PhantomData<&'a Gate>,
}

/// A guard that reads the value of an [`RwLock`](crate::sync::RwLock) and does not borrow it.
/// Dropping it unlocks.
///
/// ```
/// use std::rc::Rc;
/// use ringloop::sync::RwLock;
///
/// ringloop::run(async {
///     let lock = Rc::new(RwLock::new(1));
///     let guard = Rc::clone(&lock).read_owned().await;
///     assert_eq!(*guard, 1);
/// });
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct OwnedRwLockReadGuard<T> {
    value: Rc<T>, // given back before the permits are released
    _held: Held,
}

/// A guard that writes the value of an [`RwLock`](crate::sync::RwLock) and does not borrow it.
/// Dropping it unlocks.
///
/// ```
/// use std::rc::Rc;
/// use ringloop::sync::RwLock;
///
/// ringloop::run(async {
///     let lock = Rc::new(RwLock::new(1));
///     let mut guard = Rc::clone(&lock).write_owned().await;
///     *guard += 1;
///     assert_eq!(*guard, 2);
/// });
/// ```
#[must_use = "dropping the guard unlocks at once"]
pub struct OwnedRwLockWriteGuard<T> {
    value: Exclusive<T>, // given back before the permits are released
    held: Held,
}

/// Gives the value back, and releases all permits but one.
fn downgrade<T>(value: Exclusive<T>, mut held: Held) -> (Rc<T>, Held) {
    let shared = value.into_shared();
    drop(held.split(held.count() - 1));
    (shared, held)
}

impl<'a, T> RwLockReadGuard<'a, T> {
    pub(super) fn new(value: Rc<T>, held: Held) -> RwLockReadGuard<'a, T> {
        RwLockReadGuard { value, _held: held, gate: PhantomData }
    }
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<'a, T> RwLockWriteGuard<'a, T> {
    pub(super) fn new(value: Exclusive<T>, held: Held) -> RwLockWriteGuard<'a, T> {
        RwLockWriteGuard { value, held, gate: PhantomData }
    }

    /// Turns the guard into one that reads. Other readers may then lock, and no writer has had the
    /// lock in between.
    ///
    /// ```
    /// use ringloop::sync::RwLock;
    ///
    /// let lock = RwLock::new(1);
    /// let mut guard = lock.try_write().unwrap();
    /// *guard += 1;
    /// let guard = guard.downgrade();
    /// assert_eq!((*guard, *lock.try_read().unwrap()), (2, 2));
    /// ```
    pub fn downgrade(self) -> RwLockReadGuard<'a, T> {
        let (value, held) = downgrade(self.value, self.held);
        RwLockReadGuard::new(value, held)
    }
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> OwnedRwLockReadGuard<T> {
    pub(super) fn new(value: Rc<T>, held: Held) -> OwnedRwLockReadGuard<T> {
        OwnedRwLockReadGuard { value, _held: held }
    }
}

impl<T> Deref for OwnedRwLockReadGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for OwnedRwLockReadGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for OwnedRwLockReadGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T> OwnedRwLockWriteGuard<T> {
    pub(super) fn new(value: Exclusive<T>, held: Held) -> OwnedRwLockWriteGuard<T> {
        OwnedRwLockWriteGuard { value, held }
    }

    /// Turns the guard into one that reads. Other readers may then lock, and no writer has had the
    /// lock in between.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::RwLock;
    ///
    /// let lock = Rc::new(RwLock::new(1));
    /// let mut guard = Rc::clone(&lock).try_write_owned().unwrap();
    /// *guard += 1;
    /// let guard = guard.downgrade();
    /// assert_eq!((*guard, *lock.try_read().unwrap()), (2, 2));
    /// ```
    pub fn downgrade(self) -> OwnedRwLockReadGuard<T> {
        let (value, held) = downgrade(self.value, self.held);
        OwnedRwLockReadGuard::new(value, held)
    }
}

impl<T> Deref for OwnedRwLockWriteGuard<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for OwnedRwLockWriteGuard<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Debug> fmt::Debug for OwnedRwLockWriteGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for OwnedRwLockWriteGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
