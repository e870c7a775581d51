//! Cancellation tokens, scopes, shields and deadlines.

pub(crate) mod deadlines;
pub(crate) mod dropped;
pub(crate) mod scopes;

use std::cell::{Cell, RefCell};
use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use crate::common::{Woken, turns};
use crate::suite::Driver;
use crate::{Body, bodies};
use ringloop::spawn;
use ringloop::sync::CancellationToken;

pub(crate) const SHARED: &[Body] = bodies![
    a_cancel_reaches_all_descendants_with_its_reason,
    dropped_tokens_cancel_nothing,
    deep_and_wide_trees_need_no_stack,
    a_waker_may_use_the_tree_of_its_token,
    a_panic_of_a_waker_loses_no_wake,
    a_dropped_wait_leaves_no_waker,
    run_until_cancelled_prefers_the_value,
];
pub(crate) const ALONE: &[Body] = bodies![];

/// Goal: a cancel wakes the tasks that wait for the token or a descendant, with its reason, and no
/// others.
/// Method: tasks that wait for a token, its child, its grandchild, its sibling and its parent. A
/// second cancel, of the parent, then reaches the rest.
/// Kills: a cancel of the children only; one that goes up; a second reason that replaces the first.
fn a_cancel_reaches_all_descendants_with_its_reason(on: Driver) {
    on.run(async {
        let parent = CancellationToken::new();
        let (token, sibling) = (parent.child_token(), parent.child_token());
        let child = token.child_token();
        let tokens = [parent.clone(), token.clone(), child.child_token(), child, sibling];
        let tasks = tokens.map(|token| {
            spawn(async move {
                token.cancelled().await;
                token.reason()
            })
        });
        turns(2).await;
        token.cancel_with("first");
        turns(2).await;
        let ended: Vec<bool> = tasks.iter().map(|task| task.is_finished()).collect();
        assert_eq!(ended, [false, true, true, true, false]);
        parent.cancel_with(String::from("second"));
        let mut reasons = Vec::new();
        for task in tasks {
            reasons.push(task.await.unwrap().unwrap());
        }
        assert_eq!(reasons, ["second", "first", "first", "first", "second"]);
        assert_eq!(token.child_token().reason().as_deref(), Some("first"));
        parent.child_token().cancelled_owned().await;
    });
}

/// Goal: dropping a token cancels nothing, and does not separate its children from its parent.
/// Method: a chain of which only the first and the last are kept; a root that is dropped.
/// Kills: a cancel in `drop`; a child that becomes a root.
fn dropped_tokens_cancel_nothing(on: Driver) {
    on.run(async {
        let first = CancellationToken::new();
        let last = first.child_token().child_token().child_token();
        assert!(!first.is_cancelled() && !last.is_cancelled());
        first.cancel_with("through the dropped ones");
        last.cancelled().await;
        assert_eq!(last.reason(), first.reason());

        let orphan = CancellationToken::new().child_token();
        assert!(!orphan.is_cancelled());
        assert_eq!(orphan.reason(), None);
        let guard = orphan.clone().drop_guard();
        assert!(!guard.disarm().is_cancelled());
        drop(orphan.clone().drop_guard());
        assert!(orphan.is_cancelled());
    });
}

/// Goal: neither a cancel nor a drop recurses, and a chain whose older tokens are dropped does not
/// grow.
/// Method: a chain of 10 000 tokens and 10 000 children of one token, cancelled, dropped from each
/// end, and replaced one by one, on a loop whose thread has the stack of a test.
/// Kills: a recursive cancel; a parent that its child owns.
fn deep_and_wide_trees_need_no_stack(on: Driver) {
    const COUNT: usize = 10_000;
    let chain = || {
        let mut tokens = vec![CancellationToken::new()];
        for index in 0..COUNT {
            tokens.push(tokens[index].child_token());
        }
        tokens
    };
    on.run(async {
        let tokens = chain();
        tokens[0].cancel();
        assert!(tokens.iter().all(CancellationToken::is_cancelled));
        let mut tokens = chain();
        let last = tokens.pop().unwrap();
        drop(tokens);
        drop(last);
        chain().into_iter().rev().for_each(drop);

        let root = CancellationToken::new();
        let wide: Vec<_> = (0..COUNT).map(|_| root.child_token()).collect();
        let waits: Vec<_> = wide.iter().map(|token| token.clone().cancelled_owned()).collect();
        root.cancel();
        assert!(wide.iter().all(CancellationToken::is_cancelled));
        drop((root, wide, waits));

        let mut token = CancellationToken::new();
        for _ in 0..COUNT {
            token = token.child_token();
        }
        token.cancel();
    });
}

thread_local! {
    /// What [`Reentrant`] does when it is woken and when it is dropped.
    static ACTION: RefCell<Option<Box<dyn Fn()>>> = const { RefCell::new(None) };
}

/// A waker whose wake and drop run code of the program.
struct Reentrant;

impl Wake for Reentrant {
    fn wake(self: Arc<Self>) {
        ACTION.with_borrow(|action| action.as_ref().expect("an action")());
    }
}

