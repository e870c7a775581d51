//! Conclusions from reports: confidence intervals, gates, and the comparison of runs.

pub(crate) mod compare;
pub(crate) mod confidence;
pub(crate) mod gates;
