//! Checked configuration of a run.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::base::driver::Driver;
use crate::net::tls_config::Tls;
use crate::plan::defaults::CONNECT_RATE;
use crate::plan::gate::Gate;
use crate::plan::load::{Churn, OpenLoop, SocketOptions, Think};
use crate::plan::sample_server::SampleServer;
use crate::plan::sources::SourceRange;
use crate::plan::target_url::Url;
use crate::protocol::ProtocolConfig;
use crate::run::abort::Watch;
use crate::run::progress::ProgressStyle;

/// The configuration of a run.
#[derive(Clone, Debug)]
pub(crate) struct RunConfig {
    /// `None` starts the built-in server.
    pub(crate) url: Option<Url>,
    pub(crate) connections: u32,
    pub(crate) threads: u32,
    pub(crate) protocol: ProtocolConfig,
    /// `None` is without TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    /// `None` is a closed loop.
    pub(crate) open_loop: Option<OpenLoop>,
    pub(crate) pipeline: u32,
    pub(crate) requests_max: Option<u64>,
    pub(crate) think: Option<Think>,
    pub(crate) seed: u64,
    pub(crate) interval: Duration,
    pub(crate) churn: Churn,
    /// Time of complete failure after which the run ends; `None` never ends it early.
    pub(crate) give_up: Option<Duration>,
    pub(crate) idle: u32,
    pub(crate) sources: Vec<SourceRange>,
    pub(crate) socket: SocketOptions,
    pub(crate) cpus: Vec<u32>,
    pub(crate) verify: bool,
    pub(crate) duration: Duration,
    pub(crate) warmup: Duration,
    pub(crate) drain: Duration,
    pub(crate) deadline: Option<Duration>,
    pub(crate) connect_speed: ConnectSpeed,
    pub(crate) connects_in_flight_max: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) thresholds: Vec<Gate>,
    pub(crate) watch: Watch,
    pub(crate) fit: bool,
    pub(crate) driver: Driver,
    pub(crate) sample_server: SampleServer,
    pub(crate) content: ReportContent,
    pub(crate) progress: ProgressStyle,
}

/// Name and labels of the report, and the percentiles in its summary.
#[derive(Clone, Debug)]
pub(crate) struct ReportContent {
    pub(crate) percentiles: Vec<f64>,
    pub(crate) name: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

/// Pace of opening the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectSpeed {
    PerSecond(u32),
    /// All connections, spread over this time.
    Over(Duration),
}

impl ConnectSpeed {
    /// Lost connections that are retried per second. The length of a ramp does not apply to
    /// retries.
    pub(crate) fn retries_per_second(self) -> u32 {
        match self {
            ConnectSpeed::PerSecond(rate) => rate,
            ConnectSpeed::Over(_) => CONNECT_RATE,
        }
    }

    /// The pace as a number of connects per period.
    pub(crate) fn connects_in(self, connections: u32) -> (u32, Duration) {
        match self {
            ConnectSpeed::PerSecond(rate) => (rate, Duration::from_secs(1)),
            ConnectSpeed::Over(ramp) => (connections, ramp),
        }
    }
}
