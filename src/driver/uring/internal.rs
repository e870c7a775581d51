//! The `user_data` of the driver's own entries.
//!
//! The lowest byte is the kind of the entry. Those of operations are smaller
//! ([`TAG_MAX`]). The upper half is a round or a step, so that the
//! late completion of an entry is not mistaken for that of the next one.

use crate::driver::request::TAG_MAX;

pub(super) const TIMEOUT: u8 = 0xF0;
pub(super) const TIMEOUT_UPDATE: u8 = 0xF1;
pub(super) const CANCEL: u8 = 0xF2;
pub(super) const WAKE: u8 = 0xF3;
// Those of `probe`, on the ring before the driver.
pub(super) const PROBE: u8 = 0xF4;
pub(super) const PROBE_TIMEOUT: u8 = 0xF5;
pub(super) const PROBE_CANCEL: u8 = 0xF6;
pub(super) const TIMING: u8 = 0xF7; // of `timing`

const _: () = assert!(TIMEOUT > TAG_MAX, "the other kinds are above");

pub(super) fn user_data(kind: u8, round: u32) -> u64 {
    u64::from(round) << 32 | u64::from(kind)
}

pub(super) fn round(user_data: u64) -> u32 {
    (user_data >> 32) as u32
}
