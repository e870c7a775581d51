//! Scopes, whose children borrow, and the polls of a group's body.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use crate::common::{Gate, poll_once, turn, turns, until};
use crate::suite::Driver;
use crate::{Body, bodies};
use ringloop::sync::oneshot;
use ringloop::task::{GroupError, Scope, ScopeHandle, scope, task_group};
use ringloop::{join, spawn};

pub(crate) const SHARED: &[Body] = bodies![
    children_borrow_from_the_caller,
    a_scope_waits_for_its_children,
    each_wake_in_a_scope_costs_one_poll,
    a_spent_budget_stops_the_children_of_a_scope,
    a_dropped_scope_drops_its_children,
    a_panic_of_a_child_unwinds_the_scope,
    d1_the_body_is_not_polled_after_a_failure,
];

/// `future`, whose polls are counted.
fn counted<F: Future>(future: F, polls: &Cell<usize>) -> impl Future<Output = F::Output> {
    let mut future = Box::pin(future);
    poll_fn(move |cx| {
        polls.set(polls.get() + 1);
        future.as_mut().poll(cx)
    })
}

/// Calls a closure when it is dropped.
struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// Goal: children of a scope borrow from its caller, also mutably, and return values and errors.
/// Method: locals of the caller; a child that spawns; a closure that spawns before its future is
/// polled; an error that the body passes on.
/// Kills: a child that is not polled; a value that goes to another handle.
fn children_borrow_from_the_caller(on: Driver) {
    on.run(async {
        let words = [String::from("one"), String::from("three")];
        let (mut sum, mut nested) = (0, 0);
        let total = scope(async |s| {
            let lengths = words.each_ref().map(|word| {
                s.spawn(async move {
                    turns(word.len()).await;
                    word.len()
                })
            });
            let for_child = s.clone();
            s.spawn(async {
                let s = for_child;
                turns(2).await;
                s.spawn(async { nested += words.len() }).await;
            });
            let [first, second] = lengths;
            sum += join_two(first, second).await;
            sum
        });
        assert_eq!(total.await, 8);
        assert_eq!((sum, nested), (8, 2));

        let early = scope(|s| early(s, &words[1]));
        assert_eq!(early.await, "three");
        let failed: Result<usize, &str> = scope(async |s| {
            s.spawn(async { if words.is_empty() { Ok(1) } else { Err("not empty") } }).await
        })
        .await;
        assert_eq!(failed, Err("not empty"));
    });
}

/// Spawns when it is called, and not when its future is polled.
fn early<'env>(s: Scope<'env>, word: &'env str) -> impl Future<Output = &'env str> {
    s.spawn(async move { word })
}

async fn join_two(first: ScopeHandle<usize>, second: ScopeHandle<usize>) -> usize {
    let (first, second) = join!(first, second);
    first + second
}

/// Goal: a scope ends when all children have ended, those without a handle too, and drops the body
/// before.
/// Method: children that outlast the body, the last of them spawned by another; a handle that is
/// taken out of the scope.
/// Kills: a scope that ends with its body; a body that is dropped with the scope.
fn a_scope_waits_for_its_children(on: Driver) {
    on.run(async {
        let order = RefCell::new(Vec::new());
        let mut kept = None;
        scope(async |s| {
            let _local = OnDrop(|| order.borrow_mut().push("body"));
            kept = Some(s.spawn(async { "value" }));
            let for_child = s.clone();
            drop(s.spawn(async {
                let s = for_child;
                turns(3).await;
                drop(s.spawn(async {
                    turns(3).await;
                    order.borrow_mut().push("grandchild");
                }));
                order.borrow_mut().push("child");
            }));
        })
        .await;
        assert_eq!(*order.borrow(), ["body", "child", "grandchild"]);
        let kept = kept.unwrap();
        assert!(kept.is_finished());
        assert_eq!(kept.await, "value");
    });
}

/// Goal: a wake polls one child, and neither the others nor the body.
/// Method: 100 children that wait for a gate each, and a body that waits for the last of them.
/// Kills: a scope that polls all children, or the body, when one is woken.
fn each_wake_in_a_scope_costs_one_poll(on: Driver) {
    on.run(async {
        let gates: Rc<Vec<Gate>> = Rc::new((0..100).map(|_| Gate::default()).collect());
        let opener = Rc::clone(&gates);
        spawn(async move {
            for gate in opener.iter() {
                turns(1).await;
                gate.open();
            }
        });
        let (polls, body_polls) = (Cell::new(0), Cell::new(0));
        scope(async |s| {
            let handles: Vec<_> =
                gates.iter().map(|gate| s.spawn(counted(gate.wait(), &polls))).collect();
            counted(handles.into_iter().last().unwrap(), &body_polls).await;
        })
        .await;
        assert_eq!((polls.get(), body_polls.get()), (200, 2));
    });
}

