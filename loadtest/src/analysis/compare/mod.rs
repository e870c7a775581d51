//! `loadtest compare`: is the new one faster, or was it noise?
//!
//! Two figures differ always. A difference is called one only if its 95 % confidence interval leaves
//! out zero, and only between runs that asked the same of the same machine. Runs that were repeated
//! (`--reps`) are compared by how much runs differ; single ones by how much their intervals do, which
//! cannot show what changes from run to run, and the text says so.

pub(crate) mod baseline;
pub(crate) mod comparison;
pub(crate) mod metric;
pub(crate) mod regression;
pub(crate) mod same;
pub(crate) mod with_base;
