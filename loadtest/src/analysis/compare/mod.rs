//! Comparison of runs: faster, slower, or a difference within the noise.
//!
//! Two measured figures always differ. A difference is significant only if its 95 % confidence
//! interval excludes zero, and only between runs with the same load on the same machine. Repeated
//! runs (`--reps`) are compared by the spread between runs. Single runs are compared by the spread
//! between their intervals, which does not include differences from run to run; the text mentions
//! that.

pub(crate) mod baseline;
pub(crate) mod comparison;
pub(crate) mod metric;
pub(crate) mod regression;
pub(crate) mod same;
pub(crate) mod with_base;
