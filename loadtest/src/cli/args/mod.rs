//! The command line: names, defaults and help. `cli::config` checks them against each other.
//!
//! A usage error is one line on stderr and exit code 2.

pub(crate) mod ab;
pub(crate) mod compare;
pub(crate) mod http;
pub(crate) mod series;
pub(crate) mod serve;
pub(crate) mod tls;

use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::base::driver::Driver;
use crate::base::exit::{Error, Exit};
use crate::base::units::{self, Cpus, Sizes, Threads};
use crate::cli::args::ab::AbArgs;
use crate::cli::args::compare::CompareArgs;
use crate::cli::args::http::HttpArgs;
use crate::cli::args::series::SeriesArgs;
use crate::cli::args::serve::ServeArgs;
use crate::cli::args::tls::TlsArgs;
use crate::cli::outputs::{ContentArgs, OutputArgs};
use crate::plan::defaults::CONNECTS_IN_FLIGHT_MAX;
use crate::plan::gate::Gate;
use crate::plan::load::{
    ArrivalsStyle, CloseStyle, DispatchStyle, Rate, ReconnectStyle, Stages, Think,
};
use crate::plan::sample_server::SampleServer;
use crate::plan::sources::SourceRange;
use crate::plan::target_url::Url;
use crate::run::progress::ProgressStyle;

