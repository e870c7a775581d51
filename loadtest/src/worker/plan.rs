//! The part of a run that one worker performs.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::base::address::Address;
use crate::base::driver::Driver;
use crate::net::tls_config::Tls;
use crate::plan::load::{Churn, LoadPlan, SocketOptions, Think};
use crate::plan::schedule::ConnectPace;
use crate::protocol::ProtocolConfig;

/// The task of one worker.
#[derive(Clone, Debug)]
pub(crate) struct WorkerPlan {
    pub(crate) worker: u32,
    pub(crate) threads: u32,
    pub(crate) address: Address,
    /// Source addresses, which the connections of all workers use in turn. Empty if the kernel is
    /// to choose.
    pub(crate) sources: Arc<[IpAddr]>,
    /// The processor to run on.
    pub(crate) cpu: Option<u32>,
    /// Connections of this worker that send, of `connections_total`.
    pub(crate) connections: u32,
    pub(crate) connections_total: u32,
    pub(crate) protocol: ProtocolConfig,
    /// `None` without TLS.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) load: LoadPlan,
    /// The most messages that a connection may have outstanding.
    pub(crate) pipeline: u32,
    /// The pause between a reply and the next message, in a closed loop.
    pub(crate) think: Option<Think>,
    pub(crate) seed: u64,
    pub(crate) churn: Churn,
    pub(crate) socket: SocketOptions,
    /// Idle connections of this worker.
    pub(crate) idle: u32,
    /// With `--verify`, the part of each message that differs from run to run.
    pub(crate) run_id: Option<u64>,
    /// Measured messages of this worker (`--requests`).
    pub(crate) requests_max: Option<u64>,
    /// Messages that are older than this are not sent.
    pub(crate) deadline: Option<Duration>,
    pub(crate) warmup: Duration,
    pub(crate) interval: Duration,
    pub(crate) connect_pace: ConnectPace,
    pub(crate) connects_in_flight_max: u32,
    /// Connects per second, of all workers, that follow a failed connect.
    pub(crate) retries_per_second: u32,
    pub(crate) connect_timeout: Duration,
    /// How long a message may wait for its reply.
    pub(crate) timeout: Duration,
    pub(crate) driver: Driver,
}
