//! Address of a target after name resolution: an IP address with a port, or a Unix socket.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;
use std::{fmt, io};

use socket2::{Domain, SockAddr, Socket, Type};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    /// A path, absolute or not, or `@` and an abstract name.
    Unix(String),
}

/// Prefix of the path of a Unix socket.
pub(crate) const UNIX: &str = "unix:";

/// Longest path or name of a Unix socket, in bytes.
const UNIX_NAME_MAX: usize = 107;

impl Address {
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self, Address::Unix(_))
    }

    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Address::Tcp(addr) => Some(addr.ip()),
            Address::Unix(_) => None,
        }
    }

    /// Checks for a listener: connects and closes. A Unix socket whose backlog is full has one.
    pub(crate) fn try_connect(&self, limit: Duration) -> io::Result<()> {
        match self {
            Address::Tcp(addr) => std::net::TcpStream::connect_timeout(addr, limit).map(drop),
            Address::Unix(path) => {
                let zero = path.strip_prefix('@').map(|name| format!("\0{name}"));
                let addr = SockAddr::unix(zero.as_ref().unwrap_or(path))?;
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.set_nonblocking(true)?;
                match socket.connect(&addr) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
                    connected => connected,
                }
            }
        }
    }
}

/// Checks that a Unix socket can have this path or abstract name.
pub(crate) fn unix_path(text: &str) -> Result<String, String> {
    let name = text.strip_prefix('@').unwrap_or(text);
    if name.is_empty() {
        return Err("the path is missing: use unix:/path, or unix:@name".to_owned());
    }
    if name.len() > UNIX_NAME_MAX {
        let len = name.len();
        return Err(format!("the path has {len} bytes, at most {UNIX_NAME_MAX} are allowed"));
    }
    Ok(text.to_owned())
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Address, String> {
        if let Some(path) = text.strip_prefix(UNIX) {
            return unix_path(path).map(Address::Unix);
        }
        let refused = |_| format!("'{text}' is not an address: use 127.0.0.1:7000 or unix:/path");
        text.parse().map(Address::Tcp).map_err(refused)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(addr) => addr.fmt(f),
            Address::Unix(path) => write!(f, "{UNIX}{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a printed address can be parsed again, and other texts are refused.
    ///
    /// Method: print and parse each kind; then mistakes, each with a word that the error must
    /// contain.
    ///
    /// Kills: a kind that is printed without its prefix; a path that is cut or empty.
    #[test]
    fn addresses_survive_a_round_trip() {
        let longest = format!("unix:@{}", "n".repeat(107));
        for text in ["127.0.0.1:80", "[::1]:80", "unix:/a/b", "unix:b", "unix:a:b", &longest] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        let too_long = format!("unix:{}", "n".repeat(108));
        for (bad, word) in [
            ("unix:", "missing"),
            ("unix:@", "missing"),
            (&*too_long, "108 bytes"),
            ("localhost:80", "unix:/path"),
            ("", "not an address"),
        ] {
            let message = bad.parse::<Address>().unwrap_err();
            assert!(message.contains(word), "{bad}: {message}");
        }
    }
}
