use std::rc::Rc;

use super::{OwnedSemaphorePermit, Semaphore};
use crate::enumeration::Visited;
use crate::sync::gate::Gate;
use crate::sync::tests::interleavings::{Subject, is_exhaustive, visit};

/// A semaphore whose waiters need these numbers of permits.
struct Needs {
    semaphore: Rc<Semaphore>,
    needs: Vec<usize>,
}

impl Subject for Needs {
    type Guard = OwnedSemaphorePermit;

    fn gate(&self) -> &Rc<Gate> {
        &self.semaphore.gate
    }

    fn wait(self: Rc<Self>, index: usize) -> impl Future<Output = OwnedSemaphorePermit> {
        let count = u32::try_from(self.needs[index]).expect("a small number");
        let semaphore = Rc::clone(&self.semaphore);
        async move { semaphore.acquire_many_owned(count).await.expect("it is not closed") }
    }

    fn attempt(&self) -> bool {
        self.semaphore.try_acquire().is_ok()
    }
}

fn visit_semaphore(needs: &[usize], permits_count: usize) -> Visited {
    visit(needs, permits_count, || {
        let semaphore = Rc::new(Semaphore::new(permits_count));
        Needs { semaphore, needs: needs.to_vec() }
    })
}

/// Goal: no permit is lost or has two owners; waiters that are polled when woken are served in
/// order; and a waiter that nothing polls blocks no other.
///
/// Method: every interleaving of polls, drops, parked and leaked futures, attempts and turns, of
/// two waiters for one permit, and of two requests for one permit and one for two. With
/// `RINGLOOP_TEST_EXHAUSTIVE` there are four waiters too, and requests for up to three permits.
///
/// Kills: a permit that is assigned to a woken waiter; a newcomer or an attempt that takes a permit
/// in front of a woken waiter; a recheck that is missing, or that passes over a waiter before its
/// task has run; a waiter that leaves and does not pass its wake on; a large request that is not
/// woken for a smaller one.
#[test]
fn every_interleaving_of_acquires_is_fair() {
    assert!(visit_semaphore(&[1; 2], 1).states > 20);
    assert!(visit_semaphore(&[1, 1, 2], 2).states > 2_000);
    if is_exhaustive() {
        for permits_count in 1..=3 {
            assert!(visit_semaphore(&[1; 4], permits_count).states > 20_000);
        }
        for needs in [&[1, 2, 3][..], &[1, 1, 2, 2], &[1, 2, 2, 3]] {
            assert!(visit_semaphore(needs, 3).states > 20_000);
        }
    }
}
