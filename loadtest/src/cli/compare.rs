//! `loadtest compare`: compares reports of earlier runs.

use std::path::PathBuf;

use crate::analysis::compare::with_base::compare_with_base;
use crate::base::exit::Error;
use crate::base::print::{Failures, to_stdout};
use crate::cli::args::compare::CompareArgs;
use crate::report::output_file::OutputFile;
use crate::report::{html, json};

/// Compares reports with a base, prints the result and writes the page.
pub(super) fn compare(args: &CompareArgs) -> Result<u8, Error> {
    let mut reports = vec![json::read(&args.base)?];
    for path in &args.new {
        reports.push(json::read(path)?);
    }
    let page = args.html.as_deref().map(OutputFile::open).transpose()?;
    let name = |path: &PathBuf| path.display().to_string();
    let (base, new) = reports.split_first().expect("there is a base");
    let new: Vec<_> = args.new.iter().map(name).zip(new).collect();
    let compared = compare_with_base((name(&args.base), base), &new, &args.max_regression);
    let mut failures = Failures::default();
    failures.note(to_stdout(&args.format.render(&compared)));
    if let Some(file) = page {
        failures.note(file.write(&html::render(&reports)));
    }
    Ok(failures.exit_code(compared.exit_code))
}
