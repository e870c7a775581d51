//! The messages of an echo.

use std::sync::Arc;

/// What the messages of an echo are.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// Bytes of our own; how many is drawn for each message, both bounds included.
    Pattern {
        min: u32,
        max: u32,
    },
    Given(Arc<[u8]>),
}

impl Payload {
    /// The sizes of the shortest and of the longest.
    pub(crate) fn sizes(&self) -> (u32, u32) {
        match self {
            Payload::Pattern { min, max } => (*min, *max),
            Payload::Given(bytes) => {
                let size = u32::try_from(bytes.len()).expect("bounded by config");
                (size, size)
            }
        }
    }
}
