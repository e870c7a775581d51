//! Tasks: names, places, the table of live tasks, task-locals, the budget, slow polls.

use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![];
pub(crate) const ALONE: &[Body] = bodies![];
