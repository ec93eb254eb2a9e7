//! `report.json`: a line for each row, and only significant digits.

use serde_json::{Number, Value};

use crate::fault::Fault;
use crate::model::Report;

/// The number of significant digits of a figure.
const DIGITS: usize = 6;
/// Down to this depth, every value is on its own line.
const DEEP: usize = 2;

/// Returns the report as it is in the file.
pub(crate) fn value(report: &Report) -> Result<Value, Fault> {
    let value = serde_json::to_value(report);
    let mut value = value.map_err(|error| Fault::new(format!("report.json: {error}")))?;
    change(&mut value, "", &mut |_, leaf| {
        if let Some(figure) = leaf.as_f64().filter(|_| leaf.is_f64()) {
            let rounded: f64 = format!("{figure:.*e}", DIGITS - 1).parse().unwrap_or(figure);
            // A whole number is written without a fraction.
            let number = format!("{rounded}").parse::<i64>().map(Number::from).ok();
            *leaf = number.or_else(|| Number::from_f64(rounded)).map_or(Value::Null, Value::Number);
        }
    });
    Ok(value)
}

/// Calls `leaf` with each text, number and boolean, and the name of its field.
pub(crate) fn change(value: &mut Value, name: &str, leaf: &mut impl FnMut(&str, &mut Value)) {
    match value {
        Value::Array(all) => all.iter_mut().for_each(|own| change(own, name, leaf)),
        Value::Object(all) => all.iter_mut().for_each(|(name, own)| change(own, name, leaf)),
        own => leaf(name, own),
    }
}

/// Returns the report as text.
pub(crate) fn text(report: &Report) -> Result<Vec<u8>, Fault> {
    Ok((written(&value(report)?, "", 0, 0) + "\n").into_bytes())
}

/// Formats a value. The fields of the report, the values directly below them, and the rows of a
/// cell are on lines of their own.
fn written(value: &Value, name: &str, depth: usize, indent: usize) -> String {
    let lines = depth < DEEP || name == "rows";
    let inner = indent + usize::from(lines);
    let ([open, close], parts): (_, Vec<String>) = match value {
        Value::Array(all) => {
            (["[", "]"], all.iter().map(|own| written(own, "", depth + 1, inner)).collect())
        }
        Value::Object(all) => {
            let part = |(name, own): (&String, &Value)| {
                format!("{}:{}", Value::from(&**name), written(own, name, depth + 1, inner))
            };
            (["{", "}"], all.iter().map(part).collect())
        }
        leaf => return leaf.to_string(),
    };
    if !lines || parts.is_empty() {
        return format!("{open}{}{close}", parts.join(","));
    }
    let line = format!("\n{:inner$}", "");
    format!("{open}{line}{}\n{:indent$}{close}", parts.join(&format!(",{line}")), "")
}

/// Returns the JSON Schema of the report.
pub(crate) fn schema() -> Result<Vec<u8>, Fault> {
    let schema = schemars::schema_for!(Report);
    let text = serde_json::to_string_pretty(&schema);
    let text = text.map_err(|error| Fault::new(format!("report.schema.json: {error}")))?;
    Ok((text + "\n").into_bytes())
}
