//! Every record is dropped exactly once, whoever holds it and in whatever order
//! it is let go; held views keep what they show and nothing more; a store that is
//! dropped frees everything.
//!
//! Counted: records carry payloads of which the allocator notes each birth and
//! each death, see `support/heap/ledger.rs`. So every test here can say which
//! records ought to be alive, and compares. The same tests under
//! `AddressSanitizer` see what is used after it was freed, and what is lost
//! without having been a record.
//!
//! When a removed record is freed, where nobody else holds it: in `EvmapStore` with the next commit,
//! since readers may still be in the map that a commit has replaced; in `VersionedStore` up to some
//! thousand commits later, and at once after `clear`, `close` and large commits where nobody is
//! pinned; in all others before the call returns that removed it. `close` frees everything, in all.
//! A `SnapshotReader` keeps the state that it showed last.

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

#[path = "memory/broken.rs"]
mod broken;
#[cfg(any(feature = "snapshot", feature = "versioned"))]
#[path = "memory/held.rs"]
mod held;
#[path = "memory/views.rs"]
mod kept;
#[path = "memory/records.rs"]
mod records;
#[path = "memory/threads.rs"]
mod threads;
#[path = "memory/watches.rs"]
mod watches;

use std::collections::BTreeSet;

use service_registry::{Batch, Registry, RegistryStore, ServiceInfo, ServiceStatus};

use heap::ledger::{PayloadScope, mark, number};
use support::dice::Dice;
use support::{at, registration};

// --- what the tests share

/// A record with a payload.
fn marked(service: &str, pod: &str) -> ServiceInfo {
    ServiceInfo::new(mark(registration(service, pod, &[]))).unwrap()
}

/// The payloads of the records that a store holds.
fn held_by(store: &impl RegistryStore) -> BTreeSet<usize> {
    let records = store.get_all_services().unwrap();
    records.iter().map(number).collect()
}

/// How many further commits it may take until what a commit has removed is freed.
fn commits_until_freed<S>() -> usize {
    let name = std::any::type_name::<S>();
    let name = name.rsplit("::").next().unwrap_or(name);
    match name {
        // The map that readers may still be in is brought up to date by the next.
        "EvmapStore" => 1,
        // A period takes a thousand versions, and some go by one after the other.
        "VersionedStore" => 10_000,
        _ => 0,
    }
}

/// What may be left over from one count of bytes to the next.
fn noise<S>() -> i64 {
    match std::any::type_name::<S>() {
        // More or fewer of the versions that wait for their turn, or to be used again.
        name if name.ends_with("VersionedStore") => 20 * heap::counts::NOISE,
        _ => heap::counts::NOISE,
    }
}

/// A commit that leaves the records alone; the second takes back the first.
fn nudge(store: &impl RegistryStore) {
    if is_nudged(store) {
        store.remove_subscription("nudge:1", "nudge").unwrap();
    } else {
        store.add_subscription("nudge:1", "nudge").unwrap();
    }
}

fn is_nudged(store: &impl RegistryStore) -> bool {
    !store.get_subscribers("nudge").unwrap().is_empty()
}

/// Checks that the records of the store are alive, and those of `others`, and none
/// else.
#[track_caller]
fn check_held<S: RegistryStore>(
    store: &S,
    book: &PayloadScope,
    others: &BTreeSet<usize>,
    when: &str,
) {
    let mut expected = held_by(store);
    expected.extend(others);
    for _ in 0..commits_until_freed::<S>() {
        if book.alive() == expected {
            break;
        }
        nudge(store);
    }
    book.check(&expected, when);
    if is_nudged(store) {
        nudge(store);
    }
}

