//! [`scope`]: children that borrow from the caller.
//!
//! A task is `'static`, so it cannot borrow. The children of a scope are no tasks. They are futures
//! inside the scope's own future, as those of `join_all` are, and are polled when they are woken
//! (`wakes.rs`). A place that a child has left is taken by a later child.
//!
//! **Invariant.** The scope's future is ready only when its body and all children have been
//! dropped. Dropping it drops them. So what they borrow outlives them, without `unsafe`, and also
//! if the future is leaked.
//!
//! **Absent on purpose.** Errors of children: a child returns them through its handle.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::future::Future;
use std::ops::ControlFlow;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use pin_project_lite::pin_project;

use super::wakes::Wakes;
use crate::sync::waker_cell::WakerCell;
use crate::task::coop;

/// Runs `body` with a [`Scope`], and waits until the body and all children of the scope have ended.
/// Children may borrow what lives longer than the scope.
///
/// The body gets the scope by value, and spawns children with it. So do children, which may have
/// clones of it. The value is that of the body.
///
/// The children run concurrently **within the task of the caller**: while one computes, the others
/// wait. A child is polled only when it was woken. A child is first polled in the next turn of the
/// loop. When the budget of the task's poll is spent, the rest is polled in the next turn.
///
/// This is the form of [`std::thread::scope`]. Children that are tasks, and end when a sibling
/// fails, are in [`task_group`](crate::task_group).
///
/// # Cancel safety
///
/// Dropping the future drops the body and all children at once.
///
/// # Panics
///
/// With the panic of the body or of a child. The panic drops the body and all other children.
///
/// ```
/// use ringloop::task::scope;
///
/// async fn length(name: &str) -> usize {
///     ringloop::task::yield_now().await;
///     name.len()
/// }
///
/// ringloop::run(async {
///     let names = [String::from("ring"), String::from("loop")];
///     let mut longest = 0;
///     let total = scope(async |s| {
///         let handles = names.each_ref().map(|name| s.spawn(length(name)));
///         s.spawn(async { longest = length(&names[0]).await.max(length(&names[1]).await) });
///         let mut total = 0;
///         for handle in handles {
///             total += handle.await;
///         }
///         total
///     })
///     .await;
///     assert_eq!((total, longest), (8, 4));
/// });
/// ```
///
/// What the body itself declares does not live long enough:
///
/// ```compile_fail,E0597
/// ringloop::run(ringloop::task::scope(async |s| {
///     let local = String::new();
///     s.spawn(async { drop(&local) });
/// }));
/// ```
pub async fn scope<'env, T, Body>(body: Body) -> T
where
    Body: AsyncFnOnce(Scope<'env>) -> T,
{
    let shared = Rc::new(Shared::new());
    let body_waker = shared.wakes.add(); // before children, as its index is `BODY`
    body_waker.wake_by_ref(); // for the first poll
    let body = body(Scope { shared: Rc::clone(&shared) });
    RunScope { body: Some(body), body_waker, value: None, children: Owned(shared) }.await
}

/// Spawns children into a [`scope`]. Clones are for children that spawn.
pub struct Scope<'env> {
    shared: Rc<Shared<'env>>,
}

impl<'env> Scope<'env> {
    /// Spawns a child that may borrow what lives longer than the scope. It is polled from the next
    /// turn of the loop on, by the task of the scope.
    ///
    /// The scope waits for the child, also when the handle is dropped. If the scope has ended, the
    /// future is dropped unpolled.
    ///
    /// A child that spawns takes a clone of the scope, as in the example: `let s = s` moves it.
    ///
    /// ```
    /// use ringloop::task::scope;
    ///
    /// ringloop::run(async {
    ///     let mut lines = Vec::new();
    ///     scope(async |s| {
    ///         let for_child = s.clone();
    ///         s.spawn(async {
    ///             let s = for_child;
    ///             s.spawn(async { lines.push("from the child of a child") });
    ///         });
    ///     })
    ///     .await;
    ///     assert_eq!(lines.len(), 1);
    /// });
    /// ```
    pub fn spawn<F>(&self, future: F) -> ScopeHandle<F::Output>
    where
        F: Future + 'env,
        F::Output: 'env,
    {
        let outcome =
            Rc::new(Outcome { stage: Cell::new(Stage::Running), waiter: WakerCell::default() });
        let end = End { outcome: Rc::clone(&outcome) };
        self.shared.add(Box::pin(async move { end.set(future.await) }));
        ScopeHandle { outcome }
    }
}

impl Clone for Scope<'_> {
    fn clone(&self) -> Self {
        Scope { shared: Rc::clone(&self.shared) }
    }
}

impl fmt::Debug for Scope<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running_count = self.shared.places.borrow().running_count;
        f.debug_struct("Scope").field("running", &running_count).finish()
    }
}

/// The handle of a child of a [`scope`]. Awaiting it gives the value of the child.
///
/// # Cancel safety
///
/// Cancel safe. Dropping the handle does not end the child.
///
/// # Panics
///
/// If the child was dropped with its scope, or was spawned when the scope had ended, and if the
/// handle is polled after it has returned.
pub struct ScopeHandle<T> {
    outcome: Rc<Outcome<T>>,
}

impl<T> ScopeHandle<T> {
    /// Whether the child has ended or has been dropped.
    pub fn is_finished(&self) -> bool {
        let stage = self.outcome.stage.replace(Stage::Taken);
        let is_finished = !matches!(stage, Stage::Running);
        self.outcome.stage.set(stage);
        is_finished
    }
}

