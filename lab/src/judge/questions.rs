//! The questions, and which figures decide each: `questions.json`, fixed before a run.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::model::{ContenderInfo, ContenderKind, Row};

/// A need and what decides over it: the first of the trials that was run.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    pub(super) need: String,
    pub(super) group: String,
    pub(super) who: Candidates,
    pub(super) trials: Vec<Trial>,
    /// What to mind, whichever store it is.
    #[serde(default)]
    pub(super) caveat: String,
}

/// What decides over a need: a part of a scenario.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Trial {
    pub(super) scenario: String,
    /// What part, in words.
    pub(super) part: String,
    /// How the names of its cells begin; all cells where none is said.
    cells: Vec<String>,
    /// Its metrics; all where none is said.
    metrics: Vec<String>,
    /// On how many threads at least.
    threads: usize,
}

impl Trial {
    /// Whether a figure has a part in it.
    pub(super) fn wants(&self, row: &Row) -> bool {
        let begins = |name: &String| row.id.cell.starts_with(name);
        row.id.scenario == self.scenario
            && row.id.threads >= self.threads
            && (self.cells.is_empty() || self.cells.iter().any(begins))
            && (self.metrics.is_empty() || self.metrics.contains(&row.metric))
    }
}

/// Who can be the answer.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Candidates {
    /// Every store of this crate.
    All,
    /// Those that threads can share.
    Shared,
    /// Those that hand out immutable views: decided by promise, not by speed.
    Views,
    /// This one: decided by promise.
    Named(String),
}

impl Candidates {
    pub(super) fn may(&self, info: &ContenderInfo) -> bool {
        let views = || info.promises.as_ref().is_some_and(|own| own.snapshot != "no");
        info.kind == ContenderKind::Ours
            && match self {
                Candidates::All => true,
                Candidates::Shared => info.id != "memory",
                Candidates::Views => views(),
                Candidates::Named(id) => info.id == *id,
            }
    }

    pub(super) fn by_promise(&self) -> bool {
        matches!(self, Candidates::Views | Candidates::Named(_))
    }
}

/// All of them, in the order in which they are shown.
pub(super) static ALL: LazyLock<Vec<Question>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("questions.json")).expect("questions.json holds questions")
});
