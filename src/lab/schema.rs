//! The JSON Schema of `report.json`: made from the types in `model.rs`, committed
//! as `docs/report.schema.json`, and held against every smoke run.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::model::Report;

/// The committed file.
pub const COMMITTED: &str = include_str!("../../docs/report.schema.json");

/// What the committed file has to be.
pub fn text() -> String {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Report>();
    schema.insert("title".into(), "report.json of service-registry".into());
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// Holds a document against the committed schema. Answers with everything that is
/// wrong with it, and where.
pub fn faults(document: &Value) -> Vec<String> {
    const MOST: usize = 20;
    let validator = serde_json::from_str(COMMITTED)
        .map_err(|error| error.to_string())
        .and_then(|schema| jsonschema::validator_for(&schema).map_err(|error| error.to_string()));
    let validator = match validator {
        Ok(validator) => validator,
        Err(error) => return vec![format!("docs/report.schema.json is no schema: {error}")],
    };
    let mut errors = validator.iter_errors(document);
    let mut faults: Vec<String> = errors
        .by_ref()
        .take(MOST)
        .map(|error| {
            let place = match error.instance_path().to_string() {
                place if place.is_empty() => Cow::Borrowed("the top"),
                place => Cow::Owned(place),
            };
            format!("at {place}: {}", short(&error.to_string()))
        })
        .collect();
    let more = errors.count();
    if more > 0 {
        faults.push(format!("and {more} more"));
    }
    faults
}

/// An error may hold the whole document.
fn short(text: &str) -> String {
    const WIDTH: usize = 200;
    let characters = text.chars().count();
    if characters <= WIDTH {
        return text.into();
    }
    let end: String = text.chars().skip(characters - WIDTH / 2).collect();
    let start: String = text.chars().take(WIDTH / 2).collect();
    format!("{start} ... {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_schema_is_that_of_the_types() {
        assert_eq!(
            COMMITTED,
            text(),
            "docs/report.schema.json is old: `cargo lab schema` writes it"
        );
    }

    #[test]
    fn a_document_that_is_no_report_is_refused_and_told_where() {
        let report = crate::lab::synthetic::report();
        let right = serde_json::to_value(&report).unwrap();
        assert_eq!(faults(&right), [""; 0]);
        let broken = |change: fn(&mut Value)| {
            let mut broken = right.clone();
            change(&mut broken);
            faults(&broken).join("; ")
        };
        let said = broken(|value| value["results"][0]["value"] = Value::Null);
        assert!(said.contains("/results/0/value"), "{said}");
        let said = broken(|value| {
            value["context"]["machine"].take();
        });
        assert!(said.contains("/context/machine"), "{said}");
        let said = broken(|value| {
            value.as_object_mut().unwrap().remove("summary");
        });
        assert!(said.contains("summary"), "{said}");
        let said = broken(|value| value["processes"][0]["block"] = (-1).into());
        assert!(said.contains("/processes/0/block"), "{said}");
    }
}
