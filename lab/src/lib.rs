//! The laboratory of `service-registry`.
//!
//! | in `lab/src/` | what |
//! | --- | --- |
//! | `scenario.rs`, `scenarios.json` | the type of a scenario, and all scenarios |
//! | `subject.rs` | the operations of a contender |
//! | `contender.rs`, `contender/` | the contenders (`who.json`); all maps are in `bare.rs` |
//! | `workload/`, `stage.rs` | the one runner of scenarios: keys, threads, clocks, checks |
//! | `run.rs`, `plan.rs`, `machine.rs`, `process.rs`, `child.rs` | rounds, lives, processes |
//! | `model.rs`, `stats.rs`, `judge/` | the report, its intervals, the questions and answers |
//! | `output/` | terminal, page, Markdown, CSV, charts, all from a report alone |
//! | `cli.rs`, `tasks.rs` | the command line, and its commands |
//! | `check.rs`, `compare.rs`, `save.rs` | checking a report, comparing two, writing files |

// Counts and nanoseconds stay far below 2^52.
#![allow(clippy::cast_precision_loss)]
// Figures of tests are exact.
#![cfg_attr(test, allow(clippy::float_cmp))]

mod affinity;
mod check;
pub mod child;
mod cli;
mod compare;
pub mod contender;
pub mod context;
mod counting;
pub mod fault;
pub mod fleet;
pub mod judge;
mod machine;
pub mod model;
pub mod output;
pub mod plan;
mod process;
pub mod run;
mod save;
pub mod scenario;
pub mod scenarios;
pub mod stage;
mod stats;
pub mod subject;
#[cfg(test)]
mod synthetic;
pub mod tasks;
mod words;
pub mod workload;

/// Runs `cargo lab` with contenders from outside this crate, each on its level. Call it from the
/// `main` of your own program. See `docs/research.md`.
pub fn main_with(guests: Vec<(model::Level, contender::Contender)>) -> std::process::ExitCode {
    match contender::invite(guests) {
        Ok(()) => tasks::main(),
        Err(fault) => {
            tasks::complain(&fault.0);
            2.into()
        }
    }
}
