//! [`task_local!`](crate::task_local) and [`LocalKey`]: values of a task and of what it awaits.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::thread;

use pin_project_lite::pin_project;

use super::inherit::{self, Captured, Inheritable};

/// Declares task-locals: values that a future and all that it awaits can read.
///
/// A value is set for a future by [`LocalKey::scope`]. It is not visible in tasks that the future
/// spawns, except of keys with the attribute `#[inherit]`: a task that is spawned inside of the
/// scope has a clone of the value, until it ends, and so have the tasks that it spawns. The type of
/// such a key must be `Clone`; the clone is made by the spawn.
///
/// This is tokio's `task_local!`. With `#[inherit]` it is like a variable of Python's
/// `contextvars`, which tasks of asyncio inherit. Callbacks (`call_soon`, `call_later`, `call_at`)
/// inherit nothing.
///
/// ```
/// ringloop::task_local! {
///     static CONNECTION: u32;
///
///     /// The request that the program works on.
///     #[inherit]
///     pub static REQUEST: String;
/// }
///
/// ringloop::run(CONNECTION.scope(7, REQUEST.scope("GET /".to_owned(), async {
///     assert_eq!(CONNECTION.get(), 7);
///     let child = ringloop::spawn(async {
///         assert!(CONNECTION.try_get().is_err());
///         REQUEST.with(|request| request.len())
///     });
///     assert_eq!(child.await.unwrap(), 5);
/// })));
/// ```
#[macro_export]
macro_rules! task_local {
    () => {};
    (@item [$($attr:tt)*] $new:ident #[inherit] $($rest:tt)*) => {
        $crate::task_local!(@item [$($attr)*] inherited $($rest)*);
    };
    (@item [$($attr:tt)*] $new:ident #[$meta:meta] $($rest:tt)*) => {
        $crate::task_local!(@item [$($attr)* #[$meta]] $new $($rest)*);
    };
    (@item [$($attr:tt)*] $new:ident $vis:vis static $name:ident: $type:ty) => {
        $crate::task_local!(@item [$($attr)*] $new $vis static $name: $type;);
    };
    (@item [$($attr:tt)*] $new:ident $vis:vis static $name:ident: $type:ty; $($rest:tt)*) => {
        $($attr)*
        $vis static $name: $crate::task::LocalKey<$type> = {
            ::std::thread_local! {
                static SLOT: $crate::task::LocalSlot<$type> =
                    const { $crate::task::LocalSlot::new() };
            }
            $crate::task::LocalKey::$new(&SLOT)
        };
        $crate::task_local!($($rest)*);
    };
    (@item $($rest:tt)*) => {
        ::std::compile_error!("task_local! takes items of the form `static NAME: Type;`");
    };
    ($($items:tt)+) => {
        $crate::task_local!(@item [] plain $($items)+);
    };
}

/// The place of a task-local's value while its future is polled.
#[doc(hidden)]
pub struct LocalSlot<T>(RefCell<Option<Rc<T>>>);

impl<T> LocalSlot<T> {
    #[doc(hidden)]
    pub const fn new() -> LocalSlot<T> {
        LocalSlot(RefCell::new(None))
    }
}

impl<T> fmt::Debug for LocalSlot<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalSlot").finish_non_exhaustive()
    }
}

/// The key of a task-local, declared by [`task_local!`](crate::task_local).
///
/// No value is borrowed while a function of the program runs, so `with` and the scopes may be
/// nested in any way. A scope is one allocation.
pub struct LocalKey<T: 'static> {
    slot: &'static thread::LocalKey<LocalSlot<T>>,
    /// How a spawned task inherits the value, if it does.
    clone: Option<fn(&T) -> T>,
}

