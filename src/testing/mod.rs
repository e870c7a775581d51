//! Tools for tests of programs that use this crate.
//!
//! With the feature `macros`, which is on by default, `#[ringloop::test]` runs a test on every
//! driver of the machine. [`EachDriver`] is what it expands to. The clock that a test pauses and
//! moves is in [`time`](crate::time): [`pause`](crate::time::pause),
//! [`advance`](crate::time::advance) and [`resume`](crate::time::resume).

mod each_driver;
mod settle;

pub use each_driver::EachDriver;
pub use settle::{set_autojump_cushion, settle};
