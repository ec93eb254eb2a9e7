//! The laboratory: what the stores cost, measured.
//!
//! Behind the feature `lab`, for `cargo lab` and the benches; the library
//! needs nothing of it, and nothing in it is part of the crate's promises.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `workload.rs`, `workload/` | what is asked of a store, made from a seed |
//! | `contender.rs`, `contender/` | who is measured: our stores, and what a user would write instead |
//! | `scenarios.rs`, `scenarios/` | what is measured; one file or folder each |
//! | `gang.rs` | threads that start together |
//! | `open_loop.rs` | reads that come when they are due, and a writer beside them |
//! | `seat.rs` | a processor of its own for each of two threads |
//! | `crew.rs` | who does the work of a burst: a pool, tasks, plain threads |
//! | `window.rs` | threads that go on, and what they did in the middle of it |
//! | `run.rs` | blocks: who runs when, and which blocks are repeated |
//! | `progress.rs` | what a terminal shows meanwhile |
//! | `process.rs` | a process for each contender; what others did meanwhile |
//! | `counting.rs` | an allocator that counts, for memory and allocations |
//! | `record.rs`, `fault.rs` | what a process takes down, and what can go wrong |
//! | `summary.rs` | from samples to rows, comparisons and the noise floor |
//! | `stats.rs` | medians and intervals |
//! | `model.rs` | the results, as `report.json` holds them |
//! | `context.rs` | where, with what and how a run was made |
//! | `overall.rs` | one ratio for many cells |
//! | `verdict.rs` | which store to use, from those ratios |
//! | `stability.rs` | whether a run can be believed |
//! | `schema.rs` | the JSON Schema of `report.json` |
//! | `compare.rs` | what changed from one report to the next |
//! | `check.rs` | whether a report is whole |
//! | `section.rs` | what a scenario has to show |
//! | `targets.rs` | what the stores are meant to reach |
//! | `output.rs`, `output/` | pages, tables, charts |
//! | `synthetic.rs` | a made-up report, for the tests |
//!
//! - A new **contender** is a [`RegistryStore`](crate::RegistryStore) with a name:
//!   implement [`Contender`](contender::Contender) and add a line to
//!   [`contender::visit`]. Every scenario measures it from then on.
//! - A new **scenario** is a file that implements
//!   [`Scenario`](scenarios::Scenario), and a line in [`scenarios::ALL`]. It
//!   measures, and says what its results look like; run, summary and outputs need
//!   not know it.
//! - A new **chart** is a variant of [`section::Block`], and a file in `output/`
//!   that draws it.

mod check;
pub mod compare;
pub mod contender;
mod context;
pub mod counting;
pub mod crew;
pub mod fault;
pub mod gang;
pub mod model;
pub mod open_loop;
pub mod output;
pub mod overall;
pub mod process;
mod progress;
pub mod record;
pub mod run;
pub mod scenarios;
pub mod schema;
pub mod seat;
pub mod section;
pub mod stability;
pub mod stats;
mod summary;
#[cfg(test)]
mod synthetic;
mod targets;
pub mod verdict;
pub mod window;
pub mod workload;

pub use check::check;
pub use fault::Fault;
pub use model::Report;
pub use run::{Scale, Settings, run};
