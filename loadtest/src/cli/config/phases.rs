//! Checks the options of the phases of a run.

use std::time::Duration;

use crate::base::exit::{Error, Exit};
use crate::base::units::DURATION_MAX;
use crate::cli::args::RunArgs;
use crate::plan::load::Rate;
use crate::run::config::PhasesConfig;

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

/// The lengths of the phases and of the intervals.
pub(super) fn check(args: &RunArgs) -> Result<PhasesConfig, Error> {
    let usage = |line: String| Err(Error::new(Exit::Usage, line));
    let duration = match (args.duration, &args.stages, args.requests) {
        (Some(duration), ..) => duration,
        (None, Some(stages), _) => stages.length(),
        (None, None, Some(_)) => DURATION_MAX,
        (None, None, None) => DURATION,
    };
    // `--requests` alone is expected to end long before.
    let is_endless = duration == DURATION_MAX && args.duration.is_none();
    if let (Some(Rate::Ramp(..)), None, None) = (args.rate, args.duration, &args.stages)
        && args.requests.is_some()
    {
        return usage("--rate A:B with --requests needs a --duration to reach B".to_owned());
    }
    let interval = args.interval.unwrap_or(match is_endless {
        true => INTERVAL,
        false => INTERVAL.max(duration / INTERVALS_DEFAULT_MAX),
    });
    if !is_endless && duration.as_nanos().div_ceil(interval.as_nanos()) > u128::from(INTERVALS_MAX)
    {
        return usage(format!(
            "--interval {interval:?} divides {duration:?} into more than {INTERVALS_MAX} intervals"
        ));
    }
    Ok(PhasesConfig {
        warmup: args.warmup,
        duration,
        drain: args.drain,
        interval,
        give_up: args.give_up.or(is_endless.then_some(GIVE_UP_ENDLESS)),
    })
}
