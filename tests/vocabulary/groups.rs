//! Task groups and scopes.

pub(crate) mod borrow;
mod start;

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use self::start::{
    d11_a_cancel_during_a_start_is_reported, d11_a_dropped_start_aborts_the_child,
    d11_an_error_at_the_start_is_not_the_groups, d11_start_returns_when_the_child_is_ready,
};
use crate::common::{Gate, poll_once, turns, until};
use crate::suite::Driver;
use crate::{Body, bodies};
use ringloop::sync::oneshot;
use ringloop::task::{GroupError, GroupFailure, TaskGroup, yield_now};
use ringloop::{Handle, Unhandled, spawn, task_group};

pub(crate) const SHARED: &[Body] = bodies![
    a_group_waits_for_its_children,
    d1_the_first_error_ends_siblings_and_body,
    d1_all_failures_are_kept,
    d1_the_error_of_the_body_ends_the_children,
    d2_an_aborted_child_is_no_failure,
    d3_children_spawn_while_the_group_drains,
    d3_a_failure_stops_a_fork_bomb,
    d4_a_failed_group_hands_the_future_back,
    d5_failures_beat_a_cancel,
    a_cancelled_group_ends_with_the_value_of_its_body,
    a_dropped_group_aborts_its_children,
    a_panic_of_the_body_waits_for_the_children,
    c14_groups_nest_deeply,
    d11_start_returns_when_the_child_is_ready,
    d11_an_error_at_the_start_is_not_the_groups,
    d11_a_cancel_during_a_start_is_reported,
    d11_a_dropped_start_aborts_the_child,
];
pub(crate) const ALONE: &[Body] = bodies![];

type Outcome<T> = Result<T, GroupError<&'static str>>;

/// Counts the values of it that live.
struct Counted(Rc<Cell<u32>>);

