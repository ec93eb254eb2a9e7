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
    not(all(feature = "thread-safe", feature = "worker", feature = "snapshot")),
    allow(dead_code, unused_macros)
)]

#[macro_use]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{FileFailurePersistence, TestRunner};

use service_registry::{
    Batch, Change, Problem, Registry, RegistryStore, ServiceInfo, ServiceStatus, StoreError,
    StoreStats,
};
use support::{State, at, observe, registration};

// --- the model

#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    services: BTreeMap<String, ServiceInfo>,
    /// Subscriber and group, in the order of subscription.
    subscriptions: Vec<(String, String)>,
    revision: u64,
    closed: bool,
}

/// An error, in a form that the model can make as well.
#[derive(Clone, Debug, PartialEq)]
enum Failure {
    NotFound(String),
    Invalid {
        field: String,
        value: String,
        problem: Problem,
    },
    Rejected {
        index: usize,
        operation: &'static str,
        source: Box<Failure>,
    },
    Closed,
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Failure {
        match error {
            StoreError::NotFound(key) => Failure::NotFound(key.into()),
            StoreError::Invalid(invalid) => Failure::Invalid {
                field: invalid.field().into(),
                value: invalid.value().into(),
                problem: invalid.problem().clone(),
            },
            StoreError::BatchRejected {
                index,
                operation,
                source,
            } => Failure::Rejected {
                index,
                operation,
                source: Box::new((*source).into()),
            },
            StoreError::Closed => Failure::Closed,
            other => panic!("no operation of the model may fail so: {other}"),
        }
    }
}

fn check_key(key: &str) -> Result<(), Failure> {
    let problem = match key.split_once(':') {
        _ if key.is_empty() => Problem::Empty,
        None => Problem::NoColon,
        Some(("", _)) => Problem::NoService,
        Some((_, "")) => Problem::NoPod,
        Some(_) => return Ok(()),
    };
    Err(Failure::Invalid {
        field: "subscriber key".into(),
        value: key.into(),
        problem,
    })
}

fn check_group(group: &str) -> Result<(), Failure> {
    if group.is_empty() {
        return Err(Failure::Invalid {
            field: "service group".into(),
            value: String::new(),
            problem: Problem::Empty,
        });
    }
    Ok(())
}

impl Model {
    fn get(&self, key: &str) -> Result<ServiceInfo, Failure> {
        let found = self.services.get(key).cloned();
        found.ok_or_else(|| Failure::NotFound(key.into()))
    }

    fn subscribers(&self, group: &str) -> Vec<String> {
        let of_group = self.subscriptions.iter().filter(|(_, of)| of == group);
        of_group.map(|(key, _)| key.clone()).collect()
    }

    fn stats(&self) -> StoreStats {
        StoreStats::new(self.services.len(), self.subscriptions.len())
    }

    /// Applies one change, and tells whether it had an effect.
    fn apply(&mut self, change: &Change) -> Result<bool, Failure> {
        match change {
            Change::SaveService(info) => {
                let key = info.key().to_string();
                let before = self.services.insert(key, info.clone());
                Ok(before.as_ref() != Some(info))
            }
            Change::DeleteService { key } => {
                self.get(key)?;
                self.services.remove(&**key);
                Ok(true)
            }
            Change::UpdateHealthStatus {
                key,
                status,
                checked_at,
            } => {
                let before = self.get(key)?;
                let after = before.with_health(*status, *checked_at);
                self.services.insert(key.to_string(), after.clone());
                Ok(after != before)
            }
            Change::AddSubscription {
                subscriber_key,
                service_group,
            } => {
                check_key(subscriber_key)?;
                check_group(service_group)?;
                let pair = (subscriber_key.to_string(), service_group.to_string());
                let new = !self.subscriptions.contains(&pair);
                if new {
                    self.subscriptions.push(pair);
                }
                Ok(new)
            }
            Change::RemoveSubscription {
                subscriber_key,
                service_group,
            } => {
                check_key(subscriber_key)?;
                check_group(service_group)?;
                let before = self.subscriptions.len();
                self.subscriptions
                    .retain(|(key, group)| (&**key, &**group) != (subscriber_key, service_group));
                Ok(self.subscriptions.len() < before)
            }
            Change::RemoveAllSubscriptions { subscriber_key } => {
                check_key(subscriber_key)?;
                let before = self.subscriptions.len();
                self.subscriptions
                    .retain(|(key, _)| **key != **subscriber_key);
                Ok(self.subscriptions.len() < before)
            }
            other => panic!("the model knows no {other:?}"),
        }
    }

