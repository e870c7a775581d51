//! Everything that one run needs to know, checked.

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

/// Everything a run needs to know.
#[derive(Clone, Debug)]
pub(crate) struct RunConfig {
    /// `None` is our own server.
    pub(crate) url: Option<Url>,
    pub(crate) connections: u32,
    pub(crate) threads: u32,
    pub(crate) protocol: ProtocolConfig,
    /// `None` is in the clear.
    pub(crate) tls: Option<Arc<Tls>>,
    /// `None` is a closed loop.
    pub(crate) open_loop: Option<OpenLoop>,
    pub(crate) pipeline: u32,
    pub(crate) requests_max: Option<u64>,
    pub(crate) think: Option<Think>,
    pub(crate) seed: u64,
    pub(crate) interval: Duration,
    pub(crate) churn: Churn,
    /// How long everything may fail before the run ends; `None` is to its end.
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

/// What the report has besides the figures, and the percentiles that its summary shows.
#[derive(Clone, Debug)]
pub(crate) struct ReportContent {
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
    /// How many lost connections are tried again per second. A ramp is no measure of that.
    pub(crate) fn retries_per_second(self) -> u32 {
        match self {
            ConnectSpeed::PerSecond(rate) => rate,
            ConnectSpeed::Over(_) => CONNECT_RATE,
        }
    }

    /// So many connects in such a time.
    pub(crate) fn connects_in(self, connections: u32) -> (u32, Duration) {
        match self {
            ConnectSpeed::PerSecond(rate) => (rate, Duration::from_secs(1)),
            ConnectSpeed::Over(ramp) => (connections, ramp),
        }
    }
}
