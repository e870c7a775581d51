//! The value behind a lock, lent to one guard that changes it or to many that read it.
//!
//! The permits of the lock decide who may have it. The value is in an `Rc`, so guards that own
//! their lock need no unsafe code: a guard that changes the value has the only reference while it
//! lives, and guards that read it have one each.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

/// A value that is lent to guards.
pub(super) struct Value<T> {
    /// Empty while an [`Exclusive`] lives.
    place: Rc<Cell<Option<Rc<T>>>>,
}

/// The only reference to the value. Dropping it gives the value back.
pub(super) struct Exclusive<T> {
    /// Empty while it is dropped.
    value: Option<Rc<T>>,
    place: Rc<Cell<Option<Rc<T>>>>,
}

impl<T> Value<T> {
    pub(super) fn new(value: T) -> Value<T> {
        Value { place: Rc::new(Cell::new(Some(Rc::new(value)))) }
    }

    /// Lends the value to a guard that may change it.
    ///
    /// # Panics
    ///
    /// If another guard has it: the permits were wrong.
    pub(super) fn exclusive(&self) -> Exclusive<T> {
        let value = self.take();
        assert_eq!(Rc::strong_count(&value), 1, "a lock for one guard, and guards that read");
        Exclusive { value: Some(value), place: Rc::clone(&self.place) }
    }

    /// Lends the value to a guard that reads it.
    ///
    /// # Panics
    ///
    /// If a guard has it that may change it: the permits were wrong.
    pub(super) fn shared(&self) -> Rc<T> {
        let value = self.take();
        self.place.set(Some(Rc::clone(&value)));
        value
    }

    /// The value of a lock that has no guards.
    ///
    /// # Panics
    ///
    /// If a guard was leaked.
    pub(super) fn get_mut(&mut self) -> &mut T {
        let value = Rc::get_mut(&mut self.place).and_then(|place| place.get_mut().as_mut());
        value.and_then(Rc::get_mut).expect("a guard of this lock was leaked")
    }

    /// Returns the value of a lock that has no guards.
    ///
    /// # Panics
    ///
    /// If a guard was leaked.
    pub(super) fn into_inner(self) -> T {
        Rc::into_inner(self.take()).expect("a guard of this lock was leaked")
    }

    fn take(&self) -> Rc<T> {
        self.place.take().expect("a guard has the value, or was leaked")
    }
}

impl<T> Exclusive<T> {
    /// Gives the value back, and keeps a reference that reads it.
    pub(super) fn into_shared(self) -> Rc<T> {
        Rc::clone(self.value())
    }

    fn value(&self) -> &Rc<T> {
        self.value.as_ref().expect("it is given back when it is dropped")
    }
}

impl<T> Deref for Exclusive<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.value()
    }
}

impl<T> DerefMut for Exclusive<T> {
    fn deref_mut(&mut self) -> &mut T {
        let value = self.value.as_mut().expect("it is given back when it is dropped");
        Rc::get_mut(value).expect("the only reference")
    }
}

impl<T> Drop for Exclusive<T> {
    fn drop(&mut self) {
        self.place.set(self.value.take());
    }
}
