//! [`on`]: a function that the loop calls for each signal.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::io;
use std::panic::Location;
use std::rc::{Rc, Weak};

use super::kind::SignalKind;
use crate::runtime::{Core, Listening, SignalListener, context};
use crate::task::Call;

/// Calls `function` for each signal of this kind, on the loop of this thread, until the guard is
/// dropped.
///
/// It is called as a function of [`call_soon`](crate::call_soon) is: by the loop, in order with the
/// ready tasks, never inside of another callback. Signals that come before the loop looks are one
/// call. A panic is reported to [`on_unhandled`](crate::Builder::on_unhandled); the loop goes on,
/// and the function is called for the next signal. This is asyncio's `loop.add_signal_handler`,
/// except that several functions for one signal are all called, in the order of their guards.
///
/// # Errors
///
/// Those of [`signal`](super::signal).
///
/// # Panics
///
/// If no loop runs on this thread.
///
/// ```
/// use ringloop::signal::{self, SignalKind};
/// use std::cell::Cell;
/// use std::rc::Rc;
///
/// ringloop::run(async {
///     let ended = Rc::new(Cell::new(0));
///     let counter = Rc::clone(&ended);
///     let _guard = signal::on(SignalKind::child(), move || counter.set(counter.get() + 1))?;
///     std::process::Command::new("true").status()?;
///     while ended.get() == 0 {
///         ringloop::task::yield_now().await;
///     }
///     Ok::<(), std::io::Error>(())
/// })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[track_caller]
pub fn on(kind: SignalKind, function: impl FnMut() + 'static) -> io::Result<SignalGuard> {
    on_boxed(kind, Box::new(function))
}

#[track_caller]
fn on_boxed(kind: SignalKind, function: Box<dyn FnMut()>) -> io::Result<SignalGuard> {
    let core = context::current();
    let callback = Rc::new(Callback {
        core: Rc::downgrade(&core),
        set_at: Location::caller(),
        function: RefCell::new(Some(function)),
        is_cancelled: Cell::new(false),
        calls: Cell::new(0),
    });
    let listening = core.listen(kind.check()?, Rc::clone(&callback) as Rc<_>, false)?;
    Ok(SignalGuard { kind, callback, listening: Some(listening) })
}

/// Keeps a function listening for a signal. [`on`] makes it.
///
/// Dropping the guard drops the function, also if a call of it is due, and ends the listening. See
/// the [module](super) for what happens to a signal that has come.
#[must_use = "dropping the guard ends the listening"]
pub struct SignalGuard {
    kind: SignalKind,
    callback: Rc<Callback>,
    /// `None` only while it is dropped.
    listening: Option<Listening>,
}

struct Callback {
    core: Weak<Core>,
    set_at: &'static Location<'static>,
    /// Taken out while it runs.
    function: RefCell<Option<Box<dyn FnMut()>>>,
    is_cancelled: Cell<bool>,
    /// Calls that are on the ready queue.
    calls: Cell<u32>,
}

impl Callback {
    /// Calls the function, and puts it back, also if it panics.
    fn call(&self) {
        struct PutBack<'a>(&'a Callback, Option<Box<dyn FnMut()>>);
        impl Drop for PutBack<'_> {
            fn drop(&mut self) {
                if !self.0.is_cancelled.get() {
                    let function = self.1.take();
                    *self.0.function.borrow_mut() = function;
                }
            }
        }
        self.calls.set(self.calls.get() - 1);
        let function = self.function.take();
        let mut put_back = PutBack(self, function);
        if let Some(function) = &mut put_back.1 {
            function();
        }
    }
}

impl SignalListener for Callback {
    fn receive(self: Rc<Self>, _number: i32) {
        let Some(core) = self.core.upgrade() else { return };
        self.calls.set(self.calls.get() + 1);
        let set_at = self.set_at;
        core.executor.call_soon(Call::new(Box::new(move || self.call()), set_at));
    }
}

impl Drop for SignalGuard {
    fn drop(&mut self) {
        self.callback.is_cancelled.set(true);
        let listening = self.listening.take().expect("taken here only");
        if self.callback.calls.get() > 0 {
            listening.end_untaken();
        } else {
            drop(listening);
        }
        let function = self.callback.function.take();
        drop(function); // user code: after the borrow
    }
}

impl fmt::Debug for SignalGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignalGuard").field("kind", &self.kind).finish_non_exhaustive()
    }
}