    /// Makes one commit of `changes`.
    fn commit(&mut self, changes: &[Change]) -> Result<(), Failure> {
        let mut after = self.clone();
        let mut effect = false;
        for (index, change) in changes.iter().enumerate() {
            effect |= after.apply(change).map_err(|source| Failure::Rejected {
                index,
                operation: change.operation(),
                source: Box::new(source),
            })?;
        }
        after.revision += u64::from(effect);
        *self = after;
        Ok(())
    }

    /// A single operation is a commit, too.
    fn change(&mut self, change: &Change) -> Result<(), Failure> {
        let effect = self.apply(change)?;
        self.revision += u64::from(effect);
        Ok(())
    }

    fn state(&self) -> State {
        let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (key, group) in &self.subscriptions {
            groups.entry(group.clone()).or_default().push(key.clone());
        }
        State {
            services: self.services.clone(),
            groups,
            revision: self.revision,
        }
    }
}

// --- operations and their answers

#[derive(Clone, Debug)]
enum Operation {
    Change(Change),
    Commit(Vec<Change>),
    Swap(String, ServiceStatus, u64),
    Take(String),
    Get(String),
    With(String),
    Visit(String),
    ByName(String),
    All,
    Subscribers(String),
    SubscriberServices(String),
    Stats,
    Ping,
    Clear,
    Register(String, String, Vec<String>),
    Unregister(String, String),
    Report(String, ServiceStatus),
}

#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Done,
    Revision(u64),
    Status(ServiceStatus),
    Changed(bool),
    Service(ServiceInfo),
    MaybeService(Option<ServiceInfo>),
    InAnyOrder(BTreeMap<String, ServiceInfo>),
    InOrder(Vec<ServiceInfo>),
    Keys(Vec<String>),
    Stats(StoreStats),
}

/// What the store answers.
fn ask(store: &impl RegistryStore, operation: &Operation) -> Result<Answer, Failure> {
    let registry = Registry::new(store);
    let done = |()| Answer::Done;
    let any_order = |records| Answer::InAnyOrder(support::by_key(records));
    let answer = match operation {
        Operation::Change(change) => match change.clone() {
            Change::SaveService(info) => store.save_service(info).map(done),
            Change::DeleteService { key } => store.delete_service(&key).map(done),
            Change::UpdateHealthStatus {
                key,
                status,
                checked_at,
            } => store
                .update_health_status(&key, status, checked_at)
                .map(done),
            Change::AddSubscription {
                subscriber_key,
                service_group,
            } => store
                .add_subscription(&subscriber_key, &service_group)
                .map(done),
            Change::RemoveSubscription {
                subscriber_key,
                service_group,
            } => store
                .remove_subscription(&subscriber_key, &service_group)
                .map(done),
            Change::RemoveAllSubscriptions { subscriber_key } => {
                store.remove_all_subscriptions(&subscriber_key).map(done)
            }
            other => panic!("the model knows no {other:?}"),
        },
        Operation::Commit(changes) => {
            let batch: Batch = changes.iter().cloned().collect();
            store
                .commit(batch)
                .map(|revision| Answer::Revision(revision.as_u64()))
        }
        Operation::Swap(key, status, moment) => store
            .swap_health_status(key, *status, at(*moment))
            .map(Answer::Status),
        Operation::Take(key) => store.take_service(key).map(Answer::Service),
        Operation::Get(key) => store.get_service(key).map(Answer::Service),
        Operation::With(key) => store
            .with_service(key, ServiceInfo::clone)
            .map(Answer::Service),
        Operation::Visit(key) => {
            let mut visited = Vec::new();
            let answer = store.visit_service(key, &mut |info| visited.push(info.clone()));
            answer.map(|()| Answer::InOrder(visited))
        }
        Operation::ByName(name) => store.get_services_by_name(name).map(any_order),
        Operation::All => store.get_all_services().map(any_order),
        Operation::Subscribers(group) => store.get_subscribers(group).map(|subscribers| {
            let texts = subscribers.iter().map(ToString::to_string);
            Answer::Keys(texts.collect())
        }),
        Operation::SubscriberServices(group) => {
            store.get_subscriber_services(group).map(Answer::InOrder)
        }
        Operation::Stats => store.stats().map(Answer::Stats),
        Operation::Ping => store.ping().map(done),
        Operation::Clear => store.clear().map(done),
        Operation::Register(service, pod, groups) => {
            let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
            registry
                .register(registration(service, pod, &groups))
                .map(Answer::Service)
        }
        Operation::Unregister(service, pod) => {
            registry.unregister(service, pod).map(Answer::MaybeService)
        }
        Operation::Report(key, status) => registry
            .update_health_status(key, *status)
            .map(Answer::Changed),
    };
    answer.map_err(Failure::from)
}