impl Drop for Reentrant {
    fn drop(&mut self) {
        ACTION.with_borrow(|action| action.as_ref().expect("an action")());
    }
}

/// Goal: a waker that is woken by a cancel, and one that is dropped, may cancel, make and drop
/// tokens of the same tree.
/// Method: wakers that do all of this, woken by a cancel, dropped with a wait, and dropped with a
/// token whose wait was forgotten.
/// Kills: a wake, or the drop of a waker, while the tree is borrowed.
fn a_waker_may_use_the_tree_of_its_token(on: Driver) {
    on.run(async {
        let token = CancellationToken::new();
        let calls = Rc::new(Cell::new(0));
        let action = {
            let (token, calls) = (token.clone(), Rc::clone(&calls));
            move || {
                calls.set(calls.get() + 1);
                drop(token.child_token().child_token());
                token.child_token().cancel();
                drop(token.clone());
            }
        };
        ACTION.set(Some(Box::new(action)));
        let poll = |wait: Pin<&mut dyn Future<Output = ()>>| {
            let waker = Waker::from(Arc::new(Reentrant));
            assert!(wait.poll(&mut Context::from_waker(&waker)).is_pending());
        };
        let mut wait = Box::pin(token.clone().cancelled_owned());
        poll(wait.as_mut());
        drop(wait); // drops the waker
        assert_eq!(calls.get(), 1);

        let forgotten = token.child_token();
        let mut wait = Box::pin(forgotten.cancelled());
        poll(wait.as_mut());
        std::mem::forget(wait);
        drop(forgotten); // drops the waker that is still on the list
        assert_eq!(calls.get(), 2);

        let mut wait = Box::pin(token.clone().cancelled_owned());
        poll(wait.as_mut());
        token.cancel(); // wakes the waker and drops it
        assert_eq!(calls.get(), 4);
        drop(wait);
        ACTION.set(None);
    });
}

struct Bomb;

impl Wake for Bomb {
    fn wake(self: Arc<Self>) {
        panic!("a waker that panics");
    }
}

/// Goal: a waker that panics neither loses the wakes of others nor leaves the token half cancelled.
/// Method: two such wakers before and between ordinary ones, on a token and its child.
/// Kills: a list that is dropped when a wake unwinds; a second panic that ends the process.
fn a_panic_of_a_waker_loses_no_wake(on: Driver) {
    on.run(async {
        let token = CancellationToken::new();
        let child = token.child_token();
        let woken = [Arc::<Woken>::default(), Arc::default()];
        let wakers = [
            (&token, Waker::from(Arc::new(Bomb))),
            (&token, Waker::from(Arc::clone(&woken[0]))),
            (&child, Waker::from(Arc::new(Bomb))),
            (&child, Waker::from(Arc::clone(&woken[1]))),
        ];
        let mut waits = Vec::new();
        for (token, waker) in wakers {
            let mut wait = Box::pin(token.cancelled());
            assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            waits.push(wait);
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| token.cancel()));
        assert!(panicked.is_err());
        assert!(woken.iter().all(|woken| woken.is_woken()));
        assert!(token.is_cancelled() && child.is_cancelled());
    });
}

/// Goal: a wait that is dropped leaves no waker behind.
/// Method: the number of references to the waker, after a drop and after a cancel.
/// Kills: a future without a destructor.
fn a_dropped_wait_leaves_no_waker(on: Driver) {
    on.run(async {
        let token = CancellationToken::new();
        let woken = Arc::<Woken>::default();
        let mut first = Box::pin(token.cancelled());
        let mut second = Box::pin(token.clone().cancelled_owned());
        for _ in 0..2 {
            assert!(woken.poll(first.as_mut()).is_pending());
            assert!(woken.poll(second.as_mut()).is_pending());
        }
        assert_eq!(Arc::strong_count(&woken), 3);
        drop((first, second));
        assert_eq!(Arc::strong_count(&woken), 1);
        token.cancel();
        assert!(!woken.is_woken());
    });
}

/// Goal: `run_until_cancelled` does not begin on a cancelled token, returns the value if both come
/// in one turn, and ends although its future uses the budget up.
/// Method: each case.
/// Kills: a future that is polled on a cancelled token; a cancel that wins; a wait for the token
/// that spends the budget.
fn run_until_cancelled_prefers_the_value(on: Driver) {
    on.run(async {
        let token = CancellationToken::new();
        assert_eq!(token.run_until_cancelled(ready(1)).await, Some(1));
        let value = token.run_until_cancelled(async {
            token.cancel();
            2
        });
        assert_eq!(value.await, Some(2));
        let none = token.run_until_cancelled(async { panic!("not polled") });
        assert_eq!(none.await, None::<()>);

        let (token, ready) = (CancellationToken::new(), CancellationToken::new());
        ready.cancel();
        let greedy = spawn(token.clone().run_until_cancelled_owned(async move {
            loop {
                ready.cancelled().await;
            }
        }));
        turns(2).await;
        token.cancel();
        assert_eq!(greedy.await.unwrap(), None::<()>);
    });
}
