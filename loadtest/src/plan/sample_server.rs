//! The process whose use of resources is reported (`--sample-server`).

use std::fmt;
use std::str::FromStr;

/// Which process is sampled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum SampleServer {
    /// The process that listens at the target's address, if it is on this machine.
    #[default]
    Auto,
    Pid(u32),
    None,
}

impl FromStr for SampleServer {
    type Err = String;

    fn from_str(text: &str) -> Result<SampleServer, String> {
        match text {
            "auto" => Ok(SampleServer::Auto),
            "none" => Ok(SampleServer::None),
            pid => match pid.parse() {
                Ok(pid) if pid > 0 => Ok(SampleServer::Pid(pid)),
                _ => Err(format!("'{pid}' is not auto, none or the id of a process")),
            },
        }
    }
}

impl fmt::Display for SampleServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SampleServer::Auto => f.write_str("auto"),
            SampleServer::Pid(pid) => write!(f, "{pid}"),
            SampleServer::None => f.write_str("none"),
        }
    }
}
