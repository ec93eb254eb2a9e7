//! The laboratory of `service-registry`.

mod cells;
pub mod check;
pub mod compare;
pub mod fault;
pub mod judge;
pub mod model;
pub mod output;
pub mod scenario;
pub mod stage;
mod stats;
#[cfg(test)]
mod synthetic;
