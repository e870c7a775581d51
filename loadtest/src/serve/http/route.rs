//! Routes: a pure function from a request's target to a route.

/// The longest time of `/busy/US`.
pub(super) const BUSY_MAX_US: u64 = 1_000_000;

/// The longest body of `/bytes/N` and `/chunked/N`.
pub(super) const BODY_LEN_MAX: u64 = 1 << 30;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// `/`: a body of `--size` bytes.
    Root,
    /// `/bytes/N`: N bytes that encode their positions.
    Bytes(u64),
    /// `/chunked/N`: the same bytes in chunks.
    Chunked(u64),
    /// `/status/CODE`: that status, 200 to 599.
    Status(u16),
    /// `/busy/US`: the body of `/`, after this many microseconds of work.
    Busy {
        us: u64,
    },
    /// `/count`: the server's counters as JSON.
    Count,
    Unknown,
}

impl Route {
    /// Parses a request's target: a path with or without a query, or a whole URL, as proxies
    /// receive it.
    pub(super) fn of(target: &str) -> Route {
        let path = match target.strip_prefix("http://") {
            Some(rest) => rest.find('/').map_or("/", |at| &rest[at..]),
            None => target,
        };
        let path = path.split_once('?').map_or(path, |(path, _query)| path);
        let found = match path {
            "/" => Some(Route::Root),
            "/count" => Some(Route::Count),
            path => Route::with_number(path),
        };
        found.unwrap_or(Route::Unknown)
    }

    fn with_number(path: &str) -> Option<Route> {
        let (name, number) = path.strip_prefix('/')?.split_once('/')?;
        // `parse` would accept a sign.
        if !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let number: u64 = number.parse().ok()?;
        match name {
            "bytes" => (number <= BODY_LEN_MAX).then_some(Route::Bytes(number)),
            "chunked" => (number <= BODY_LEN_MAX).then_some(Route::Chunked(number)),
            "busy" => (number <= BUSY_MAX_US).then_some(Route::Busy { us: number }),
            "status" => {
                let code = u16::try_from(number).ok()?;
                (200..=599).contains(&code).then_some(Route::Status(code))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: each documented path has its route, and other paths have none.
    ///
    /// Method: a table.
    ///
    /// Kills: a query treated as a part of the path; a match by prefix; a sign; an informational
    /// status; a body without a limit.
    #[test]
    fn documented_paths_have_a_route() {
        for (target, expected) in [
            ("/", Route::Root),
            ("/?x=/bytes/5", Route::Root),
            ("http://host:80/count?x", Route::Count),
            ("http://host", Route::Root),
            ("/bytes/0", Route::Bytes(0)),
            ("/bytes/1073741824", Route::Bytes(BODY_LEN_MAX)),
            ("/chunked/5?x", Route::Chunked(5)),
            ("/busy/1000000", Route::Busy { us: BUSY_MAX_US }),
            ("/status/200", Route::Status(200)),
            ("/status/599", Route::Status(599)),
        ] {
            assert_eq!(Route::of(target), expected, "{target}");
        }
        for target in [
            "",
            "*",
            "host:443",
            "//",
            "/counts",
            "/count/",
            "/bytes",
            "/bytes/",
            "/bytes/+5",
            "/bytes/5/",
            "/bytes/1073741825",
            "/busy/1000001",
            "/bytes/99999999999999999999",
            "/status/199",
            "/status/600",
            "/status/65736",
            "/xbytes/5",
        ] {
            assert_eq!(Route::of(target), Route::Unknown, "{target}");
        }
    }
}
