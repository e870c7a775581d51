//! [`SemaphorePermit`].

use std::fmt;
use std::marker::PhantomData;

use crate::sync::gate::{Gate, Held};

/// Permits of a [`Semaphore`](crate::sync::Semaphore). Dropping the value releases them.
///
/// A panic while permits are held releases them too.
///
/// ```
/// use ringloop::sync::Semaphore;
///
/// ringloop::run(async {
///     let semaphore = Semaphore::new(1);
///     let permit = semaphore.acquire().await.unwrap();
///     assert_eq!(semaphore.available_permits(), 0);
///     drop(permit);
///     assert_eq!(semaphore.available_permits(), 1);
/// });
/// ```
#[must_use = "dropping the permit releases it"]
pub struct SemaphorePermit<'a> {
    held: Held,
    gate: PhantomData<&'a Gate>,
}

impl<'a> SemaphorePermit<'a> {
    pub(super) fn new(held: Held) -> SemaphorePermit<'a> {
        SemaphorePermit { held, gate: PhantomData }
    }

    /// The number of permits that this value has.
    ///
    /// ```
    /// let semaphore = ringloop::sync::Semaphore::new(3);
    /// assert_eq!(semaphore.try_acquire_many(2).unwrap().num_permits(), 2);
    /// ```
    pub fn num_permits(&self) -> usize {
        self.held.count()
    }

    /// Drops the permits without releasing them: the semaphore has so many fewer.
    ///
    /// ```
    /// let semaphore = ringloop::sync::Semaphore::new(1);
    /// semaphore.try_acquire().unwrap().forget();
    /// assert_eq!(semaphore.available_permits(), 0);
    /// ```
    pub fn forget(self) {
        self.held.keep();
    }

    /// Adds the permits of `other` to this value.
    ///
    /// # Panics
    ///
    /// If `other` is of another semaphore.
    ///
    /// ```
    /// let semaphore = ringloop::sync::Semaphore::new(3);
    /// let mut permits = semaphore.try_acquire().unwrap();
    /// permits.merge(semaphore.try_acquire_many(2).unwrap());
    /// assert_eq!(permits.num_permits(), 3);
    /// ```
    #[track_caller]
    pub fn merge(&mut self, other: Self) {
        self.held.merge(other.held);
    }

    /// Splits off `count` permits. Returns `None` if this value has fewer.
    ///
    /// ```
    /// let semaphore = ringloop::sync::Semaphore::new(3);
    /// let mut permits = semaphore.try_acquire_many(3).unwrap();
    /// drop(permits.split(2));
    /// assert_eq!(semaphore.available_permits(), 2);
    /// ```
    pub fn split(&mut self, count: usize) -> Option<Self> {
        let held = self.held.split(count)?;
        Some(SemaphorePermit::new(held))
    }
}

impl fmt::Debug for SemaphorePermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SemaphorePermit").field("num_permits", &self.num_permits()).finish()
    }
}