/// Goal: children share the budget of their task, and none is polled in vain (R10).
/// Method: 1 000 children that need one unit each, all ready; their polls and turns.
/// Kills: a scope that goes on without budget; one that polls every child in each turn.
fn a_spent_budget_stops_the_children_of_a_scope(on: Driver) {
    on.run(async {
        let (polls, begun) = (Cell::new(0), turn());
        scope(async |s| {
            for number in 0..1000 {
                let (sender, receiver) = oneshot::channel();
                sender.send(number).unwrap();
                drop(s.spawn(counted(receiver, &polls)));
            }
        })
        .await;
        assert_eq!(polls.get(), 1000);
        let turns = turn() - begun;
        assert!((7..=10).contains(&turns), "{turns} turns");
    });
}

/// Goal: dropping a scope drops its children at once. A scope that has ended takes none.
/// Method: a pending scope whose clone and handle are kept; a child whose destructor spawns.
/// Kills: children that live in a clone of the scope; a handle that waits without end.
fn a_dropped_scope_drops_its_children(on: Driver) {
    on.run(async {
        let drops = Cell::new(0);
        let count = || drops.set(drops.get() + 1);
        let kept = Cell::new(None);
        {
            let mut running = pin!(scope(async |s| {
                let for_child = s.clone();
                let child = s.spawn(async {
                    let _last = OnDrop(count);
                    let s = for_child;
                    let _spawns = OnDrop(|| {
                        let unpolled = OnDrop(count);
                        drop(s.spawn(async {
                            let _unpolled = unpolled;
                            drops.set(100);
                        }));
                    });
                    pending::<()>().await;
                });
                kept.set(Some((s, child)));
            }));
            assert!(poll_once(running.as_mut()).await.is_pending());
            assert!(poll_once(running.as_mut()).await.is_pending());
            assert_eq!(drops.get(), 0);
        }
        assert_eq!(drops.get(), 2);
        let (s, child) = kept.take().unwrap();
        assert!(child.is_finished());
        let late = s.spawn(async { drops.set(100) });
        for handle in [child, late] {
            let mut handle = pin!(Unwinds(handle));
            let message = handle.as_mut().await.unwrap_err();
            assert_eq!(message, "the child was dropped with its scope");
        }
        assert_eq!(drops.get(), 2);
    });
}

/// Goal: a panic of a child goes on in the caller, and drops the other children.
/// Method: a child that panics beside one that waits.
/// Kills: a panic that is lost; a child that outlives the scope.
fn a_panic_of_a_child_unwinds_the_scope(on: Driver) {
    on.run(async {
        let drops = Cell::new(0);
        let mut running = Box::pin(Unwinds(Box::pin(scope(async |s| {
            drop(s.spawn(async {
                let _local = OnDrop(|| drops.set(drops.get() + 1));
                pending::<()>().await;
            }));
            drop(s.spawn(async { panic!("of a child") }));
        }))));
        assert_eq!(running.as_mut().await.unwrap_err(), "of a child");
        assert_eq!(drops.get(), 1);
    });
}

/// Catches a panic of a future, and returns its message.
struct Unwinds<F>(F);

impl<F: Future + Unpin> Future for Unwinds<F> {
    type Output = Result<F::Output, &'static str>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch_unwind(AssertUnwindSafe(|| Pin::new(&mut self.0).poll(cx))) {
            Ok(polled) => polled.map(Ok),
            Err(payload) => Poll::Ready(Err(payload.downcast_ref::<&str>().unwrap())),
        }
    }
}

/// Goal: when a child has failed, the body is dropped, and not polled once more (D1).
/// Method: a body that is polled once when the group begins, and whose polls are counted.
/// Kills: a poll of the body before it is dropped.
fn d1_the_body_is_not_polled_after_a_failure(on: Driver) {
    on.run(async {
        let polls = Cell::new(0);
        let failed = Rc::new(Cell::new(false));
        let outcome: Result<(), GroupError<()>> = task_group(async |g| {
            let failed = Rc::clone(&failed);
            g.spawn(async move {
                turns(2).await;
                failed.set(true);
                Err::<(), _>(())
            });
            counted(pending(), &polls).await
        })
        .await;
        until(|| failed.get()).await;
        assert!(outcome.is_err());
        assert_eq!(polls.get(), 1);
    });
}