impl<T> Future for ScopeHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        coop::leaf_anywhere(cx, |cx| {
            let _ = self.outcome.waiter.wait(cx.waker());
            // After the clone of the waker, which is user code.
            match self.outcome.stage.replace(Stage::Taken) {
                Stage::Running => {
                    self.outcome.stage.set(Stage::Running);
                    Poll::Pending
                }
                Stage::Ended(value) => Poll::Ready(value),
                Stage::Dropped => panic!("the child was dropped with its scope"),
                Stage::Taken => panic!("ScopeHandle was polled after it had returned"),
            }
        })
    }
}

impl<T> fmt::Debug for ScopeHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeHandle").field("is_finished", &self.is_finished()).finish()
    }
}

/// What a child and its handle share.
struct Outcome<T> {
    stage: Cell<Stage<T>>,
    waiter: WakerCell,
}

/// The life of a value.
///
/// ```text
///            the child returns          awaited
///  Running ───────────────────▶ Ended ──────────▶ Taken
///     │ the child is dropped            awaited
///     └───────────────────▶ Dropped ──────────▶ panic
/// ```
enum Stage<T> {
    Running,
    Ended(T),
    Dropped,
    Taken,
}

/// The child's end of an [`Outcome`].
struct End<T> {
    outcome: Rc<Outcome<T>>,
}

impl<T> End<T> {
    fn set(self, value: T) {
        self.outcome.stage.set(Stage::Ended(value));
    }
}

impl<T> Drop for End<T> {
    fn drop(&mut self) {
        match self.outcome.stage.replace(Stage::Dropped) {
            Stage::Running => {}
            ended => self.outcome.stage.set(ended),
        }
        if let Some(waker) = self.outcome.waiter.take() {
            waker.wake();
        }
    }
}

type Child<'env> = Pin<Box<dyn Future<Output = ()> + 'env>>;

/// The index of the body among the wakers. The child in place `i` has the index `i + 1`.
const BODY: usize = 0;

struct Shared<'env> {
    wakes: Arc<Wakes>,
    places: RefCell<Places<'env>>,
}

/// The places of children.
struct Places<'env> {
    places: Vec<Place<'env>>,
    /// Places without a child.
    free: Vec<usize>,
    /// Children that have not ended.
    running_count: usize,
    is_open: bool,
}

struct Place<'env> {
    waker: Waker,
    /// Absent while it is polled, and when it has ended.
    child: Option<Child<'env>>,
}

impl<'env> Shared<'env> {
    fn new() -> Shared<'env> {
        let (places, free) = (Vec::new(), Vec::new());
        let places = Places { places, free, running_count: 0, is_open: true };
        Shared { wakes: Arc::default(), places: RefCell::new(places) }
    }

    /// Takes a child, or drops it if the scope has ended.
    fn add(&self, child: Child<'env>) {
        let mut places = self.places.borrow_mut();
        if !places.is_open {
            drop(places); // before the child, whose destructor is user code
            return;
        }
        places.running_count += 1;
        let waker = match places.free.pop() {
            Some(index) => {
                places.places[index].child = Some(child);
                places.places[index].waker.clone()
            }
            None => {
                let waker = self.wakes.add();
                places.places.push(Place { waker: waker.clone(), child: Some(child) });
                waker
            }
        };
        drop(places);
        waker.wake(); // wakes the task, which is user code
    }

    /// Polls the child in a place, if there is one.
    fn poll_child(&self, index: usize) {
        let taken = {
            let mut places = self.places.borrow_mut();
            let place = &mut places.places[index];
            place.child.take().map(|child| (child, place.waker.clone()))
        };
        let Some((mut child, waker)) = taken else { return };
        if child.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.places.borrow_mut().places[index].child = Some(child);
            return;
        }
        drop(child);
        let mut places = self.places.borrow_mut();
        places.free.push(index);
        places.running_count -= 1;
    }

    /// Ends the scope if no child is left.
    fn close_if_empty(&self) -> bool {
        let mut places = self.places.borrow_mut();
        places.is_open = places.running_count > 0;
        !places.is_open
    }
}

/// The scope's own hold on its children. Dropping it drops them.
struct Owned<'env>(Rc<Shared<'env>>);

impl Drop for Owned<'_> {
    fn drop(&mut self) {
        self.0.wakes.leave();
        let children = {
            let mut places = self.0.places.borrow_mut();
            places.is_open = false;
            std::mem::take(&mut places.places)
        };
        drop(children); // user code, which may spawn
    }
}

pin_project! {
    struct RunScope<'env, Body, T> {
        #[pin]
        body: Option<Body>,
        body_waker: Waker,
        value: Option<T>,
        children: Owned<'env>,
    }
}

impl<Body: Future> Future for RunScope<'_, Body, Body::Output> {
    type Output = Body::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Body::Output> {
        let mut this = self.project();
        let Owned(shared) = this.children;
        coop::combinator(cx, |cx| {
            let _ = shared.wakes.each_woken(cx, |index| {
                if index != BODY {
                    shared.poll_child(index - 1);
                } else if let Some(body) = this.body.as_mut().as_pin_mut()
                    && let Poll::Ready(value) = body.poll(&mut Context::from_waker(this.body_waker))
                {
                    *this.value = Some(value);
                    this.body.set(None);
                }
                ControlFlow::<()>::Continue(())
            });
            if this.body.is_some() || !shared.close_if_empty() {
                return Poll::Pending;
            }
            Poll::Ready(this.value.take().expect("a body that has ended has a value"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::ready;

    /// Goal: a scope with many children, one after the other, stays small.
    ///
    /// Method: three such children, with a waker that is not used.
    ///
    /// Kills: a place per child, for as long as the scope.
    #[test]
    fn a_place_is_taken_again() {
        let shared = Shared::new();
        for _ in 0..3 {
            shared.add(Box::pin(ready(())));
            shared.poll_child(0);
        }
        assert_eq!(shared.places.borrow().places.len(), 1);
        assert!(shared.close_if_empty());
    }
}
