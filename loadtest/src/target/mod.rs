//! What is being tested: the URL, the address it resolves to, and our own server when no URL is given.

mod own;

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

pub(crate) use self::own::{Announcement, OwnServer};
use crate::exit::{Exit, Stop};

/// A target as the user wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    host: String,
    port: u16,
}

impl Url {
    /// Looks the host up and picks the address to test.
    ///
    /// A name with several addresses (`localhost` is often both `::1` and `127.0.0.1`) is tried in
    /// order, because a server usually listens on one of them only. With a single address no extra
    /// connection is made: the target sees exactly the connections of the test.
    pub(crate) fn resolve(&self, patience: Duration) -> Result<SocketAddr, Stop> {
        let found = (self.host.as_str(), self.port).to_socket_addrs().map_err(|error| {
            Stop::new(Exit::Unreachable, format!("{self}: cannot resolve {}: {error}", self.host))
        })?;
        let addresses: Vec<SocketAddr> = found.collect();
        match addresses[..] {
            [] => {
                let line = format!("{self}: {} has no address", self.host);
                Err(Stop::new(Exit::Unreachable, line))
            }
            [only] => Ok(only),
            [first, ..] => {
                let answers =
                    |addr: &&SocketAddr| TcpStream::connect_timeout(addr, patience).is_ok();
                Ok(*addresses.iter().find(answers).unwrap_or(&first))
            }
        }
    }
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Url, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("a target is written tcp://host:port".to_owned());
        };
        if scheme != "tcp" {
            return Err(format!("{scheme}:// is not spoken here; use tcp://host:port"));
        }
        let Some((host, port)) = rest.rsplit_once(':') else {
            return Err("the port is missing: use tcp://host:port".to_owned());
        };
        let port: u16 = match port.parse() {
            Ok(0) | Err(_) => return Err(format!("'{port}' is not a port from 1 to 65535")),
            Ok(port) => port,
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(bracketed) => bracketed,
            None if host.contains(':') => {
                return Err("an IPv6 address goes in brackets: tcp://[::1]:7000".to_owned());
            }
            None => host,
        };
        if host.is_empty() || host.contains(['/', '@', '[', ']', ' ']) {
            return Err(format!("'{host}' is not a host: use tcp://host:port"));
        }
        Ok(Url { host: host.to_owned(), port })
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "tcp://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "tcp://{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: good targets survive a round trip, bad ones say what is wrong.
    ///
    /// Method: parse and print; a table of mistakes with a word their message must contain.
    ///
    /// Kills: splitting an IPv6 address at its first colon; accepting port 0 or a path.
    #[test]
    fn urls() {
        for good in ["tcp://127.0.0.1:7000", "tcp://localhost:1", "tcp://[::1]:65535"] {
            assert_eq!(good.parse::<Url>().unwrap().to_string(), good);
        }
        for (bad, word) in [
            ("127.0.0.1:7000", "tcp://host:port"),
            ("http://x:80", "http://"),
            ("tcp://x", "port"),
            ("tcp://x:0", "port"),
            ("tcp://x:70000", "port"),
            ("tcp://::1:7000", "brackets"),
            ("tcp://:7000", "host"),
            ("tcp://x/y:7000", "host"),
            ("tcp://x:7000/", "port"),
        ] {
            let message = bad.parse::<Url>().unwrap_err();
            assert!(message.contains(word), "{bad}: {message}");
        }
    }

    /// Goal: an address needs no lookup and is used as it is.
    ///
    /// Method: resolve a literal of each family.
    ///
    /// Kills: keeping the brackets of an IPv6 address in the lookup.
    #[test]
    fn literals_resolve_to_themselves() {
        for text in ["127.0.0.1:7000", "[::1]:7000"] {
            let url: Url = format!("tcp://{text}").parse().unwrap();
            assert_eq!(url.resolve(Duration::ZERO).unwrap(), text.parse().unwrap());
        }
    }
}
