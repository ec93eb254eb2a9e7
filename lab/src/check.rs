//! Whether a report is whole: of this form, complete, and in agreement with itself.

use std::collections::HashSet;

use serde_json::Value;

use crate::model::{Report, Row, SCHEMA_VERSION};
use crate::output::{self, words};

/// So many faults are named, and the rest counted.
const MOST: usize = 40;

/// Reads a report and looks for everything in it that cannot be. What follows from the
/// samples is computed again by `complete`, which fills in the values and ratios of the
/// rows, the noise and the answers.
///
/// # Errors
///
/// Each fault, with where it stands: `cells[3].rows[0].value.low: ...`. What they quote of the file
/// holds no control characters.
pub fn check(bytes: &[u8], complete: impl Fn(&mut Report)) -> Result<Report, Vec<String>> {
    let value = json(bytes).map_err(|fault| vec![fault])?;
    let mut faults = Faults::default();
    validate(&value, &mut faults);
    hostile("", &value, &mut faults);
    let report = match parse(value) {
        Ok(report) if faults.0.is_empty() => report,
        Ok(_) => return Err(faults.named()),
        Err(fault) => {
            if faults.0.is_empty() {
                faults.0.push(fault);
            }
            return Err(faults.named());
        }
    };
    context(&report, &mut faults);
    scenarios(&report, &mut faults);
    rows(&report, &mut faults);
    if faults.0.is_empty() {
        derived(&report, complete, &mut faults);
    }
    if faults.0.is_empty() { Ok(report) } else { Err(faults.named()) }
}

/// Reads a report that may contradict itself, to render or compare it: only its form is
/// looked at. Control characters in its texts are replaced.
///
/// # Errors
///
/// Why it is not a report of this form, and where that shows.
pub fn read(bytes: &[u8]) -> Result<Report, String> {
    let mut value = json(bytes)?;
    clean(&mut value);
    parse(value)
}

#[derive(Debug, Default)]
struct Faults(Vec<String>);

impl Faults {
    fn expect(&mut self, right: bool, at: impl FnOnce() -> String) {
        if !right {
            self.0.push(at());
        }
    }

    fn named(mut self) -> Vec<String> {
        for fault in &mut self.0 {
            *fault = words::clean(&words::short(fault, 400));
        }
        if self.0.len() > MOST {
            let more = self.0.len() - MOST;
            self.0.truncate(MOST);
            self.0.push(format!("... and {}", words::plural(more, "more fault")));
        }
        self.0
    }
}

/// The file as JSON, of the version that this program knows.
fn json(bytes: &[u8]) -> Result<Value, String> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| format!("not JSON: {error}"))?;
    match value.get("schema_version").and_then(Value::as_u64) {
        None => Err("no report: it has no `schema_version` at its top".into()),
        Some(version) if version != u64::from(SCHEMA_VERSION) => {
            Err(format!("a report of form {version}; this program reads form {SCHEMA_VERSION}"))
        }
        Some(_) => Ok(value),
    }
}

fn parse(value: Value) -> Result<Report, String> {
    serde_json::from_value(value).map_err(|error| words::clean(&format!("no report: {error}")))
}

/// Replaces in every text what would command a terminal.
fn clean(value: &mut Value) {
    match value {
        Value::String(text) => {
            *text = words::clean(text).replace(words::MARKS, "\u{FFFD}");
        }
        Value::Array(values) => values.iter_mut().for_each(clean),
        Value::Object(fields) => {
            let all = std::mem::take(fields).into_iter();
            *fields = all
                .map(|(name, mut value)| {
                    clean(&mut value);
                    (words::clean(&name).replace(words::MARKS, "\u{FFFD}"), value)
                })
                .collect();
        }
        _ => {}
    }
}

/// Holds it against the JSON Schema of the types.
fn validate(value: &Value, faults: &mut Faults) {
    let schema = serde_json::to_value(schemars::schema_for!(Report));
    let validator = schema.ok().and_then(|schema| jsonschema::validator_for(&schema).ok());
    let Some(validator) = validator else {
        faults.0.push("the JSON Schema of this program is not one".into());
        return;
    };
    for error in validator.iter_errors(value) {
        faults.0.push(format!("{}: {error}", place(&error.instance_path().to_string())));
    }
}

