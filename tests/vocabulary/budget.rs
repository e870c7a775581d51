//! Each async function, polled in a loop: it yields when the budget of the poll is spent.

use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![];
pub(crate) const ALONE: &[Body] = bodies![];
