//! [`Listening`]: one listener for one signal of a loop.

use std::io;
use std::rc::{Rc, Weak};

use super::core::Core;
use super::signals::{ListenerPlace, SignalListener};

/// One listener for one signal. Dropping it ends the listening.
pub(crate) struct Listening {
    core: Weak<Core>,
    place: ListenerPlace,
    /// Whether the listener has a signal that the program has not taken.
    has_untaken: bool,
}

impl Core {
    /// Begins to pass a signal to `listener`. With `is_hard`, a second signal that comes before the
    /// loop has looked at the first ends the process.
    pub(crate) fn listen(
        self: &Rc<Core>,
        number: i32,
        listener: Rc<dyn SignalListener>,
        is_hard: bool,
    ) -> io::Result<Listening> {
        let place = self.signals.add(number, listener, is_hard)?;
        Ok(Listening { core: Rc::downgrade(self), place, has_untaken: false })
    }
}

impl Listening {
    /// Ends the listening of a listener that has a signal which the program has not taken.
    pub(crate) fn end_untaken(mut self) {
        self.has_untaken = true;
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // In a forked child the signals are the parent's.
        if let Some(core) = self.core.upgrade().filter(|core| !core.id().is_of_parent()) {
            core.signals.remove(self.place, self.has_untaken);
        }
    }
}