/// Load tester for TCP servers: sends messages, checks the replies and measures the latency.
///
/// Without a URL it starts an echo server, opens 10 000 connections to it and sends on all of them
/// for ten seconds.
#[derive(Debug, Parser)]
// The last of two equal options wins, so that a wrapper's defaults can be overridden.
#[command(name = "loadtest", version, args_conflicts_with_subcommands = true)]
#[command(args_override_self = true, after_help = crate::base::exit::HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a built-in reference server
    Serve(ServeArgs),
    /// Check the limits and settings of this machine that a run depends on, without running
    Doctor(DoctorArgs),
    /// Compare reports: faster, slower, or a difference within the noise
    Compare(CompareArgs),
    /// Compare two servers by runs in the order ABBA
    Ab(AbArgs),
    /// Convert reports written with --json to other formats, or print an interval log
    Report(ReportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Server under test: tcp://host:port (echo), http://host:port/path, ws://host:port/path
    /// (echo), unix:/path (echo) or unix:/path:http; with TLS: tls://, https:// and wss://
    #[arg(value_name = "URL")]
    pub(crate) url: Option<Url>,

    /// Connections (default 50, or 10k without a URL)
    #[arg(short, long, value_name = "N", value_parser = units::count)]
    pub(crate) connections: Option<u32>,
    /// Worker threads, each with its own event loop; auto starts one per available processor
    #[arg(short, long, value_name = "N|auto", default_value = "1", value_parser = units::threads)]
    pub(crate) threads: Threads,
    /// Length of the measured window
    #[arg(short, short_alias = 'z', long, value_name = "T", value_parser = units::span)]
    pub(crate) duration: Option<Duration>,
    /// End after this many messages
    #[arg(short = 'n', long, value_name = "N", value_parser = units::requests)]
    pub(crate) requests: Option<u64>,

    /// Scheduled messages per second over all connections (open loop); A:B ramps from A to B
    #[arg(short = 'R', short_alias = 'q', long, alias = "qps", value_name = "N|A:B")]
    pub(crate) rate: Option<Rate>,
    /// Rate profile: ramps linearly to each RATE within its T, starting at --rate or 0 (open loop)
    #[arg(long, value_name = "T:RATE,...", conflicts_with = "duration")]
    pub(crate) stages: Option<Stages>,
    /// Distribution of an open loop's messages over time
    #[arg(long, value_enum, default_value_t = ArrivalsStyle::Constant)]
    pub(crate) arrivals: ArrivalsStyle,
    /// Which connection sends the next message of an open loop
    #[arg(long, value_enum, default_value_t = DispatchStyle::Any)]
    pub(crate) dispatch: DispatchStyle,
    /// Busy-wait this long before a message is due, to send it on time (only --dispatch any;
    /// default 50us if there are more processors than threads, else 0)
    #[arg(long, value_name = "T", value_parser = units::duration)]
    pub(crate) spin: Option<Duration>,
    /// Drop messages of an open loop that are late by more than this; they count as never sent
    #[arg(long, value_name = "T", value_parser = units::span)]
    pub(crate) deadline: Option<Duration>,
    /// Seed of all random numbers
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Messages in flight per connection
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = units::pipeline)]
    pub(crate) pipeline: u32,
    /// Pause between a reply and the next message (closed loop)
    #[arg(long, value_name = "T|A..B|exp:T", conflicts_with_all = ["rate", "stages", "pipeline"])]
    pub(crate) think: Option<Think>,
    /// Size of an echo message in bytes (default 64); A..B draws a random size for each message
    #[arg(short, long, value_name = "BYTES|A..B", value_parser = units::sizes)]
    pub(crate) size: Option<Sizes>,
    /// Content of each echo message: a text, or @FILE
    #[arg(long, value_name = "TEXT|@FILE", conflicts_with_all = ["size", "verify"])]
    pub(crate) payload: Option<String>,
    /// Duration of the load before the measured window; reported separately
    #[arg(long, value_name = "T", default_value = "1s", value_parser = units::duration)]
    pub(crate) warmup: Duration,
    /// Length of the intervals in the report (default 1s, longer in long runs)
    #[arg(long, value_name = "T", value_parser = units::span)]
    pub(crate) interval: Option<Duration>,
    /// Longest wait for replies after the measured window
    #[arg(long, value_name = "T", default_value = "2s", value_parser = units::duration)]
    pub(crate) drain: Duration,

    /// Connection attempts started per second, in total (default 5k)
    #[arg(long, value_name = "N", value_parser = units::count)]
    pub(crate) connect_rate: Option<u32>,
    /// Spread the connection attempts over this time instead
    #[arg(long, value_name = "T", value_parser = units::span, conflicts_with = "connect_rate")]
    pub(crate) ramp: Option<Duration>,
    /// Connection attempts in flight, in total
    #[arg(long, value_name = "N", value_parser = units::count)]
    #[arg(default_value_t = CONNECTS_IN_FLIGHT_MAX)]
    pub(crate) connect_concurrency: u32,
    /// Longest wait for a connection to open
    #[arg(long, value_name = "T", default_value = "5s", value_parser = units::timeout)]
    pub(crate) connect_timeout: Duration,
    /// Longest wait for a reply, counted from the actual send
    #[arg(long, value_name = "T", default_value = "10s", value_parser = units::timeout)]
    pub(crate) timeout: Duration,

    /// Exit 99 if the run does not meet this: p(99)<5ms, service max<1s, errors rate<0.1%,
    /// rate>=49k, served==connections (may be given several times)
    #[arg(long = "threshold", value_name = "EXPR", value_parser = Gate::parse)]
    pub(crate) thresholds: Vec<Gate>,

    /// End the run early and exit 99 if the results so far do not meet this; checked at the end of
    /// each --interval (may be given several times)
    #[arg(long, value_name = "EXPR", value_parser = Gate::parse)]
    pub(crate) abort_on: Vec<Gate>,
    /// Measure for this long before --abort-on is checked
    #[arg(long, value_name = "T", default_value = "0", value_parser = units::duration)]
    #[arg(requires = "abort_on")]
    pub(crate) abort_delay: Duration,

    /// Close a connection after this many messages
    #[arg(short = 'r', long, value_name = "N", value_parser = units::requests)]
    pub(crate) requests_per_conn: Option<u64>,
    /// Close a connection after it has been open for this long
    #[arg(long, value_name = "T", value_parser = units::span)]
    pub(crate) conn_lifetime: Option<Duration>,
    /// How connections are closed
    #[arg(long, value_enum, default_value_t = CloseStyle::Fin)]
    pub(crate) close: CloseStyle,
    /// Whether to reopen a connection that has ended (default always with HTTP, --requests-per-conn
    /// or --conn-lifetime, else never)
    #[arg(long, value_enum)]
    pub(crate) reconnect: Option<ReconnectStyle>,
    /// Exit 3 after this long without any reply while everything fails; until then, connections are
    /// retried (default never, or 30s with -n and without -d)
    #[arg(long, value_name = "T", value_parser = units::span)]
    pub(crate) give_up: Option<Duration>,
    /// Additional connections that never send
    #[arg(long, value_name = "N", default_value = "0", value_parser = units::count_or_none)]
    pub(crate) idle: u32,
    /// Make each message unique, to distinguish wrong order, cross-talk and corruption
    #[arg(long)]
    pub(crate) verify: bool,
    /// Send text messages instead of binary ones to a ws:// target
    #[arg(long, conflicts_with = "verify")]
    pub(crate) text: bool,

    /// Connect from these addresses in turn: IP, IP-IP or a network; on loopback, further addresses
    /// are used automatically when one has too few ports
    #[arg(long, value_name = "IP|A-B|CIDR")]
    pub(crate) source: Vec<SourceRange>,
    /// Receive buffer of each socket; the kernel caps it at net.core.rmem_max and doubles it
    #[arg(long, value_name = "BYTES", value_parser = units::size)]
    pub(crate) rcvbuf: Option<u32>,
    /// Send buffer of each socket; the kernel caps it at net.core.wmem_max and doubles it
    #[arg(long, value_name = "BYTES", value_parser = units::size)]
    pub(crate) sndbuf: Option<u32>,
    /// Leave Nagle's algorithm on, which delays small messages while data is unacknowledged
    #[arg(long)]
    pub(crate) no_nodelay: bool,
    /// Pin the workers to these processors, in turn
    #[arg(long, value_name = "CPUS", value_parser = units::cpus)]
    pub(crate) pin: Option<Cpus>,

    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    #[command(flatten)]
    pub(crate) series: SeriesArgs,

    /// Reduce the connections to what the limits of this machine allow
    #[arg(long)]
    pub(crate) fit: bool,
    /// Driver of the workers' event loops
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    pub(crate) driver: Driver,
    /// Process whose processor time, memory and descriptors are reported: auto is the one that
    /// listens at the target's address, if it runs on this machine
    #[arg(long, value_name = "auto|PID|none", default_value_t = SampleServer::Auto)]
    pub(crate) sample_server: SampleServer,

    #[command(flatten)]
    pub(crate) outputs: OutputArgs,
    #[command(flatten)]
    pub(crate) content: ContentArgs,
    /// Progress on stderr; auto shows a live line on a terminal and nothing elsewhere
    #[arg(long, value_enum, default_value_t = ProgressStyle::Auto)]
    pub(crate) progress: ProgressStyle,
}

