//! Combinators: `join!`, `select!`, `gather`, `JoinSet`, `wait`, `shield`, `race`.

use crate::{Body, bodies};

pub(crate) const SHARED: &[Body] = bodies![];
pub(crate) const ALONE: &[Body] = bodies![];
