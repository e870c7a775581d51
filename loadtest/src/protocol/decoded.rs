//! The result of decoding received bytes.

use crate::measure::failure::Failure;

/// What received bytes were.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// A part of a reply: all bytes were used.
    Partial,
    /// The end of the reply to the oldest outstanding message. Bytes after `used` are not looked at.
    Complete { used: usize },
    /// The same, and the reply is not the one that was wanted: its message has failed, and the
    /// connection goes on.
    Unexpected { used: usize, failure: Failure },
}
