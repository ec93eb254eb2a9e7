//! All scenarios, as data, in `scenarios.json`.
//!
//! The single runner in [`crate::workload`] executes them. Fields that a cell leaves out have the
//! values of [`Cell::default`](crate::scenario::Cell).

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::contender;
use crate::scenario::{Cell, Orchestration, Scenario};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScenarioFile {
    /// Contenders that often take part together.
    #[serde(borrow)]
    groups: HashMap<&'static str, Vec<&'static str>>,
    scenarios: Vec<Scenario>,
}

/// Returns all scenarios, in the order in which they run and appear.
///
/// # Panics
///
/// Panics if the file is not well-formed; a test checks it.
pub fn all() -> &'static [Scenario] {
    static ALL: LazyLock<Vec<Scenario>> = LazyLock::new(read);
    &ALL
}

fn read() -> Vec<Scenario> {
    let file = serde_json::from_str(include_str!("scenarios.json"));
    let ScenarioFile { groups, scenarios: mut all } = file.expect("scenarios.json holds scenarios");
    for scenario in &mut all {
        let members = |name| groups.get(name).cloned().unwrap_or_else(|| vec![name]);
        let named = std::mem::take(&mut scenario.contenders);
        scenario.contenders = named.into_iter().flat_map(members).collect();
    }
    for (level, guest) in contender::guests() {
        // A contender from outside need not support watches.
        let is_told =
            |cell: &Cell| matches!(cell.orchestration, Orchestration::Notification { .. });
        let with = |own: &&mut Scenario| {
            own.level == *level
                && own.contenders.contains(&"thread-safe")
                && !own.cells.iter().any(is_told)
        };
        for scenario in all.iter_mut().filter(with) {
            scenario.contenders.push(&guest.info.id);
        }
    }
    all
}
