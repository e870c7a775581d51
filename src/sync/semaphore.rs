//! [`Semaphore`].

mod permit;

use std::fmt;
use std::rc::Rc;

use super::gate::{Gate, Held};
use super::permits::{PERMITS_MAX, Refusal};

pub use permit::SemaphorePermit;

/// A counting semaphore: tasks of one loop wait for permits.
///
/// This is tokio's `Semaphore` without atomics, and asyncio's `Semaphore` with permits that are
/// guards. Waiters are served first come, first served; `try_acquire` and a task that releases and
/// acquires in a loop do not overtake them. As in tokio, a request for many permits at the front
/// blocks smaller ones behind it until enough permits are free.
///
/// It differs from tokio in one point: a permit is never reserved for a waiter that was woken. The
/// first poll that finds a free permit takes it. So a future that is alive and not polled, as in a
/// `select!` on `&mut future` or in a `Vec`, holds no permit back: when the task that was woken has
/// had its turn and has not polled the future, the next waiter is woken.
///
/// On a thread that runs no ringloop runtime, a release wakes all waiters while a permit is free.
///
/// ```
/// use std::rc::Rc;
/// use ringloop::sync::Semaphore;
///
/// ringloop::run(async {
///     let semaphore = Rc::new(Semaphore::new(2));
///     let first = semaphore.acquire().await.unwrap();
///     let _second = semaphore.acquire().await.unwrap();
///     assert!(semaphore.try_acquire().is_err());
///     drop(first);
///     assert_eq!(semaphore.available_permits(), 1);
/// });
/// ```
pub struct Semaphore {
    gate: Rc<Gate>,
}

/// Permits of a [`Semaphore`] that do not borrow it. Dropping the value releases them.
///
/// ```
/// use std::rc::Rc;
/// use ringloop::sync::Semaphore;
///
/// ringloop::run(async {
///     let semaphore = Rc::new(Semaphore::new(1));
///     let permit = Rc::clone(&semaphore).acquire_owned().await.unwrap();
///     ringloop::spawn(async move { drop(permit) }).await.unwrap();
///     assert_eq!(semaphore.available_permits(), 1);
/// });
/// ```
#[must_use = "dropping the permit releases it"]
pub struct OwnedSemaphorePermit {
    held: Held,
    semaphore: Rc<Semaphore>,
}

/// The error of [`Semaphore::acquire`]: the semaphore was closed.
///
/// ```
/// use ringloop::sync::Semaphore;
///
/// ringloop::run(async {
///     let semaphore = Semaphore::new(0);
///     semaphore.close();
///     let error = semaphore.acquire().await.unwrap_err();
///     assert_eq!(error.to_string(), "the semaphore was closed");
/// });
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcquireError(());

/// The error of [`Semaphore::try_acquire`].
///
/// ```
/// use ringloop::sync::{Semaphore, TryAcquireError};
///
/// let semaphore = Semaphore::new(0);
/// assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::NoPermits);
/// semaphore.close();
/// assert_eq!(semaphore.try_acquire().unwrap_err(), TryAcquireError::Closed);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TryAcquireError {
    /// The semaphore was closed.
    Closed,
    /// Not enough permits are free, or others wait for them.
    NoPermits,
}

impl Semaphore {
    /// The greatest number of permits, that of tokio.
    pub const MAX_PERMITS: usize = PERMITS_MAX;

    /// A semaphore with `permits` free permits.
    ///
    /// # Panics
    ///
    /// If there are more than [`MAX_PERMITS`](Self::MAX_PERMITS).
    ///
    /// ```
    /// assert_eq!(ringloop::sync::Semaphore::new(3).available_permits(), 3);
    /// ```
    #[track_caller]
    pub fn new(permits: usize) -> Semaphore {
        assert!(permits <= PERMITS_MAX, "{permits} permits exceed {PERMITS_MAX}");
        Semaphore { gate: Gate::new(permits) }
    }

    /// The number of permits that are free now. A waiter that was woken may be about to take them.
    ///
    /// ```
    /// assert_eq!(ringloop::sync::Semaphore::new(3).available_permits(), 3);
    /// ```
    pub fn available_permits(&self) -> usize {
        self.gate.available()
    }

    /// Waits for a permit.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: no permit is lost. A dropped future loses its place in the queue, and if it was
    /// woken, the next waiter is.
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the semaphore was closed.
    ///
    /// ```
    /// use ringloop::sync::Semaphore;
    ///
    /// ringloop::run(async {
    ///     let semaphore = Semaphore::new(1);
    ///     let _permit = semaphore.acquire().await.unwrap();
    /// });
    /// ```
    pub async fn acquire(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.acquire_many(1).await
    }