impl<T: 'static> LocalKey<T> {
    #[doc(hidden)]
    pub const fn plain(slot: &'static thread::LocalKey<LocalSlot<T>>) -> LocalKey<T> {
        LocalKey { slot, clone: None }
    }

    #[doc(hidden)]
    pub const fn inherited(slot: &'static thread::LocalKey<LocalSlot<T>>) -> LocalKey<T>
    where
        T: Clone,
    {
        LocalKey { slot, clone: Some(T::clone) }
    }

    /// Makes a future that has `value` as its value of this key while it is polled and dropped.
    ///
    /// A scope inside of another one of the same key hides the outer value.
    ///
    /// # Cancel safety
    ///
    /// As cancel safe as `future`. The future and the value are dropped with the scope, the future
    /// first.
    ///
    /// ```
    /// ringloop::task_local! { static USER: &'static str; }
    ///
    /// ringloop::run(USER.scope("ada", async {
    ///     ringloop::task::yield_now().await;
    ///     assert_eq!(USER.get(), "ada");
    ///     USER.scope("bob", async { assert_eq!(USER.get(), "bob") }).await;
    ///     assert_eq!(USER.get(), "ada");
    /// }));
    /// ```
    pub fn scope<F: Future>(&'static self, value: T, future: F) -> TaskLocalFuture<T, F> {
        TaskLocalFuture {
            future: Some(future),
            scoped: Scoped { key: self, value: Some(Rc::new(value)) },
        }
    }

    /// Calls `function` with `value` as the value of this key.
    ///
    /// ```
    /// ringloop::task_local! { static USER: &'static str; }
    ///
    /// assert_eq!(USER.sync_scope("ada", || USER.get().len()), 3);
    /// assert!(USER.try_get().is_err());
    /// ```
    pub fn sync_scope<R>(&'static self, value: T, function: impl FnOnce() -> R) -> R {
        let mut scoped = Scoped { key: self, value: Some(Rc::new(value)) };
        let _entered = scoped.entered();
        function()
    }

    /// Calls `function` with a reference to the value.
    ///
    /// # Panics
    ///
    /// If no value is set here.
    ///
    /// ```
    /// ringloop::task_local! { static USER: String; }
    ///
    /// USER.sync_scope("ada".to_owned(), || USER.with(|user| assert_eq!(user, "ada")));
    /// ```
    #[track_caller]
    pub fn with<R>(&'static self, function: impl FnOnce(&T) -> R) -> R {
        match self.try_with(function) {
            Ok(result) => result,
            Err(error) => panic!("{error}: call this inside `LocalKey::scope` of the key"),
        }
    }

    /// Calls `function` with a reference to the value, if one is set.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if no value is set here.
    ///
    /// ```
    /// ringloop::task_local! { static USER: String; }
    ///
    /// assert!(USER.try_with(|user| user.len()).is_err());
    /// ```
    pub fn try_with<R>(&'static self, function: impl FnOnce(&T) -> R) -> Result<R, AccessError> {
        let value = self.value().ok_or(AccessError(()))?;
        Ok(function(&value))
    }

    /// A clone of the value.
    ///
    /// # Panics
    ///
    /// If no value is set here.
    ///
    /// ```
    /// ringloop::task_local! { static DEPTH: u32; }
    ///
    /// assert_eq!(DEPTH.sync_scope(3, || DEPTH.get()), 3);
    /// ```
    #[track_caller]
    pub fn get(&'static self) -> T
    where
        T: Clone,
    {
        self.with(T::clone)
    }

    /// A clone of the value, if one is set.
    ///
    /// # Errors
    ///
    /// [`AccessError`] if no value is set here.
    ///
    /// ```
    /// ringloop::task_local! { static DEPTH: u32; }
    ///
    /// assert!(DEPTH.try_get().is_err());
    /// ```
    pub fn try_get(&'static self) -> Result<T, AccessError>
    where
        T: Clone,
    {
        self.try_with(T::clone)
    }

    /// The value, cloned by its count, so that the slot is not borrowed while it is used.
    fn value(&self) -> Option<Rc<T>> {
        self.slot.try_with(|slot| slot.0.borrow().clone()).ok().flatten()
    }

    /// Exchanges the value of this thread with `value`. Runs no user code.
    fn swap(&self, value: &mut Option<Rc<T>>) {
        // Without the slot, while the thread-locals of the thread are destroyed, no value is set.
        let _ = self.slot.try_with(|slot| mem::swap(&mut *slot.0.borrow_mut(), value));
    }
}

impl<T: 'static> fmt::Debug for LocalKey<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_inherited = self.clone.is_some();
        f.debug_struct("LocalKey").field("is_inherited", &is_inherited).finish_non_exhaustive()
    }
}

