//! Values of task-locals that a task takes over from the one that spawns it.
//!
//! A thread-local list has the inheritable keys whose scopes are entered, outermost first. A spawn
//! clones the value of each. The new task enters the clones around each of its polls and around the
//! drop of its future, so its own children inherit them too.
//!
//! **Invariant.** The list is borrowed only to copy, push or pop keys. Values are cloned and
//! dropped when it is not.

use std::cell::RefCell;
use std::ptr;

/// A key of a task-local whose value tasks inherit.
pub(super) trait Inheritable {
    /// A clone of the current value. Runs user code. `None` if no value is set.
    fn capture(&'static self) -> Option<Box<dyn Captured>>;
}

/// The value of one key, outside of its scope or inside.
pub(super) trait Captured {
    /// Makes it the value of its key.
    fn enter(&mut self);

    /// Restores the value that the key had before [`enter`](Captured::enter).
    fn leave(&mut self);
}

thread_local! {
    static ENTERED: RefCell<Vec<&'static dyn Inheritable>> = const { RefCell::new(Vec::new()) };
}

/// Adds a key to those that spawned tasks inherit.
pub(super) fn push(key: &'static dyn Inheritable) {
    let _ = ENTERED.try_with(|entered| entered.borrow_mut().push(key));
}

/// Removes the key that was pushed last.
pub(super) fn pop() {
    let _ = ENTERED.try_with(|entered| entered.borrow_mut().pop());
}

/// The entered keys, each once.
fn entered_keys() -> Vec<&'static dyn Inheritable> {
    let mut keys = ENTERED.try_with(|entered| entered.borrow().clone()).unwrap_or_default();
    let mut kept = 0;
    for at in 0..keys.len() {
        let key = keys[at];
        if !keys[..kept].iter().any(|known| ptr::addr_eq(*known, key)) {
            keys[kept] = key;
            kept += 1;
        }
    }
    keys.truncate(kept);
    keys
}

/// The values that a task inherits. Usually none, which costs neither memory nor time.
#[derive(Default)]
pub(super) struct Inherited {
    values: Vec<Box<dyn Captured>>,
}

impl Inherited {
    /// Clones the values that a task inherits if it is spawned now. Call with no `RefCell`
    /// borrowed.
    pub(super) fn capture() -> Inherited {
        let values = entered_keys().into_iter().filter_map(|key| key.capture()).collect();
        Inherited { values }
    }

    /// Makes these the values of their keys, until the guard is dropped.
    pub(super) fn enter(&mut self) -> Entered<'_> {
        self.values.iter_mut().for_each(|value| value.enter());
        Entered { values: &mut self.values }
    }
}

/// The guard of [`Inherited::enter`].
#[must_use]
pub(super) struct Entered<'a> {
    values: &'a mut [Box<dyn Captured>],
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.values.iter_mut().rev().for_each(|value| value.leave());
    }
}