    /// Waits for `count` permits, and takes them all at once.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the semaphore was closed.
    ///
    /// ```
    /// use ringloop::sync::Semaphore;
    ///
    /// ringloop::run(async {
    ///     let semaphore = Semaphore::new(3);
    ///     let permits = semaphore.acquire_many(2).await.unwrap();
    ///     assert_eq!((permits.num_permits(), semaphore.available_permits()), (2, 1));
    /// });
    /// ```
    pub async fn acquire_many(&self, count: u32) -> Result<SemaphorePermit<'_>, AcquireError> {
        match self.gate.acquire(count as usize).await {
            Ok(held) => Ok(SemaphorePermit::new(held)),
            Err(_closed) => Err(AcquireError(())),
        }
    }

    /// Takes a permit, if one is free and no other task waits for it.
    ///
    /// # Errors
    ///
    /// [`TryAcquireError`] if the semaphore was closed, if no permit is free, or if it is for a
    /// waiter.
    ///
    /// ```
    /// use ringloop::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(1);
    /// let permit = semaphore.try_acquire().unwrap();
    /// assert!(semaphore.try_acquire().is_err());
    /// drop(permit);
    /// ```
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits, if as many are free and no other task waits for them.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    ///
    /// ```
    /// use ringloop::sync::Semaphore;
    ///
    /// let semaphore = Semaphore::new(3);
    /// assert!(semaphore.try_acquire_many(4).is_err());
    /// assert_eq!(semaphore.try_acquire_many(3).unwrap().num_permits(), 3);
    /// ```
    pub fn try_acquire_many(&self, count: u32) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        let held = self.gate.attempt(count as usize).map_err(TryAcquireError::from_refusal)?;
        Ok(SemaphorePermit::new(held))
    }

    /// Like [`acquire`](Self::acquire), with a permit that does not borrow the semaphore.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the semaphore was closed.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::Semaphore;
    ///
    /// ringloop::run(async {
    ///     let semaphore = Rc::new(Semaphore::new(1));
    ///     let permit = Rc::clone(&semaphore).acquire_owned().await.unwrap();
    ///     ringloop::spawn(async move { drop(permit) }).await.unwrap();
    /// });
    /// ```
    pub async fn acquire_owned(self: Rc<Self>) -> Result<OwnedSemaphorePermit, AcquireError> {
        self.acquire_many_owned(1).await
    }

    /// Like [`acquire_many`](Self::acquire_many), with permits that do not borrow the semaphore.
    ///
    /// # Cancel safety
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// [`AcquireError`] if the semaphore was closed.
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::Semaphore;
    ///
    /// ringloop::run(async {
    ///     let semaphore = Rc::new(Semaphore::new(3));
    ///     let permits = Rc::clone(&semaphore).acquire_many_owned(2).await.unwrap();
    ///     assert_eq!(permits.num_permits(), 2);
    /// });
    /// ```
    pub async fn acquire_many_owned(
        self: Rc<Self>,
        count: u32,
    ) -> Result<OwnedSemaphorePermit, AcquireError> {
        match self.gate.acquire(count as usize).await {
            Ok(held) => Ok(OwnedSemaphorePermit::new(held, self)),
            Err(_closed) => Err(AcquireError(())),
        }
    }

    /// Like [`try_acquire`](Self::try_acquire), with a permit that does not borrow the semaphore.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::Semaphore;
    ///
    /// let semaphore = Rc::new(Semaphore::new(1));
    /// let permit = Rc::clone(&semaphore).try_acquire_owned().unwrap();
    /// assert_eq!(permit.semaphore().available_permits(), 0);
    /// ```
    pub fn try_acquire_owned(self: Rc<Self>) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        self.try_acquire_many_owned(1)
    }

    /// Like [`try_acquire_many`](Self::try_acquire_many), with permits that do not borrow the
    /// semaphore.
    ///
    /// # Errors
    ///
    /// As [`try_acquire`](Self::try_acquire).
    ///
    /// ```
    /// use std::rc::Rc;
    /// use ringloop::sync::Semaphore;
    ///
    /// let semaphore = Rc::new(Semaphore::new(3));
    /// let permits = Rc::clone(&semaphore).try_acquire_many_owned(2).unwrap();
    /// assert_eq!(permits.num_permits(), 2);
    /// ```
    pub fn try_acquire_many_owned(
        self: Rc<Self>,
        count: u32,
    ) -> Result<OwnedSemaphorePermit, TryAcquireError> {
        let held = self.gate.attempt(count as usize).map_err(TryAcquireError::from_refusal)?;
        Ok(OwnedSemaphorePermit::new(held, self))
    }

    /// Adds permits, and wakes the waiters that they are for.
    ///
    /// # Panics
    ///
    /// If there are more than [`MAX_PERMITS`](Self::MAX_PERMITS) then.
    ///
    /// ```
    /// let semaphore = ringloop::sync::Semaphore::new(1);
    /// semaphore.add_permits(2);
    /// assert_eq!(semaphore.available_permits(), 3);
    /// ```
    #[track_caller]
    pub fn add_permits(&self, count: usize) {
        self.gate.release(count);
    }

    /// Removes up to `count` of the permits that are free. Returns how many were removed. A closed
    /// semaphore stays closed.
    ///
    /// ```
    /// let semaphore = ringloop::sync::Semaphore::new(3);
    /// assert_eq!(semaphore.forget_permits(2), 2);
    /// assert_eq!(semaphore.forget_permits(2), 1);
    /// ```
    pub fn forget_permits(&self, count: usize) -> usize {
        self.gate.remove_available(count)
    }

    /// Closes the semaphore: every waiter returns [`AcquireError`], and so do later calls. Permits
    /// that are held stay valid.
    ///
    /// ```
    /// use ringloop::sync::Semaphore;
    ///
    /// ringloop::run(async {
    ///     let semaphore = Semaphore::new(1);
    ///     semaphore.close();
    ///     assert!(semaphore.acquire().await.is_err());
    /// });
    /// ```
    pub fn close(&self) {
        self.gate.close();
    }

    /// Whether the semaphore was closed.
    ///
    /// ```
    /// assert!(!ringloop::sync::Semaphore::new(1).is_closed());
    /// ```
    pub fn is_closed(&self) -> bool {
        self.gate.is_closed()
    }
}

