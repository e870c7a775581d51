//! Checks the arguments of a run against each other and builds its plan, with one file per topic.

pub(crate) mod connections;
pub(crate) mod gates;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod payload;
pub(crate) mod phases;
pub(crate) mod target;
pub(crate) mod tls;
pub(crate) mod urls;
pub(crate) mod workers;
pub(crate) mod ws;

use crate::base::exit::Error;
use crate::cli::args::RunArgs;
use crate::cli::args::series::SeriesArgs;
use crate::cli::config::gates::Gates;
use crate::cli::outputs::OutputArgs;
use crate::plan::defaults;
use crate::run::config::{ReportContent, RunConfig};
use crate::run::progress::ProgressStyle;

/// The arguments of a run, checked against each other.
#[derive(Debug)]
pub(crate) struct CheckedArgs {
    pub(crate) run: RunConfig,
    pub(crate) gates: Gates,
    pub(crate) series: SeriesArgs,
    pub(crate) content: ReportContent,
    pub(crate) outputs: OutputArgs,
    pub(crate) progress: ProgressStyle,
}

/// Checks the arguments. A contradiction is a usage error of one line.
pub(crate) fn check(args: RunArgs) -> Result<CheckedArgs, Error> {
    let count = defaults::connections(args.connections, args.url.as_ref());
    let workers = workers::check(&args, count)?;
    let connections = connections::check(&args, count)?;
    let load = load::check(&args, workers.threads)?;
    let phases = phases::check(&args)?;
    let gates = gates::check(&args)?;
    let target = target::check(&args)?;
    args.series.check(args.has_schedule())?;
    args.outputs.check()?;
    Ok(CheckedArgs {
        run: RunConfig { target, workers, connections, load, phases },
        gates,
        series: args.series,
        content: args.content.checked(),
        outputs: args.outputs,
        progress: args.progress,
    })
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use clap::Parser;

    use super::*;
    use crate::base::exit::Exit;
    use crate::cli::args::Cli;
    use crate::run::config::ConnectSpeed;

    fn config(arguments: &[&str]) -> Result<RunConfig, Error> {
        let arguments = [&["loadtest"], arguments].concat();
        check(Cli::try_parse_from(arguments).unwrap().run).map(|config| config.run)
    }

    /// Goal: a run without arguments is the canonical workload, and a URL makes the defaults
    /// modest.
    ///
    /// Method: both, and the numbers.
    ///
    /// Kills: flooding a foreign server with 10 000 connections by default.
    #[test]
    fn a_url_makes_the_defaults_modest() {
        let canonical = config(&[]).unwrap();
        assert_eq!(canonical.connections.count, 10_000);
        assert_eq!(canonical.target.protocol.message_sizes(), (64, 64));
        assert_eq!(canonical.phases.duration, Duration::from_secs(10));
        assert_eq!(canonical.phases.interval, Duration::from_secs(1));
        assert!(canonical.load.open_loop.is_none());
        assert_eq!(canonical.connections.connect_speed, ConnectSpeed::PerSecond(5_000));
        assert_eq!(config(&["tcp://127.0.0.1:1"]).unwrap().connections.count, 50);
        let checked = check(Cli::try_parse_from(["loadtest", "--json", "-"]).unwrap().run);
        assert!(checked.unwrap().outputs.json_on_stdout());
    }

    /// Goal: values that contradict each other are a usage error.
    ///
    /// Method: more threads than connections, and than connects in flight.
    ///
    /// Kills: a worker with no connection, or one that may never connect.
    #[test]
    fn contradicting_values_are_a_usage_error() {
        for arguments in
            [&["-c", "2", "-t", "3"][..], &["-c", "9", "-t", "3", "--connect-concurrency", "2"][..]]
        {
            assert_eq!(config(arguments).unwrap_err().exit, Exit::Usage);
        }
    }

    /// Goal: `-t auto` starts one worker per processor, and no worker without work.
    ///
    /// Method: pin to known processors, with fewer connections, concurrent connection attempts and
    /// messages than processors; then use the processors of the machine.
    ///
    /// Kills: a worker without a connection or message; more workers than processors.
    #[test]
    fn auto_starts_one_worker_per_processor_with_work() {
        let threads = |more: &[&str]| {
            config(&[&["-t", "auto", "-c", "9"], more].concat()).unwrap().workers.threads
        };
        assert_eq!(threads(&["--pin", "0-5"]), 6);
        assert_eq!(threads(&["--pin", "0-5", "-c", "4"]), 4);
        assert_eq!(threads(&["--pin", "0-5", "--connect-concurrency", "3"]), 3);
        assert_eq!(threads(&["--pin", "0-5", "-n", "2"]), 2);
        let processors = thread::available_parallelism().unwrap().get();
        assert_eq!(threads(&["-c", "10k"]) as usize, processors.min(256));
    }

    /// Goal: a ramp spreads any number of connections over its whole length.
    ///
    /// Method: a rate below one per second, which an integer rate could not express.
    ///
    /// Kills: turning the ramp into a rounded rate.
    #[test]
    fn a_ramp_may_be_slow() {
        let speed = config(&["-c", "10", "--ramp", "1m"]).unwrap().connections.connect_speed;
        assert_eq!(speed.connects_in(10), (10, Duration::from_secs(60)));
    }
}
