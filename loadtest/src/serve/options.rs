//! Options of the reference servers.

use std::time::Duration;

use crate::base::address::Address;
use crate::base::driver::Driver;
use crate::serve::fault::Rule;

/// Options of a reference server.
#[derive(Clone, Debug)]
pub(crate) struct ServeOptions {
    pub(crate) kind: ServeKind,
    /// Address to listen on. Port 0 picks a free port.
    pub(crate) listen: Address,
    /// Threads, each with its own event loop and listener.
    pub(crate) threads: u32,
    pub(crate) driver: Driver,
    /// Expected number of connections.
    pub(crate) connections: u32,
    /// Whether the server stops when stdin ends.
    pub(crate) exit_with_stdin: bool,
}

/// Kind of server. A `size` is in bytes.
#[derive(Clone, Debug)]
pub(crate) enum ServeKind {
    Echo { size: u32 },
    Http { size: u32 },
    Ws,
    Sink { size: u32 },
    Stall(StallOptions),
    Lossy(LossyOptions),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct StallOptions {
    pub(crate) size: u32,
    /// Length of a stall.
    pub(crate) stall_for: Duration,
    /// Time from the start of one stall to the start of the next one.
    pub(crate) stall_every: Duration,
}

#[derive(Clone, Debug)]
pub(crate) struct LossyOptions {
    pub(crate) size: u32,
    pub(crate) faults: Vec<Rule>,
    pub(crate) seed: u64,
}

impl ServeKind {
    /// The name of the subcommand.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            ServeKind::Echo { .. } => "echo",
            ServeKind::Http { .. } => "http",
            ServeKind::Ws => "ws",
            ServeKind::Sink { .. } => "sink",
            ServeKind::Stall(_) => "stall",
            ServeKind::Lossy(_) => "lossy",
        }
    }
}