impl RunArgs {
    /// Whether the options define an open loop.
    pub(crate) fn has_schedule(&self) -> bool {
        self.rate.is_some() || self.stages.is_some()
    }
}

#[derive(Debug, Args)]
pub(crate) struct ReportArgs {
    /// Reports written with --json, or one interval log written with --hlog
    #[arg(value_name = "RUN.json|RUN.hlog", required = true)]
    pub(crate) runs: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) outputs: OutputArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// Server to connect to as part of the check: tcp://host:port
    #[arg(value_name = "URL")]
    pub(crate) url: Option<Url>,
    /// Connections of the planned run (default 50, or 10k without a URL)
    #[arg(short, long, value_name = "N", value_parser = units::count)]
    pub(crate) connections: Option<u32>,
    /// Driver of the planned run
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    pub(crate) driver: Driver,
    /// Format of the result on stdout
    #[arg(long, value_enum, default_value_t = DoctorFormat::Text)]
    pub(crate) format: DoctorFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DoctorFormat {
    Text,
    Json,
    Quiet,
}

/// Parses the command line. `Ok(None)` means that the help or the version was printed.
pub(crate) fn parse() -> Result<Option<Cli>, Error> {
    match Cli::try_parse() {
        Ok(cli) => Ok(Some(cli)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                // A help that cannot be printed cannot be reported either.
                let _ = error.print();
                Ok(None)
            }
            _ => Err(Error::new(Exit::Usage, one_line(&error.to_string()))),
        },
    }
}

