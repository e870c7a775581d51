//! The first lines that a server prints.

use std::fmt;
use std::str::FromStr;

use crate::base::address::Address;
use crate::base::driver::DriverUsed;

/// What a server prints, once, before anything else: where it listens, and on which driver it runs.
/// Two lines, for people and for us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Announcement {
    pub(crate) addr: Address,
    pub(crate) driver: DriverUsed,
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "listening on {}\ndriver {}", self.addr, self.driver)
    }
}

impl FromStr for Announcement {
    type Err = ();

    fn from_str(text: &str) -> Result<Announcement, ()> {
        let (addr, driver) = text.split_once('\n').ok_or(())?;
        let addr = addr.strip_prefix("listening on ").ok_or(())?;
        let driver = driver.trim_end().strip_prefix("driver ").ok_or(())?;
        Ok(Announcement { addr: addr.parse().map_err(drop)?, driver: driver.parse()? })
    }
}
