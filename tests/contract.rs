//! The contract of `RegistryStore`: one suite, run against every store.
//!
//! The tests are generic functions in `testkit/src/contract/`, each named after the promise
//! that it checks; a crate, so that stores from elsewhere have them as well. Here they meet the
//! stores: every pair is a test of its own,
//! `snapshot::plain::batches::the_first_change_that_fails_is_named`. A new store
//! is a line in `support/stores.rs`. `contract/broken.rs` shows that the suite
//! notices a store that breaks a promise.

// The kit is a crate for others, too.
#![allow(unreachable_pub)]
// A build with fewer stores uses less of this file.
#![cfg_attr(
    not(all(
        feature = "thread-safe",
        feature = "worker",
        feature = "evmap",
        feature = "snapshot",
        feature = "versioned"
    )),
    allow(dead_code, unused_imports, unused_macros)
)]

#[macro_use]
mod support;

#[path = "../testkit/src/contract/batches.rs"]
mod batches;
#[path = "contract/broken.rs"]
mod broken;
#[path = "../testkit/src/contract/closing.rs"]
mod closing;
#[path = "../testkit/src/contract/closures.rs"]
mod closures;
#[path = "../testkit/src/contract/conditions.rs"]
mod conditions;
#[path = "../testkit/src/contract/copies.rs"]
mod copies;
#[path = "contract/elsewhere.rs"]
mod from_elsewhere;
#[path = "../testkit/src/contract/guarding.rs"]
mod guarding;
#[path = "../testkit/src/contract/law.rs"]
mod law;
#[path = "../testkit/src/contract/leases.rs"]
mod leases;
#[path = "../testkit/src/contract/leasing.rs"]
mod leasing;
#[path = "contract/misheard.rs"]
mod misheard;
#[path = "../testkit/src/contract/names.rs"]
mod names;
#[path = "../testkit/src/contract/order.rs"]
mod order;
#[path = "../testkit/src/contract/overtaken.rs"]
mod overtaken;
#[path = "../testkit/src/contract/readers.rs"]
mod readers;
#[path = "../testkit/src/contract/registry.rs"]
mod registry;
#[path = "../testkit/src/contract/restoring.rs"]
mod restoring;
#[path = "../testkit/src/contract/revisions.rs"]
mod revisions;
#[path = "../testkit/src/contract/services.rs"]
mod services;
#[path = "../testkit/src/contract/shared.rs"]
mod shared;
#[path = "../testkit/src/contract/snapshots.rs"]
mod snapshots;
#[path = "../testkit/src/contract/subscriptions.rs"]
mod subscriptions;
#[path = "contract/texts.rs"]
mod texts;
#[cfg(feature = "snapshot")]
#[path = "contract/twins.rs"]
mod twins;
#[path = "../testkit/src/contract/watches.rs"]
mod watches;
#[path = "../testkit/src/contract/whole.rs"]
mod whole;
use law as differences;
use restoring as watched_restoring;
use watches as threads_that_watch;
use watches as views;

#[macro_use]
#[path = "../testkit/src/suite.rs"]
mod suite;

fn within_patience(test: impl FnOnce() + Send + 'static) {
    support::within(support::PATIENCE, test);
}

mod memory {
    with_logs!(service_registry::MemoryStore::with_log);
    mod plain {
        every_store!(service_registry::MemoryStore::new());
        watched_store!(service_registry::MemoryStore::new());
    }
    // A pointer passes each call on in the same way, to whichever store (`src/store.rs`).
    mod borrowed {
        every_store!(crate::leaked(service_registry::MemoryStore::new()));
    }
    mod counted {
        every_store!(std::rc::Rc::new(service_registry::MemoryStore::new()));
    }
    #[allow(clippy::arc_with_non_send_sync)] // it is about the pointer
    mod shared {
        every_store!(std::sync::Arc::new(service_registry::MemoryStore::new()));
    }
    mod boxed_dyn {
        every_store!(Box::new(service_registry::MemoryStore::new())
            as Box<dyn service_registry::RegistryStore>);
    }
}

/// The suite for one of the stores in `support/stores.rs`.
macro_rules! suite {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            with_logs!(service_registry::$store::with_log);
            mod plain {
                every_store!(service_registry::$store::new());
                shared_store!(service_registry::$store::new());
                watched_store!(service_registry::$store::new());
                shared_watched_store!(service_registry::$store::new());
            }
            /// Chosen at run time: passes each call on, which no race can see.
            mod opened {
                every_store!(service_registry::StoreKind::$kind.open());
                watched_store!(service_registry::StoreKind::$kind.open());
            }
        }
    };
}

shared_stores!(suite);

