//! State shared by the connections of a serving thread.

use crate::serve::tally::{Board, ServerTally};

/// State shared by the connections of a thread.
#[derive(Debug)]
pub(super) struct ServingThread {
    pub(super) index: usize,
    pub(super) threads_count: usize,
    pub(super) board: Board,
}

impl ServingThread {
    pub(super) fn tally(&self) -> &ServerTally {
        self.board.of(self.index)
    }
}
