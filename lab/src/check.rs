//! Checks that a report is valid, complete and consistent.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::model::{Report, SCHEMA_VERSION, cells};
use crate::output::json;
use crate::words;

/// The number of faults that are listed; the rest are counted.
const MOST: usize = 40;

/// Reads a report and finds all its faults. `complete` computes the values and ratios of the rows,
/// the noise and the answers again from the samples. Each fault names its place:
/// `/cells/3/rows/0/value/low: ...`; quotes from the file have no control characters.
pub(crate) fn check(bytes: &[u8], complete: impl Fn(&mut Report)) -> Result<Report, Vec<String>> {
    let value = json(bytes).map_err(|fault| vec![fault])?;
    let mut faults = FaultList::default();
    validate(&value, &mut faults);
    hostile(&value, &mut faults);
    if !faults.0.is_empty() {
        return Err(faults.named());
    }
    let report = parse(value).map_err(|fault| vec![fault])?;
    context(&report, &mut faults);
    scenarios(&report, &mut faults);
    rows(&report, &mut faults);
    if faults.0.is_empty() {
        derived(&report, complete, &mut faults);
    }
    if faults.0.is_empty() { Ok(report) } else { Err(faults.named()) }
}

/// Reads a report that may be inconsistent, to render or compare it: checks only its form. Replaces
/// control characters in its texts.
pub(crate) fn read(bytes: &[u8]) -> Result<Report, String> {
    let mut value = json(bytes)?;
    clean(&mut value);
    parse(value)
}

#[derive(Debug, Default)]
struct FaultList(Vec<String>);

