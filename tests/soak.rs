//! Endurance: thirty threads for minutes, and readers that never wait for a writer.
//!
//! ```console
//! SOAK_SECONDS=120 cargo test --release --all-features --test soak -- --ignored --nocapture
//! ```
//!
//! runs `SOAK_SECONDS` (120 where it is not set) for each store. The same code runs
//! for a moment with the other tests, so that it cannot rot. What is checked:
//!
//! - **The final state is exact.** Writers have keys of their own and a model of
//!   them; every answer, and at the end of each round the whole store, is what the
//!   models say.
//! - **Memory levels off**, by a rule that stands in `soak/level.rs`.
//! - **No reader waits for a writer**, in the stores that promise it: counted
//!   while all is under way (`soak/waits.rs`), and shown with a writer that is
//!   stopped at every point of its commit (`soak/still.rs`).

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

#[path = "support/heap/mod.rs"]
mod heap;

#[path = "soak/level.rs"]
mod level;
#[path = "soak/still.rs"]
mod still;
#[path = "soak/thirty.rs"]
mod thirty;
#[path = "soak/twins.rs"]
mod twins;
#[path = "soak/waits.rs"]
mod waits;

use std::hint::black_box;
use std::time::Duration;

use service_registry::{RegistryStore, ServiceInfo, StoreError};

use thirty::Plan;

/// How long the soak takes for each store where `SOAK_SECONDS` is not set.
const SECONDS: u64 = 120;

/// A store in the soak.
trait Soaked: RegistryStore + Sized + Send + Sync + 'static {
    /// Whether its readers promise never to wait for a writer.
    const READERS_NEVER_WAIT: bool;

    /// Holds what this store lets a slow reader hold: for all of them answers and a
    /// short read closure, for some of them views. Checks that it has not changed.
    fn hold(&self, time: Duration) {
        hold_answers(self, time);
    }

    /// A way to read that a thread keeps, if there is one beside the store itself.
    fn reading(&self) -> impl FnMut(&str) {
        |_| ()
    }
}

/// A read closure that is not as short as it should be.
const SLOW_CLOSURE: Duration = Duration::from_millis(2);

fn hold_answers<S: RegistryStore>(store: &S, time: Duration) {
    let answers = store.get_all_services().unwrap();
    let shown: Vec<ServiceInfo> = answers.clone();
    for info in answers.iter().take(3) {
        // It may have gone by now.
        let _ = store.with_service(info.key(), |info| {
            let before = info.clone();
            std::thread::sleep(SLOW_CLOSURE);
            assert_eq!(*info, before, "a record changed under its reader");
        });
    }
    std::thread::sleep(time);
    assert_eq!(answers, shown);
}

/// Two kinds of handles: a view and a reader.
#[cfg(any(feature = "snapshot", feature = "versioned"))]
fn hold_views<S: support::views::Views>(store: &S, time: Duration) {
    let groups = thirty::groups();
    let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
    let mut handle = store.reader();
    let views = [store.snapshot(), S::view(&mut handle).clone()];
    let states = views
        .each_ref()
        .map(|view| support::observe_view(view, &groups));
    std::thread::sleep(time);
    for (view, state) in views.iter().zip(states) {
        assert!(
            support::observe_view(view, &groups) == state,
            "a view has changed"
        );
    }
}

macro_rules! soaked {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        impl Soaked for service_registry::$store {
            soaked!($module);
        }
    };
    // What each promises; a store that is not here does not compile.
    (thread_safe) => {
        const READERS_NEVER_WAIT: bool = false;
    };
    (worker) => {
        const READERS_NEVER_WAIT: bool = false;
    };
    (evmap) => {
        const READERS_NEVER_WAIT: bool = true;
    };
    (snapshot) => {
        soaked!(of_views);
    };
    (versioned) => {
        soaked!(of_views);
    };
    (of_views) => {
        const READERS_NEVER_WAIT: bool = true;

        fn hold(&self, time: Duration) {
            hold_answers(self, time / 2);
            hold_views(self, time / 2);
        }
        fn reading(&self) -> impl FnMut(&str) {
            use service_registry::RegistryView;
            use support::views::Views;
            let mut handle = self.reader();
            move |key| {
                black_box(self.snapshot().get(key).is_some());
                black_box(Self::view(&mut handle).get(key).is_some());
            }
        }
    };
}

shared_stores!(soaked);

/// The reads that allocate nothing where the pod is there, and whether it is.
fn read_one(store: &impl RegistryStore, key: &str) -> bool {
    let mut is_there = true;
    let mut found = |answer| match answer {
        Ok(()) => {}
        Err(StoreError::NotFound(_)) => is_there = false,
        Err(error) => panic!("a read was refused: {error}"),
    };
    found(store.get_service(key).map(drop));
    let look = |info: &ServiceInfo| {
        black_box(info.status());
    };
    found(store.with_service(key, look));
    found(store.visit_service(key, &mut { look }));
    black_box(store.stats().unwrap());
    black_box(store.revision());
    store.ping().unwrap();
    is_there
}

/// How many reads that is.
const READS: u64 = 6;

fn endure<S: Soaked>(make: fn() -> S, plan: Plan) {
    let _alone = heap::alone();
    support::within(plan.patience(), move || thirty::run(make, &plan));
}

macro_rules! soak {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            use service_registry::$store;

            #[test]
            #[ignore = "takes minutes"]
            fn thirty_threads_for_minutes() {
                let seconds = std::env::var("SOAK_SECONDS");
                let seconds = seconds.map_or(crate::SECONDS, |text| {
                    text.parse().expect("SOAK_SECONDS is a number")
                });
                crate::endure($store::new, crate::Plan::of(seconds));
            }

            #[test]
            fn thirty_threads_for_a_moment() {
                crate::endure($store::new, crate::Plan::moment());
            }

            #[test]
            fn readers_go_on_while_a_writer_stands_still() {
                let _alone = crate::heap::alone();
                crate::still::beside_a_writer($store::new);
            }

            #[test]
            fn readers_go_on_while_one_stands_still_in_a_closure() {
                let _alone = crate::heap::alone();
                crate::still::beside_a_reader($store::new);
            }
        }
    };
}

shared_stores!(soak);
