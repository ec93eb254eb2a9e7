//! The laboratory of `service-registry`.

pub mod contender;
mod counting;
pub mod fault;
pub mod fleet;
pub mod model;
pub mod scenario;
pub mod scenarios;
pub mod stage;
pub mod subject;
pub mod workload;
