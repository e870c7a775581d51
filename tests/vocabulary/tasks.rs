//! Tasks: names, places, the table of live tasks, task-locals, the budget, slow polls.

use std::cell::Cell;
use std::rc::Rc;

use crate::suite::Driver;
use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![a_runtime_dropped_on_another_leaves_its_spawns];
pub(crate) const ALONE: &[Body] = bodies![];

/// Goal: a destructor that spawns while its runtime is dropped inside another one spawns on the
/// loop that runs on the thread, and that loop runs the task.
///
/// Method: a task whose local spawns when it is dropped; its runtime is dropped in the main future
/// of a second runtime. Then a spawn there, whose loop must be the second one as well.
///
/// Kills: a runtime that is dropped and takes the spawns of the thread; a drop that leaves no loop
/// behind.
fn a_runtime_dropped_on_another_leaves_its_spawns(on: Driver) {
    struct SpawnsOnDrop(Rc<Cell<u32>>);
    impl Drop for SpawnsOnDrop {
        fn drop(&mut self) {
            let count = Rc::clone(&self.0);
            drop(ringloop::spawn(async move { count.set(count.get() + 1) }));
        }
    }
    let count = Rc::new(Cell::new(0));
    let nested = on.runtime();
    let local = SpawnsOnDrop(Rc::clone(&count));
    drop(nested.handle().spawn(async move {
        let _local = local;
        std::future::pending::<()>().await;
    }));
    nested.block_on(ringloop::task::yield_now()); // the task has its local now
    on.run(async {
        drop(nested);
        let later = Rc::clone(&count);
        ringloop::spawn(async move { later.set(later.get() + 10) }).await.unwrap();
        assert_eq!(count.get(), 11);
    });
}
