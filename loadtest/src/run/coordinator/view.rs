//! What to show while waiting.

use std::time::{Duration, Instant};

use crate::run::progress::Stage;

#[derive(Clone, Copy)]
pub(super) enum View {
    Ramp { wanted: u32 },
    Warmup { from: Instant, of: Duration },
    Measured { from: Instant, of: Duration },
    Drain { from: Instant, of: Duration },
}

impl View {
    pub(super) fn stage(self) -> Stage {
        let elapsed = |from: Instant, of: Duration| from.elapsed().min(of);
        match self {
            View::Ramp { wanted } => Stage::Ramp { wanted },
            View::Warmup { from, of } => Stage::Warmup { elapsed: elapsed(from, of), of },
            View::Measured { from, of } => Stage::Measured { elapsed: elapsed(from, of), of },
            View::Drain { from, of } => Stage::Drain { elapsed: elapsed(from, of), of },
        }
    }
}
