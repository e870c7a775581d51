//! The options of a run: target, rate, schedule, sources, gates. Plain data with parsers.
//!
//! **Absent on purpose.** The arguments of the command line, which are `cli::args`.

pub(crate) mod defaults;
pub(crate) mod gate;
pub(crate) mod load;
pub(crate) mod sample_server;
pub(crate) mod schedule;
pub(crate) mod sources;
pub(crate) mod target_url;
