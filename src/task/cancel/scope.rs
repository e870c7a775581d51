//! The part that all scopes share: how their futures are polled, and which shields are active.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::sync::waker_cell::WakerCell;
use crate::task::coop;

/// The deadline of a poll that has none.
const NEVER_NS: u64 = u64::MAX;

thread_local! {
    /// The innermost scope that is being polled, up to the innermost shield.
    static CURRENT: RefCell<Option<Rc<ScopeState>>> = const { RefCell::new(None) };

    /// The earliest deadline of the scopes and timeouts that are being polled, up to the innermost
    /// shield.
    static DEADLINE_NS: Cell<u64> = const { Cell::new(NEVER_NS) };
}

pin_project! {
    /// The future of a scope.
    pub(crate) struct Scope<F> {
        #[pin]
        future: Option<F>,
        // Made at the first poll, when the scopes around this one are known.
        state: Option<Rc<ScopeState>>,
    }
}

/// The outcome of one poll of a scope.
#[must_use]
pub(crate) enum ScopePoll<T> {
    Ready(T),
    Pending,
    /// The scope was cancelled and its future has been dropped, now or before.
    Ended,
}

struct ScopeState {
    parent: Option<Rc<ScopeState>>,
    /// Active shields inside of this scope.
    shields_count: Cell<usize>,
    /// The task of the scope, which waits until the last shield has ended.
    waker: WakerCell,
}

impl<F: Future> Scope<F> {
    pub(crate) fn new(future: F) -> Scope<F> {
        Scope { future: Some(future), state: None }
    }

    /// Polls the future. In a cancelled scope its leaves are pending, and it is dropped if it is
    /// pending and no shield is active.
    pub(crate) fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        is_cancelled: bool,
    ) -> ScopePoll<F::Output> {
        let mut this = self.project();
        let Some(future) = this.future.as_mut().as_pin_mut() else { return ScopePoll::Ended };
        let state = this.state.get_or_insert_with(ScopeState::new);
        let polled = {
            let _entered = Entered::new(Some(Rc::clone(state)));
            let poll = || future.poll(cx);
            coop::in_scope(|| if is_cancelled { coop::cancelled(poll) } else { poll() })
        };
        if let Poll::Ready(value) = polled {
            return ScopePoll::Ready(value);
        }
        if !is_cancelled {
            return ScopePoll::Pending;
        }
        if state.shields_count.get() > 0 {
            let _ = state.waker.wait(cx.waker());
            return ScopePoll::Pending;
        }
        this.future.set(None);
        ScopePoll::Ended
    }
}

impl ScopeState {
    fn new() -> Rc<ScopeState> {
        let parent = CURRENT.with_borrow(Clone::clone);
        Rc::new(ScopeState { parent, shields_count: Cell::new(0), waker: WakerCell::default() })
    }
}

/// Sets the innermost scope of this thread. Dropping it sets the former one.
struct Entered {
    former: Option<Rc<ScopeState>>,
}

impl Entered {
    fn new(state: Option<Rc<ScopeState>>) -> Entered {
        Entered { former: CURRENT.replace(state) }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.replace(self.former.take());
    }
}

/// A shield, active from its first poll until it is dropped.
pub(super) struct Shield {
    /// The innermost scope around it.
    scope: Option<Rc<ScopeState>>,
}

impl Shield {
    pub(super) fn new() -> Shield {
        let shield = Shield { scope: CURRENT.with_borrow(Clone::clone) };
        shield.scopes().for_each(|scope| scope.shields_count.update(|count| count + 1));
        shield
    }

    /// Runs `poll` as if there were no scopes and deadlines around it.
    pub(super) fn run<T>(poll: impl FnOnce() -> T) -> T {
        let _entered = Entered::new(None);
        set_deadline(NEVER_NS, || coop::shielded(poll))
    }

    fn scopes(&self) -> impl Iterator<Item = &ScopeState> {
        std::iter::successors(self.scope.as_deref(), |scope| scope.parent.as_deref())
    }
}

impl Drop for Shield {
    fn drop(&mut self) {
        for scope in self.scopes() {
            scope.shields_count.update(|count| count - 1);
            if scope.shields_count.get() == 0
                && let Some(waker) = scope.waker.take()
            {
                waker.wake();
            }
        }
    }
}

/// Runs `poll` with a deadline, if it is earlier than those around it.
pub(crate) fn with_deadline<T>(ns: u64, poll: impl FnOnce() -> T) -> T {
    set_deadline(DEADLINE_NS.get().min(ns), poll)
}

/// The earliest deadline around this poll.
pub(crate) fn deadline_ns() -> Option<u64> {
    Some(DEADLINE_NS.get()).filter(|&ns| ns != NEVER_NS)
}

fn set_deadline<T>(ns: u64, poll: impl FnOnce() -> T) -> T {
    struct Restore(u64);
    impl Drop for Restore {
        fn drop(&mut self) {
            DEADLINE_NS.set(self.0);
        }
    }
    let _restore = Restore(DEADLINE_NS.replace(ns));
    poll()
}