/// Clap's message without its usage paragraph, joined into one line.
pub(crate) fn one_line(message: &str) -> String {
    let lines: Vec<&str> = message
        .lines()
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"))
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    let joined = lines.join(" ");
    format!("{} (see --help)", joined.strip_prefix("error: ").unwrap_or(&joined))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// Goal: the definitions are consistent.
    ///
    /// Method: clap's own check of the whole command.
    ///
    /// Kills: two options with one letter; a default that its own parser refuses.
    #[test]
    fn definitions_are_consistent() {
        Cli::command().debug_assert();
        let cli = Cli::try_parse_from(["loadtest"]).unwrap();
        assert_eq!(cli.run.pipeline, 1);
        assert!(cli.command.is_none());
    }

    /// Goal: every option of every command refuses nonsense in one line that names the option.
    /// Names and paths are free text and exempt.
    ///
    /// Method: walk through the definitions; pass nonsense to each option.
    ///
    /// Kills: an option added as text that is parsed too late; a parser that accepts anything.
    #[test]
    fn nonsense_is_refused_everywhere() {
        let free_text = [
            std::any::TypeId::of::<PathBuf>(),
            std::any::TypeId::of::<String>(),
            std::any::TypeId::of::<std::ffi::OsString>(),
        ];
        let mut refused = 0;
        let mut walk = vec![(vec!["loadtest".to_owned()], Cli::command())];
        while let Some((words, command)) = walk.pop() {
            for argument in command.get_arguments() {
                let parsed_as = argument.get_value_parser().type_id();
                let is_free = free_text.iter().any(|free| parsed_as == *free);
                let Some(name) = argument.get_long() else { continue };
                if is_free || !argument.get_action().takes_values() {
                    continue;
                }
                let option = format!("--{name}=?!");
                let arguments = words.iter().chain([&option]);
                let line = match Cli::try_parse_from(arguments) {
                    Ok(_) => panic!("{words:?} accepts {option}"),
                    Err(error) => one_line(&error.to_string()),
                };
                assert!(!line.contains('\n') && line.contains(&format!("--{name} ")), "{line}");
                assert!(line.contains("?!"), "{line}");
                refused += 1;
            }
            for subcommand in command.get_subcommands() {
                let words = [&words[..], &[subcommand.get_name().to_owned()]].concat();
                walk.push((words, subcommand.clone()));
            }
        }
        assert!(refused > 50, "only {refused} options were tried");
    }

    /// Goal: a usage error is one line that keeps the value, the option and the reason.
    ///
    /// Method: three mistakes, each rendered.
    ///
    /// Kills: printing clap's usage paragraph; dropping the list of possible values.
    #[test]
    fn usage_errors_are_one_line() {
        for (arguments, expected) in [
            (&["loadtest", "-d", "10"][..], "did you mean 10s?"),
            (&["loadtest", "--format", "xml"][..], "possible values: text, json, csv, quiet"),
            (&["loadtest", "nonsense"][..], "tcp://host:port"),
            (&["loadtest", "--wat"][..], "--wat"),
        ] {
            let line = one_line(&Cli::try_parse_from(arguments).unwrap_err().to_string());
            assert!(line.contains(expected), "{line}");
            assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
        }
    }
}
