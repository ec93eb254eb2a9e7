//! Random sequences of operations against a plain model, for every store.
//!
//! The model is written from the documentation: a map of records and a list of
//! subscriptions. After every operation the answers are compared, errors
//! included, and the revision; now and then, and at the end, everything. Keys
//! are few, so that operations meet. A failure is shrunk to the shortest
//! sequence that shows it.
//!
//! `PROPTEST_CASES=10000 cargo test --release --test model` looks further.

// A build with fewer stores uses less of this file.
#![cfg_attr(
    not(all(
        feature = "thread-safe",
        feature = "worker",
        feature = "evmap",
        feature = "snapshot",
        feature = "versioned"
    )),
    allow(dead_code, unused_macros)
)]

#[macro_use]
mod support;

use std::collections::BTreeSet;
use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{FileFailurePersistence, RngAlgorithm, TestError, TestRng, TestRunner};

use service_registry::{Change, RegistryStore, StoreStats};
use support::dice::Dice;
use support::model::{GROUPS, Model, Operation, assert_stamps, step};
use support::observe;
use support::random::{any_operation, any_operation_with_conditions};

fn config() -> ProptestConfig {
    ProptestConfig {
        source_file: Some(file!()),
        // Beside this file: `tests/model.regressions`.
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        ..ProptestConfig::default()
    }
}

/// Runs a property on random input, under the watchdog.
fn holds<T: Debug, S: Strategy<Value = T>>(
    config: ProptestConfig,
    strategy: impl FnOnce() -> S + Send + 'static,
    property: impl Fn(T) + Send + 'static,
) {
    let patience = support::PATIENCE * (config.cases / 256).max(1);
    support::within(patience, move || {
        let ran = TestRunner::new(config).run(&strategy(), |input| {
            property(input);
            Ok(())
        });
        if let Err(failure) = ran {
            panic!("{failure}");
        }
    });
}

fn every_answer_is_the_models<S: RegistryStore + 'static>(make: fn() -> S) {
    let some = || vec(any_operation_with_conditions(), 1..100);
    holds(config(), some, move |operations| {
        let (store, mut model) = (make(), Model::default());
        for (n, operation) in operations.iter().enumerate() {
            step(&store, &mut model, operation);
            assert_stamps(&store, &model);
            if n % 16 == 0 {
                assert_eq!(observe(&store, GROUPS), model.state());
            }
        }
        assert_eq!(observe(&store, GROUPS), model.state());
    });
}

fn after_close_every_answer_is_closed<S: RegistryStore + 'static>(make: fn() -> S) {
    let some = || (vec(any_operation(), 0..20), vec(any_operation(), 1..20));
    holds(config(), some, move |(open, closed)| {
        let (store, mut model) = (make(), Model::default());
        for operation in &open {
            step(&store, &mut model, operation);
        }
        store.close().unwrap();
        model.closed = true;
        for operation in &closed {
            step(&store, &mut model, operation);
        }
    });
}

// --- many keys

/// A stretch of random operations that makes a store grow, shrink, or neither.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    /// Of 10 writes, how many add.
    adding: u64,
    seed: u64,
}

impl Stretch {
    const OPERATIONS: usize = 250;

    fn operations(self) -> impl Iterator<Item = Operation> {
        let mut dice = Dice::new(self.seed);
        let mut random = move |below: usize| dice.roll(below) as u64;
        (0..Self::OPERATIONS).map(move |_| {
            // One name has half of the pods, the others share the rest.
            let service = format!("s{}", random(40).saturating_sub(20));
            let pod = random(60).to_string();
            let key: Box<str> = format!("{service}:{pod}").into();
            let group: Box<str> = format!("g{}", random(20).saturating_sub(8)).into();
            let adds = random(10) < self.adding;
            Operation::Change(match (random(2), adds) {
                (0, true) => Change::SaveService(support::version(&service, &pod, random(3))),
                (0, false) => Change::DeleteService { key },
                (_, true) => Change::AddSubscription {
                    subscriber_key: key,
                    service_group: group,
                },
                (_, false) if random(10) == 0 => Change::RemoveAllSubscriptions {
                    subscriber_key: key,
                },
                (_, false) => Change::RemoveSubscription {
                    subscriber_key: key,
                    service_group: group,
                },
            })
        })
    }
}

fn any_stretch() -> impl Strategy<Value = Stretch> {
    (select(vec![0, 1, 5, 9, 10]), any::<u64>()).prop_map(|(adding, seed)| Stretch { adding, seed })
}