impl Counted {
    fn new(count: &Rc<Cell<u32>>) -> Counted {
        count.set(count.get() + 1);
        Counted(Rc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

/// A value whose destructor panics.
struct Bomb(&'static str);

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("{}", self.0);
    }
}

/// A future that never ends, with a local that is counted.
async fn endless(count: Rc<Cell<u32>>) -> Result<(), &'static str> {
    let _local = Counted::new(&count);
    pending().await
}

/// A loop of `on`, and the texts of its reports.
fn reporting(on: Driver) -> (ringloop::Runtime, Rc<RefCell<Vec<String>>>) {
    let texts = Rc::new(RefCell::new(Vec::new()));
    let reports = Rc::clone(&texts);
    let hook = move |unhandled: &Unhandled| reports.borrow_mut().push(unhandled.to_string());
    (on.builder().on_unhandled(hook).build().unwrap(), texts)
}

/// Goal: a group returns the value of its body when its children have ended, and their values go to
/// their handles.
/// Method: children that end before and after the body; one that is larger than 2 KiB.
/// Kills: a group that ends with its body; a value that is lost; a count that is wrong.
fn a_group_waits_for_its_children(on: Driver) {
    on.run(async {
        let ended = Rc::new(Cell::new(0));
        let last = Rc::clone(&ended);
        let outcome: Outcome<_> = task_group(async |g| {
            let value = g.spawn(async { Ok(20) });
            let large = [1_u8; 4096];
            let sum = g.spawn(async move {
                yield_now().await;
                Ok(large.iter().map(|&byte| u32::from(byte)).sum::<u32>())
            });
            g.spawn(async move {
                turns(5).await;
                last.set(last.get() + 1);
                Ok(())
            });
            assert_eq!((g.len(), g.is_empty(), g.is_closed()), (3, false, false));
            let value = value.await.unwrap() + sum.await.unwrap();
            assert_eq!(g.len(), 1);
            Ok(value)
        })
        .await;
        assert_eq!((outcome.unwrap(), ended.get()), (4116, 1));
        let outcome: Outcome<_> = task_group(async |_| Ok(())).await;
        outcome.unwrap();
        assert_eq!(Handle::current().metrics().tasks, 0);
    });
}

/// Goal: when a child fails, its siblings and the body are dropped, and the group returns after
/// that (D1, C11).
/// Method: siblings and a body that never end, with counted locals, which are gone when the group
/// returns.
/// Kills: a group that returns before its children have ended; a body that is polled on; siblings
/// that run on.
fn d1_the_first_error_ends_siblings_and_body(on: Driver) {
    on.run(async {
        let locals = Rc::new(Cell::new(0));
        let body_locals = Rc::clone(&locals);
        let outcome: Outcome<()> = task_group(async |g| {
            let _local = Counted::new(&body_locals);
            for _ in 0..3 {
                g.spawn(endless(Rc::clone(&body_locals)));
            }
            let count = Rc::clone(&body_locals);
            g.spawn(async move {
                until(|| count.get() == 4).await;
                Err::<(), _>("the first")
            });
            pending().await
        })
        .await;
        assert_eq!(locals.get(), 0);
        let error = outcome.unwrap_err();
        assert_eq!(error.failures().len(), 1);
        assert_eq!(error.to_string(), "a task of the group failed: the first");
    });
}

/// Goal: every failure is in the error, in order: errors, panics, and panics of destructors (D1).
/// Method: an error or a panic, with siblings whose destructors panic when they are aborted.
/// Kills: a failure that replaces another; one that is lost because the group has failed.
fn d1_all_failures_are_kept(on: Driver) {
    on.run(async {
        let outcome: Outcome<()> = task_group(async |g| {
            g.spawn(async {
                let _bomb = Bomb("in a destructor");
                pending::<Result<(), _>>().await
            });
            g.spawn(async { Err::<(), _>("first") });
            g.spawn(async { Err::<(), _>("aborted before its first poll") });
            Ok(())
        })
        .await;
        let error = outcome.unwrap_err();
        let text = format!("{error:?}");
        assert!(matches!(error.first(), GroupFailure::Error("first")), "{text}");
        assert_eq!(error.errors().copied().collect::<Vec<_>>(), ["first"], "{text}");
        let panics: Vec<String> = error.panics().map(ToString::to_string).collect();
        assert_eq!(panics, ["in a destructor"], "{text}");
        assert!(
            error.to_string().starts_with("2 tasks of the group failed, the first with: first")
        );
    });
}

/// Goal: an error of the body aborts the children, which are dropped before the group returns (D1).
/// Method: a body that fails, and children with counted locals; a panic in a child's destructor.
/// Kills: children that run on; a body whose error is not a failure.
fn d1_the_error_of_the_body_ends_the_children(on: Driver) {
    on.run(async {
        let locals = Rc::new(Cell::new(0));
        let count = Rc::clone(&locals);
        let outcome: Outcome<()> = task_group(async |g| {
            g.spawn(endless(Rc::clone(&count)));
            g.spawn(async {
                let _bomb = Bomb("later");
                pending::<Result<(), _>>().await
            });
            until(|| count.get() == 1).await;
            Err("of the body")
        })
        .await;
        assert_eq!(locals.get(), 0);
        let failures = outcome.unwrap_err().into_failures();
        assert_eq!(failures.len(), 2);
        assert!(matches!(failures[0], GroupFailure::Error("of the body")));
        let GroupFailure::Panic { payload, spawned_at } = &failures[1] else { panic!("a panic") };
        assert_eq!(payload.to_string(), "later");
        assert!(spawned_at.file().ends_with("groups.rs"));
    });
}

/// Goal: a child that is aborted through its handle is no failure (D2).
/// Method: a child that never ends, aborted before and after its first poll.
/// Kills: an abort that is counted as an error; a child that stays in the table.
fn d2_an_aborted_child_is_no_failure(on: Driver) {
    on.run(async {
        let outcome: Outcome<_> = task_group(async |g| {
            let unpolled = g.spawn(pending::<Result<(), _>>());
            unpolled.abort();
            let polled = g.spawn(pending::<Result<(), _>>());
            turns(2).await;
            polled.abort_handle().abort();
            assert!(polled.await.unwrap_err().is_cancelled());
            assert!(unpolled.is_finished());
            assert_eq!(g.len(), 0);
            let child = g.spawn(async { Ok("a child") });
            Ok(child.await.unwrap())
        })
        .await;
        assert_eq!(outcome.unwrap(), "a child");
    });
}

/// Goal: children spawn into their group after the body has ended (D3).
/// Method: a chain of 100 children, each spawned by the one before it.
/// Kills: a group that is closed when its body has ended, or when it has no child for a moment.
fn d3_children_spawn_while_the_group_drains(on: Driver) {
    fn link(group: TaskGroup<&'static str>, count: Rc<Cell<u32>>) {
        group.clone().spawn(async move {
            count.set(count.get() + 1);
            if count.get() < 100 {
                yield_now().await;
                link(group, count);
            }
            Ok(())
        });
    }
    on.run(async {
        let count = Rc::new(Cell::new(0));
        let outcome: Outcome<_> = task_group(async |g| {
            link(g, Rc::clone(&count));
            Ok(())
        })
        .await;
        outcome.unwrap();
        assert_eq!(count.get(), 100);
    });
}

/// Goal: a failure ends a group whose children keep spawning (D3).
/// Method: children that each spawn two more in every turn, until one fails after a few hundred.
/// Kills: a failed group that admits children; a child that is missed by the abort.
fn d3_a_failure_stops_a_fork_bomb(on: Driver) {
    fn fork(group: TaskGroup<&'static str>, count: Rc<Cell<u32>>) {
        group.clone().spawn(async move {
            let _local = Counted::new(&count);
            yield_now().await;
            for _ in 0..2 {
                fork(group.clone(), Rc::clone(&count));
            }
            if count.get() > 300 {
                return Err("too many");
            }
            pending::<Result<(), _>>().await
        });
    }
    on.run(async {
        let count = Rc::new(Cell::new(0));
        let outcome: Outcome<()> = task_group(async |g| {
            fork(g, Rc::clone(&count));
            Ok(())
        })
        .await;
        assert_eq!(outcome.unwrap_err().into_error(), "too many");
        assert_eq!(count.get(), 0);
        assert_eq!(Handle::current().metrics().tasks, 0);
    });
}

/// Goal: a group that has failed or ended takes no child, and returns its future (D4).
/// Method: a clone of the group in another task, used while the group ends its children and after
/// that. `spawn` drops the future, and its handle is cancelled.
/// Kills: a child of a failed group; a future that is dropped by `try_spawn`.
fn d4_a_failed_group_hands_the_future_back(on: Driver) {
    on.run(async {
        let (sender, receiver) = oneshot::channel::<TaskGroup<&'static str>>();
        let observer = spawn(async move {
            let group = receiver.await.unwrap();
            group.closed().await;
            let refused = group.try_spawn(async { Ok(7) }).unwrap_err();
            assert!(group.is_closed());
            let text = refused.to_string();
            let value = refused.into_future().await;
            let handle = group.spawn(async { Ok::<_, &str>(8) });
            assert!(handle.await.unwrap_err().is_cancelled());
            (text, value)
        });
        let outcome: Outcome<()> = task_group(async |g| {
            sender.send(g.clone()).unwrap();
            g.spawn(async {
                turns(3).await;
                Err::<(), _>("failed")
            });
            Ok(())
        })
        .await;
        assert_eq!(outcome.unwrap_err().into_error(), "failed");
        let (text, value) = observer.await.unwrap();
        assert_eq!(value, Ok(7));
        assert!(text.contains("takes no tasks"), "{text}");
    });
}

/// Goal: a failure during a cancel is in the error: it is more important than the cancel (D5).
/// Method: a child that cancels the group and fails in the same poll; a child whose destructor
/// panics when the cancel aborts it; a child that cancels the group before it has waited once.
/// Kills: a cancel that hides failures; an abort of the child that is being polled.
fn d5_failures_beat_a_cancel(on: Driver) {
    on.run(async {
        let outcome: Outcome<()> = task_group(async |g| {
            let group = g.clone();
            g.spawn(async {
                let _bomb = Bomb("in cleanup");
                pending::<Result<(), _>>().await
            });
            g.spawn(async move {
                group.cancel();
                Err::<(), _>("in the same poll")
            });
            pending().await
        })
        .await;
        let error = outcome.unwrap_err();
        assert_eq!(error.errors().copied().collect::<Vec<_>>(), ["in the same poll"]);
        assert_eq!(error.panics().count(), 1);

        let outcome: Outcome<_> = task_group(async |g| {
            let group = g.clone();
            let child = g.spawn(async move {
                group.cancel();
                Ok(3)
            });
            Ok(child.await.unwrap())
        })
        .await;
        assert_eq!(outcome.unwrap(), 3);
    });
}

/// Goal: a cancel ends all children, the body runs on, and its value is that of the group.
/// Method: a body that waits for the cancel, with children that have counted locals; a second
/// cancel; a cancel while the group drains.
/// Kills: a cancel that is an error; a body that is dropped; waiters that are not woken.
fn a_cancelled_group_ends_with_the_value_of_its_body(on: Driver) {
    on.run(async {
        let locals = Rc::new(Cell::new(0));
        let count = Rc::clone(&locals);
        let outcome: Outcome<_> = task_group(async |g| {
            g.spawn(endless(Rc::clone(&count)));
            let group = g.clone();
            let child_count = Rc::clone(&count);
            g.spawn(async move {
                until(|| child_count.get() == 1).await;
                group.cancel();
                group.cancel();
                Ok(())
            });
            g.closed().await;
            g.closed().await;
            turns(3).await;
            assert_eq!((count.get(), g.len()), (0, 0));
            Ok("its value")
        })
        .await;
        assert_eq!(outcome.unwrap(), "its value");

        let outcome: Outcome<_> = task_group(async |g| {
            g.spawn(endless(Rc::clone(&locals)));
            g.clone().spawn(async move {
                turns(3).await;
                g.cancel();
                pending::<Result<(), _>>().await
            });
            Ok("before the cancel")
        })
        .await;
        assert_eq!(outcome.unwrap(), "before the cancel");
        assert_eq!(locals.get(), 0);
    });
}

/// Goal: dropping a group's future drops the body at once and aborts the children, which the loop
/// drops. A panic of one of them is reported.
/// Method: counted locals and a destructor that panics.
/// Kills: children that run on without their group; a panic that is lost.
fn a_dropped_group_aborts_its_children(on: Driver) {
    let (runtime, texts) = reporting(on);
    let group = runtime.block_on(async {
        let locals = Rc::new(Cell::new(0));
        let count = Rc::clone(&locals);
        let kept = Rc::new(RefCell::new(None));
        let group_of = Rc::clone(&kept);
        let mut group = Box::pin(task_group(async move |g| {
            let _local = Counted::new(&count);
            *group_of.borrow_mut() = Some(g.clone());
            g.spawn(endless(Rc::clone(&count)));
            g.spawn(async {
                let _bomb = Bomb("without a group");
                pending::<Result<(), &str>>().await
            });
            pending::<Result<(), _>>().await
        }));
        assert!(poll_once(group.as_mut()).await.is_pending());
        turns(2).await;
        assert_eq!(locals.get(), 2);
        drop(group);
        assert_eq!(locals.get(), 1);
        turns(2).await;
        assert_eq!(locals.get(), 0);
        assert_eq!(Handle::current().metrics().tasks, 0);
        kept.take().unwrap()
    });
    drop(runtime);
    assert!(group.is_closed() && group.is_empty());
    let texts = texts.borrow();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].contains("groups.rs") && texts[0].ends_with("without a group"), "{texts:?}");
}