/// `/cells/3/unit` as `cells[3].unit`.
fn place(pointer: &str) -> String {
    let mut place = String::new();
    for part in pointer.split('/').skip(1) {
        if part.bytes().all(|byte| byte.is_ascii_digit()) && !part.is_empty() {
            place.extend(["[", part, "]"]);
        } else {
            place += if place.is_empty() { "" } else { "." };
            place += part;
        }
    }
    if place.is_empty() { "the report".into() } else { place }
}

fn hostile(at: &str, value: &Value, faults: &mut Faults) {
    match value {
        Value::String(text) => faults.expect(!text.contains(words::is_hostile), || {
            format!("{at}: a control character in {text:?}")
        }),
        Value::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                hostile(&format!("{at}[{index}]"), value, faults);
            }
        }
        Value::Object(fields) => {
            for (name, value) in fields {
                let dot = if at.is_empty() { "" } else { "." };
                faults.expect(!name.contains(words::is_hostile), || {
                    format!("{at}: a control character in the name {name:?}")
                });
                hostile(&format!("{at}{dot}{name}"), value, faults);
            }
        }
        _ => {}
    }
}

fn context(report: &Report, faults: &mut Faults) {
    let context = &report.context;
    let machine = &context.machine;
    let started = &context.started_at;
    faults.expect(started.parse::<jiff::Timestamp>().is_ok(), || {
        format!("context.started_at: {started:?} is no time of RFC 3339")
    });
    faults.expect(context.seconds.is_finite() && context.seconds >= 0.0, || {
        format!("context.seconds: a run cannot take {} seconds", context.seconds)
    });
    faults
        .expect(machine.cores > 0, || "context.machine.cores: nothing runs on 0 processors".into());
    faults.expect(machine.memory_bytes > 0, || {
        "context.machine.memory_bytes: nothing runs without memory".into()
    });
    for (name, load) in [("load_before", machine.load_before), ("load_after", machine.load_after)] {
        faults.expect(load.is_finite() && load >= 0.0, || {
            format!("context.machine.{name}: {load} is no load")
        });
    }
    let effort = context.effort.as_str();
    faults.expect(["smoke", "quick", "default", "full"].contains(&effort), || {
        format!("context.effort: {effort:?} is none of smoke, quick, default, full")
    });
    let profile = context.toolchain.profile.as_str();
    faults.expect(["release", "debug"].contains(&profile), || {
        format!("context.toolchain.profile: {profile:?} is neither release nor debug")
    });
    let lock = &context.lock_file;
    faults.expect(lock.len() == 64 && lock.bytes().all(|byte| byte.is_ascii_hexdigit()), || {
        format!("context.lock_file: {lock:?} is no SHA-256 in hexadecimal digits")
    });
    faults.expect(context.git_revision.is_some() || context.git_modified.is_none(), || {
        "context.git_modified: nobody can know without a revision".into()
    });
    let mut seen = HashSet::new();
    for (at, info) in context.contenders.iter().enumerate() {
        let id = &info.id;
        faults.expect(!id.is_empty() && seen.insert(id), || {
            format!("context.contenders[{at}].id: {id:?} is empty, or stands there twice")
        });
        if let Some(name) = &info.crate_name {
            faults.expect(context.crates.contains_key(name), || {
                format!("context.contenders[{at}].crate_name: {name:?} is not among context.crates")
            });
        }
    }
}

fn is_known(report: &Report, id: &str) -> bool {
    report.context.contenders.iter().any(|info| info.id == id)
}

fn scenarios(report: &Report, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for (at, run) in report.scenarios.iter().enumerate() {
        let at = format!("scenarios[{at}]");
        let name = &run.name;
        faults.expect(seen.insert(name), || format!("{at}.name: {name:?} stands there twice"));
        faults.expect(is_known(report, &run.reference), || {
            format!("{at}.reference: {:?} is not among context.contenders", run.reference)
        });
        faults.expect(run.dropped <= run.slices, || {
            format!("{at}.dropped: {} of {} slices", run.dropped, run.slices)
        });
        faults.expect(run.seconds.is_finite() && run.seconds >= 0.0, || {
            format!("{at}.seconds: a scenario cannot take {} seconds", run.seconds)
        });
        let has_rows = report.rows.iter().any(|row| row.id.scenario == *name);
        faults.expect(has_rows || report.context.ended_early.is_some(), || {
            format!("{at}: {name:?} was run to its end and has no rows")
        });
    }
}

