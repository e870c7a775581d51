use std::rc::Rc;

use super::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};
use crate::sync::gate::Gate;
use crate::sync::tests::interleavings::{Subject, is_exhaustive, visit};

/// Readers at once, and the permits of a writer, unless a writer needs more.
const READERS: usize = 2;

/// A lock whose waiters write if they need all permits, and read otherwise.
struct Locking {
    lock: Rc<RwLock<u32>>,
    needs: Vec<usize>,
}

#[expect(dead_code, reason = "held for its drop")]
enum Guard {
    Reads(OwnedRwLockReadGuard<u32>),
    Writes(OwnedRwLockWriteGuard<u32>),
}

impl Subject for Locking {
    type Guard = Guard;

    fn gate(&self) -> &Rc<Gate> {
        &self.lock.gate
    }

    fn wait(self: Rc<Self>, index: usize) -> impl Future<Output = Guard> {
        let lock = Rc::clone(&self.lock);
        async move {
            if self.needs[index] == 1 {
                return Guard::Reads(lock.read_owned().await);
            }
            let mut guard = lock.write_owned().await;
            *guard += 1; // panics if another guard has the value
            Guard::Writes(guard)
        }
    }

    fn attempt(&self) -> bool {
        self.lock.try_read().is_ok()
    }
}

/// Goal: a writer is alone, readers share, all are served in order, and a future that nothing polls
/// keeps the lock from no task.
///
/// Method: as for the semaphore, with a reader and one writer or two; with up to two of each, and
/// with writers that need three permits, if `RINGLOOP_TEST_EXHAUSTIVE` is set.
///
/// Kills: a reader that overtakes a writer; a writer that blocks readers though nothing polls it; a
/// second such writer that blocks an attempt.
#[test]
fn every_interleaving_of_readers_and_writers_is_fair() {
    let all: [&[usize]; 6] =
        [&[2, 1], &[2, 2, 1], &[2, 1, 1], &[2, 2, 1, 1], &[1; 4], &[3, 1, 1, 1]];
    let count = if is_exhaustive() { all.len() } else { 2 };
    for needs in &all[..count] {
        let readers = READERS.max(needs[0]);
        let visited = visit(needs, readers, || Locking {
            lock: Rc::new(RwLock::with_max_readers(0, u32::try_from(readers).unwrap())),
            needs: needs.to_vec(),
        });
        assert!(visited.states > 100, "{visited:?}");
    }
}