/// Goal: a panic of the body goes on when the children have ended, and their panics are reported.
/// Method: a body that panics, a child with counted locals, and one whose destructor panics.
/// Kills: a panic that leaves the children behind; a child's panic that is lost.
fn a_panic_of_the_body_waits_for_the_children(on: Driver) {
    let (runtime, texts) = reporting(on);
    let locals = Rc::new(Cell::new(0));
    let count = Rc::clone(&locals);
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async move {
            let outcome: Outcome<()> = task_group(async |g| {
                g.spawn(endless(Rc::clone(&count)));
                g.spawn(async {
                    let _bomb = Bomb("of a child");
                    pending::<Result<(), _>>().await
                });
                until(|| count.get() == 1).await;
                panic!("of the body");
            })
            .await;
            outcome.unwrap();
        });
    }));
    assert_eq!(panicked.unwrap_err().downcast_ref(), Some(&"of the body"));
    assert_eq!(locals.get(), 0);
    let texts = texts.borrow();
    assert_eq!(texts.len(), 1, "{texts:?}");
    assert!(texts[0].ends_with("of a child"), "{texts:?}");
}

/// Goal: a thousand groups, each in a child of the one before it, end without recursion (C14).
/// Method: the deepest fails, and its error passes through all; then the outermost is dropped.
/// Kills: a cancel or a drop that recurses from group to group.
fn c14_groups_nest_deeply(on: Driver) {
    const DEPTH: u32 = 1000;
    async fn nested(depth: u32, gate: Rc<Gate>, count: Rc<Cell<u32>>) -> Result<(), &'static str> {
        let _local = Counted::new(&count);
        if depth == 0 {
            gate.wait().await;
            return Err("of the deepest");
        }
        let outcome: Outcome<()> = task_group(async |g| {
            g.spawn(boxed(depth - 1, Rc::clone(&gate), Rc::clone(&count)));
            Ok(())
        })
        .await;
        outcome.map_err(GroupError::into_error)
    }
    type Boxed = std::pin::Pin<Box<dyn Future<Output = Result<(), &'static str>>>>;
    fn boxed(depth: u32, gate: Rc<Gate>, count: Rc<Cell<u32>>) -> Boxed {
        Box::pin(nested(depth, gate, count))
    }
    on.run(async {
        let (gate, count) = (Rc::new(Gate::default()), Rc::new(Cell::new(0)));
        let outermost = spawn(nested(DEPTH, Rc::clone(&gate), Rc::clone(&count)));
        until(|| count.get() == DEPTH + 1).await;
        gate.open();
        assert_eq!(outermost.await.unwrap(), Err("of the deepest"));
        assert_eq!(count.get(), 0);

        let gate = Rc::new(Gate::default());
        let outermost = spawn(nested(DEPTH, gate, Rc::clone(&count)));
        until(|| count.get() == DEPTH + 1).await;
        outermost.abort();
        until(|| count.get() == 0).await;
        assert!(outermost.await.unwrap_err().is_cancelled());
    });
}
