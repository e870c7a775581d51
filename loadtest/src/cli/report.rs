//! `loadtest report`: converts reports of earlier runs to other formats.

use std::fs;
use std::path::{Path, PathBuf};

use crate::base::exit::{Error, Exit};
use crate::base::print::{Failures, to_stdout};
use crate::cli::args::ReportArgs;
use crate::cli::outputs::{OutputArgs, Outputs};
use crate::cli::run::publish;
use crate::report::json;
use crate::report::log::IntervalLog;

/// Reads the reports or the interval log, and writes the requested outputs.
pub(super) fn report(args: &ReportArgs) -> Result<u8, Error> {
    args.outputs.check()?;
    let is_log = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "hlog");
    match &args.runs[..] {
        [path] if is_log(path) => return show_log(path, &args.outputs),
        [_] => {}
        paths if paths.iter().any(is_log) => {
            let line =
                "an interval log cannot be combined with other files: compare reports as RUN.json";
            return Err(Error::new(Exit::Usage, line));
        }
        _ => args.outputs.check_several()?,
    }
    let mut reports = Vec::new();
    for path in &args.runs {
        let failed = |why: String| Error::could_not_run(format!("{}: {why}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        reports.push(json::parse(&text).map_err(failed)?);
    }
    let outputs = Outputs::open(&args.outputs)?;
    match &reports[..] {
        [report] => Ok(publish(&args.outputs, outputs, report).exit_code(Exit::Ok.code())),
        reports => outputs.compare(reports).map(|()| Exit::Ok.code()),
    }
}

fn show_log(path: &Path, outputs: &OutputArgs) -> Result<u8, Error> {
    outputs.check_log()?;
    let failed = |why: String| Error::could_not_run(format!("{}: {why}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let mut failures = Failures::default();
    let log = IntervalLog::parse(&text).map_err(failed)?;
    let (output, hgrm) = outputs.open_log()?;
    failures.note(match output {
        Some(file) => file.write(&log.to_text()),
        None => to_stdout(&log.to_text()),
    });
    if let Some(file) = hgrm {
        failures.note(file.write(&log.to_hgrm()));
    }
    Ok(failures.exit_code(Exit::Ok.code()))
}