#[track_caller]
fn check_exact<S: RegistryStore>(store: &S, book: &PayloadScope, when: &str) {
    check_held(store, book, &BTreeSet::new(), when);
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const GROUPS: [&str; 3] = ["g", "h", "a"];

/// A writer that does everything there is, to the same few keys as the others.
struct Churn {
    dice: Dice,
    /// Answers that are kept for a while.
    kept: Vec<ServiceInfo>,
}

impl Churn {
    fn new(seed: u64) -> Churn {
        Churn {
            dice: Dice::new(seed),
            kept: Vec::new(),
        }
    }

    fn name(&mut self) -> &'static str {
        NAMES[self.dice.roll(NAMES.len())]
    }

    fn pod(&mut self) -> String {
        self.dice.roll(8).to_string()
    }

    fn group(&mut self) -> &'static str {
        GROUPS[self.dice.roll(GROUPS.len())]
    }

    fn record(&mut self) -> ServiceInfo {
        marked(self.name(), &self.pod())
    }

    fn batch(&mut self) -> Batch {
        let mut batch = Batch::new();
        for _ in 0..=self.dice.roll(6) {
            let record = self.record();
            let key = record.key().clone();
            match self.dice.roll(4) {
                0 => batch.save_service(record).delete_service(&key),
                1 => batch.save_service(record).update_health_status(
                    &key,
                    ServiceStatus::Healthy,
                    at(1),
                ),
                2 => batch.remove_all_subscriptions(&key),
                _ => batch
                    .save_service(record)
                    .add_subscription(&key, self.group()),
            };
        }
        batch
    }

    /// One operation. Whether it finds what it is about is all one.
    fn step(&mut self, store: &impl RegistryStore) {
        let registry = Registry::new(store);
        let (name, pod, group) = (self.name(), self.pod(), self.group());
        let key = format!("{name}:{pod}");
        let moment = at(self.dice.roll(5) as u64);
        match self.dice.roll(20) {
            0..=3 => store.save_service(self.record()).unwrap(),
            4 | 5 => {
                let pod = registration(name, &pod, &[group, self.group()]);
                self.kept.push(registry.register(mark(pod)).unwrap());
            }
            6 => self.kept.extend(registry.unregister(name, &pod).unwrap()),
            7 => drop(store.delete_service(&key)),
            8 => self.kept.extend(store.take_service(&key)),
            9 => drop(store.update_health_status(&key, ServiceStatus::Healthy, moment)),
            10 => drop(store.update_health_status(&key, ServiceStatus::Unhealthy, moment)),
            11 => store.add_subscription(&key, group).unwrap(),
            12 => store.remove_subscription(&key, group).unwrap(),
            13 => store.remove_all_subscriptions(&key).unwrap(),
            14 | 15 => drop(store.commit(self.batch()).unwrap()),
            16 => {
                let mut rejected = self.batch();
                rejected.delete_service("nobody:1");
                store.commit(rejected).unwrap_err();
            }
            17 => self.kept.extend(store.get_all_services().unwrap()),
            18 => self.kept.extend(store.get_services_by_name(name).unwrap()),
            _ if self.dice.roll(10) == 0 => store.clear().unwrap(),
            _ => self
                .kept
                .extend(store.get_subscriber_services(group).unwrap()),
        }
        if self.dice.roll(8) == 0 {
            let half = self.kept.len() / 2;
            self.kept.drain(..half);
        }
    }
}

// --- the tests meet the stores

macro_rules! tests {
    ($make:expr => $($module:ident { $($test:ident)+ })+) => {$($(
        #[test]
        fn $test() {
            let _alone = crate::heap::alone();
            crate::support::within(crate::support::PATIENCE * 4, || {
                crate::$module::$test(|| $make);
            });
        }
    )+)+};
}

/// Tests that say how large the log is. The long runs take minutes.
macro_rules! watched {
    ($store:ident => $($test:ident)+) => {$(
        #[test]
        fn $test() {
            let _alone = crate::heap::alone();
            crate::support::within(crate::support::PATIENCE * 20, || {
                crate::watches::$test(service_registry::$store::with_log);
            });
        }
    )+};
}

/// What every store promises.
macro_rules! every_store {
    ($make:expr) => {
        tests! { $make =>
            records {
                each_operation_frees_what_it_replaces
                a_rejected_batch_frees_what_it_brought
                answers_keep_their_records_and_no_others
                clearing_frees_every_record
                closing_frees_every_record
                dropping_a_store_frees_every_record
                churn_drops_every_record_once
                a_panic_in_a_closure_loses_no_record
            }
        }
    };
}

/// What a store that threads can share promises besides.
macro_rules! shared_store {
    ($make:expr) => {
        tests! { $make =>
            threads {
                churn_of_many_threads_drops_every_record_once
                a_store_closed_under_churn_frees_every_record
                a_reader_inside_a_closure_keeps_its_record
                threads_that_panic_mid_read_leave_nothing
                threads_that_read_while_they_end_leave_nothing
                ten_thousand_short_lived_threads_leave_nothing
            }
        }
    };
}

mod memory {
    every_store!(service_registry::MemoryStore::new());
    watched! { MemoryStore =>
        watches_that_are_never_read_cost_the_bound_of_the_log
        a_record_that_says_nothing_new_is_kept_once
        large_records_cost_the_bound_of_the_log
        topics_that_were_busy_keep_no_room
        watches_that_come_and_go_leave_nothing
    }
}

macro_rules! shared {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            every_store!(service_registry::$store::new());
            shared_store!(service_registry::$store::new());
            watched! { $store =>
                watches_that_are_never_read_cost_the_bound_of_the_log
                a_record_that_says_nothing_new_is_kept_once
                large_records_cost_the_bound_of_the_log
                topics_that_were_busy_keep_no_room
                watches_that_come_and_go_leave_nothing
                watches_of_many_threads_leave_nothing
            }
        }
    };
}

shared_stores!(shared);

/// What a store with views promises besides.
macro_rules! viewed_store {
    ($feature:literal $module:ident $store:ident $view:ident $reader:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            tests! { service_registry::$store::new() =>
                kept {
                    a_view_keeps_what_it_shows_and_nothing_more
                    a_handle_keeps_what_it_showed_and_nothing_more
                    many_views_keep_what_they_show_in_any_order
                    versions_of_one_registration_are_let_go_in_any_order
                    views_outlive_their_store_and_keep_what_they_show
                    views_held_and_released_under_churn_lose_nothing
                }
                held {
                    a_view_that_is_held_keeps_one_version_of_each_record
                }
            }
        }
    };
}

/// Beside the modules above, which have the same names.
mod views_of {
    viewed_stores!(viewed_store);
}
