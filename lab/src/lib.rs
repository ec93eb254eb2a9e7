//! The laboratory of `service-registry`.

mod cells;
pub mod check;
pub mod compare;
pub mod fault;
pub mod model;
pub mod output;
pub mod scenario;
pub mod stage;
#[cfg(test)]
mod synthetic;
