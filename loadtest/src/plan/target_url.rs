//! URLs of targets, and the addresses that they resolve to.

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use crate::base::address::{self, Address, UNIX};
use crate::base::exit::{Error, Exit};

/// The URL of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    scheme: Scheme,
    is_tls: bool,
    place: Place,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    Host {
        name: String,
        port: u16,
    },
    /// The path of a Unix socket.
    Path(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Scheme {
    Tcp,
    Http {
        /// Path and query, which are sent unchanged.
        path: String,
    },
    Ws {
        path: String,
    },
}

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;

/// The forms of a URL, for error messages.
const FORMS: &str = "tcp://host:port, http://host:port/path, ws://host:port/path or unix:/path; \
                     with TLS it is tls://, https:// or wss://";

impl Url {
    /// Looks up the host and returns the address to test.
    ///
    /// # Errors
    ///
    /// The host cannot be resolved.
    pub(crate) fn resolve(&self, limit: Duration) -> Result<Address, Error> {
        match &self.place {
            Place::Host { name, port } => self.look_up(name, *port, limit).map(Address::Tcp),
            Place::Path(path) => Ok(Address::Unix(path.clone())),
        }
    }

    /// Several addresses of a name (`localhost` often has both `::1` and `127.0.0.1`) are tried in
    /// order, because a server usually listens on one of them only. A single address is not tried,
    /// so that the target has exactly the connections of the test.
    fn look_up(&self, host: &str, port: u16, limit: Duration) -> Result<SocketAddr, Error> {
        let found = (host, port).to_socket_addrs().map_err(|error| {
            Error::new(Exit::Unreachable, format!("{self}: cannot resolve {host}: {error}"))
        })?;
        let addresses: Vec<SocketAddr> = found.collect();
        match addresses[..] {
            [] => {
                let line = format!("{self}: {host} has no address");
                Err(Error::new(Exit::Unreachable, line))
            }
            [only] => Ok(only),
            [first, ..] => {
                let answers = |addr: &&SocketAddr| TcpStream::connect_timeout(addr, limit).is_ok();
                Ok(*addresses.iter().find(answers).unwrap_or(&first))
            }
        }
    }

    pub(crate) fn is_unix(&self) -> bool {
        matches!(self.place, Place::Path(_))
    }

    /// Path and query of an HTTP target.
    pub(crate) fn http_path(&self) -> Option<&str> {
        match &self.scheme {
            Scheme::Http { path } => Some(path),
            Scheme::Tcp | Scheme::Ws { .. } => None,
        }
    }

    /// Path and query of a WebSocket target.
    pub(crate) fn ws_path(&self) -> Option<&str> {
        match &self.scheme {
            Scheme::Ws { path } => Some(path),
            Scheme::Tcp | Scheme::Http { .. } => None,
        }
    }

    /// The value of `Host`: with the port unless it is the default. For a Unix socket, servers
    /// expect the name of this machine.
    pub(crate) fn http_host(&self) -> String {
        match &self.place {
            Place::Host { name, port } if *port == self.http_port() => bracketed(name),
            Place::Host { name, port } => format!("{}:{port}", bracketed(name)),
            Place::Path(_) => "localhost".to_owned(),
        }
    }

    /// The default port of HTTP or HTTPS.
    fn http_port(&self) -> u16 {
        if self.is_tls { HTTPS_PORT } else { HTTP_PORT }
    }

    /// The host of a target with TLS, which its certificate must have.
    pub(crate) fn tls_host(&self) -> Option<&str> {
        match &self.place {
            Place::Host { name, .. } if self.is_tls => Some(name),
            Place::Host { .. } | Place::Path(_) => None,
        }
    }

    /// Parses `/path`, `/path:tcp` or `/path:http` with a path of HTTP after it.
    fn unix(rest: &str) -> Result<Url, String> {
        let (path, scheme) = if let Some(path) = rest.strip_suffix(":tcp") {
            (path, Scheme::Tcp)
        } else if let Some((path, asked)) = split_http(rest) {
            (path, Scheme::Http { path: request_target(asked)? })
        } else if let Some((_, suffix)) = rest.rsplit_once(':') {
            return Err(format!(
                "'{suffix}' is not supported: use unix:/path:tcp or unix:/path:http"
            ));
        } else {
            (rest, Scheme::Tcp)
        };
        Ok(Url { scheme, is_tls: false, place: Place::Path(address::unix_path(path)?) })
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// The path of a Unix socket, and what follows `:http`.
fn split_http(rest: &str) -> Option<(&str, &str)> {
    const HTTP: &str = ":http";
    let is_end = |asked: &str| asked.is_empty() || asked.starts_with(['/', '?', '#']);
    rest.match_indices(HTTP)
        .map(|(at, _)| (&rest[..at], &rest[at + HTTP.len()..]))
        .find(|(_, asked)| is_end(asked))
}

impl FromStr for Url {
    type Err = String;

    fn from_str(text: &str) -> Result<Url, String> {
        if let Some(rest) = text.strip_prefix(UNIX) {
            return Url::unix(rest);
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("has no scheme: use {FORMS}"));
        };
        let is_tls = matches!(scheme, "tls" | "https" | "wss");
        let (authority, scheme) = match scheme {
            "tcp" | "tls" => (rest, Scheme::Tcp),
            "http" | "https" | "ws" | "wss" => {
                let (authority, path) =
                    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
                let path = request_target(path)?;
                let is_http = scheme.starts_with("http");
                (authority, if is_http { Scheme::Http { path } } else { Scheme::Ws { path } })
            }
            _ => return Err(format!("{scheme}:// is not supported: use {FORMS}")),
        };
        if let Some((userinfo, host)) = authority.rsplit_once('@') {
            // The message must not contain the password.
            let user = userinfo.split(':').next().unwrap_or_default();
            let remedy = match scheme {
                Scheme::Tcp => "an echo has no users",
                Scheme::Http { .. } | Scheme::Ws { .. } => {
                    "send --header 'Authorization: Basic ...', with user:password in base64"
                }
            };
            return Err(format!(
                "'{user}' before the host '{host}' is not sent from a URL: {remedy}"
            ));
        }
        let has_port = !authority.ends_with(']') && authority.contains(':');
        let (host, port) = match (&scheme, authority.rsplit_once(':')) {
            (_, Some((host, port))) if has_port => (host, Some(port)),
            (Scheme::Http { .. } | Scheme::Ws { .. }, _) => (authority, None),
            (Scheme::Tcp, _) => {
                return Err("the port is missing: use tcp://host:port".to_owned());
            }
        };
        let port = match port.map(str::parse) {
            None if is_tls => HTTPS_PORT,
            None => HTTP_PORT,
            Some(Ok(port)) if port > 0 => port,
            Some(_) => {
                let port = port.unwrap_or_default();
                return Err(format!("'{port}' is not a port from 1 to 65535"));
            }
        };
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(bracketed) => bracketed,
            None if host.contains(':') => {
                return Err("an IPv6 address needs brackets: tcp://[::1]:7000".to_owned());
            }
            None => host,
        };
        let is_odd =
            |char: char| "/@[]".contains(char) || char.is_whitespace() || char.is_control();
        if host.is_empty() || host.contains(is_odd) {
            return Err(format!("'{host}' is not a host: use tcp://host:port"));
        }
        Ok(Url { scheme, is_tls, place: Place::Host { name: host.to_owned(), port } })
    }
}

/// The target of a request: the rest of a URL without its fragment, which is not sent.
///
/// # Errors
///
/// The text has a character that is not allowed in a URL.
pub(crate) fn request_target(rest: &str) -> Result<String, String> {
    let rest = rest.split_once('#').map_or(rest, |(path, _fragment)| path);
    if let Some(odd) = rest.chars().find(|char| !char.is_ascii_graphic()) {
        return Err(format!("{odd:?} cannot be in a URL as it is: write it as %XX"));
    }
    let slash = if rest.starts_with('/') { "" } else { "/" };
    Ok(format!("{slash}{rest}"))
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.scheme, &self.place) {
            (Scheme::Tcp, Place::Host { name, port }) => {
                let scheme = if self.is_tls { "tls" } else { "tcp" };
                write!(f, "{scheme}://{}:{port}", bracketed(name))
            }
            (Scheme::Http { path }, Place::Host { .. }) => {
                let scheme = if self.is_tls { "https" } else { "http" };
                write!(f, "{scheme}://{}{path}", self.http_host())
            }
            (Scheme::Ws { path }, Place::Host { .. }) => {
                let scheme = if self.is_tls { "wss" } else { "ws" };
                write!(f, "{scheme}://{}{path}", self.http_host())
            }
            (Scheme::Ws { .. }, Place::Path(_)) => unreachable!("no URL has this form"),
            (Scheme::Tcp, Place::Path(path)) => {
                // The protocol is written where the path could be read as one.
                write!(f, "{UNIX}{path}{}", if path.contains(':') { ":tcp" } else { "" })
            }
            (Scheme::Http { path: asked }, Place::Path(path)) => {
                write!(f, "{UNIX}{path}:http{}", if asked == "/" { "" } else { asked })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: a valid URL is printed as it was written, and a mistake is named.
    ///
    /// Method: parse and print; a table of mistakes with a word that the message must contain.
    ///
    /// Kills: an IPv6 address that is split at its first colon; port 0 or a path that is accepted.
    #[test]
    fn urls_are_printed_as_written_and_mistakes_are_named() {
        for good in [
            "tcp://127.0.0.1:7000",
            "tcp://localhost:1",
            "tcp://[::1]:65535",
            "http://localhost/",
            "http://[::1]:8080/a/b?c=/d",
            "tls://x:443",
            "https://x/",
            "https://x:80/",
            "unix:/a/b",
            "unix:b",
            "unix:@name",
            "unix:/a:b:tcp",
            "unix:/a:http",
            "unix:/a:b:http/c:http?d",
            "ws://localhost/",
            "ws://localhost:81/a?b",
            "wss://x/a",
            "wss://x:80/",
        ] {
            assert_eq!(good.parse::<Url>().unwrap().to_string(), good);
        }
        for (bad, word) in [
            ("127.0.0.1:7000", "tcp://host:port"),
            ("ftp://x:80", "ftp://"),
            ("http://user:secret@x/", "--header 'Authorization: Basic"),
            ("http://user:secret@x:80/", "'user' before the host 'x:80'"),
            ("wss://user@x/", "--header 'Authorization: Basic"),
            ("tcp://user:secret@x:80", "an echo has no users"),
            ("wss://x:0", "port"),
            ("ws://x:0/", "port"),
            ("ws://x/a b", "%XX"),
            ("https://x:0", "port"),
            ("tls://x", "port"),
            ("http://x:y/", "port"),
            ("http://x:0", "port"),
            ("http://u@x/", "host"),
            ("http:///x", "host"),
            ("http://x/a b", "%XX"),
            ("http://x/\r\nb", "%XX"),
            ("http://x/ä", "%XX"),
            ("http://x\r\n:1/", "host"),
            ("http://::1/", "brackets"),
            ("tcp://[::1]", "port"),
            ("tcp://x", "port"),
            ("tcp://x:0", "port"),
            ("tcp://x:70000", "port"),
            ("tcp://::1:7000", "brackets"),
            ("tcp://:7000", "host"),
            ("tcp://x/y:7000", "host"),
            ("tcp://x:7000/", "port"),
            ("unix:", "missing"),
            ("unix::tcp", "missing"),
            ("unix:/a:b", "'b' is not supported"),
            ("unix:/a:https", "'https' is not supported"),
            ("unix:/a:http/ä", "%XX"),
        ] {
            let message = bad.parse::<Url>().unwrap_err();
            assert!(message.contains(word), "{bad}: {message}");
        }
    }

    /// Goal: the host and the path of an HTTP URL are those that a server expects.
    ///
    /// Method: with and without port, path, query and fragment.
    ///
    /// Kills: a fragment that is sent; a default port in `Host`; an empty path.
    #[test]
    fn http_urls_have_the_host_and_path_of_a_request() {
        for (text, host, path) in [
            ("http://x", "x", "/"),
            ("http://x:80/a", "x", "/a"),
            ("http://x:81?q", "x:81", "/?q"),
            ("http://[::1]", "[::1]", "/"),
            ("http://[::1]:81/a?b:c#d/e", "[::1]:81", "/a?b:c"),
            ("http://x#d", "x", "/"),
            ("https://x", "x", "/"),
            ("https://x:443/a", "x", "/a"),
            ("https://x:80", "x:80", "/"),
            ("http://x:443", "x:443", "/"),
            ("unix:/a:http", "localhost", "/"),
            ("unix:/a:http?q", "localhost", "/?q"),
        ] {
            let url: Url = text.parse().unwrap();
            assert_eq!((url.http_host().as_str(), url.http_path()), (host, Some(path)), "{text}");
        }
        for text in ["tcp://x:80", "ws://x/a"] {
            assert_eq!(text.parse::<Url>().unwrap().http_path(), None);
        }
        let ws: Url = "ws://x:81/a?b#c".parse().unwrap();
        assert_eq!((ws.http_host().as_str(), ws.ws_path()), ("x:81", Some("/a?b")));
        let wss: Url = "wss://x:443/a".parse().unwrap();
        assert_eq!((wss.http_host().as_str(), wss.ws_path()), ("x", Some("/a")));
        assert_eq!("http://x/a".parse::<Url>().unwrap().ws_path(), None);
    }

    /// Goal: an address is used without a lookup.
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
        for (text, path) in [("unix:/a", "/a"), ("unix:a:b:tcp", "a:b"), ("unix:@a:http/b", "@a")] {
            let address = text.parse::<Url>().unwrap().resolve(Duration::ZERO).unwrap();
            assert_eq!(address, Address::Unix(path.to_owned()), "{text}");
        }
    }
}
