//! The report as JSON, and back.

use super::{Report, SCHEMA_VERSION};

pub(super) fn render(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).expect("all keys are strings");
    text.push('\n');
    text
}

/// Reads what [`render`] wrote, now or with another version of this program.
pub(super) fn parse(text: &str) -> Result<Report, String> {
    // The version first: a report of another one fails for reasons that would only confuse.
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
    match value.get("schema_version").and_then(serde_json::Value::as_u64) {
        Some(version) if version == u64::from(SCHEMA_VERSION) => {}
        Some(version) => {
            return Err(format!(
                "has schema_version {version}, this program reads {SCHEMA_VERSION}"
            ));
        }
        None => return Err("is not a report: it has no schema_version".to_owned()),
    }
    serde_json::from_value(value).map_err(|error| format!("is not a report: {error}"))
}
