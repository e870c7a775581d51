//! One operation per file: what to ask, what the answer means, how to throw the answer away.
//!
//! These are functions on data. They make no request themselves (resources do, through the
//! reactor) and never know which driver answered.

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
    /// Whether further answers will follow. Says nothing about success (H49).
    pub(crate) more: bool,
    pub(crate) buffer: Option<RecvBuf>,
}