impl<T: 'static> Inheritable for LocalKey<T> {
    fn capture(&'static self) -> Option<Box<dyn Captured>> {
        let value = Rc::new(self.clone?(&*self.value()?));
        Some(Box::new(Scoped { key: self, value: Some(value) }))
    }
}

/// A value of a key. While the scope is entered, it is the value that the key had before.
struct Scoped<T: 'static> {
    key: &'static LocalKey<T>,
    value: Option<Rc<T>>,
}

impl<T: 'static> Scoped<T> {
    /// Enters the scope until the guard is dropped.
    fn entered(&mut self) -> ScopeGuard<'_> {
        self.enter();
        ScopeGuard(self)
    }
}

impl<T: 'static> Captured for Scoped<T> {
    fn enter(&mut self) {
        self.key.swap(&mut self.value);
        if self.key.clone.is_some() {
            inherit::push(self.key);
        }
    }

    fn leave(&mut self) {
        if self.key.clone.is_some() {
            inherit::pop();
        }
        self.key.swap(&mut self.value);
    }
}

/// The guard of [`Scoped::entered`].
struct ScopeGuard<'a>(&'a mut dyn Captured);

impl Drop for ScopeGuard<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

pin_project! {
    /// A future with a value of a task-local, made by [`LocalKey::scope`].
    #[must_use = "futures do nothing unless awaited"]
    pub struct TaskLocalFuture<T: 'static, F> {
        #[pin]
        future: Option<F>,
        scoped: Scoped<T>,
    }

    impl<T: 'static, F> PinnedDrop for TaskLocalFuture<T, F> {
        fn drop(this: Pin<&mut Self>) {
            let mut this = this.project();
            let _entered = this.scoped.entered();
            this.future.set(None);
        }
    }
}

impl<T: 'static, F> TaskLocalFuture<T, F> {
    /// Takes the value out of the scope, usually after the future has ended.
    ///
    /// ```
    /// use std::cell::Cell;
    ///
    /// ringloop::task_local! { static COUNT: Cell<u32>; }
    ///
    /// ringloop::run(async {
    ///     let mut future = Box::pin(COUNT.scope(Cell::new(0), async {
    ///         COUNT.with(|count| count.set(count.get() + 1));
    ///     }));
    ///     future.as_mut().await;
    ///     assert_eq!(future.as_mut().take_value().map(Cell::into_inner), Some(1));
    /// });
    /// ```
    pub fn take_value(self: Pin<&mut Self>) -> Option<T> {
        self.project().scoped.value.take().and_then(Rc::into_inner)
    }
}

impl<T: 'static, F: Future> Future for TaskLocalFuture<T, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let mut this = self.project();
        let _entered = this.scoped.entered();
        let future = this.future.as_mut().as_pin_mut();
        let outcome = future.expect("a TaskLocalFuture was polled after its end").poll(cx);
        if outcome.is_ready() {
            this.future.set(None); // its locals are dropped inside of the scope
        }
        outcome
    }
}

impl<T: 'static, F> fmt::Debug for TaskLocalFuture<T, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskLocalFuture").field("key", self.scoped.key).finish_non_exhaustive()
    }
}

/// The error of a task-local that has no value here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct AccessError(());

impl fmt::Debug for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessError")
    }
}

impl fmt::Display for AccessError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task-local has no value here")
    }
}

impl Error for AccessError {}
