//! Checks the gates of a run against its load.

use crate::base::exit::{Error, Exit};
use crate::cli::args::RunArgs;
use crate::plan::gate::Gate;
use crate::run::abort::Watch;

/// The gates of a run or of a series.
#[derive(Debug)]
pub(crate) struct Gates {
    /// Conditions for the report (`--threshold`).
    pub(crate) thresholds: Vec<Gate>,
    /// Conditions for the run in progress (`--abort-on`).
    pub(crate) watch: Watch,
}

/// The gates. Each one needs a figure that the run measures.
pub(super) fn check(args: &RunArgs) -> Result<Gates, Error> {
    let usage = |line: String| Error::new(Exit::Usage, line);
    // The runs of a search have a schedule.
    let is_open_loop = args.has_schedule() || args.series.find_max;
    let of_responses = args.thresholds.iter().find(|gate| gate.is_of_responses());
    if let Some(gate) = of_responses.filter(|_| !is_open_loop) {
        return Err(usage(format!(
            "--threshold '{}': a closed loop has no response times (no --rate): use service",
            gate.text
        )));
    }
    // Thresholds apply to the series, not to its child processes.
    let thresholds = if args.series.as_part { Vec::new() } else { args.thresholds.clone() };
    let watch = Watch::new(args.abort_on.clone(), args.abort_delay, is_open_loop);
    Ok(Gates { thresholds, watch: watch.map_err(usage)? })
}
