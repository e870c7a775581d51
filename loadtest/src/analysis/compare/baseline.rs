//! `--baseline`: comparison of a run with an earlier one.

use std::path::Path;

use crate::analysis::compare::comparison::compare;
use crate::analysis::compare::regression::{RegressionLimit, breaches};
use crate::base::exit::Exit;
use crate::report::model::Report;
use crate::report::model::comparison::Baseline;

/// Compares a run with its baseline. An exceeded limit decides the exit code of a run that was
/// otherwise successful.
pub(crate) fn apply_baseline(
    file: &Path,
    base: &Report,
    limits: &[RegressionLimit],
    report: &mut Report,
) {
    let comparison = compare(base, report);
    let mut breaches = breaches(&comparison, limits);
    // The figures of a run that ended early are not conclusive.
    if report.ended_early() {
        breaches.clear();
    }
    if !breaches.is_empty() && report.exit_code == Exit::Ok.code() {
        report.exit_code = Exit::Breached.code();
    }
    report.baseline = Some(Baseline { file: file.display().to_string(), comparison, breaches });
}