fn rows(report: &Report, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for (row, at) in report.rows.iter().zip(crate::cells::places(&report.rows)) {
        let run = report.scenarios.iter().find(|run| run.name == row.id.scenario);
        faults.expect(run.is_some(), || {
            format!("{at}.scenario: {:?} is not among scenarios", row.id.scenario)
        });
        faults.expect(is_known(report, &row.contender), || {
            format!("{at}.contender: {:?} is not among context.contenders", row.contender)
        });
        faults.expect(row.id.threads > 0, || format!("{at}.threads: nobody measures on 0 threads"));
        faults.expect(seen.insert((row.place(), &row.contender)), || {
            format!("{at}: {} in {:?} stands there twice", row.contender, row.place())
        });
        let is_reference = run.is_some_and(|run| run.reference == row.contender);
        faults.expect(is_reference || row.again.is_empty(), || {
            format!("{at}.again: only the reference runs twice")
        });
        samples(&at, row, faults);
    }
}

fn samples(at: &str, row: &Row, faults: &mut Faults) {
    for (name, lives) in [("samples", &row.samples), ("again", &row.again)] {
        let wrong = lives.iter().flatten().flatten().find(|own| !own.is_finite() || **own < 0.0);
        faults.expect(wrong.is_none(), || {
            format!("{at}.{name}: {} is no measured value", wrong.unwrap_or(&f64::NAN))
        });
    }
    faults
        .expect(row.slices() > 0, || format!("{at}.samples: a value of nothing that was measured"));
    let shape = |lives: &[Vec<Option<f64>>]| lives.iter().map(Vec::len).collect::<Vec<_>>();
    faults.expect(row.again.is_empty() || shape(&row.samples) == shape(&row.again), || {
        format!("{at}.again: the reference ran twice in other rounds than once")
    });
}

/// Computes again what follows from the samples.
fn derived(report: &Report, complete: impl Fn(&mut Report), faults: &mut Faults) {
    let mut again = report.clone();
    again.answers.clear();
    again.noise.clear();
    complete(&mut again);
    // As text and back, so that both have the digits of a file.
    let [stated, found] = [report, &again].map(|report| {
        let text = output::json(report).unwrap_or_default();
        serde_json::from_slice::<Value>(&text).unwrap_or_default()
    });
    for part in ["cells", "noise", "answers"] {
        differences(part, &stated[part], &found[part], faults);
    }
}

fn differences(at: &str, stated: &Value, found: &Value, faults: &mut Faults) {
    match (stated, found) {
        (Value::Object(stated), Value::Object(found)) => {
            let names: std::collections::BTreeSet<_> = stated.keys().chain(found.keys()).collect();
            for name in names {
                let [stated, found] =
                    [stated, found].map(|own| own.get(name).unwrap_or(&Value::Null));
                differences(&format!("{at}.{name}"), stated, found, faults);
            }
        }
        (Value::Array(stated), Value::Array(found)) => {
            faults.expect(stated.len() == found.len(), || {
                format!(
                    "{at}: {} stand there, {} follow from the samples",
                    stated.len(),
                    found.len()
                )
            });
            for (index, (stated, found)) in stated.iter().zip(found).enumerate() {
                differences(&format!("{at}[{index}]"), stated, found, faults);
            }
        }
        (Value::Number(stated), Value::Number(found)) => {
            let [a, b] = [stated, found].map(|own| own.as_f64().unwrap_or(f64::NAN));
            faults.expect((a - b).abs() <= 1e-4 * a.abs().max(b.abs()), || {
                format!("{at}: {stated} stands there, {found} follows from the samples")
            });
        }
        _ => faults.expect(stated == found, || {
            format!("{at}: {stated} stands there, {found} follows from the samples")
        }),
    }
}
