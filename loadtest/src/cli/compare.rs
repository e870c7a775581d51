//! `loadtest compare`: compares reports of earlier runs.

use std::path::PathBuf;

use crate::analysis::compare::baseline;
use crate::analysis::compare::compared::Compared;
use crate::base::exit::Error;
use crate::base::print::{Failures, to_stdout};
use crate::cli::args::compare::CompareArgs;
use crate::report::html;
use crate::report::output_file::OutputFile;

/// Compares reports with a base, prints the result and writes the page.
pub(super) fn compare(args: &CompareArgs) -> Result<u8, Error> {
    let mut reports = vec![baseline::read(&args.base)?];
    for path in &args.new {
        reports.push(baseline::read(path)?);
    }
    let page = args.html.as_deref().map(OutputFile::open).transpose()?;
    let name = |path: &PathBuf| path.display().to_string();
    let (base, new) = reports.split_first().expect("there is a base");
    let new: Vec<_> = args.new.iter().map(name).zip(new).collect();
    let compared = Compared::of((name(&args.base), base), &new, &args.max_regression);
    let (text, exit) = compared.print(args.format);
    let mut failures = Failures::default();
    failures.note(to_stdout(&text));
    if let Some(file) = page {
        failures.note(file.write(&html::render(&reports)));
    }
    Ok(failures.exit_code(exit.code()))
}
