//! Picks one of the pods of a service.
//!
//! ```
//! use service_registry::balance::{Balancer, RoundRobin};
//! use service_registry::{MemoryStore, Registry, RegistryStore, ServiceRegistration, ServiceStatus};
//!
//! let registry = Registry::new(MemoryStore::new());
//! for pod in ["pod-1", "pod-2"] {
//!     let pod = registry.register(ServiceRegistration::new("checkout", pod))?;
//!     registry.update_health_status(pod.key(), ServiceStatus::Healthy)?;
//! }
//! registry.update_health_status("checkout:pod-2", ServiceStatus::Draining)?;
//!
//! let (balancer, turns) = (Balancer::new(), RoundRobin::new());
//! let address = registry.store().with_view(|view| {
//!     let pod = balancer.among((view, "checkout")).round_robin(&turns)?;
//!     Some(pod.key().to_string())
//! })?;
//! assert_eq!(address.as_deref(), Some("checkout:pod-1"));
//! # Ok::<(), service_registry::StoreError>(())
//! ```
//!
//! A [`Balancer`] defines which pods are eligible: by default the healthy ones that have a weight,
//! optionally with some labels only, or with the caller's own zone first. [`Candidates`] has four
//! ways to pick one of them:
//!
//! | | for | keeps |
//! | --- | --- | --- |
//! | [`round_robin`](Candidates::round_robin) | requests that cost the same | a counter |
//! | [`random`](Candidates::random) | pods of different weights | nothing |
//! | [`two_choices`](Candidates::two_choices) | requests that differ; the caller knows how busy a pod is | what the caller counts |
//! | [`rendezvous`](Candidates::rendezvous) | keys that should meet the same pod each time (caches, sessions) | nothing |
//!
//! # Guarantees
//!
//! A draining pod or one of weight 0 is never picked. An unhealthy pod is picked only in [panic
//! mode](Balancer::with_panic_below), which is off by default. If no pod is eligible, the result is
//! `None`.
//!
//! # Time, randomness, cost
//!
//! The caller supplies the time and the random numbers, so a test can fix them. Any generator of 64
//! random bits will do; even the values of a counter are mixed well enough.
//!
//! A pick passes over the pods of the service once, O(*p*), and allocates nothing (except the
//! iterator of a view behind `dyn`, and the list of a [subset](Balancer::with_subset) larger than
//! 64). It passes over them a second time if the number of pods has changed (round robin), in panic
//! mode, and if more pods are [ejected](Ejections) than allowed.

mod balancer;
mod candidates;
mod choice;
mod ejections;
mod hash;
mod pods;
mod subset;

pub use balancer::Balancer;
pub use candidates::Candidates;
pub use choice::RoundRobin;
pub use ejections::Ejections;
pub use pods::Pods;
