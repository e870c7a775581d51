//! The current phase, as the progress display shows it.

use std::time::{Duration, Instant};

use crate::run::progress::ProgressStage;

#[derive(Clone, Copy)]
pub(super) enum View {
    Ramp { requested: u32 },
    Warmup { from: Instant, of: Duration },
    Measured { from: Instant, of: Duration },
    Drain { from: Instant, of: Duration },
}

impl View {
    pub(super) fn stage(self) -> ProgressStage {
        let elapsed = |from: Instant, of: Duration| from.elapsed().min(of);
        match self {
            View::Ramp { requested } => ProgressStage::Ramp { requested },
            View::Warmup { from, of } => ProgressStage::Warmup { elapsed: elapsed(from, of), of },
            View::Measured { from, of } => {
                ProgressStage::Measured { elapsed: elapsed(from, of), of }
            }
            View::Drain { from, of } => ProgressStage::Drain { elapsed: elapsed(from, of), of },
        }
    }
}
