//! The plan of one run, checked. Gates and outputs are not part of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::driver::Driver;
use crate::net::tls_config::Tls;
use crate::plan::defaults::CONNECT_RATE;
use crate::plan::load::{Churn, OpenLoop, SocketOptions, Think};
use crate::plan::sample_server::SampleServer;
use crate::plan::sources::SourceRange;
use crate::plan::target_url::Url;
use crate::protocol::ProtocolConfig;

/// The plan of one run.
#[derive(Clone, Debug)]
pub(crate) struct RunConfig {
    pub(crate) target: TargetConfig,
    pub(crate) workers: WorkersConfig,
    pub(crate) connections: ConnectionsConfig,
    pub(crate) load: LoadConfig,
    pub(crate) phases: PhasesConfig,
}

/// The server under test and the protocol spoken with it.
#[derive(Clone, Debug)]
pub(crate) struct TargetConfig {
    /// `None` means the built-in server.
    pub(crate) url: Option<Url>,
    pub(crate) protocol: ProtocolConfig,
    /// `None` means without TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    /// The process whose processor time and memory are reported.
    pub(crate) sample_server: SampleServer,
}

/// The threads that send.
#[derive(Clone, Debug)]
pub(crate) struct WorkersConfig {
    pub(crate) threads: u32,
    /// The workers are pinned to these processors in turn; empty if they are not pinned.
    pub(crate) cpus: Vec<u32>,
    pub(crate) driver: Driver,
}

/// The connections of all workers.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionsConfig {
    /// Connections that send.
    pub(crate) count: u32,
    /// Additional connections that never send.
    pub(crate) idle: u32,
    /// Whether `count` is reduced to what the limits of the machine allow.
    pub(crate) fit: bool,
    pub(crate) sources: Vec<SourceRange>,
    pub(crate) socket: SocketOptions,
    pub(crate) connect_speed: ConnectSpeed,
    pub(crate) connects_in_flight_max: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) churn: Churn,
}

/// The messages of all connections.
#[derive(Clone, Debug)]
pub(crate) struct LoadConfig {
    /// `None` means a closed loop.
    pub(crate) open_loop: Option<OpenLoop>,
    /// Messages in flight per connection.
    pub(crate) pipeline: u32,
    pub(crate) think: Option<Think>,
    pub(crate) requests_max: Option<u64>,
    /// Messages of an open loop that are later than this are dropped.
    pub(crate) deadline: Option<Duration>,
    pub(crate) reply_timeout: Duration,
    /// Whether each message is unique.
    pub(crate) verify: bool,
    pub(crate) seed: u64,
}

/// The lengths of the phases, and of the intervals within the measured window.
#[derive(Clone, Debug)]
pub(crate) struct PhasesConfig {
    pub(crate) warmup: Duration,
    /// Length of the measured window.
    pub(crate) duration: Duration,
    pub(crate) drain: Duration,
    pub(crate) interval: Duration,
    /// The run ends after this long without any reply; `None` means that it never does.
    pub(crate) give_up: Option<Duration>,
}

/// The content of the report besides the measured figures.
#[derive(Clone, Debug)]
pub(crate) struct ReportContent {
    /// Percentiles in the summary.
    pub(crate) percentiles: Vec<f64>,
    pub(crate) name: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// How fast connections are opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectSpeed {
    PerSecond(u32),
    /// All of them, spread over this time.
    Over(Duration),
}

impl ConnectSpeed {
    /// Attempts per second to replace lost connections. A ramp does not limit them.
    pub(crate) fn retries_per_second(self) -> u32 {
        match self {
            ConnectSpeed::PerSecond(rate) => rate,
            ConnectSpeed::Over(_) => CONNECT_RATE,
        }
    }

    /// The speed as a number of connects in a time.
    pub(crate) fn connects_in(self, connections: u32) -> (u32, Duration) {
        match self {
            ConnectSpeed::PerSecond(rate) => (rate, Duration::from_secs(1)),
            ConnectSpeed::Over(ramp) => (connections, ramp),
        }
    }
}
