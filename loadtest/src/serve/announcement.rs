//! The first two lines of output of a server.

use std::fmt;
use std::str::FromStr;

use crate::base::address::Address;
use crate::base::driver::DriverUsed;

/// Address and driver of a server, which it prints first, on two lines. People and
/// `run::own_server` read them.
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