impl OwnedSemaphorePermit {
    fn new(held: Held, semaphore: Rc<Semaphore>) -> OwnedSemaphorePermit {
        OwnedSemaphorePermit { held, semaphore }
    }

    /// The semaphore of the permits.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let semaphore = Rc::new(ringloop::sync::Semaphore::new(3));
    /// let permit = Rc::clone(&semaphore).try_acquire_owned().unwrap();
    /// assert!(Rc::ptr_eq(permit.semaphore(), &semaphore));
    /// ```
    pub fn semaphore(&self) -> &Rc<Semaphore> {
        &self.semaphore
    }

    /// The number of permits that this value has.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let semaphore = Rc::new(ringloop::sync::Semaphore::new(3));
    /// assert_eq!(semaphore.try_acquire_many_owned(2).unwrap().num_permits(), 2);
    /// ```
    pub fn num_permits(&self) -> usize {
        self.held.count()
    }

    /// Drops the permits without releasing them: the semaphore has so many fewer.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let semaphore = Rc::new(ringloop::sync::Semaphore::new(1));
    /// Rc::clone(&semaphore).try_acquire_owned().unwrap().forget();
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
    /// use std::rc::Rc;
    ///
    /// let semaphore = Rc::new(ringloop::sync::Semaphore::new(3));
    /// let mut permits = Rc::clone(&semaphore).try_acquire_owned().unwrap();
    /// permits.merge(semaphore.try_acquire_many_owned(2).unwrap());
    /// assert_eq!(permits.num_permits(), 3);
    /// ```
    #[track_caller]
    pub fn merge(&mut self, other: Self) {
        self.held.merge(other.held);
    }

    /// Splits off `count` permits. Returns `None` if this value has fewer.
    ///
    /// ```
    /// use std::rc::Rc;
    ///
    /// let semaphore = Rc::new(ringloop::sync::Semaphore::new(3));
    /// let mut permits = Rc::clone(&semaphore).try_acquire_many_owned(3).unwrap();
    /// drop(permits.split(2));
    /// assert_eq!(semaphore.available_permits(), 2);
    /// ```
    pub fn split(&mut self, count: usize) -> Option<Self> {
        let held = self.held.split(count)?;
        Some(OwnedSemaphorePermit::new(held, Rc::clone(&self.semaphore)))
    }
}

impl TryAcquireError {
    fn from_refusal(refusal: Refusal) -> TryAcquireError {
        match refusal {
            Refusal::Closed => TryAcquireError::Closed,
            Refusal::Unavailable => TryAcquireError::NoPermits,
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("available_permits", &self.available_permits())
            .field("is_closed", &self.is_closed())
            .finish()
    }
}

impl fmt::Debug for OwnedSemaphorePermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedSemaphorePermit").field("num_permits", &self.num_permits()).finish()
    }
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the semaphore was closed")
    }
}

impl fmt::Display for TryAcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TryAcquireError::Closed => "the semaphore was closed",
            TryAcquireError::NoPermits => "no permits are available",
        })
    }
}

impl std::error::Error for AcquireError {}

impl std::error::Error for TryAcquireError {}

#[cfg(test)]
mod tests;
