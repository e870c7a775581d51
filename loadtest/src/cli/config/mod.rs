//! Checks the arguments of a run against each other and builds its configuration.

pub(crate) mod http;
pub(crate) mod payload;
pub(crate) mod tls;
pub(crate) mod urls;
pub(crate) mod ws;

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use crate::base::exit::{Error, Exit};
use crate::base::units::{DURATION_MAX, Threads};
use crate::cli::args::RunArgs;
use crate::cli::args::series::SeriesArgs;
use crate::cli::outputs::OutputArgs;
use crate::plan::defaults::{CONNECT_RATE, connections};
use crate::plan::gate::Gate;
use crate::plan::load::{
    ArrivalsStyle, Churn, CloseStyle, DispatchStyle, OpenLoop, Rate, ReconnectStyle, SocketOptions,
};
use crate::plan::target_url::Url;
use crate::protocol::ProtocolConfig;
use crate::run::abort::Watch;
use crate::run::config::{ConnectSpeed, RunConfig};

/// Default of `--give-up` for a run that ends with its `--requests` and not at a time: without it,
/// the run would wait endlessly for a target that does not come back.
const GIVE_UP_ENDLESS: Duration = Duration::from_secs(30);

/// Length of the measured window by default.
const DURATION: Duration = Duration::from_secs(10);

/// Default of `--interval`, in a run of at most `INTERVALS_DEFAULT_MAX` intervals.
const INTERVAL: Duration = Duration::from_secs(1);
const INTERVALS_DEFAULT_MAX: u32 = 3_600;

/// Limit of intervals: each one adds some kilobytes to the memory and to the report.
const INTERVALS_MAX: u32 = 100_000;

/// Default of `--spin`. Sleeping and waking takes about this long, and a message that becomes due
/// in between is late. So a worker busy-waits before each message, unless that could take the
/// processor from the server.
const SPIN: Duration = Duration::from_micros(50);

fn spin(threads: u32) -> Duration {
    let has_more = |cpus: NonZero<usize>| cpus.get() > threads as usize;
    if thread::available_parallelism().is_ok_and(has_more) { SPIN } else { Duration::ZERO }
}

/// The arguments of a run, checked against each other.
#[derive(Debug)]
pub(crate) struct CheckedArgs {
    pub(crate) run: RunConfig,
    pub(crate) series: SeriesArgs,
    pub(crate) outputs: OutputArgs,
}

