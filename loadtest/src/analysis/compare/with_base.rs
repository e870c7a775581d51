//! Comparisons of several runs with one base, for `loadtest compare` and `loadtest ab`.

use crate::analysis::compare::comparison::compare;
use crate::analysis::compare::regression::{RegressionLimit, breaches};
use crate::base::exit::Exit;
use crate::report::model::comparison::{ComparedWithBase, ComparisonReport};
use crate::report::model::tool::Tool;
use crate::report::model::{Report, SCHEMA_VERSION};

/// Compares named runs with a base and checks the limits.
pub(crate) fn compare_with_base(
    (base_name, base): (String, &Report),
    new: &[(String, &Report)],
    limits: &[RegressionLimit],
) -> ComparisonReport {
    let with_base = |(name, report): &(String, &Report)| {
        let comparison = compare(base, report);
        let breaches = breaches(&comparison, limits);
        ComparedWithBase { new: name.clone(), comparison, breaches }
    };
    let compared: Vec<ComparedWithBase> = new.iter().map(with_base).collect();
    let is_kept = compared.iter().all(|one| one.breaches.is_empty());
    ComparisonReport {
        schema_version: SCHEMA_VERSION,
        tool: Tool::this(),
        base: base_name,
        compared,
        interrupted: false,
        exit_code: if is_kept { Exit::Ok } else { Exit::Breached }.code(),
    }
}

/// Marks a report as interrupted: runs are missing, so no limit applies.
pub(crate) fn interrupt(report: &mut ComparisonReport, exit: Exit) {
    report.interrupted = true;
    report.exit_code = exit.code();
    report.compared.iter_mut().for_each(|one| one.breaches.clear());
}
