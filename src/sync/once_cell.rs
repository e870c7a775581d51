//! [`OnceCell`].

use std::cell;
use std::convert::Infallible;
use std::fmt;
use std::rc::Rc;

use super::gate::Gate;
use super::permits::Refusal;

/// A cell that is written once, by a future if need be.
///
/// This is tokio's `OnceCell` for one thread. Tasks that call
/// [`get_or_init`](OnceCell::get_or_init) at the same time wait for the first one. If it fails,
/// panics or is dropped, the next one initializes the cell.
///
/// While a future initializes the cell, others wait for it, also if nothing polls it.
///
/// ```
/// use ringloop::sync::OnceCell;
///
/// ringloop::run(async {
///     let cell = OnceCell::new();
///     assert_eq!(*cell.get_or_init(async || 7).await, 7);
///     assert_eq!(*cell.get_or_init(async || 8).await, 7);
/// });
/// ```
pub struct OnceCell<T> {
    value: cell::OnceCell<T>,
    /// One permit, for the task that initializes the cell. Closed when there is a value.
    gate: Rc<Gate>,
}

/// The error of [`OnceCell::set`], with the value that was not set.
///
/// ```
/// use ringloop::sync::{OnceCell, SetError};
///
/// let cell = OnceCell::from(1);
/// assert_eq!(cell.set(2), Err(SetError::AlreadyInitializedError(2)));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SetError<T> {
    /// The cell has a value.
    AlreadyInitializedError(T),
    /// A task initializes the cell.
    InitializingError(T),
}

impl<T> OnceCell<T> {
    /// A cell without a value.
    ///
    /// ```
    /// assert!(!ringloop::sync::OnceCell::<u32>::new().initialized());
    /// ```
    pub fn new() -> OnceCell<T> {
        OnceCell { value: cell::OnceCell::new(), gate: Gate::new(1) }
    }

    /// A cell with this value, or without one.
    ///
    /// ```
    /// assert_eq!(ringloop::sync::OnceCell::new_with(Some(1)).get(), Some(&1));
    /// ```
    pub fn new_with(value: Option<T>) -> OnceCell<T> {
        value.map_or_else(OnceCell::new, OnceCell::from)
    }

    /// Whether the cell has a value.
    ///
    /// ```
    /// assert!(ringloop::sync::OnceCell::from(1).initialized());
    /// ```
    pub fn initialized(&self) -> bool {
        self.value.get().is_some()
    }

    /// The value, if the cell has one.
    ///
    /// ```
    /// assert_eq!(ringloop::sync::OnceCell::from(1).get(), Some(&1));
    /// ```
    pub fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// The value, if the cell has one.
    ///
    /// ```
    /// let mut cell = ringloop::sync::OnceCell::from(1);
    /// *cell.get_mut().unwrap() += 1;
    /// assert_eq!(cell.get(), Some(&2));
    /// ```
    pub fn get_mut(&mut self) -> Option<&mut T> {
        self.value.get_mut()
    }

    /// Sets the value.
    ///
    /// # Errors
    ///
    /// [`SetError`] with the value, if the cell has one or a task initializes it.
    ///
    /// ```
    /// let cell = ringloop::sync::OnceCell::new();
    /// assert!(cell.set(1).is_ok());
    /// assert!(cell.set(2).is_err());
    /// ```
    pub fn set(&self, value: T) -> Result<(), SetError<T>> {
        match self.gate.attempt(1) {
            Ok(held) => {
                self.store(value);
                held.keep();
                Ok(())
            }
            Err(Refusal::Closed) => Err(SetError::AlreadyInitializedError(value)),
            Err(Refusal::Unavailable) => Err(SetError::InitializingError(value)),
        }
    }

    /// Returns the value. If there is none, the future of `init` makes it.
    ///
    /// # Cancel safety
    ///
    /// Cancel safe. If the future of `init` had begun, it is dropped, and the next waiter begins
    /// with its own.
    ///
    /// ```
    /// use ringloop::sync::OnceCell;
    ///
    /// ringloop::run(async {
    ///     assert_eq!(*OnceCell::new().get_or_init(async || 7).await, 7);
    /// });
    /// ```
    pub async fn get_or_init<F, Fut>(&self, init: F) -> &T
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = T>,
    {
        let init = async || Ok::<T, Infallible>(init().await);
        match self.get_or_try_init(init).await {
            Ok(value) => value,
            Err(never) => match never {},
        }
    }

    /// Returns the value. If there is none, the future of `init` makes it, or fails.
    ///
    /// # Cancel safety
    ///
    /// As [`get_or_init`](Self::get_or_init).
    ///
    /// # Errors
    ///
    /// That of `init`. The next waiter then tries with its own.
    ///
    /// ```
    /// use ringloop::sync::OnceCell;
    ///
    /// ringloop::run(async {
    ///     let cell = OnceCell::<u32>::new();
    ///     assert_eq!(cell.get_or_try_init(async || Err("too early")).await, Err("too early"));
    ///     assert_eq!(cell.get_or_try_init(async || Ok::<_, ()>(7)).await, Ok(&7));
    /// });
    /// ```
    pub async fn get_or_try_init<E, F, Fut>(&self, init: F) -> Result<&T, E>
    where
        F: FnOnce() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        if let Ok(held) = self.gate.acquire(1).await {
            self.store(init().await?);
            held.keep();
        }
        Ok(self.get().expect("the gate is closed when the value is set"))
    }

    /// Takes the value out of the cell, which is empty then.
    ///
    /// ```
    /// let mut cell = ringloop::sync::OnceCell::from(1);
    /// assert_eq!((cell.take(), cell.take()), (Some(1), None));
    /// ```
    pub fn take(&mut self) -> Option<T> {
        std::mem::take(self).into_inner()
    }

    /// Returns the value, if the cell has one.
    ///
    /// ```
    /// assert_eq!(ringloop::sync::OnceCell::from(1).into_inner(), Some(1));
    /// ```
    pub fn into_inner(self) -> Option<T> {
        self.value.into_inner()
    }

    /// Sets the value, for the owner of the permit.
    fn store(&self, value: T) {
        let is_first = self.value.set(value).is_ok();
        assert!(is_first, "the owner of the permit sets the value, and there is one permit");
        self.gate.close();
    }
}

impl<T> From<T> for OnceCell<T> {
    fn from(value: T) -> OnceCell<T> {
        let cell = OnceCell::new();
        cell.store(value);
        cell
    }
}

impl<T> Default for OnceCell<T> {
    fn default() -> OnceCell<T> {
        OnceCell::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceCell").field(&self.get()).finish()
    }
}

impl<T> fmt::Display for SetError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SetError::AlreadyInitializedError(_) => "the cell has a value",
            SetError::InitializingError(_) => "a task initializes the cell",
        })
    }
}

impl<T: fmt::Debug> std::error::Error for SetError<T> {}

#[cfg(test)]
mod tests;