/// What the model answers. The moments that a store or a registry takes from
/// the clock are taken over from `answer`, which is what the store answered.
fn expect(
    model: &mut Model,
    operation: &Operation,
    answer: &Result<Answer, Failure>,
    store: &impl RegistryStore,
) -> Result<Answer, Failure> {
    if model.closed {
        return Err(Failure::Closed);
    }
    match operation {
        Operation::Change(change) => model.change(change).map(|()| Answer::Done),
        Operation::Commit(changes) => {
            model.commit(changes)?;
            Ok(Answer::Revision(model.revision))
        }
        Operation::Swap(key, status, moment) => {
            let before = model.get(key)?.status();
            model.change(&Change::UpdateHealthStatus {
                key: key.as_str().into(),
                status: *status,
                checked_at: at(*moment),
            })?;
            Ok(Answer::Status(before))
        }
        Operation::Take(key) => {
            let taken = model.get(key)?;
            let key: Box<str> = key.as_str().into();
            model.commit(&[
                Change::DeleteService { key: key.clone() },
                Change::RemoveAllSubscriptions {
                    subscriber_key: key,
                },
            ])?;
            Ok(Answer::Service(taken))
        }
        Operation::Get(key) | Operation::With(key) => model.get(key).map(Answer::Service),
        Operation::Visit(key) => model.get(key).map(|info| Answer::InOrder(vec![info])),
        Operation::ByName(name) => {
            let mut found = model.services.clone();
            found.retain(|_, info| info.service_name() == name);
            Ok(Answer::InAnyOrder(found))
        }
        Operation::All => Ok(Answer::InAnyOrder(model.services.clone())),
        Operation::Subscribers(group) => Ok(Answer::Keys(model.subscribers(group))),
        Operation::SubscriberServices(group) => {
            let subscribers = model.subscribers(group);
            let registered = subscribers
                .iter()
                .filter_map(|key| model.services.get(key).cloned());
            Ok(Answer::InOrder(registered.collect()))
        }
        Operation::Stats => Ok(Answer::Stats(model.stats())),
        Operation::Ping => Ok(Answer::Done),
        Operation::Clear => {
            model.revision += u64::from(model.stats() != StoreStats::default());
            model.services.clear();
            model.subscriptions.clear();
            Ok(Answer::Done)
        }
        Operation::Register(service, pod, groups) => {
            let Ok(Answer::Service(registered)) = answer else {
                panic!("a good registration was refused: {answer:?}");
            };
            let asked: Vec<&str> = groups.iter().map(String::as_str).collect();
            let expected = ServiceInfo::new(registration(service, pod, &asked))
                .unwrap()
                .with_registered_at(registered.registered_at());
            let key: Box<str> = expected.key().as_str().into();
            let mut changes = vec![
                Change::SaveService(expected.clone()),
                Change::RemoveAllSubscriptions {
                    subscriber_key: key.clone(),
                },
            ];
            changes.extend(groups.iter().map(|group| Change::AddSubscription {
                subscriber_key: key.clone(),
                service_group: group.as_str().into(),
            }));
            model.commit(&changes)?;
            Ok(Answer::Service(expected))
        }
        Operation::Unregister(service, pod) => {
            let key: Box<str> = format!("{service}:{pod}").into();
            let taken = model.services.get(&*key).cloned();
            if taken.is_some() {
                model.commit(&[
                    Change::DeleteService { key: key.clone() },
                    Change::RemoveAllSubscriptions {
                        subscriber_key: key,
                    },
                ])?;
            }
            Ok(Answer::MaybeService(taken))
        }
        Operation::Report(key, status) => {
            let before = model.get(key)?.status();
            let noted = store.get_service(key).ok();
            let moment = noted.and_then(|info| info.last_health_check());
            model.change(&Change::UpdateHealthStatus {
                key: key.as_str().into(),
                status: *status,
                checked_at: moment.expect("a report notes when it was made"),
            })?;
            Ok(Answer::Changed(before != *status))
        }
    }
}

/// Does one operation on both, and compares.
fn step(store: &impl RegistryStore, model: &mut Model, operation: &Operation) {
    let answer = ask(store, operation);
    let expected = expect(model, operation, &answer, store);
    assert_eq!(answer, expected, "{operation:?}");
    assert_eq!(
        store.revision().as_u64(),
        model.revision,
        "the revision after {operation:?}"
    );
}

// --- random operations

const SERVICES: [&str; 2] = ["a", "b"];
const PODS: [&str; 3] = ["1", "2", "2:x"];
/// Also one that is named like a service, and one that is named like a key.
const GROUPS: &[&str] = &["g", "h", "a", "a:1"];

fn text(choices: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    select(choices.to_vec()).prop_map(String::from)
}

/// Mostly keys; now and then something that is none.
fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => (text(&SERVICES), text(&PODS)).prop_map(|(service, pod)| format!("{service}:{pod}")),
        1 => text(&["", "a", ":1", "a:", ":", "c:1"]),
    ]
}

