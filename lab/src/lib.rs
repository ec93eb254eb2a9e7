//! The laboratory of `service-registry`.

mod cells;
pub mod check;
pub mod child;
pub mod compare;
pub mod fault;
pub mod judge;
mod machine;
pub mod model;
pub mod output;
pub mod plan;
mod process;
pub mod run;
pub mod scenario;
pub mod stage;
mod stats;
#[cfg(test)]
mod synthetic;
