//! This machine: limits, `/proc`, signals, and the system calls that need unsafe code.

pub(crate) mod preflight;
pub(crate) mod procfs;
pub(crate) mod signals;
pub(crate) mod sys;
