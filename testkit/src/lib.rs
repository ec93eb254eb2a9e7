//! The contract of [`RegistryStore`](service_registry::RegistryStore) as tests, for stores from
//! elsewhere.
//!
//! One call of [`contract!`] in a test file makes a test of each promise, named after it:
//!
//! ```
//! # // A doctest has no harness that would run them.
//! use service_registry::VersionedStore;
//!
//! mod my_store {
//!     service_registry_testkit::contract! {
//!         super::VersionedStore::new();
//!         shared, watched;
//!         with_log: super::VersionedStore::with_log
//!     }
//! }
//! # fn main() {}
//! ```
//!
//! ```console
//! cargo test --test my_store
//! ```
//!
//! `services::a_deleted_record_is_gone_in_every_way` is one of them. They are the tests that the
//! stores of the crate have themselves.
//!
//! A test that does not end in 200 seconds has failed: it is a deadlock.

// What is not hidden is documented; the tests have their names.
#![allow(missing_docs, clippy::missing_panics_doc, clippy::must_use_candidate)]
#![allow(
    clippy::missing_errors_doc,
    clippy::needless_pass_by_value,
    clippy::new_without_default,
    clippy::return_self_not_must_use
)]

#[doc(hidden)]
pub mod support;

#[doc(hidden)]
#[path = "contract/batches.rs"]
pub mod batches;
#[doc(hidden)]
#[path = "contract/closing.rs"]
pub mod closing;
#[doc(hidden)]
#[path = "contract/closures.rs"]
pub mod closures;
#[doc(hidden)]
#[path = "contract/conditions.rs"]
pub mod conditions;
#[doc(hidden)]
#[path = "contract/copies.rs"]
pub mod copies;
#[doc(hidden)]
#[path = "contract/law.rs"]
pub mod law;
#[doc(hidden)]
#[path = "contract/leases.rs"]
pub mod leases;
#[doc(hidden)]
#[path = "contract/leasing.rs"]
pub mod leasing;
#[doc(hidden)]
#[path = "contract/names.rs"]
pub mod names;
#[doc(hidden)]
#[path = "contract/registry.rs"]
pub mod registry;
#[doc(hidden)]
#[path = "contract/restoring.rs"]
pub mod restoring;
#[doc(hidden)]
#[path = "contract/revisions.rs"]
pub mod revisions;
#[doc(hidden)]
#[path = "contract/services.rs"]
pub mod services;
#[doc(hidden)]
#[path = "contract/shared.rs"]
pub mod shared;
#[doc(hidden)]
#[path = "contract/snapshots.rs"]
pub mod snapshots;
#[doc(hidden)]
#[path = "contract/subscriptions.rs"]
pub mod subscriptions;
#[doc(hidden)]
#[path = "contract/watches.rs"]
pub mod watches;

#[doc(hidden)]
pub use law as differences;
#[doc(hidden)]
pub use restoring as watched_restoring;
#[doc(hidden)]
pub use watches as threads_that_watch;
#[doc(hidden)]
pub use watches as views;

mod suite;

/// Runs `test` under a watchdog.
#[doc(hidden)]
pub fn within_patience(test: impl FnOnce() + Send + 'static) {
    support::within(support::PATIENCE, test);
}

/// Makes a test of each promise of the contract for the store that `$make` makes, an expression
/// that is evaluated for each test, and for some of them several times.
///
/// Behind it stands what the store promises besides: `shared` among threads (it is `Send` and
/// `Sync`), `watched` (it tells of changes). A `with_log: path` to a function from
/// [`LogOptions`](service_registry::changes::LogOptions) to the store adds logs that are too small.
///
/// The tests are modules where it is called, so that two stores need a module each.
#[macro_export]
macro_rules! contract {
    ($make:expr $(; with_log: $with_log:expr)? $(;)?) => {
        $crate::every_store!($make);
        $($crate::with_logs!($with_log);)?
    };
    ($make:expr; shared $(; with_log: $with_log:expr)? $(;)?) => {
        $crate::contract!($make $(; with_log: $with_log)?);
        $crate::shared_store!($make);
    };
    ($make:expr; watched $(; with_log: $with_log:expr)? $(;)?) => {
        $crate::contract!($make $(; with_log: $with_log)?);
        $crate::watched_store!($make);
    };
    ($make:expr; shared, watched $(; with_log: $with_log:expr)? $(;)?) => {
        $crate::contract!($make; shared $(; with_log: $with_log)?);
        $crate::watched_store!($make);
        $crate::shared_watched_store!($make);
    };
}
