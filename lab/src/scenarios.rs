//! What is measured: every scenario, as data, in `scenarios.json`.
//!
//! The one runner in [`crate::workload`] does the rest. What a cell does not say is as
//! [`Cell::default`](crate::scenario::Cell) has it.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::contender;
use crate::scenario::{Cell, Orchestration, Scenario};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    /// Contenders that often take part together.
    #[serde(borrow)]
    groups: HashMap<&'static str, Vec<&'static str>>,
    scenarios: Vec<Scenario>,
}

/// All scenarios, in the order in which they are run and shown.
///
/// # Panics
///
/// Where the file is not well-formed, which a test looks at.
pub fn all() -> &'static [Scenario] {
    static ALL: LazyLock<Vec<Scenario>> = LazyLock::new(read);
    &ALL
}

fn read() -> Vec<Scenario> {
    let file = serde_json::from_str(include_str!("scenarios.json"));
    let File { groups, scenarios: mut all } = file.expect("scenarios.json holds scenarios");
    for scenario in &mut all {
        let members = |name| groups.get(name).cloned().unwrap_or_else(|| vec![name]);
        let named = std::mem::take(&mut scenario.contenders);
        scenario.contenders = named.into_iter().flat_map(members).collect();
    }
    for (level, guest) in contender::guests() {
        // A guest need not be one that can be watched.
        let told = |cell: &Cell| matches!(cell.orchestration, Orchestration::Told { .. });
        let with = |own: &&mut Scenario| {
            own.level == *level
                && own.contenders.contains(&"thread-safe")
                && !own.cells.iter().any(told)
        };
        for scenario in all.iter_mut().filter(with) {
            scenario.contenders.push(&guest.info.id);
        }
    }
    all
}
