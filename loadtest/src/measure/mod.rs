//! Recording during a run, and its statistics.
//!
//! **Absent on purpose.** The report: `run::summary` computes its figures from the recorded data.

pub(crate) mod bootstrap;
pub(crate) mod counters;
pub(crate) mod failure;
pub(crate) mod outage;
pub(crate) mod published;
pub(crate) mod recorder;
pub(crate) mod stats;
pub(crate) mod student;
pub(crate) mod window;
