//! The payload of echo messages.

use std::sync::Arc;

/// The payload of the messages of an echo.
#[derive(Clone, Debug)]
pub(crate) enum Payload {
    /// A generated pattern. Its length is drawn for each message, from `min` to `max`.
    Pattern { min: u32, max: u32 },
    /// These bytes (`--payload`).
    Given(Arc<[u8]>),
}

impl Payload {
    /// The lengths of the shortest and of the longest payload.
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
