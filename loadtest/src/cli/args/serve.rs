//! The arguments of `loadtest serve`.
//!
//! Each kind of server is a subcommand, so clap refuses the options of other kinds.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::base::address::Address;
use crate::base::driver::Driver;
use crate::base::exit::{Error, Exit};
use crate::base::units;
use crate::serve::fault::{Fault, Rule};
use crate::serve::options::{LossyOptions, ServeKind, ServeOptions, StallOptions};

/// More event loops than any existing machine has processors.
const THREADS_MAX: u32 = 1_024;

#[derive(Clone, Debug, Args)]
// Without this, `serve` alone would print the help in place of an error.
#[command(arg_required_else_help = false, disable_help_subcommand = true)]
pub(crate) struct ServeArgs {
    #[command(subcommand)]
    pub(crate) kind: ServeCommand,
    /// Address to listen on; port 0 picks a free port; unix:/path or unix:@name is a Unix socket
    #[arg(long, global = true, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    pub(crate) listen: Address,
    /// Threads, each with its own event loop and listener; the kernel spreads the connections
    // A global option also shows in the arguments of a run, whose threads are of another type.
    #[arg(id = "serve_threads", long = "threads", global = true, value_name = "N")]
    #[arg(default_value = "1", value_parser = threads)]
    pub(crate) threads: u32,
    /// Driver of the event loops
    #[arg(long, global = true, value_enum, default_value_t = Driver::Auto)]
    pub(crate) driver: Driver,
    /// Expected number of connections
    #[arg(long, global = true, value_name = "N", default_value = "10k")]
    #[arg(value_parser = units::count)]
    pub(crate) connections: u32,
    /// Stop when stdin ends, so that the server never outlives the program that started it
    #[arg(long, global = true)]
    pub(crate) exit_with_stdin: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ServeCommand {
    /// Send back every byte
    Echo(MessageArgs),
    /// Serve HTTP/1.1: / /bytes/N /chunked/N /status/CODE /busy/US /count
    Http(ServeHttpArgs),
    /// Echo WebSocket messages, on any path
    Ws,
    /// Receive every byte and send nothing
    Sink(MessageArgs),
    /// Echo, and pause all replies at known times
    Stall(StallArgs),
    /// Echo, and inject faults at known messages
    Lossy(LossyArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MessageArgs {
    /// Size of a message, the unit of the `messages` counter
    #[arg(short, long, value_name = "BYTES", default_value = "64", value_parser = units::size)]
    pub(crate) size: u32,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ServeHttpArgs {
    /// Size of the body at /
    #[arg(short, long, value_name = "BYTES", default_value = "64", value_parser = units::size)]
    pub(crate) size: u32,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct StallArgs {
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// Length of a stall
    #[arg(long, value_name = "T", default_value = "200ms", value_parser = units::span)]
    pub(crate) stall_for: Duration,
    /// Time from the start of one stall to the start of the next; the first comes this long after
    /// the server's start
    #[arg(long, value_name = "T", default_value = "5s", value_parser = units::span)]
    pub(crate) stall_every: Duration,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct LossyArgs {
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// Fault at every EVERY-th message of a connection: drop, reset, half-close, short, corrupt,
    /// extra, reorder or cross-talk
    #[arg(long = "fault", value_name = "KIND:EVERY", required = true, value_delimiter = ',')]
    pub(crate) faults: Vec<Rule>,
    /// Shift the faults of each connection by a random offset; 0 keeps them at multiples of EVERY
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) seed: u64,
}

impl ServeArgs {
    /// Checks the values against each other and returns the options of the server.
    pub(crate) fn checked(self) -> Result<ServeOptions, Error> {
        let is_unix = self.listen.is_unix();
        let refused = match &self.kind {
            _ if is_unix && self.threads > 1 => {
                "--threads is for TCP: a Unix socket has one listener and one event loop"
            }
            ServeCommand::Lossy(args) if is_unix && args.has(Fault::Reset) => {
                "--fault reset is for TCP: a Unix socket has no reset"
            }
            ServeCommand::Stall(args) if args.stall_for >= args.stall_every => {
                "--stall-for must be shorter than --stall-every"
            }
            ServeCommand::Lossy(args) if args.message.size == 1 && args.has(Fault::Short) => {
                "--fault short sends half of a message: it needs --size 2 or more"
            }
            _ => return Ok(self.options()),
        };
        Err(Error::new(Exit::Usage, format!("{refused} (see --help)")))
    }

    fn options(self) -> ServeOptions {
        let ServeArgs { kind, listen, threads, driver, connections, exit_with_stdin } = self;
        let kind = match kind {
            ServeCommand::Echo(MessageArgs { size }) => ServeKind::Echo { size },
            ServeCommand::Http(ServeHttpArgs { size }) => ServeKind::Http { size },
            ServeCommand::Ws => ServeKind::Ws,
            ServeCommand::Sink(MessageArgs { size }) => ServeKind::Sink { size },
            ServeCommand::Stall(StallArgs { message, stall_for, stall_every }) => {
                ServeKind::Stall(StallOptions { size: message.size, stall_for, stall_every })
            }
            ServeCommand::Lossy(LossyArgs { message, faults, seed }) => {
                ServeKind::Lossy(LossyOptions { size: message.size, faults, seed })
            }
        };
        ServeOptions { kind, listen, threads, driver, connections, exit_with_stdin }
    }
}

impl LossyArgs {
    fn has(&self, fault: Fault) -> bool {
        self.faults.iter().any(|rule| rule.fault == fault)
    }
}

fn threads(text: &str) -> Result<u32, String> {
    match units::count(text)? {
        value if value > THREADS_MAX => Err(format!("is too large, at most {THREADS_MAX}")),
        value => Ok(value),
    }
}
