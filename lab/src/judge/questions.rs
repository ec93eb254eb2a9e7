//! The questions, and the figures that decide each: `questions.json`, fixed before a run.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::model::{ContenderInfo, ContenderKind, Row};

/// A need of a user. The first of its trials that was run decides which store fits.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Question {
    pub(super) need: String,
    pub(super) group: String,
    pub(super) who: Candidates,
    pub(super) trials: Vec<Trial>,
    /// A caveat that applies to every answer.
    #[serde(default)]
    pub(super) caveat: String,
}

/// A part of a scenario that decides a question.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Trial {
    pub(super) scenario: String,
    /// The part in words.
    pub(super) part: String,
    /// The prefixes of the names of its cells; empty: all cells.
    cells: Vec<String>,
    /// Its metrics; empty: all.
    metrics: Vec<String>,
    /// The minimum number of threads.
    threads: usize,
}

impl Trial {
    /// Returns whether a row belongs to it.
    pub(super) fn wants(&self, row: &Row) -> bool {
        let begins = |name: &String| row.id.cell.starts_with(name);
        row.id.scenario == self.scenario
            && row.id.threads >= self.threads
            && (self.cells.is_empty() || self.cells.iter().any(begins))
            && (self.metrics.is_empty() || self.metrics.contains(&row.metric))
    }
}

/// The stores that can be the answer.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Candidates {
    /// All stores of this crate.
    All,
    /// The stores that threads can share.
    Shared,
    /// The stores with immutable views: decided by promise, not by speed.
    Views,
    /// The store with this id: decided by promise.
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

/// All questions, in the order in which they are shown.
pub(super) static ALL: LazyLock<Vec<Question>> = LazyLock::new(|| {
    serde_json::from_str(include_str!("questions.json")).expect("questions.json holds questions")
});
