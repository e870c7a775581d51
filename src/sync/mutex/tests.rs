use std::rc::Rc;

use super::{Mutex, OwnedMutexGuard};
use crate::sync::gate::Gate;
use crate::sync::tests::interleavings::{Subject, is_exhaustive, visit};

struct Locking(Rc<Mutex<u32>>);

impl Subject for Locking {
    type Guard = OwnedMutexGuard<u32>;

    fn gate(&self) -> &Rc<Gate> {
        &self.0.gate
    }

    fn wait(self: Rc<Self>, _index: usize) -> impl Future<Output = OwnedMutexGuard<u32>> {
        let mutex = Rc::clone(&self.0);
        async move {
            let mut guard = mutex.lock_owned().await;
            *guard += 1; // panics if another guard has the value
            guard
        }
    }

    fn attempt(&self) -> bool {
        self.0.try_lock().is_ok()
    }
}

/// Goal: a mutex never has two owners, is locked in order, and is kept from no task by a future
/// that nothing polls.
///
/// Method: as for the semaphore, with two tasks; with three or four if `RINGLOOP_TEST_EXHAUSTIVE`
/// is set.
///
/// Kills: a value that is given back after the permit.
#[test]
fn every_interleaving_of_locks_is_fair() {
    let counts = if is_exhaustive() { 2..=4 } else { 2..=2 };
    for count in counts {
        let visited = visit(&vec![1; count], 1, || Locking(Rc::new(Mutex::new(0))));
        assert!(visited.states > 100, "{visited:?}");
    }
}
