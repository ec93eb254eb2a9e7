//! The laboratory of `service-registry`.

pub mod fault;
pub mod model;
pub mod scenario;
pub mod stage;
