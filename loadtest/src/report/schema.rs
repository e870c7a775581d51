//! The JSON Schemas in `schema/`, generated from the serialized types.
//!
//! **Invariant.** The committed schemas match the types (`schemas_are_as_committed`). After a
//! change of the types, `RENEW_SCHEMAS=1 cargo test -p loadtest --lib schema` writes them.
//!
//! A field that was added within a schema version has `#[serde(default)]`: older files still load,
//! and the schema does not require it.

use std::path::Path;

use schemars::generate::SchemaSettings;
use schemars::transform::{RecursiveTransform, Transform};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::report::model::comparison::ComparisonReport;
use crate::report::model::{Report, SCHEMA_VERSION};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schema");

fn schema_of<T: JsonSchema>(title: &str) -> String {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<T>();
    RecursiveTransform(tidy).transform(&mut schema);
    schema.insert("title".to_owned(), title.into());
    let properties = schema.get_mut("properties").expect("a struct has fields");
    properties["schema_version"] = json!({ "const": SCHEMA_VERSION });
    serde_json::to_string_pretty(&schema).expect("all keys are strings") + "\n"
}

fn tidy(schema: &mut Schema) {
    // JSON Schema does not define formats such as `uint32`; the bounds beside them are sufficient.
    schema.remove("format");
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = without_links(text);
    }
    let later: Vec<Value> = match schema.get("properties") {
        Some(Value::Object(fields)) => {
            let later = fields.iter().filter(|(_, field)| field.get("default").is_some());
            later.map(|(name, _)| name.clone().into()).collect()
        }
        _ => return,
    };
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| !later.contains(name));
    }
}

/// Converts a doc comment to one line, with `Name` in place of `[Name](path)`.
fn without_links(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, link)) = rest.split_once("[`") {
        let Some((name, after)) = link.split_once("`]") else { break };
        plain += &format!("{before}`{name}`");
        rest = match after.strip_prefix('(').and_then(|path| path.split_once(')')) {
            Some((_, after)) => after,
            None => after,
        };
    }
    plain += rest;
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Goal: the committed schemas match the types.
///
/// Method: generate and compare them. With `RENEW_SCHEMAS` set they are written instead.
///
/// Kills: an unnoticed field that is renamed, removed or gets another type; a handwritten schema.
#[test]
fn schemas_are_as_committed() {
    for (name, schema) in [
        ("report-v1.json", schema_of::<Report>("Report of a run of loadtest")),
        (
            "compared-v1.json",
            schema_of::<ComparisonReport>("What loadtest compare and loadtest ab found"),
        ),
    ] {
        let path = Path::new(DIRECTORY).join(name);
        if std::env::var_os("RENEW_SCHEMAS").is_some() {
            std::fs::write(&path, &schema).unwrap();
        }
        let committed = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == schema,
            "{} does not match the types: run RENEW_SCHEMAS=1 cargo test -p loadtest --lib schema \
             and review the difference: a field that is removed or changes its meaning needs \
             another schema_version",
            path.display()
        );
    }
}

/// Goal: a schema requires the fields of the first version and no later ones.
///
/// Method: a type with a later field, with one that may be null and has a link in its comment.
///
/// Kills: refusing the files of an earlier version of the program; requiring nothing.
#[test]
fn later_fields_are_not_required() {
    #[derive(serde::Serialize, serde::Deserialize, JsonSchema)]
    struct Later {
        schema_version: u32,
        /// As in [`Report`](crate::report::model::Report),
        /// or [`Path`].
        name: Option<String>,
        #[serde(default)]
        later: Option<String>,
    }
    let schema: Value = serde_json::from_str(&schema_of::<Later>("Later")).unwrap();
    assert_eq!(schema["required"], json!(["schema_version", "name"]));
    assert_eq!(schema["properties"]["schema_version"], json!({ "const": 1 }));
    assert_eq!(schema["properties"]["name"]["type"], json!(["string", "null"]));
    assert_eq!(schema["properties"]["name"]["description"], "As in `Report`, or `Path`.");
}
