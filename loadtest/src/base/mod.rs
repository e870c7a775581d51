//! Units, addresses, exit codes, names and printing, which every layer uses.
//!
//! **Absent on purpose.** System calls are in `host` and measurements in `measure`.

pub(crate) mod address;
pub(crate) mod driver;
pub(crate) mod errno;
pub(crate) mod exit;
pub(crate) mod figures;
pub(crate) mod print;
pub(crate) mod random;
pub(crate) mod units;