/// What the stores in `support/views.rs` promise besides.
mod viewed {
    macro_rules! suite {
        ($feature:literal $module:ident $store:ident $snapshot:ident $reader:ident) => {
            #[cfg(feature = $feature)]
            mod $module {
                snapshot_store!(service_registry::$store::new());
                watched_snapshot_store!(service_registry::$store::new());
                reader_store!(service_registry::$store::new());
            }
        };
    }

    viewed_stores!(suite);
}

/// Queues whose bound is felt, and one that has none.
#[cfg(feature = "worker")]
mod worker_with_a_queue_of {
    use service_registry::changes::LogOptions;
    use service_registry::{RegistryStore, WorkerStore};

    fn queue_of(length: usize) -> WorkerStore {
        WorkerStore::with_queue(length, LogOptions::default())
    }

    mod none {
        every_store!(crate::worker_with_a_queue_of::queue_of(0));
        shared_store!(crate::worker_with_a_queue_of::queue_of(0));
    }
    mod one {
        shared_store!(crate::worker_with_a_queue_of::queue_of(1));
    }
    mod any_length {
        every_store!(crate::worker_with_a_queue_of::queue_of(usize::MAX));
        shared_store!(crate::worker_with_a_queue_of::queue_of(usize::MAX));
    }

    #[test]
    fn every_length_works() {
        const LONG: usize = 1 << 16;
        let lengths = [
            2,
            1_000,
            LONG - 1,
            LONG,
            LONG + 1,
            isize::MAX as usize,
            usize::MAX / 2 + 2,
            usize::MAX - 1,
        ];
        for length in lengths {
            let store = queue_of(length);
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| store.ping().unwrap());
                }
            });
        }
    }
}

/// A store from elsewhere, and the provided methods of the trait.
mod elsewhere {
    with_logs!(crate::from_elsewhere::ExternalStore::with_log);
    every_store!(crate::from_elsewhere::ExternalStore::new());
    shared_store!(crate::from_elsewhere::ExternalStore::new());
    watched_store!(crate::from_elsewhere::ExternalStore::new());
    shared_watched_store!(crate::from_elsewhere::ExternalStore::new());
}

/// The stores of `broken.rs`, without a fault.
mod unbroken {
    every_store!(crate::broken::broken(crate::broken::Fault::None));
    shared_store!(crate::broken::broken(crate::broken::Fault::None));
    watched_store!(crate::broken::broken(crate::broken::Fault::None));
    shared_watched_store!(crate::broken::broken(crate::broken::Fault::None));
}

/// A reference that lives for as long as any thread may want it.
fn leaked<S>(store: S) -> &'static S {
    Box::leak(Box::new(store))
}

/// `docs/guide.md` says of each store for which writers a closure may wait.
#[test]
#[cfg(any(
    feature = "thread-safe",
    feature = "worker",
    feature = "evmap",
    feature = "snapshot",
    feature = "versioned"
))]
fn a_closure_may_wait_for_the_writers_that_its_store_lets_through() {
    use service_registry::{RegistryStore, StoreKind};
    use std::{sync::mpsc::channel, thread, time::Duration};

    for kind in StoreKind::ALL {
        let let_through = match kind.to_string().as_str() {
            "thread-safe" => 0,
            "evmap" => 1,
            _ => 3,
        };
        within_patience(move || {
            let store = kind.open();
            support::fill_store(&store);
            thread::scope(|scope| {
                let (store, (wrote, written)) = (&store, channel());
                let done = store.with_service(support::KEY, |_| {
                    scope.spawn(move || {
                        for n in 0..3 {
                            let group = format!("written while a closure waits, {n}");
                            store.add_subscription(support::KEY, &group).unwrap();
                            // Nobody listens once the closure has returned.
                            let _ = wrote.send(());
                        }
                    });
                    // Those that are let through have all the time they need.
                    for _ in 0..let_through {
                        written.recv().unwrap();
                    }
                    written.recv_timeout(Duration::from_millis(100)).is_ok()
                });
                assert_eq!(done, Ok(false), "{kind}");
            });
            assert_eq!(store.stats().unwrap().subscriptions, 3 + 3, "{kind}");
        });
    }
}

/// A store that can be chosen at run time is in the suite.
#[test]
fn every_store_kind_is_in_the_suite() {
    use service_registry::StoreKind;
    let mut tested: Vec<StoreKind> = Vec::new();
    macro_rules! push {
        ($feature:literal $module:ident $kind:ident $store:ident) => {
            #[cfg(feature = $feature)]
            tested.push(StoreKind::$kind);
        };
    }
    shared_stores!(push);
    tested.sort_unstable();
    let mut all = StoreKind::ALL.to_vec();
    all.sort_unstable();
    assert_eq!(tested, all);
}
