//! The questions, and which figures decide each: fixed before a run.

use crate::model::{ContenderInfo, Kind, Place};

/// A need and what decides over it: the first of the trials that was run.
pub(super) struct Question {
    pub(super) need: &'static str,
    pub(super) group: &'static str,
    pub(super) who: Who,
    pub(super) trials: &'static [Trial],
    /// What to mind, whichever store it is.
    pub(super) caveat: &'static str,
}

/// What decides over a need: a part of a scenario.
pub(super) struct Trial {
    pub(super) scenario: &'static str,
    /// What part, in words.
    pub(super) part: &'static str,
    pub(super) wanted: fn(&Place) -> bool,
}

/// Who can be the answer.
#[derive(Clone, Copy)]
pub(super) enum Who {
    /// Every store of this crate.
    All,
    /// Those that threads can share.
    Shared,
    /// Those that hand out immutable views: decided by promise, not by speed.
    Views,
    /// This one: decided by promise.
    Named(&'static str),
}

const MEMORY: &str = "memory";

impl Who {
    pub(super) fn may(self, info: &ContenderInfo) -> bool {
        let views = || info.promises.as_ref().is_some_and(|own| own.snapshot != "no");
        info.kind == Kind::Ours
            && match self {
                Who::All => true,
                Who::Shared => info.id != MEMORY,
                Who::Views => views(),
                Who::Named(id) => info.id == id,
            }
    }

    pub(super) fn by_promise(self) -> bool {
        matches!(self, Who::Views | Who::Named(_))
    }
}

const ALONE: &str = "One thread";
const SEVERAL: &str = "Several threads";
const VIEWS: &str = "Views and scans";
const MEMORY_AND_START: &str = "Memory and start";

const ON_ONE_THREAD: &str = "measured on one thread: what threads do to each other is not in it";

#[rustfmt::skip] // one line each, so that it reads as the table that it is
pub(super) const ALL: &[Question] = &[
    Question { need: "One thread", group: ALONE, who: Who::All, caveat: "", trials: &[
        Trial { scenario: "operations", part: "one thread", wanted: |own| own.id.threads == 1 },
    ] },
    Question { need: "Many threads, reads on every request, few writes", group: SEVERAL, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "sustained", part: "100/0 and 95/5 on two or more threads", wanted: |own| many(own) && mix(own, &["100/0", "95/5"]) },
        Trial { scenario: "burst-30x100", part: "100/0 and 95/5", wanted: |own| mix(own, &["100/0", "95/5"]) },
    ] },
    Question { need: "Many threads, reads and writes mixed", group: SEVERAL, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "sustained", part: "80/20 and 50/50 on two or more threads", wanted: |own| many(own) && mix(own, &["80/20", "50/50"]) },
        Trial { scenario: "burst-30x100", part: "80/20 and 50/50", wanted: |own| mix(own, &["80/20", "50/50"]) },
    ] },
    Question { need: "Many threads, mostly writes", group: SEVERAL, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "sustained", part: "0/100 on two or more threads", wanted: |own| many(own) && mix(own, &["0/100"]) },
        Trial { scenario: "burst-30x100", part: "0/100", wanted: |own| mix(own, &["0/100"]) },
    ] },
    Question { need: "Many threads ask for the same few pods", group: SEVERAL, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "hot-key", part: "two or more threads", wanted: many },
        Trial { scenario: "zipf", part: "two or more threads", wanted: many },
    ] },
    Question { need: "Reads that stay quick while others write", group: SEVERAL, who: Who::Shared,
        caveat: "the tail is the machine's as well; a store with a thread of its own has one more to wait for, beside a writer that never sleeps", trials: &[
        Trial { scenario: "writer-storm", part: "p99 and p99.9 from the intended start, beside a writer", wanted: tail },
        Trial { scenario: "health-sweep", part: "p99 and p99.9 from the intended start", wanted: tail },
    ] },
    Question { need: "A change is seen soon", group: SEVERAL, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "visibility", part: "median from the start of the write", wanted: |own| own.metric == "p50" },
    ] },
    Question { need: "Several answers that agree: a view of one moment", group: VIEWS, who: Who::Views, caveat: "", trials: &[
        Trial { scenario: "views", part: "a view taken, asked and dropped", wanted: |_| true },
    ] },
    Question { need: "Scans of everything while it changes", group: VIEWS, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "snapshot-scan", part: "get_all_services beside a writer", wanted: |own| own.id.cell.starts_with("get_all_services") },
    ] },
    Question { need: "All pods of a name", group: VIEWS, who: Who::Shared, caveat: ON_ONE_THREAD, trials: &[
        Trial { scenario: "by-name", part: "on one thread", wanted: |_| true },
        Trial { scenario: "operations", part: "get_services_by_name on one thread", wanted: |own| own.id.cell == "get_services_by_name" },
    ] },
    Question { need: "Who listens to a group", group: VIEWS, who: Who::Shared, caveat: ON_ONE_THREAD, trials: &[
        Trial { scenario: "subscriptions", part: "get_subscribers on one thread", wanted: |own| own.id.cell.starts_with("get_subscribers") },
        Trial { scenario: "operations", part: "get_subscribers on one thread", wanted: |own| own.id.cell == "get_subscribers" },
    ] },
    Question { need: "Many pods at the start", group: MEMORY_AND_START, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "fill-and-drop", part: "fill", wanted: |own| own.metric == "fill" },
    ] },
    Question { need: "Little memory", group: MEMORY_AND_START, who: Who::Shared, caveat: "", trials: &[
        Trial { scenario: "memory", part: "bytes a service, 1,000 services and more", wanted: kept },
    ] },
    Question { need: "An event loop, one owner of the data", group: MEMORY_AND_START, who: Who::Named("worker"),
        caveat: "where the loop is yours already, a MemoryStore inside it costs no round trip", trials: &[
        Trial { scenario: "operations", part: "a read from another thread, there and back", wanted: |own| own.id.cell == "with_service" },
    ] },
];

fn many(own: &Place) -> bool {
    own.id.threads > 1
}

/// Whether the cell is of one of these mixes, `95/5` say.
fn mix(own: &Place, mixes: &[&str]) -> bool {
    let mut words = own.id.cell.split(|c: char| !c.is_ascii_digit() && c != '/');
    words.any(|word| mixes.contains(&word))
}

/// The slowest reads beside a writer: not those of a cell in which nobody writes.
fn tail(own: &Place) -> bool {
    let quiet =
        own.id.cell == "0" || own.id.cell.starts_with("0 ") || own.id.cell.contains("alone");
    ["p99", "p99.9"].contains(&&*own.metric) && !quiet
}

/// The memory of a store, not that of an answer or a view: of those, freeing late would
/// look good. Of a few services the tables are mostly empty.
fn kept(own: &Place) -> bool {
    own.id.services >= 1_000 && ["live", "peak", "after_churn"].contains(&&*own.metric)
}