pub(crate) fn check(args: RunArgs) -> Result<CheckedArgs, Error> {
    let usage = |line: String| Err(Error::new(Exit::Usage, line));
    let connections = connections(args.connections, args.url.as_ref());
    let threads = threads(&args, connections);
    if threads > connections {
        return usage(format!(
            "--threads {threads} needs at least as many connections, but there are {connections}"
        ));
    }
    if threads > args.connect_concurrency {
        return usage(format!(
            "--connect-concurrency {} is less than one for each of the {threads} threads",
            args.connect_concurrency
        ));
    }
    if args.url.as_ref().is_some_and(Url::is_unix) {
        if !args.source.is_empty() {
            return usage("--source is for TCP: a Unix socket has no source address".into());
        }
        for (option, is_given) in [
            ("--rcvbuf", args.rcvbuf.is_some()),
            ("--sndbuf", args.sndbuf.is_some()),
            ("--no-nodelay", args.no_nodelay),
        ] {
            if is_given {
                return usage(format!("{option} is for TCP"));
            }
        }
        if args.close == CloseStyle::Rst {
            return usage("--close rst is for TCP: a Unix socket has no reset".into());
        }
    }
    let has_schedule = args.rate.is_some() || args.stages.is_some();
    if !has_schedule && args.arrivals != ArrivalsStyle::Constant {
        return usage("--arrivals needs a --rate: a closed loop has no schedule".to_owned());
    }
    if !has_schedule && !args.series.find_max && args.deadline.is_some() {
        return usage("--deadline needs a --rate: in a closed loop nothing is late".to_owned());
    }
    if !has_schedule && args.dispatch != DispatchStyle::Any {
        return usage("--dispatch needs a --rate: a closed loop has no schedule".to_owned());
    }
    if args.spin.is_some() && (!has_schedule || args.dispatch != DispatchStyle::Any) {
        return usage("--spin needs a --rate and --dispatch any".to_owned());
    }
    let of_responses = |gate: &&Gate| gate.is_of_responses();
    if let Some(gate) =
        args.thresholds.iter().find(of_responses).filter(|_| !has_schedule && !args.series.find_max)
    {
        return usage(format!(
            "--threshold '{}': a closed loop has no response times (no --rate): use service",
            gate.text
        ));
    }
    if args.requests.is_some_and(|requests| requests < u64::from(threads)) {
        return usage(format!("--requests is less than one for each of the {threads} threads"));
    }
    let duration = match (args.duration, &args.stages, args.requests) {
        (Some(duration), ..) => duration,
        (None, Some(stages), _) => stages.length(),
        (None, None, Some(_)) => DURATION_MAX,
        (None, None, None) => DURATION,
    };
    if let (Some(Rate::Ramp(..)), None, None) = (args.rate, args.duration, &args.stages)
        && args.requests.is_some()
    {
        return usage("--rate A:B with --requests needs a --duration to reach B".to_owned());
    }
    let is_endless = duration == DURATION_MAX && args.duration.is_none();
    let interval = args.interval.unwrap_or(match is_endless {
        true => INTERVAL,
        false => INTERVAL.max(duration / INTERVALS_DEFAULT_MAX),
    });
    // `--requests` alone is expected to end long before.
    if !is_endless && duration.as_nanos().div_ceil(interval.as_nanos()) > u128::from(INTERVALS_MAX)
    {
        return usage(format!(
            "--interval {interval:?} divides {duration:?} into more than {INTERVALS_MAX} intervals"
        ));
    }
    let is_open_loop = has_schedule || args.series.find_max;
    let watch = Watch::new(args.abort_on.clone(), args.abort_delay, is_open_loop)
        .map_err(|line| Error::new(Exit::Usage, line))?;
    let protocol = protocol(&args)?;
    let is_http = matches!(protocol, ProtocolConfig::Http(_));
    let tls = tls::of(&args)?;
    let connect_speed = match (args.ramp, args.connect_rate) {
        (Some(ramp), _) => ConnectSpeed::Over(ramp),
        (None, rate) => ConnectSpeed::PerSecond(rate.unwrap_or(CONNECT_RATE)),
    };
    args.series.check(has_schedule)?;
    args.outputs.check()?;
    let run = RunConfig {
        url: args.url,
        connections,
        threads,
        protocol,
        tls,
        open_loop: has_schedule.then_some(OpenLoop {
            rate: args.rate,
            stages: args.stages,
            arrivals: args.arrivals,
            dispatch: args.dispatch,
            spin: args.spin.unwrap_or_else(|| spin(threads)),
            seed: args.seed,
        }),
        pipeline: args.pipeline,
        requests_max: args.requests,
        think: args.think,
        seed: args.seed,
        interval,
        churn: Churn {
            requests_per_conn: args.requests_per_conn,
            lifetime: args.conn_lifetime,
            close: args.close,
            reconnects: match args.reconnect {
                Some(style) => style == ReconnectStyle::Always,
                // HTTP servers may close a connection after any reply.
                None => args.requests_per_conn.is_some() || args.conn_lifetime.is_some() || is_http,
            },
        },
        give_up: args.give_up.or(is_endless.then_some(GIVE_UP_ENDLESS)),
        idle: args.idle,
        sources: args.source,
        socket: SocketOptions {
            nodelay: !args.no_nodelay,
            rcvbuf: args.rcvbuf,
            sndbuf: args.sndbuf,
        },
        cpus: args.pin.map(|cpus| cpus.0).unwrap_or_default(),
        verify: args.verify,
        duration,
        warmup: args.warmup,
        drain: args.drain,
        deadline: args.deadline,
        connect_speed,
        connects_in_flight_max: args.connect_concurrency,
        connect_timeout: args.connect_timeout,
        timeout: args.timeout,
        // Thresholds apply to the series, not to its child processes.
        thresholds: if args.series.as_part { Vec::new() } else { args.thresholds },
        watch,
        fit: args.fit,
        driver: args.driver,
        sample_server: args.sample_server,
        content: args.content.checked(),
        progress: args.progress,
    };
    Ok(CheckedArgs { run, series: args.series, outputs: args.outputs })
}

/// Number of workers. With `auto` it is one per available processor, but at most one per
/// connection, per concurrent connection attempt and per message.
fn threads(args: &RunArgs, connections: u32) -> u32 {
    let processors = match (args.threads, &args.pin) {
        (Threads::Count(threads), _) => return threads,
        (Threads::Auto, Some(cpus)) => cpus.0.len(),
        (Threads::Auto, None) => thread::available_parallelism().map_or(1, usize::from),
    };
    let requests = args.requests.map_or(u32::MAX, |n| u32::try_from(n).unwrap_or(u32::MAX));
    let most = connections.min(args.connect_concurrency).min(requests);
    u32::try_from(processors).unwrap_or(u32::MAX).min(most)
}

/// The protocol spoken with the target.
fn protocol(args: &RunArgs) -> Result<ProtocolConfig, Error> {
    let (http, ws) = (http::exchange(args)?, ws::upgrade(args)?);
    let payload = payload::payload(args)?;
    Ok(match (http, ws) {
        (Some(exchange), _) => ProtocolConfig::Http(exchange),
        (None, Some(upgrade)) => ProtocolConfig::Ws(payload, upgrade),
        (None, None) => ProtocolConfig::Echo(payload),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::Cli;

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
        assert_eq!((canonical.connections, canonical.protocol.message_sizes()), (10_000, (64, 64)));
        assert_eq!(canonical.duration, Duration::from_secs(10));
        assert_eq!(canonical.interval, Duration::from_secs(1));
        assert!(canonical.open_loop.is_none());
        assert_eq!(canonical.connect_speed, ConnectSpeed::PerSecond(5_000));
        assert_eq!(config(&["tcp://127.0.0.1:1"]).unwrap().connections, 50);
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
    /// Method: pin to known processors, with fewer connections, concurrent connection attempts and
    /// messages than processors; then use the processors of the machine.
    /// Kills: a worker without a connection or message; more workers than processors.
    #[test]
    fn auto_starts_one_worker_per_processor_with_work() {
        let threads =
            |more: &[&str]| config(&[&["-t", "auto", "-c", "9"], more].concat()).unwrap().threads;
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
        let speed = config(&["-c", "10", "--ramp", "1m"]).unwrap().connect_speed;
        assert_eq!(speed.connects_in(10), (10, Duration::from_secs(60)));
    }
}
