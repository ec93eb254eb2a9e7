//! An in-process service registry: *which pods serve `user-service`, are they
//! healthy, and who wants to know when that changes?*
//!
//! There is one interface, [`RegistryStore`], and several interchangeable stores
//! behind it, with different costs for readers and writers. The project's
//! laboratory measures these costs (`cargo lab`), so that you choose a store from
//! evidence, and change it with one word.
//!
//! # Usage
//!
//! ```
//! use service_registry::{MemoryStore, Provider, Protocol, Registry, ServiceRegistration, ServiceStatus};
//!
//! let registry = Registry::new(MemoryStore::new());
//!
//! registry.register(
//!     ServiceRegistration::new("user-service", "pod-1")
//!         .with_provider(Provider::new(Protocol::Http, [10, 0, 0, 7], 8080))
//!         .with_subscription("payment"),
//! )?;
//! registry.update_health_status("user-service:pod-1", ServiceStatus::Healthy)?;
//!
//! for pod in registry.get_services_by_name("user-service")? {
//!     println!("{} is {} at {}", pod.key(), pod.status(), pod.providers()[0]);
//! }
//! assert_eq!(registry.get_subscribers("payment")?, ["user-service:pod-1"]);
//! # Ok::<(), service_registry::StoreError>(())
//! ```
//!
//! [`Registry`] is the front that applications use; the stores below it can be
//! used by themselves.
//!
//! # Stores
//!
//! | store | feature | readers | writers | snapshot |
//! | --- | --- | --- | --- | --- |
//! | [`MemoryStore`] | | plain, one thread | plain | no |
//! | `WorkerStore` | `worker` | message round trip | event queue, one worker | no |
//! | `ThreadSafeMemoryStore` | `thread-safe` (default) | shared lock | exclusive lock | no |
//! | `EvmapStore` | `evmap` | wait-free | one at a time, published to both of two maps | no |
//! | `SnapshotStore` | `snapshot` | lock-free | one at a time, copy-on-write | O(1), `Send + Sync + 'static` |
//! | `VersionedStore` | `versioned` | lock-free | one at a time, a new version of what changes | O(1), `Send + Sync + 'static` |
//!
//! Every store keeps all promises of [`RegistryStore`]: a batch is atomic, and a
//! scan is consistent. The stores differ in how much readers and writers cost each
//! other:
//!
//! - One thread: [`MemoryStore`], the fastest.
//! - Several threads that rarely use it: `ThreadSafeMemoryStore`, the simplest.
//! - Several threads that mostly read, or answers that must agree with each
//!   other: `VersionedStore`. It frees a replaced version only after up to a few
//!   thousand more were replaced, and not while a thread stays inside a read. If
//!   more than a fifth of the calls are writes, measure.
//! - The same with few writes, and memory that must be freed at once:
//!   `SnapshotStore`. Its writes cost more than those of any other store except
//!   `WorkerStore`.
//! - Several threads that read all the time with short closures, and few writes:
//!   `EvmapStore`. A stalled reader stalls its writers.
//! - An event loop that owns its state: `WorkerStore`.
//!
//! `docs/guide.md` in the repository says more, and when not to use each.
//!
//! # Choosing one
//!
//! [`DefaultStore`] is the store that a Cargo feature selects
//! (`default-snapshot`, ...); [`StoreKind`] chooses when the program runs.
//! A program written against [`RegistryStore`] runs on all of them.
//!
//! # Consistency
//!
//! Every operation is linearizable on every store: it takes effect at one moment
//! between its call and its return. That holds for scans
//! ([`get_all_services`](RegistryStore::get_all_services) and the others that
//! return several records) and for a whole [`Batch`]. Two *separate* calls see two
//! moments. To get several answers from one moment, use a [`RegistryView`]: a
//! snapshot if the store has them, or [`with_view`](RegistryStore::with_view) on any
//! store.
//!
//! # Changes
//!
//! A [`watch`](RegistryStore::watch) delivers the state of a service, a pod, a group or
//! everything, and then every change to it, without a gap; see [`changes`].
//!
//! ```
//! use service_registry::changes::{Event, Selection};
//! use service_registry::{MemoryStore, Registry, ServiceRegistration};
//!
//! let registry = Registry::new(MemoryStore::new());
//! let mut watch = registry.watch(Selection::service("user-service"))?;
//! assert!(matches!(watch.recv()?, Event::State { .. }));
//! registry.register(ServiceRegistration::new("user-service", "pod-1"))?;
//! assert!(matches!(watch.recv()?, Event::Changes { .. }));
//! # Ok::<(), service_registry::StoreError>(())
//! ```
//!
//! A [`Batch`] can demand what was there before it, [`require`](Batch::require), and remove a
//! record only if it is still the one that was looked at, [`remove_if`](Batch::remove_if).
//! [`replace_source`](Registry::replace_source) makes the records of one source those of a
//! list.
//!
//! # Which pod to call
//!
//! [`balance`] picks one of the pods of a name: in turn, at random by weight, the less loaded of
//! two, or by a key; one's own zone first.
//!
//! # Leases
//!
//! A pod that is registered with a lease is removed if it does not renew the lease; see
//! [`leases`]. With the feature `checks`, the module `checks` probes the registered pods.
//!
//! # Copies
//!
//! A [`ServiceInfo`] is immutable, and cloning it increments a reference count. The
//! caller owns each record that a store returns, and pays for one such clone.
//! [`with_service`](RegistryStore::with_service) reads without it.
//!
//! # Features
//!
//! | feature | adds |
//! | --- | --- |
//! | `thread-safe` (default) | `ThreadSafeMemoryStore` |
//! | `worker` | `WorkerStore`, and `crossbeam-channel` |
//! | `evmap` | `EvmapStore`, and `evmap` |
//! | `snapshot` | `SnapshotStore`, and `arc-swap`, `arrayvec`, `imbl`, `wide` |
//! | `versioned` | `VersionedStore`, and `versioned-map`, `imbl` |
//! | `default-memory`, `default-worker`, `default-thread-safe`, `default-evmap`, `default-snapshot`, `default-versioned` | what [`DefaultStore`] is; the strongest wins |
//! | `serde` | reading and writing the data model |
//! | `stream` | watches as `futures_core::Stream`s |
//! | `metrics` | what commits, watches and sweeps of leases do, and how much there is, for the crate `metrics` |
//! | `tracing` | an event of the crate `tracing` for each commit, and for each watch that fell behind |
//! | `tower` | a watch as the discovery of a balancer of `tower`, which tonic has, too |
//! | `dump` | the module `dump`: a registry as a file, and back; adds `serde_json` and `crc32fast` |
//! | `checks` | health checks, and `tokio` |

