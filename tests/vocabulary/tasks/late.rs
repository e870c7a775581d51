//! Tasks that are spawned while their loop ends.

use std::cell::Cell;
use std::future::pending;
use std::rc::Rc;

use ringloop::{JoinHandle, spawn};

use crate::common::turns;
use crate::suite::Driver;

/// Goal: a spawn at the end of a loop does not panic when the destructor of its future does, and
/// the handle has that panic.
///
/// Method: the value of a task spawns in its destructor, when the runtime is dropped. The future
/// that it spawns has a value whose destructor panics.
///
/// Kills: a future that is dropped without a guard.
pub(super) fn a_late_spawn_keeps_the_panic_of_its_future(driver: Driver) {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("the destructor of a late future");
        }
    }
    struct Spawner(Rc<Cell<Option<JoinHandle<()>>>>);
    impl Drop for Spawner {
        fn drop(&mut self) {
            let bomb = Bomb;
            self.0.set(Some(spawn(async move { drop(bomb) })));
        }
    }

    let late = Rc::new(Cell::new(None));
    let spawner = Spawner(Rc::clone(&late));
    let runtime = driver.runtime();
    runtime.block_on(async {
        spawn(async move {
            let _spawner = spawner;
            pending::<()>().await;
        });
        turns(2).await;
    });
    drop(runtime);
    let handle = late.take().expect("the destructor has spawned");
    let error = driver.run(handle).expect_err("the future was not polled");
    assert!(error.is_panic(), "{error}");
}
