//! What all connections of a serving thread share.

use crate::serve::tally::{Board, ServerTally};

/// What all connections of a thread share.
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
