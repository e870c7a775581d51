//! Task-locals: scopes, inheritance, and the code of the program that they run.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use ringloop::task::yield_now;
use ringloop::{Handle, call_soon, spawn, task_local};

use crate::common::turns;
use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![
    scopes_hold_their_values_across_turns,
    only_inherited_keys_reach_spawned_tasks,
    inherited_values_last_as_long_as_the_task,
    values_are_cloned_and_read_under_no_borrow,
    a_panic_leaves_no_value_behind,
    destructors_see_the_values_of_their_scope,
];
pub(crate) const ALONE: &[Body] = bodies![];

task_local! {
    static PLAIN: u32;

    /// A key with documentation and an attribute.
    #[inherit]
    #[allow(dead_code)]
    pub(crate) static LEVEL: u32;

    #[inherit]
    static NAME: String
}

/// Goal: a value is that of the innermost scope, across turns, and two tasks with scopes of their
/// own do not see each other's.
///
/// Method: two tasks that yield in turn inside nested scopes of one key and another key.
///
/// Kills: a value that stays in place after a poll; an outer value that is not restored.
fn scopes_hold_their_values_across_turns(on: Driver) {
    on.run(async {
        let tasks: Vec<_> = (0..2_u32)
            .map(|number| {
                spawn(PLAIN.scope(number, async move {
                    for round in 0..3 {
                        assert_eq!(PLAIN.get(), number);
                        let inner = async {
                            assert_eq!(PLAIN.get(), 100 + round);
                            yield_now().await;
                            assert_eq!(PLAIN.get(), 100 + round);
                            LEVEL.sync_scope(round, || assert_eq!(LEVEL.get(), round));
                        };
                        PLAIN.scope(100 + round, inner).await;
                        assert!(LEVEL.try_get().is_err());
                        yield_now().await;
                    }
                    PLAIN.with(|value| *value)
                }))
            })
            .collect();
        for (number, task) in tasks.into_iter().enumerate() {
            assert!(PLAIN.try_get().is_err());
            assert_eq!(task.await.unwrap() as usize, number);
        }
    });
}

/// Goal: a spawned task has the values of the inherited keys whose scopes it was spawned in, and of
/// no other key.
///
/// Method: a child and its child, spawned in nested scopes of two inherited keys, one of them
/// twice, and of a plain one. A task spawned outside. A callback.
///
/// Kills: a plain key that is inherited; the outer value of a key with two scopes; a child of a
/// child without the value.
fn only_inherited_keys_reach_spawned_tasks(on: Driver) {
    let seen = || (PLAIN.try_get().ok(), LEVEL.try_get().ok(), NAME.try_get().ok());
    on.run(async {
        let child = LEVEL.sync_scope(1, || {
            PLAIN.sync_scope(9, || {
                NAME.sync_scope("ada".to_owned(), || {
                    LEVEL.sync_scope(2, || {
                        let in_a_call = Rc::new(RefCell::new(None));
                        let found = Rc::clone(&in_a_call);
                        call_soon(move || *found.borrow_mut() = Some(seen()));
                        let child = spawn(async move {
                            let own = seen();
                            let grandchild = LEVEL.sync_scope(3, || spawn(async move { seen() }));
                            (own, grandchild.await.unwrap())
                        });
                        (child, in_a_call)
                    })
                })
            })
        });
        let (child, in_a_call) = child;
        assert_eq!(spawn(async move { seen() }).await.unwrap(), (None, None, None));
        let ada = || Some("ada".to_owned());
        let expected = ((None, Some(2), ada()), (None, Some(3), ada()));
        assert_eq!(child.await.unwrap(), expected);
        assert_eq!(in_a_call.take(), Some((None, None, None)), "callbacks inherit nothing");
    });
}

/// Goal: an inherited value is the child's own: it lasts after the scope has ended, and is dropped
/// with the child's future.
///
/// Method: a key whose values count themselves; a scope that ends while its child waits; the count
/// after the child's end. A spawn on a loop that has ended clones nothing.
///
/// Kills: a child that borrows the parent's value; a value that is kept with the handle.
fn inherited_values_last_as_long_as_the_task(on: Driver) {
    task_local! {
        #[inherit]
        static COUNTED: Counted;
    }
    struct Counted(Rc<Cell<u32>>);
    impl Counted {
        fn new(count: &Rc<Cell<u32>>) -> Counted {
            count.set(count.get() + 1);
            Counted(Rc::clone(count))
        }
    }
    impl Clone for Counted {
        fn clone(&self) -> Counted {
            Counted::new(&self.0)
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            self.0.set(self.0.get() - 1);
        }
    }

    let count = Rc::new(Cell::new(0));
    let runtime = on.runtime();
    runtime.block_on(async {
        let child = COUNTED.sync_scope(Counted::new(&count), || {
            spawn(async {
                turns(3).await;
                COUNTED.with(|value| value.0.get())
            })
        });
        assert_eq!(count.get(), 1, "the scope has ended, the child has its clone");
        let mut child = child;
        assert_eq!((&mut child).await.unwrap(), 1);
        assert_eq!(count.get(), 0);

        let aborted = COUNTED.sync_scope(Counted::new(&count), || spawn(pending::<()>()));
        turns(1).await;
        aborted.abort();
        aborted.await.unwrap_err();
        assert_eq!(count.get(), 0);
    });
    let handle = runtime.handle();
    drop(runtime);
    COUNTED.sync_scope(Counted::new(&count), || {
        assert_eq!(count.get(), 1);
        let late = handle.spawn(async {});
        assert_eq!(count.get(), 1, "a future that is dropped at once inherits nothing");
        assert!(late.is_finished());
    });
}

