//! How long a connection that has failed waits before it is opened again.

use std::time::Duration;

/// The pause after the first failure. A target that closes each connection must not be flooded.
const PAUSE_MIN: Duration = Duration::from_millis(100);

/// The longest pause. A target that is back is found within this time.
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// Doubles the pause with each failure in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure, at random between half of its length and all of it:
    /// connections that were lost together must not reconnect together.
    pub(super) fn next(&mut self, random: &mut fastrand::Rng) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        let pause = PAUSE_MIN.saturating_mul(factor).min(PAUSE_MAX);
        self.failures = (self.failures + 1).min(u32::BITS - 1);
        pause.mul_f64(0.5 + random.f64() / 2.0)
    }

    /// A reply has arrived.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: pauses grow to their bound and stay there, however often a connect fails, and begin
    /// again after a success.
    ///
    /// Method: many failures, each pause against its bounds; a reset.
    ///
    /// Kills: a pause that overflows or grows without end; all connections in step; a bound that is
    /// never reached.
    #[test]
    fn pauses_are_bounded() {
        let mut random = fastrand::Rng::with_seed(1);
        let mut backoff = Backoff::default();
        let ms = Duration::from_millis;
        for most in [100, 200, 400].into_iter().chain([500; 100]) {
            let pause = backoff.next(&mut random);
            assert!((ms(most) / 2..=ms(most)).contains(&pause), "{pause:?} of {most} ms");
        }
        let pauses: Vec<Duration> = (0..10).map(|_| backoff.next(&mut random)).collect();
        assert!(pauses.windows(2).all(|pair| pair[0] != pair[1]), "{pauses:?}");
        backoff.reset();
        assert!(backoff.next(&mut random) <= PAUSE_MIN);
    }
}
