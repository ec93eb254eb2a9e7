#![doc = include_str!("../README.md")]
// All public items are documented; hidden tests are described by their names.
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
#[path = "contract/guarding.rs"]
pub mod guarding;
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
#[path = "contract/order.rs"]
pub mod order;
#[doc(hidden)]
#[path = "contract/overtaken.rs"]
pub mod overtaken;
#[doc(hidden)]
#[path = "contract/readers.rs"]
pub mod readers;
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
#[path = "contract/whole.rs"]
pub mod whole;

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

/// Generates a test for each promise of the contract, for the store that the expression `$make`
/// creates. The expression is evaluated for each test, and several times for some of them.
///
/// After the expression, list the further promises of the store, in this order:
///
/// - `shared`: threads can share it, so it is `Send` and `Sync`.
/// - `watched`: it reports changes to watches.
/// - `snapshots`: it implements [`Snapshots`](service_registry::Snapshots); requires `shared`.
///
/// With `with_log: path`, where `path` is a function from
/// [`LogOptions`](service_registry::changes::LogOptions) to the store, the store is also tested
/// with logs that are too small.
///
/// Every store must implement [`commit_changes`](service_registry::RegistryStore::commit_changes);
/// the provided method cannot report changes, and fails the tests.
///
/// The macro expands to modules with tests, so two stores need a module each.
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
    ($make:expr; shared, snapshots $(; with_log: $with_log:expr)? $(;)?) => {
        $crate::contract!($make; shared $(; with_log: $with_log)?);
        $crate::snapshot_store!($make);
    };
    ($make:expr; shared, watched, snapshots $(; with_log: $with_log:expr)? $(;)?) => {
        $crate::contract!($make; shared, watched $(; with_log: $with_log)?);
        $crate::snapshot_store!($make);
        $crate::watched_snapshot_store!($make);
    };
}

/// Returns the tests of [`contract!`] as data: a `Vec<(&'static str, fn())>` of names and
/// functions, for a custom harness, or for a store that keeps only a part of the promises. Takes
/// the same promises after the store as `contract!`, but not `with_log`.
///
/// A function returns if the store keeps the promise, and panics if it does not. None has a
/// watchdog.
///
/// ```
/// use service_registry::MemoryStore;
/// use service_registry_testkit::tests_of;
///
/// let tests = tests_of!(MemoryStore::new(); watched);
/// let (_, test) = tests.iter().find(|(name, _)| *name == "services::a_new_store_is_empty").unwrap();
/// test();
/// ```
#[macro_export]
macro_rules! tests_of {
    ($make:expr) => {
        ::std::vec::Vec::<(&'static str, fn())>::from($crate::every_store! {
            [$crate::listed] $make
        })
    };
    ($make:expr; shared) => {{
        let mut tests = $crate::tests_of!($make);
        tests.extend($crate::shared_store! { [$crate::listed] $make });
        tests
    }};
    ($make:expr; watched) => {{
        let mut tests = $crate::tests_of!($make);
        tests.extend($crate::watched_store! { [$crate::listed] $make });
        tests
    }};
    ($make:expr; shared, watched) => {{
        let mut tests = $crate::tests_of!($make; shared);
        tests.extend($crate::watched_store! { [$crate::listed] $make });
        tests.extend($crate::shared_watched_store! { [$crate::listed] $make });
        tests
    }};
    ($make:expr; shared, snapshots) => {{
        let mut tests = $crate::tests_of!($make; shared);
        tests.extend($crate::snapshot_store! { [$crate::listed] $make });
        tests
    }};
    ($make:expr; shared, watched, snapshots) => {{
        let mut tests = $crate::tests_of!($make; shared, watched);
        tests.extend($crate::snapshot_store! { [$crate::listed] $make });
        tests.extend($crate::watched_snapshot_store! { [$crate::listed] $make });
        tests
    }};
}
