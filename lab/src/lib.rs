//! The laboratory of `service-registry`.

pub mod contender;
pub mod fault;
pub mod fleet;
pub mod model;
pub mod scenario;
pub mod scenarios;
pub mod stage;
pub mod subject;
pub mod workload;

/// The allocator of everybody.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
