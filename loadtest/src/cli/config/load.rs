//! Checks the options of the load.

use std::num::NonZero;
use std::thread;
use std::time::Duration;

use crate::base::exit::{Error, Exit};
use crate::cli::args::RunArgs;
use crate::plan::load::{ArrivalsStyle, DispatchStyle, OpenLoop};
use crate::run::config::LoadConfig;

/// Default of `--spin`. Sleeping and waking takes about this long, and a message that becomes due
/// in between is late. So a worker busy-waits before each message, unless that could take the
/// processor from the server.
const SPIN: Duration = Duration::from_micros(50);

/// The load on all connections, sent by `threads` workers.
pub(super) fn check(args: &RunArgs, threads: u32) -> Result<LoadConfig, Error> {
    let usage = |line: String| Err(Error::new(Exit::Usage, line));
    let has_schedule = args.has_schedule();
    if !has_schedule {
        check_closed_loop(args)?;
    }
    if args.spin.is_some() && (!has_schedule || args.dispatch != DispatchStyle::Any) {
        return usage("--spin needs a --rate and --dispatch any".to_owned());
    }
    if args.requests.is_some_and(|requests| requests < u64::from(threads)) {
        return usage(format!("--requests is less than one for each of the {threads} threads"));
    }
    Ok(LoadConfig {
        open_loop: has_schedule.then(|| OpenLoop {
            rate: args.rate,
            stages: args.stages.clone(),
            arrivals: args.arrivals,
            dispatch: args.dispatch,
            spin: args.spin.unwrap_or_else(|| spin(threads)),
            seed: args.seed,
        }),
        pipeline: args.pipeline,
        think: args.think,
        requests_max: args.requests,
        deadline: args.deadline,
        reply_timeout: args.timeout,
        verify: args.verify,
        seed: args.seed,
    })
}

/// Refuses the options of an open loop.
fn check_closed_loop(args: &RunArgs) -> Result<(), Error> {
    let usage = |line: &str| Err(Error::new(Exit::Usage, line));
    if args.arrivals != ArrivalsStyle::Constant {
        return usage("--arrivals needs a --rate: a closed loop has no schedule");
    }
    // The runs of a search have a schedule.
    if args.deadline.is_some() && !args.series.find_max {
        return usage("--deadline needs a --rate: in a closed loop nothing is late");
    }
    if args.dispatch != DispatchStyle::Any {
        return usage("--dispatch needs a --rate: a closed loop has no schedule");
    }
    Ok(())
}

fn spin(threads: u32) -> Duration {
    let has_more = |cpus: NonZero<usize>| cpus.get() > threads as usize;
    if thread::available_parallelism().is_ok_and(has_more) { SPIN } else { Duration::ZERO }
}
