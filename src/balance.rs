//! From the pods of a name to the one to call.
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
//! A [`Balancer`] says which pods come into question: healthy ones that have a weight, of one's own
//! zone first, with certain labels. A [`Candidates`] has four ways to pick one of them:
//!
//! | | for | keeps |
//! | --- | --- | --- |
//! | [`round_robin`](Candidates::round_robin) | requests that cost the same | a counter |
//! | [`random`](Candidates::random) | pods of different weights | nothing |
//! | [`two_choices`](Candidates::two_choices) | requests that differ; the caller knows how busy a pod is | what the caller counts |
//! | [`rendezvous`](Candidates::rendezvous) | keys that should meet the same pod each time (caches, sessions) | nothing |
//!
//! # What always holds
//!
//! A draining pod and one of weight 0 are never picked. One that is not healthy is picked in
//! [panic mode](Balancer::with_panic_below) only, which has to be asked for. Where nothing is left,
//! the answer is `None`.
//!
//! # Time, chance, cost
//!
//! The time and random numbers are the caller's, so that a test decides them: any generator will
//! do that fills 64 bits, and even a counter is mixed well. A pick goes through the pods of the
//! name once, O(*p*), and allocates nothing (a view behind `dyn` allocates the iterator, and a
//! [subset](Balancer::with_subset) of more than 64 the list). It goes
//! through them a second time where the count of pods has changed (round robin), in panic mode, and
//! where [`Ejections`] have come to be more than they may.

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
