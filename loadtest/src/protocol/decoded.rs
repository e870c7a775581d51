//! The result of decoding received bytes.

use crate::measure::failure::Failure;

/// What received bytes are.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A part of a reply. All bytes are used.
    Partial,
    /// The first `used` bytes are the end of the reply to the oldest outstanding message.
    Complete { used: usize },
    /// A complete reply that is not the expected one. Its message has failed, and the connection
    /// goes on.
    Unexpected { used: usize, failure: Failure },
}