fn a_store_that_grows_and_shrinks_is_the_model<S: RegistryStore + 'static>(make: fn() -> S) {
    let groups: Vec<String> = (0..12).map(|n| format!("g{n}")).collect();
    let few = ProptestConfig {
        cases: 3,
        ..config()
    };
    let some = || vec(any_stretch(), 10..20);
    holds(few, some, move |stretches| {
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        let (store, mut model) = (make(), Model::default());
        // Grown first, so that there is something to remove.
        let grow = Stretch {
            adding: 10,
            seed: 1,
        };
        for stretch in [grow; 3].into_iter().chain(stretches) {
            for operation in stretch.operations() {
                step(&store, &mut model, &operation);
            }
            assert_eq!(observe(&store, &groups), model.state(), "{stretch:?}");
        }
        // And down to the last one.
        let keys: BTreeSet<String> = model.services.keys().cloned().collect();
        for key in keys {
            step(&store, &mut model, &Operation::Take(key));
        }
        let subscribers: BTreeSet<String> = model
            .subscriptions
            .iter()
            .map(|(key, _)| key.clone())
            .collect();
        for key in subscribers {
            let leave = Change::RemoveAllSubscriptions {
                subscriber_key: key.into(),
            };
            step(&store, &mut model, &Operation::Change(leave));
        }
        assert_eq!(model.stats(), StoreStats::default());
        assert_eq!(observe(&store, &groups), model.state());
    });
}

// --- every store

macro_rules! model {
    ($make:expr) => {
        #[test]
        fn every_answer_is_the_models() {
            crate::every_answer_is_the_models(|| $make);
        }
        #[test]
        fn after_close_every_answer_is_closed() {
            crate::after_close_every_answer_is_closed(|| $make);
        }
        #[test]
        fn a_store_that_grows_and_shrinks_is_the_model() {
            crate::a_store_that_grows_and_shrinks_is_the_model(|| $make);
        }
    };
}

mod memory {
    model!(service_registry::MemoryStore::new());
}

mod required_methods_only {
    model!(crate::support::stores::Required::new());
}

macro_rules! shared {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            model!(service_registry::$store::new());
            mod opened {
                model!(service_registry::StoreKind::$kind.open());
            }
        }
    };
}

shared_stores!(shared);

#[cfg(any(feature = "snapshot", feature = "versioned"))]
mod views {
    use super::*;
    use support::observe_view;
    use support::views::Views;

    fn every_snapshot_stays_the_models_state<S: Views>(make: fn() -> S) {
        let some = || vec(any_operation(), 1..60);
        holds(config(), some, move |operations| {
            let (store, mut model) = (make(), Model::default());
            let mut reader = store.reader();
            let mut kept = vec![(store.snapshot(), model.state())];
            for (at, operation) in operations.iter().enumerate() {
                step(&store, &mut model, operation);
                let state = model.state();
                assert_eq!(observe_view(S::view(&mut reader), GROUPS), state);
                // Others go, so that some of what has been replaced may be freed.
                if at % 3 == 0 {
                    kept.swap_remove(at / 2 % kept.len());
                }
                kept.push((store.snapshot(), state));
            }
            for (snapshot, state) in &kept {
                assert_eq!(observe_view(snapshot, GROUPS), *state);
            }
        });
    }

    macro_rules! stays {
        ($feature:literal $module:ident $store:ident $snapshot:ident $reader:ident) => {
            #[cfg(feature = $feature)]
            #[test]
            fn $module() {
                every_snapshot_stays_the_models_state(service_registry::$store::new);
            }
        };
    }

    viewed_stores!(stays);
}

// --- the model can fail

/// A store that forgets that a pod kept its health, one time in a hundred.
#[test]
fn a_rare_fault_is_found_and_shrunk() {
    let forgetful = holds_not(
        vec(any_operation(), 1..100),
        |operations: Vec<Operation>| {
            let (store, mut model) = (service_registry::MemoryStore::new(), Model::default());
            for operation in &operations {
                // The fault: a batch that deletes a pod and saves it again loses
                // its subscriptions.
                if let Operation::Commit(changes) = operation
                && changes
                    .iter()
                    .any(|change| matches!(change, Change::DeleteService { key } if &**key == "a:1"))
                && changes
                    .iter()
                    .any(|change| matches!(change, Change::SaveService(info) if *info.key() == "a:1"))
            {
                store.remove_all_subscriptions("a:1").unwrap();
            }
                step(&store, &mut model, operation);
            }
        },
    );
    // Something that gives a:1 a subscription, and the batch.
    assert!(forgetful.len() <= 3, "not shrunk: {forgetful:#?}");
}

/// The shrunk input on which a property fails.
fn holds_not<T: Debug>(strategy: impl Strategy<Value = T>, property: impl Fn(T)) -> T {
    let config = ProptestConfig {
        failure_persistence: None,
        cases: 2_000,
        ..ProptestConfig::default()
    };
    // The same inputs each time: now and then, shrinking stops at an input that is longer
    // than it need be.
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let ran = TestRunner::new_with_rng(config, rng).run(&strategy, |input| {
        property(input);
        Ok(())
    });
    match ran {
        Err(TestError::Fail(_, input)) => input,
        other => panic!("the fault was not found: {other:?}"),
    }
}
