//! `--baseline`: a run beside an earlier one.

use std::path::Path;

use crate::analysis::compare::comparison::compare;
use crate::analysis::compare::regression::{RegressionLimit, breaches};
use crate::base::exit::Exit;
use crate::report::model::Report;
use crate::report::model::comparison::Baseline;

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
