//! What a reference server serves, and where.

use std::time::Duration;

use crate::base::address::Address;
use crate::base::driver::Driver;
use crate::serve::fault::Rule;

/// A reference server.
#[derive(Clone, Debug)]
pub(crate) struct ServeOptions {
    pub(crate) kind: ServeKind,
    /// Where to listen. Port 0 takes a free one.
    pub(crate) listen: Address,
    /// Threads, each with a loop and a listener of its own.
    pub(crate) threads: u32,
    pub(crate) driver: Driver,
    /// Connections to prepare for.
    pub(crate) connections: u32,
    /// Whether the server stops when stdin ends.
    pub(crate) exit_with_stdin: bool,
}

/// What a server does with the bytes that it receives. A `size` is in bytes.
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
    /// From the beginning of one stall to the beginning of the next.
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
