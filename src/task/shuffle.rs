//! The order among what is ready at once: where `select!` starts, and, in tests, the ready batch.
//!
//! A loop has one sequence of pseudo-random numbers. In production it starts anywhere, and decides
//! nothing but the first branch that a `select!` polls: tasks run in the order in which they became
//! ready. With `Builder::shuffle_seed` the sequence is that of the seed, and each turn also
//! permutes its batch of ready tasks. So a test that fails for one order fails again for its seed.
//!
//! **Absent on purpose.** Clocks and the random numbers of the kernel: the builder passes a seed.

use std::cell::Cell;

/// A sequence of pseudo-random numbers (xorshift64*), not for secrets.
pub(super) struct Shuffle {
    /// Never zero, which would stay zero.
    state: Cell<u64>,
    /// Whether a test has chosen the seed, so that ready batches are permuted.
    permutes_batches: Cell<bool>,
}

impl Default for Shuffle {
    fn default() -> Shuffle {
        Shuffle { state: Cell::new(1), permutes_batches: Cell::new(false) }
    }
}

impl Shuffle {
    /// Starts the sequence of `seed`.
    pub(super) fn seed(&self, seed: u64, permutes_batches: bool) {
        // Similar seeds give different sequences (splitmix64).
        let mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        self.state.set((mixed ^ (mixed >> 31)).max(1));
        self.permutes_batches.set(permutes_batches);
    }

    pub(super) fn permutes_batches(&self) -> bool {
        self.permutes_batches.get()
    }

    /// A number below `count`, which is not zero.
    pub(super) fn below(&self, count: usize) -> usize {
        let mut state = self.state.get();
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        self.state.set(state);
        let high = state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32;
        ((high * count as u64) >> 32) as usize // `count` is far below 2³²
    }

    /// Permutes `items`, each order with the same chance (Fisher and Yates).
    pub(super) fn permute(&self, count: usize, mut swap: impl FnMut(usize, usize)) {
        for last in (1..count).rev() {
            swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeded(seed: u64) -> Shuffle {
        let shuffle = Shuffle::default();
        shuffle.seed(seed, true);
        shuffle
    }

    /// Goal: the numbers cover their range evenly, and a seed determines them.
    ///
    /// Method: 6 000 numbers below 6, for several seeds; each seed twice.
    ///
    /// Kills: a number that is never drawn; a seed of zero that stays zero; a sequence that ignores
    /// its seed.
    #[test]
    fn numbers_are_even_and_follow_the_seed() {
        let mut firsts = Vec::new();
        for seed in [0, 1, 2, u64::MAX] {
            let (one, other) = (seeded(seed), seeded(seed));
            let mut counts = [0; 6];
            for _ in 0..6000 {
                let number = one.below(6);
                assert_eq!(number, other.below(6));
                counts[number] += 1;
            }
            assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
            firsts.push((0..8).map(|_| one.below(1 << 16)).collect::<Vec<_>>());
        }
        firsts.dedup();
        assert_eq!(firsts.len(), 4, "seeds with one sequence");
    }

    /// Goal: every order of a batch occurs, and each is a permutation.
    ///
    /// Method: 240 permutations of four items, of which there are 24.
    ///
    /// Kills: a swap that repeats an item; an order that cannot occur.
    #[test]
    fn all_orders_of_a_batch_occur() {
        let shuffle = seeded(7);
        let mut orders = std::collections::BTreeSet::new();
        for _ in 0..240 {
            let mut items = [0, 1, 2, 3];
            shuffle.permute(items.len(), |a, b| items.swap(a, b));
            let mut sorted = items;
            sorted.sort_unstable();
            assert_eq!(sorted, [0, 1, 2, 3]);
            orders.insert(items);
        }
        assert_eq!(orders.len(), 24);
    }
}