/// Goal: the clone of an inherited value, and functions that read one, may use every key and spawn.
///
/// Method: a value whose clone reads its key, enters another scope of it and spawns; a `with` that
/// does the same.
///
/// Kills: a clone or a `with` under a borrow, which panics.
fn values_are_cloned_and_read_under_no_borrow(on: Driver) {
    task_local! {
        #[inherit]
        static BUSY: Busy;
    }
    struct Busy(u32);
    impl Clone for Busy {
        fn clone(&self) -> Busy {
            let depth = BUSY.with(|busy| busy.0);
            if depth < 3 {
                BUSY.sync_scope(Busy(depth + 1), || drop(spawn(async {})));
            }
            Busy(self.0 + 10)
        }
    }
    on.run(async {
        let child = BUSY.sync_scope(Busy(1), || {
            BUSY.with(|outer| {
                BUSY.sync_scope(Busy(2), || {
                    assert_eq!((outer.0, BUSY.with(|busy| busy.0)), (1, 2));
                    spawn(async { BUSY.with(|busy| busy.0) })
                })
            })
        });
        assert_eq!(child.await.unwrap(), 12);
        turns(2).await;
        assert!(Handle::current().tasks().is_empty());
    });
}

/// Goal: a panic in a scope, in a clone or in a child leaves no value in place, and a spawn whose
/// clone panics leaves no task in the table.
///
/// Method: each of the three, then the values and the tasks.
///
/// Kills: a scope that is left on return only; an inherited value that a panic leaves in place.
fn a_panic_leaves_no_value_behind(on: Driver) {
    task_local! {
        #[inherit]
        static FRAGILE: Fragile;
    }
    struct Fragile;
    impl Clone for Fragile {
        fn clone(&self) -> Fragile {
            panic!("a clone, on purpose")
        }
    }
    let panics = |function: &dyn Fn()| {
        assert!(catch_unwind(AssertUnwindSafe(function)).is_err());
    };
    on.run(async {
        panics(&|| LEVEL.sync_scope(1, || panic!("a scope, on purpose")));
        let child = LEVEL.sync_scope(1, || spawn(async { panic!("a child, on purpose") }));
        assert!(child.await.unwrap_err().is_panic());
        panics(&|| FRAGILE.sync_scope(Fragile, || drop(spawn(async {}))));
        assert!(LEVEL.try_get().is_err());
        assert!(FRAGILE.try_with(|_| ()).is_err());
        assert!(Handle::current().tasks().is_empty());
        let seen = spawn(async { (LEVEL.try_get().is_err(), FRAGILE.try_with(|_| ()).is_err()) });
        assert_eq!(seen.await.unwrap(), (true, true));
    });
}

/// Goal: the locals of a future are dropped inside of its scope, whether it ends, is dropped or is
/// aborted.
///
/// Method: a local that reads a plain key and an inherited one when it is dropped.
///
/// Kills: a drop of the future after the scope was left.
fn destructors_see_the_values_of_their_scope(on: Driver) {
    type Seen = (Option<u32>, Option<u32>);
    struct Reads(Rc<RefCell<Vec<Seen>>>);
    impl Drop for Reads {
        fn drop(&mut self) {
            self.0.borrow_mut().push((PLAIN.try_get().ok(), LEVEL.try_get().ok()));
        }
    }
    on.run(async {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let future = |waits: bool| {
            let local = Reads(Rc::clone(&seen));
            PLAIN.scope(5, async move {
                let _local = local;
                if waits {
                    pending::<()>().await;
                }
            })
        };
        future(false).await;
        drop(future(true));
        assert_eq!(seen.take(), [(Some(5), None); 2]);
        let child = LEVEL.sync_scope(6, || spawn(future(true)));
        turns(1).await;
        child.abort();
        turns(1).await;
        assert_eq!(seen.take(), [(Some(5), Some(6))]);
    });
}
