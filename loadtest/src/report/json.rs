//! Reports as JSON: rendering and parsing.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::base::exit::{Error, Exit};
use crate::report::model::comparison::ComparisonReport;
use crate::report::model::{Report, SCHEMA_VERSION};

/// Renders the report of a run.
pub(crate) fn render(report: &Report) -> String {
    pretty(report)
}

/// Renders the comparisons of runs with a base.
pub(crate) fn render_comparison(report: &ComparisonReport) -> String {
    pretty(report)
}

fn pretty(report: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("all keys are strings");
    text.push('\n');
    text
}

/// Reads the report of an earlier run from a file.
pub(crate) fn read(path: &Path) -> Result<Report, Error> {
    let shown = path.display();
    let text = fs::read_to_string(path)
        .map_err(|error| Error::could_not_run(format!("cannot read {shown}: {error}")))?;
    parse(&text).map_err(|why| Error::new(Exit::Usage, format!("{shown} {why}")))
}

/// Parses the output of [`render`], of this or another version of the program.
pub(crate) fn parse(text: &str) -> Result<Report, String> {
    // The version is checked first: a report of another schema would fail with a misleading error.
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    match value.get("schema_version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(SCHEMA_VERSION) => {}
        Some(version) => {
            return Err(format!(
                "has schema_version {version}, but this program reads {SCHEMA_VERSION}"
            ));
        }
        None => return Err("is not a report: it has no schema_version".to_owned()),
    }
    serde_json::from_value(value).map_err(|error| format!("is not a report: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    /// Fields that were added to the schema later, by object and name.
    const ADDED: &[(&str, &str)] = &[
        ("", "network"),
        ("/connections", "slow_connects"),
        ("/server", "pids"),
        ("/server", "voluntary_switches"),
        ("/server", "involuntary_switches"),
        ("/failures/0", "first_s"),
        ("/failures/0", "last_s"),
        ("/failures/0", "example"),
    ];

    /// Goal: a report from before a field was added is parsed, and its other fields stay the same.
    ///
    /// Method: parse a report without any such field and render it again.
    ///
    /// Kills: a new field that is required in old reports.
    #[test]
    fn reports_without_later_fields_are_read() {
        let mut old = serde_json::to_value(fixture::open_loop()).unwrap();
        for (object, name) in ADDED {
            let object = old.pointer_mut(object).unwrap().as_object_mut().unwrap();
            assert!(object.remove(*name).is_some(), "{name}");
        }
        let report = parse(&old.to_string()).unwrap();
        let mut read = serde_json::to_value(report).unwrap();
        for (object, name) in ADDED {
            let object = read.pointer_mut(object).unwrap().as_object_mut().unwrap();
            object.remove(*name);
        }
        assert_eq!(read, old);
    }
}
