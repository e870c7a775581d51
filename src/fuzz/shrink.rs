//! Makes a failing input shorter.

use super::{Detail, run};

/// Runs that shrinking may take.
const RUNS_MAX: u32 = 3000;

/// A shorter input that still violates the same thing.
pub(super) fn shrink(bytes: &[u8], violation: &str) -> Vec<u8> {
    let mut best = bytes.to_vec();
    let mut runs_count = 0;
    let mut fails = |candidate: &[u8]| {
        runs_count += 1;
        let found = (runs_count <= RUNS_MAX).then(|| run(candidate, Detail::Hash).violation);
        found.flatten().is_some_and(|found| class(&found) == class(violation))
    };
    let mut has_changed = true;
    while has_changed {
        has_changed = false;
        let mut len = best.len() / 2;
        while len > 0 {
            let mut start = best.len().saturating_sub(len);
            loop {
                let mut without = best.clone();
                without.drain(start..(start + len).min(best.len()));
                let mut zeroed = best.clone();
                zeroed[start..(start + len).min(best.len())].fill(0);
                if without.len() < best.len() && fails(&without) {
                    best = without;
                    has_changed = true;
                } else if zeroed != best && fails(&zeroed) {
                    best = zeroed;
                    has_changed = true;
                }
                if start == 0 {
                    break;
                }
                start = start.saturating_sub(len).min(best.len().saturating_sub(len));
            }
            len /= 2;
        }
    }
    best
}

/// A violation without its numbers.
fn class(violation: &str) -> String {
    violation.chars().filter(|letter| !letter.is_ascii_digit()).take(30).collect()
}
