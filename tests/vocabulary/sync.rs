//! Locks, semaphores and notifications.

use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![];
pub(crate) const ALONE: &[Body] = bodies![];
