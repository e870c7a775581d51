//! The report of a run: one JSON line that `drive` prints and `compare` reads.

use std::fmt::Write;

/// The results of one run of the generator.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The number of requested connections.
    pub connections: u64,
    /// Connections that received at least one echo.
    pub served: u64,
    /// Messages echoed inside the measured window.
    pub messages: u64,
    /// Connections lost, at any time, for any reason.
    pub errors: u64,
    /// Length of the measured window.
    pub seconds: f64,
    /// Latency percentiles, in microseconds.
    pub p50_us: f64,
    pub p99_us: f64,
    pub p999_us: f64,
    /// The resources of the server, if `--pid` named it.
    pub server: Option<ServerUse>,
}

/// The resources that the server used.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerUse {
    /// CPU time of all its threads inside the measured window.
    pub cpu_ns: u64,
    /// Resident memory at the end of the window, all connections still open.
    pub rss_kib: u64,
}

impl Report {
    /// CPU time of the server over the messages that it echoed, if both are known.
    pub fn cpu_us_per_message(&self) -> Option<f64> {
        let server = self.server.as_ref()?;
        (self.messages > 0).then(|| server.cpu_ns as f64 / 1e3 / self.messages as f64)
    }

    pub fn messages_per_second(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// One line, without a newline. It has the server's figures only if they are known.
    pub fn to_json(&self) -> String {
        // Without `..`, so that a new field is a compile error until it is printed.
        let Self {
            connections,
            served,
            messages,
            errors,
            seconds,
            p50_us,
            p99_us,
            p999_us,
            server,
        } = self;
        let mut json = format!(
            "{{\"connections\":{connections},\"served\":{served},\"messages\":{messages},\
             \"errors\":{errors},\"seconds\":{seconds:.6},\"p50_us\":{p50_us:.3},\
             \"p99_us\":{p99_us:.3},\"p999_us\":{p999_us:.3}"
        );
        if let Some(ServerUse { cpu_ns, rss_kib }) = server {
            let _ = write!(json, ",\"server_cpu_ns\":{cpu_ns}");
            if let Some(cpu_us) = self.cpu_us_per_message() {
                let _ = write!(json, ",\"server_cpu_us_per_message\":{cpu_us:.4}");
            }
            let _ = write!(json, ",\"server_rss_kib\":{rss_kib}");
        }
        json.push('}');
        json
    }

    /// Parses the output of `to_json`. `None` if a field is missing or not a number.
    pub fn from_json(json: &str) -> Option<Self> {
        let number = |name| number_in(json, name);
        let count = |name| number(name).map(|value| value as u64);
        let server = match (count("server_cpu_ns"), count("server_rss_kib")) {
            (Some(cpu_ns), Some(rss_kib)) => Some(ServerUse { cpu_ns, rss_kib }),
            _ => None,
        };
        Some(Self {
            connections: count("connections")?,
            served: count("served")?,
            messages: count("messages")?,
            errors: count("errors")?,
            seconds: number("seconds")?,
            p50_us: number("p50_us")?,
            p99_us: number("p99_us")?,
            p999_us: number("p999_us")?,
            server,
        })
    }
}

/// The number of field `name`. The object is flat and holds numbers only, so a search is enough.
fn number_in(json: &str, name: &str) -> Option<f64> {
    let (_, rest) = json.split_once(&format!("\"{name}\":"))?;
    let end = rest.find([',', '}'])?;
    rest[..end].trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Goal: `compare` reads exactly what `drive` wrote.
    ///
    /// Method: write and read, with and without a server; then a line that lacks a field.
    ///
    /// Kills: two names for one field; a prefix of a name matching another field.
    #[test]
    fn a_report_survives_its_line() {
        let alone = Report {
            connections: 10,
            served: 9,
            messages: 4,
            errors: 1,
            seconds: 2.5,
            p50_us: 1.25,
            p99_us: 2.5,
            p999_us: 3.75,
            server: None,
        };
        assert_eq!(Report::from_json(&alone.to_json()), Some(alone.clone()));
        assert_eq!(alone.cpu_us_per_message(), None);

        let server = Some(ServerUse {
            cpu_ns: 10_000,
            rss_kib: 2_048,
        });
        let both = Report { server, ..alone };
        assert_eq!(Report::from_json(&both.to_json()), Some(both.clone()));
        assert_eq!(both.cpu_us_per_message(), Some(2.5));

        let idle = Report {
            messages: 0,
            ..both
        };
        assert_eq!(idle.cpu_us_per_message(), None);
        assert_eq!(Report::from_json(&idle.to_json()), Some(idle));
        assert_eq!(Report::from_json("{\"served\":1}"), None);
    }
}