#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod balance;
pub mod changes;
#[cfg(feature = "checks")]
pub mod checks;
#[cfg(feature = "dump")]
pub mod dump;
mod hash;
pub mod leases;
#[cfg(feature = "metrics")]
pub mod metrics;
mod model;
mod observe;
mod registry;
mod select;
mod store;
mod sync;
#[cfg(feature = "tower")]
pub mod tower;

pub use model::batch::Batch;
pub use model::cause::Cause;
pub use model::change::Change;
pub use model::condition::{Condition, Conflict, Expected, Found, OnForeign};
pub use model::error::{Failure, InvalidInput, Problem, Result, StoreError};
pub use model::host::Host;
pub use model::key::ServiceKey;
pub use model::labels::Labels;
pub use model::limits::{
    MAX_HOST_LEN, MAX_METADATA, MAX_METADATA_KEY_LEN, MAX_METADATA_VALUE_LEN, MAX_NAME_LEN,
    MAX_PROTOCOL_LEN, MAX_PROVIDERS, MAX_SUBSCRIPTIONS, MAX_URL_LEN,
};
pub use model::protocol::Protocol;
pub use model::provider::Provider;
pub use model::record::ServiceInfo;
pub use model::registration::ServiceRegistration;
pub use model::revision::Revision;
pub use model::status::{HealthUpdate, ServiceStatus};
pub use model::upkeep::Upkeep;
pub use registry::Registry;
pub use select::{DefaultStore, StoreKind};
pub use store::*;

/// The examples of the README and of the guide, compiled.
#[cfg(all(
    doctest,
    feature = "checks",
    feature = "snapshot",
    feature = "versioned",
    feature = "worker",
    feature = "thread-safe",
    feature = "serde"
))]
#[doc = include_str!("../README.md")]
#[doc = include_str!("../docs/guide.md")]
#[doc = include_str!("../docs/leases.md")]
struct Readme;
