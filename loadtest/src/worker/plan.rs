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

/// What one worker is to do.
#[derive(Clone, Debug)]
pub(crate) struct WorkerPlan {
    pub(crate) worker: u32,
    pub(crate) threads: u32,
    pub(crate) address: Address,
    /// Taken in turn by the connections of all workers; empty if the kernel is to choose.
    pub(crate) sources: Arc<[IpAddr]>,
    /// The processor to run on.
    pub(crate) cpu: Option<u32>,
    /// Its own, of all workers' `connections_total`.
    pub(crate) connections: u32,
    pub(crate) connections_total: u32,
    pub(crate) protocol: ProtocolConfig,
    /// `None` is in the clear.
    pub(crate) tls: Option<Arc<Tls>>,
    pub(crate) load: LoadPlan,
    /// Messages that a connection may have outstanding.
    pub(crate) pipeline: u32,
    /// Between a reply and the next message; closed loop only.
    pub(crate) think: Option<Think>,
    pub(crate) seed: u64,
    pub(crate) churn: Churn,
    pub(crate) socket: SocketOptions,
    /// Its share of the connections that never send.
    pub(crate) idle: u32,
    /// What makes messages unlike those of every other run, with `--verify`.
    pub(crate) run_id: Option<u64>,
    /// Its share of `--requests`.
    pub(crate) requests_max: Option<u64>,
    /// A message that is older at its turn is not sent.
    pub(crate) deadline: Option<Duration>,
    pub(crate) warmup: Duration,
    pub(crate) interval: Duration,
    pub(crate) connect_pace: ConnectPace,
    pub(crate) connects_in_flight_max: u32,
    /// Connects per second, of all workers, of connections that could not be opened again.
    pub(crate) retries_per_second: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) timeout: Duration,
    pub(crate) driver: Driver,
}
