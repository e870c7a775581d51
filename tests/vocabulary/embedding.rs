//! The loop as an object: stop, single turns, hooks, a foreign loop.

use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![];
pub(crate) const ALONE: &[Body] = bodies![];
