//! The phases of a reactor, and the failure of its driver.

use std::io;

use crate::driver::DriverKind;
use crate::error::driver_failed;

/// How far the end of a runtime has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ReactorPhase {
    Open,
    /// The driver has failed. Tasks and timers go on; operations do not.
    Broken,
    /// Tasks are gone; dropped streams still send what was queued.
    Lingering,
    /// Everything is being cancelled. No operation can be started.
    Draining,
    Closed,
}

/// Why a driver could not go on. It is kept, as every later operation gets an error of it, and
/// `io::Error` cannot be cloned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) driver: DriverKind,
    pub(super) code: i32,
}

impl Failure {
    pub(super) fn error(self) -> io::Error {
        driver_failed(self.driver, &io::Error::from_raw_os_error(self.code))
    }
}
