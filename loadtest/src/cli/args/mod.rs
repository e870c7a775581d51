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

/// Measures TCP servers honestly: what was sent, what came back, and how long it took.
///
/// Without a URL it starts an echo server of its own, opens 10 000 connections to it and drives them
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
    /// Serve a reference target
    Serve(ServeArgs),
    /// Say what a run would find on this machine, without running
    Doctor(DoctorArgs),
    /// Say whether a run was faster than another, or whether it was noise
    Compare(CompareArgs),
    /// Start two servers by turns, ABBA, and say whether one is faster
    Ab(AbArgs),
    /// Show reports that were written with --json, in any form, or an interval log
    Report(ReportArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// What to test: tcp://host:port (an echo), http://host:port/path, ws://host:port/path (an echo),
    /// unix:/path (an echo) or unix:/path:http; tls://, https:// and wss:// with TLS
    #[arg(value_name = "URL")]
    pub(crate) url: Option<Url>,

    /// Connections (default 50, or 10k without a URL)
    #[arg(short, long, value_name = "N", value_parser = units::count)]
    pub(crate) connections: Option<u32>,
    /// Worker threads, each with a loop of its own; auto is one for each processor that may be used
    #[arg(short, long, value_name = "N|auto", default_value = "1", value_parser = units::threads)]
    pub(crate) threads: Threads,
    /// Length of the measured window
    #[arg(short, short_alias = 'z', long, value_name = "T", value_parser = units::span)]
    pub(crate) duration: Option<Duration>,
    /// End when so many messages are done
    #[arg(short = 'n', long, value_name = "N", value_parser = units::requests)]
    pub(crate) requests: Option<u64>,

    /// Messages per second over all connections, on schedule (open loop); A:B goes from A to B
    #[arg(short = 'R', short_alias = 'q', long, alias = "qps", value_name = "N|A:B")]
    pub(crate) rate: Option<Rate>,
    /// Rates over time: in a line to each RATE over each T, from --rate or 0 (open loop)
    #[arg(long, value_name = "T:RATE,...", conflicts_with = "duration")]
    pub(crate) stages: Option<Stages>,
    /// How the messages of an open loop are spread
    #[arg(long, value_enum, default_value_t = ArrivalsStyle::Constant)]
    pub(crate) arrivals: ArrivalsStyle,
    /// Which connection sends the next message of an open loop
    #[arg(long, value_enum, default_value_t = DispatchStyle::Any)]
    pub(crate) dispatch: DispatchStyle,
    /// Stay awake for so long before a message is due, to send it on time (of --dispatch any; default
    /// 50us if there are more processors than threads, else 0)
    #[arg(long, value_name = "T", value_parser = units::duration)]
    pub(crate) spin: Option<Duration>,
    /// Do not send messages of an open loop that are late by more than this; they count as never sent
    #[arg(long, value_name = "T", value_parser = units::span)]
    pub(crate) deadline: Option<Duration>,
    /// Of everything random
    #[arg(long, value_name = "N", default_value = "1")]
    pub(crate) seed: u64,
    /// Messages that a connection may have outstanding
    #[arg(short, long, value_name = "N", default_value = "1", value_parser = units::pipeline)]
    pub(crate) pipeline: u32,
    /// Pause between a reply and the next message (closed loop)
    #[arg(long, value_name = "T|A..B|exp:T", conflicts_with_all = ["rate", "stages", "pipeline"])]
    pub(crate) think: Option<Think>,
    /// Message size in bytes, of an echo (default 64); A..B is another one for each message, at random
    #[arg(short, long, value_name = "BYTES|A..B", value_parser = units::sizes)]
    pub(crate) size: Option<Sizes>,
    /// What each message to an echo is: the text itself, or @FILE
    #[arg(long, value_name = "TEXT|@FILE", conflicts_with_all = ["size", "verify"])]
    pub(crate) payload: Option<String>,
    /// Load before the measured window, reported apart
    #[arg(long, value_name = "T", default_value = "1s", value_parser = units::duration)]
    pub(crate) warmup: Duration,
    /// Length of the pieces in which the report shows the run (default 1s, more if it is long)
    #[arg(long, value_name = "T", value_parser = units::span)]
    pub(crate) interval: Option<Duration>,
    /// Longest wait for replies after the measured window
    #[arg(long, value_name = "T", default_value = "2s", value_parser = units::duration)]
    pub(crate) drain: Duration,

    /// Connects started per second, in total (default 5k)
    #[arg(long, value_name = "N", value_parser = units::count)]
    pub(crate) connect_rate: Option<u32>,
    /// Spread the connects over this time instead
    #[arg(long, value_name = "T", value_parser = units::span, conflicts_with = "connect_rate")]
    pub(crate) ramp: Option<Duration>,
    /// Connects in flight at a time, in total
    #[arg(long, value_name = "N", value_parser = units::count)]
    #[arg(default_value_t = CONNECTS_IN_FLIGHT_MAX)]
    pub(crate) connect_concurrency: u32,
    /// Longest wait for a connect
    #[arg(long, value_name = "T", default_value = "5s", value_parser = units::timeout)]
    pub(crate) connect_timeout: Duration,
    /// Longest wait for a reply, from its actual send
    #[arg(long, value_name = "T", default_value = "10s", value_parser = units::timeout)]
    pub(crate) timeout: Duration,

    /// What the run has to fulfil, or exit 99: p(99)<5ms, service max<1s, errors rate<0.1%,
    /// rate>=49k, served==connections (may be given several times)
    #[arg(long = "threshold", value_name = "EXPR", value_parser = Gate::parse)]
    pub(crate) thresholds: Vec<Gate>,

    /// End the run early and exit 99 when this does not hold of what was measured so far; judged at
    /// the end of each --interval (may be given several times)
    #[arg(long, value_name = "EXPR", value_parser = Gate::parse)]
    pub(crate) abort_on: Vec<Gate>,
    /// Measure for so long before --abort-on is judged
    #[arg(long, value_name = "T", default_value = "0", value_parser = units::duration)]
    #[arg(requires = "abort_on")]
    pub(crate) abort_delay: Duration,

    /// Close a connection after so many messages
    #[arg(short = 'r', long, value_name = "N", value_parser = units::requests)]
    pub(crate) requests_per_conn: Option<u64>,
    /// Close a connection when it has been open for so long
    #[arg(long, value_name = "T", value_parser = units::span)]
    pub(crate) conn_lifetime: Option<Duration>,
    /// How connections are closed
    #[arg(long, value_enum, default_value_t = CloseStyle::Fin)]
    pub(crate) close: CloseStyle,
    /// Whether a connection that has ended is opened again (default always if connections are to be
    /// closed or speak HTTP, else never)
    #[arg(long, value_enum)]
    pub(crate) reconnect: Option<ReconnectStyle>,
    /// Give up when nothing was answered for so long and everything fails, exit 3 (default never, or
    /// 30s with -n and without -d); until then connections are tried again
    #[arg(long, value_name = "T", value_parser = units::span)]
    pub(crate) give_up: Option<Duration>,
    /// Connections besides that never send
    #[arg(long, value_name = "N", default_value = "0", value_parser = units::count_or_none)]
    pub(crate) idle: u32,
    /// Make each message unlike every other, and tell wrong order, cross-talk and corruption apart
    #[arg(long)]
    pub(crate) verify: bool,
    /// Send messages of text to a ws:// target, not binary ones
    #[arg(long, conflicts_with = "verify")]
    pub(crate) text: bool,

    /// Connect from these addresses in turn: IP, IP-IP or a network; on loopback more than one is
    /// used by itself when the ports of one do not suffice
    #[arg(long, value_name = "IP|A-B|CIDR")]
    pub(crate) source: Vec<SourceRange>,
    /// Receive buffer of each socket; the kernel keeps it below net.core.rmem_max, and doubles it
    #[arg(long, value_name = "BYTES", value_parser = units::size)]
    pub(crate) rcvbuf: Option<u32>,
    /// Send buffer of each socket; the kernel keeps it below net.core.wmem_max, and doubles it
    #[arg(long, value_name = "BYTES", value_parser = units::size)]
    pub(crate) sndbuf: Option<u32>,
    /// Leave Nagle's algorithm on, which delays small messages while others are on their way
    #[arg(long)]
    pub(crate) no_nodelay: bool,
    /// Processors for the workers, in turn
    #[arg(long, value_name = "CPUS", value_parser = units::cpus)]
    pub(crate) pin: Option<Cpus>,

    #[command(flatten)]
    pub(crate) http: HttpArgs,
    #[command(flatten)]
    pub(crate) tls: TlsArgs,

    #[command(flatten)]
    pub(crate) series: SeriesArgs,

    /// Run with as many connections as the limits of this machine allow
    #[arg(long)]
    pub(crate) fit: bool,
    /// Which driver the workers' loops use
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    pub(crate) driver: Driver,
    /// Whose processor time, memory and descriptors are reported: of the process that listens at the
    /// target's address, if it is on this machine; of another one; or none
    #[arg(long, value_name = "auto|PID|none", default_value_t = SampleServer::Auto)]
    pub(crate) sample_server: SampleServer,

    #[command(flatten)]
    pub(crate) outputs: OutputArgs,
    #[command(flatten)]
    pub(crate) content: ContentArgs,
    /// Progress on stderr; auto is a live line on a terminal and nothing elsewhere
    #[arg(long, value_enum, default_value_t = ProgressStyle::Auto)]
    pub(crate) progress: ProgressStyle,
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
    /// Also try to connect here: tcp://host:port
    #[arg(value_name = "URL")]
    pub(crate) url: Option<Url>,
    /// Connections that the run would have (default 50, or 10k without a URL)
    #[arg(short, long, value_name = "N", value_parser = units::count)]
    pub(crate) connections: Option<u32>,
    /// Which driver the run would be asked to use
    #[arg(long, value_enum, default_value_t = Driver::Auto)]
    pub(crate) driver: Driver,
    /// What to print on stdout
    #[arg(long, value_enum, default_value_t = DoctorFormat::Text)]
    pub(crate) format: DoctorFormat,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum DoctorFormat {
    Text,
    Json,
    Quiet,
}

/// Reads the command line. `Ok(None)` means that help or the version was asked for and printed.
pub(crate) fn parse() -> Result<Option<Cli>, Error> {
    match Cli::try_parse() {
        Ok(cli) => Ok(Some(cli)),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                // Nobody is left to tell when printing the help fails.
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

    /// Goal: every option of every command that is no name or path refuses what makes no sense, in one
    /// line that says which option it was.
    ///
    /// Method: walk through the definitions; nonsense for each.
    ///
    /// Kills: an option added as text that is looked at too late; a parser that takes anything.
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
                    Ok(_) => panic!("{words:?} takes {option}"),
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
        assert!(refused > 50, "{refused} options were looked at");
    }

    /// Goal: a usage error is one line that keeps the value, the option and the reason.
    ///
    /// Method: three mistakes, each rendered.
    ///
    /// Kills: printing clap's usage paragraph; dropping the list of possible values.
    #[test]
    fn usage_errors_are_one_line() {
        for (arguments, wanted) in [
            (&["loadtest", "-d", "10"][..], "did you mean 10s?"),
            (&["loadtest", "--format", "xml"][..], "possible values: text, json, csv, quiet"),
            (&["loadtest", "nonsense"][..], "tcp://host:port"),
            (&["loadtest", "--wat"][..], "--wat"),
        ] {
            let line = one_line(&Cli::try_parse_from(arguments).unwrap_err().to_string());
            assert!(line.contains(wanted), "{line}");
            assert!(!line.contains('\n') && !line.contains("Usage"), "{line}");
        }
    }
}
