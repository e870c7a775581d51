//! One operation per file: its request, the meaning of its result, how to discard the result.
//!
//! These are functions on data. They submit nothing themselves (resources do, through the reactor),
//! and do not depend on the driver.

pub(crate) mod accept;
pub(crate) mod connect;
pub(crate) mod poll;
pub(crate) mod recv;
pub(crate) mod send;

use crate::buf::RecvBuf;

/// A completion as a resource sees it: its buffer, if it carried one, is already in hand.
#[derive(Debug)]
pub(crate) struct OpResult {
    pub(crate) result: i32,
    /// Whether further completions will follow. Independent of success (H49).
    pub(crate) more: bool,
    pub(crate) buffer: Option<RecvBuf>,
}