impl FaultList {
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

/// Parses the file as JSON, and checks that this program knows its version.
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

/// Replaces terminal control characters in every text.
fn clean(value: &mut Value) {
    json::change(value, "", &mut |_, leaf| {
        if let Value::String(text) = leaf {
            // An endless text would keep the renderer busy.
            *text = words::clean(&words::short(text, 10_000));
        }
    });
    // The only keys that are not field names.
    if let Some(crates) = value.pointer_mut("/context/crates").and_then(Value::as_object_mut) {
        let all = std::mem::take(crates).into_iter();
        *crates = all.map(|(name, version)| (words::clean(&name), version)).collect();
    }
}

/// Validates it against the JSON Schema of the types.
fn validate(value: &Value, faults: &mut FaultList) {
    let schema = serde_json::to_value(schemars::schema_for!(Report)).unwrap_or_default();
    let validator = jsonschema::options().should_validate_formats(true).build(&schema);
    let Ok(validator) = validator else {
        faults.0.push("the JSON Schema of this program is not one".into());
        return;
    };
    for error in validator.iter_errors(value) {
        let at = error.instance_path().to_string();
        let at = if at.is_empty() { "the report" } else { &at };
        faults.0.push(format!("{at}: {error}"));
    }
}

/// Lists each text, number and boolean by its place, and the length of each list.
fn leaves(at: &str, value: &Value, found: &mut Map<String, Value>) {
    match value {
        Value::Array(values) => {
            found.insert(at.into(), values.len().into());
            for (index, value) in values.iter().enumerate() {
                leaves(&format!("{at}/{index}"), value, found);
            }
        }
        Value::Object(fields) => {
            fields.iter().for_each(|(name, own)| leaves(&format!("{at}/{name}"), own, found));
        }
        leaf => drop(found.insert(at.into(), leaf.clone())),
    }
}

fn hostile(value: &Value, faults: &mut FaultList) {
    let mut all = Map::new();
    leaves("", value, &mut all);
    for (at, value) in all {
        let text = value.as_str().unwrap_or_default();
        faults.expect(!at.contains(words::is_hostile) && !text.contains(words::is_hostile), || {
            format!("{at}: a control character in its name or in {value:?}")
        });
    }
}

fn context(report: &Report, faults: &mut FaultList) {
    let context = &report.context;
    let asked = |option: &str| context.command.contains(option);
    let efforts = ["smoke", "quick", "full"].map(|effort| (effort, format!("--{effort}")));
    for (effort, option) in efforts {
        faults.expect(asked(&option) == (context.effort == effort), || {
            format!("/context/effort: {:?} is not what {:?} does", context.effort, context.command)
        });
    }
    faults.expect(context.command.ends_with(&format!("--seed {}", context.seed)), || {
        format!("/context/seed: {} is not that of {:?}", context.seed, context.command)
    });
    let all: f64 = report.scenarios.iter().map(|run| run.seconds).sum();
    faults.expect(all <= context.seconds * 1.01 + 1.0, || {
        format!("/context/seconds: {} for scenarios that took {all:.1}", context.seconds)
    });
    faults.expect(context.git_revision.is_some() || context.git_modified.is_none(), || {
        "/context/git_modified: nobody can know without a revision".into()
    });
    let mut seen = HashSet::new();
    for (at, info) in context.contenders.iter().enumerate() {
        let at = format!("/context/contenders/{at}");
        faults
            .expect(seen.insert(&info.id), || format!("{at}/id: {:?} stands there twice", info.id));
        let known = info.crate_name.as_ref().is_none_or(|name| context.crates.contains_key(name));
        faults.expect(known, || {
            format!("{at}/crate_name: {:?} is not among context.crates", info.crate_name)
        });
    }
}

fn is_known(report: &Report, id: &str) -> bool {
    report.context.contenders.iter().any(|info| info.id == id)
}

fn scenarios(report: &Report, faults: &mut FaultList) {
    let mut seen = HashSet::new();
    for (at, run) in report.scenarios.iter().enumerate() {
        let at = format!("/scenarios/{at}");
        let name = &run.name;
        faults.expect(seen.insert(name), || format!("{at}/name: {name:?} stands there twice"));
        faults.expect(is_known(report, &run.reference), || {
            format!("{at}/reference: {:?} is not among context.contenders", run.reference)
        });
        faults.expect(run.dropped <= run.slices, || {
            format!("{at}/dropped: {} of {} slices", run.dropped, run.slices)
        });
        // An open loop has one figure for all slices of a life; each slice yields every metric.
        let mut kept = HashMap::new();
        for row in report.rows.iter().filter(|row| row.id.scenario == *name) {
            let measured = row.samples.iter().chain(&row.again).flatten().flatten().count();
            kept.insert((&row.id, &row.contender), measured as u64);
        }
        let has_rows = !kept.is_empty();
        let kept: u64 = kept.into_values().sum();
        faults.expect(kept + run.dropped <= run.slices, || {
            format!("{at}/slices: {} for {kept} samples and {} dropped", run.slices, run.dropped)
        });
        faults.expect(has_rows || report.context.ended_early.is_some(), || {
            format!("{at}: {name:?} was run to its end and has no rows")
        });
    }
}

fn rows(report: &Report, faults: &mut FaultList) {
    let shape = |lives: &[Vec<Option<f64>>]| lives.iter().map(Vec::len).collect::<Vec<_>>();
    let (mut seen, mut losses) = (HashSet::new(), HashMap::new());
    for (row, at) in report.rows.iter().zip(cells::places(&report.rows)) {
        let run = report.scenarios.iter().find(|run| run.name == row.id.scenario);
        faults.expect(run.is_some(), || {
            format!("{at}/scenario: {:?} is not among scenarios", row.id.scenario)
        });
        faults.expect(is_known(report, &row.contender), || {
            format!("{at}/contender: {:?} is not among context.contenders", row.contender)
        });
        faults.expect(seen.insert((row.cell_metric(), &row.contender)), || {
            format!("{at}: {} in {:?} stands there twice", row.contender, row.cell_metric())
        });
        let is_reference = run.is_some_and(|run| run.reference == row.contender);
        faults.expect(is_reference || row.again.is_empty(), || {
            format!("{at}/again: only the reference runs twice")
        });
        faults.expect(*losses.entry(&row.id).or_insert(row.lost) == row.lost, || {
            format!("{at}: lost to others is not the same in all metrics of {:?}", row.id)
        });
        faults.expect(row.slices() > 0, || {
            format!("{at}/samples: a value of nothing that was measured")
        });
        faults.expect(row.again.is_empty() || shape(&row.samples) == shape(&row.again), || {
            format!("{at}/again: the reference ran twice in other rounds than once")
        });
    }
}

/// Computes all derived figures again from the samples.
fn derived(report: &Report, complete: impl Fn(&mut Report), faults: &mut FaultList) {
    let mut again = report.clone();
    again.answers.clear();
    again.noise.clear();
    complete(&mut again);
    // Both with as many digits as in a file.
    let [stated, found] = [report, &again].map(|report| {
        let mut all = Map::new();
        let value = json::value(report).unwrap_or_default();
        for part in ["cells", "noise", "answers"] {
            leaves(&format!("/{part}"), &value[part], &mut all);
        }
        all
    });
    let more = stated.keys().filter(|at| !found.contains_key(*at));
    for at in found.keys().chain(more) {
        let [stated, found] = [&stated, &found].map(|all| all.get(at).unwrap_or(&Value::Null));
        let is_near = match (stated.as_f64(), found.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= 1e-4 * a.abs().max(b.abs()),
            _ => stated == found,
        };
        faults.expect(is_near, || {
            format!("{at}: {stated} stands there, {found} follows from the samples")
        });
    }
}
