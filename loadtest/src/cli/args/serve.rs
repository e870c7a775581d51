//! The arguments of `loadtest serve`.
//!
//! A kind is a subcommand, so an option of another kind is a usage error without any code here.

use std::time::Duration;

use clap::{Args, Subcommand};

use crate::base::address::Address;
use crate::base::driver::Driver;
use crate::base::exit::{Error, Exit};
use crate::base::units;
use crate::serve::fault::{Fault, Rule};
use crate::serve::options::{LossyOptions, ServeKind, ServeOptions, StallOptions};

/// More loops than this share no machine that exists.
const THREADS_MAX: u32 = 1_024;

#[derive(Clone, Debug, Args)]
// Without this, `serve` alone would print the help in place of an error.
#[command(arg_required_else_help = false, disable_help_subcommand = true)]
pub(crate) struct ServeArgs {
    #[command(subcommand)]
    pub(crate) kind: ServeCommand,
    /// Where to listen; port 0 takes a free one; unix:/path or unix:@name is a Unix socket
    #[arg(long, global = true, value_name = "ADDR", default_value = "127.0.0.1:7000")]
    pub(crate) listen: Address,
    /// Threads, each with a loop and a listener of its own; the kernel spreads the connections
    // A global option also shows in the arguments of a run, whose threads are of another type.
    #[arg(id = "serve_threads", long = "threads", global = true, value_name = "N")]
    #[arg(default_value = "1", value_parser = threads)]
    pub(crate) threads: u32,
    /// Which driver the loops use
    #[arg(long, global = true, value_enum, default_value_t = Driver::Auto)]
    pub(crate) driver: Driver,
    /// Connections to prepare for
    #[arg(long, global = true, value_name = "N", default_value = "10k")]
    #[arg(value_parser = units::count)]
    pub(crate) connections: u32,
    /// Stop when stdin ends, so that a server never outlives the program that started it
    #[arg(long, global = true)]
    pub(crate) exit_with_stdin: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum ServeCommand {
    /// Send every byte back
    Echo(MessageArgs),
    /// Answer HTTP/1.1: / /bytes/N /chunked/N /status/CODE /busy/US /count
    Http(ServeHttpArgs),
    /// Echo messages of WebSocket, on any path
    Ws,
    /// Take every byte and answer nothing
    Sink(MessageArgs),
    /// Echo, and answer nothing at all for a while at known times
    Stall(StallArgs),
    /// Echo, and misbehave at known messages
    Lossy(LossyArgs),
}

#[derive(Clone, Debug, Args)]
pub(crate) struct MessageArgs {
    /// Size of a message, which is what `messages` counts
    #[arg(short, long, value_name = "BYTES", default_value = "64", value_parser = units::size)]
    pub(crate) size: u32,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ServeHttpArgs {
    /// Size of the body of /
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
    /// From the begin of one stall to that of the next; the first one is so long after the start
    #[arg(long, value_name = "T", default_value = "5s", value_parser = units::span)]
    pub(crate) stall_every: Duration,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct LossyArgs {
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// Faults: drop, reset, half-close, short, corrupt, extra, reorder or cross-talk at every so
    /// many messages of a connection
    #[arg(long = "fault", value_name = "KIND:EVERY", required = true, value_delimiter = ',')]
    pub(crate) faults: Vec<Rule>,
    /// Moves the faults of each connection apart; 0 leaves them where EVERY says
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) seed: u64,
}

impl ServeArgs {
    /// The server, once its values are checked against each other.
    pub(crate) fn checked(self) -> Result<ServeOptions, Error> {
        let is_unix = self.listen.is_unix();
        let refused = match &self.kind {
            _ if is_unix && self.threads > 1 => {
                "--threads is for TCP: a Unix socket has one listener, which has one loop"
            }
            ServeCommand::Lossy(args) if is_unix && args.has(Fault::Reset) => {
                "--fault reset is for TCP: a Unix socket has no reset"
            }
            ServeCommand::Stall(args) if args.stall_for >= args.stall_every => {
                "--stall-for must be shorter than --stall-every"
            }
            ServeCommand::Lossy(args) if args.message.size == 1 && args.has(Fault::Short) => {
                "half of a message of 1 byte is nothing: --fault short needs --size 2 or more"
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
