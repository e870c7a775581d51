//! Blocking jobs and calls from other threads.

use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![];
pub(crate) const ALONE: &[Body] = bodies![];
