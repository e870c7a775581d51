//! `--baseline`: a run beside an earlier one.

use std::fs;
use std::path::Path;

use crate::analysis::compare::comparison::compare;
use crate::analysis::compare::regression::{RegressionLimit, breaches};
use crate::base::exit::{Error, Exit};
use crate::report::json;
use crate::report::model::Report;
use crate::report::model::verdicts::Baseline;

/// Sets a run beside its baseline and lets a breach decide its exit code, if nothing worse has.
pub(crate) fn apply_baseline(
    file: &Path,
    base: &Report,
    limits: &[RegressionLimit],
    report: &mut Report,
) {
    let comparison = compare(base, report);
    let mut breaches = breaches(&comparison, limits);
    // What a run that was ended early would have become, nobody knows.
    if report.ended_early() {
        breaches.clear();
    }
    if !breaches.is_empty() && report.exit_code == Exit::Ok.code() {
        report.exit_code = Exit::Breached.code();
    }
    report.baseline = Some(Baseline { file: file.display().to_string(), comparison, breaches });
}

/// A report of an earlier run.
pub(crate) fn read(path: &Path) -> Result<Report, Error> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Error::could_not_run(format!("cannot read {shown}: {error}")))?;
    json::parse(&text).map_err(|why| Error::new(Exit::Usage, format!("{shown} {why}")))
}