fn any_group() -> impl Strategy<Value = String> {
    prop_oneof![20 => text(GROUPS), 1 => Just(String::new())]
}

fn any_status() -> impl Strategy<Value = ServiceStatus> {
    select(vec![
        ServiceStatus::Healthy,
        ServiceStatus::Unhealthy,
        ServiceStatus::Unknown,
    ])
}

/// Few enough variants that equal records are saved twice.
fn any_record() -> impl Strategy<Value = ServiceInfo> {
    let health = prop_oneof![
        Just(None),
        (any_status(), 0_u64..2).prop_map(|(status, moment)| Some((status, at(moment)))),
    ];
    (text(&SERVICES), text(&PODS), 0_u64..2, health).prop_map(|(service, pod, version, health)| {
        let record = support::version(&service, &pod, version);
        match health {
            Some((status, moment)) => record.with_health(status, moment),
            None => record,
        }
    })
}

fn any_change() -> impl Strategy<Value = Change> {
    let key = || any_key().prop_map(Box::<str>::from);
    let group = || any_group().prop_map(Box::<str>::from);
    prop_oneof![
        4 => any_record().prop_map(Change::SaveService),
        2 => key().prop_map(|key| Change::DeleteService { key }),
        2 => (key(), any_status(), 0_u64..3).prop_map(|(key, status, moment)| {
            Change::UpdateHealthStatus {
                key,
                status,
                checked_at: at(moment),
            }
        }),
        4 => (key(), group()).prop_map(|(subscriber_key, service_group)| {
            Change::AddSubscription {
                subscriber_key,
                service_group,
            }
        }),
        2 => (key(), group()).prop_map(|(subscriber_key, service_group)| {
            Change::RemoveSubscription {
                subscriber_key,
                service_group,
            }
        }),
        1 => key().prop_map(|subscriber_key| Change::RemoveAllSubscriptions { subscriber_key }),
    ]
}

fn any_operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        24 => any_change().prop_map(Operation::Change),
        8 => vec(any_change(), 0..8).prop_map(Operation::Commit),
        2 => (any_key(), any_status(), 0_u64..3)
            .prop_map(|(key, status, moment)| Operation::Swap(key, status, moment)),
        2 => any_key().prop_map(Operation::Take),
        2 => any_key().prop_map(Operation::Get),
        1 => any_key().prop_map(Operation::With),
        1 => any_key().prop_map(Operation::Visit),
        2 => text(&["a", "b", "c", "", "a:1"]).prop_map(Operation::ByName),
        1 => Just(Operation::All),
        2 => any_group().prop_map(Operation::Subscribers),
        2 => any_group().prop_map(Operation::SubscriberServices),
        1 => Just(Operation::Stats),
        1 => Just(Operation::Ping),
        1 => Just(Operation::Clear),
        3 => (text(&SERVICES), text(&PODS), vec(text(GROUPS), 0..3))
            .prop_map(|(service, pod, groups)| Operation::Register(service, pod, groups)),
        2 => (text(&SERVICES), text(&PODS))
            .prop_map(|(service, pod)| Operation::Unregister(service, pod)),
        1 => (any_key(), any_status()).prop_map(|(key, status)| Operation::Report(key, status)),
    ]
}

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
    let some = || vec(any_operation(), 1..100);
    holds(config(), some, move |operations| {
        let (store, mut model) = (make(), Model::default());
        for (n, operation) in operations.iter().enumerate() {
            step(&store, &mut model, operation);
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
        // SplitMix64 (Steele, Lea, Flood 2014): a few lines, and a seed is all
        // that a failure has to print.
        let mut state = self.seed;
        let mut random = move |below: u64| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = state;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) % below
        };
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

#[cfg(feature = "snapshot")]
mod views {
    use service_registry::SnapshotStore;

    use super::*;
    use support::observe_view;

    #[test]
    fn every_snapshot_stays_the_models_state() {
        let some = || vec(any_operation(), 1..60);
        holds(config(), some, |operations| {
            let (store, mut model) = (SnapshotStore::new(), Model::default());
            let mut reader = store.reader();
            let mut kept = vec![(store.snapshot(), model.state())];
            for operation in &operations {
                step(&store, &mut model, operation);
                let state = model.state();
                assert_eq!(observe_view(reader.view(), GROUPS), state);
                kept.push((store.snapshot(), state));
            }
            for (snapshot, state) in &kept {
                assert_eq!(observe_view(snapshot, GROUPS), *state);
            }
        });
    }
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
    let ran = TestRunner::new(config).run(&strategy, |input| {
        property(input);
        Ok(())
    });
    match ran {
        Err(proptest::test_runner::TestError::Fail(_, input)) => input,
        other => panic!("the fault was not found: {other:?}"),
    }
}
