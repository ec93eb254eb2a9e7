//! Helpers of the contract tests, which other tests of the repository use by path.

// Each test file is a crate of its own and uses a part of this.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, SystemTime};

use service_registry::changes::Selection;
use service_registry::{
    Batch, HealthUpdate, InvalidInput, Problem, Protocol, Provider, RegistryStore, RegistryView,
    Result, Revision, ServiceInfo, ServiceKey, ServiceRegistration, ServiceStatus, StoreError,
    StoreStats,
};

pub mod dice;
pub mod failing;
pub mod failure;
pub mod followed_state;
pub mod follower;
pub mod list_view;
pub mod model;
pub mod race;
pub mod thread_exit;
#[macro_use]
pub mod views;

/// The time after which a test counts as a deadlock. It is far more than any test needs, so that
/// none fails on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(200);

/// Runs `work` on its own thread, and fails if it does not end.
///
/// A thread that hangs is left behind; it ends with the test process.
pub fn within<R: Send + 'static>(limit: Duration, work: impl FnOnce() -> R + Send + 'static) -> R {
    let (ended, end) = channel();
    let worker = thread::spawn(move || {
        let answer = work();
        // The receiver is gone only if the test has already failed.
        let _ = ended.send(());
        answer
    });
    match end.recv_timeout(limit) {
        Ok(()) | Err(RecvTimeoutError::Disconnected) => match worker.join() {
            Ok(answer) => answer,
            Err(panic) => resume_unwind(panic),
        },
        Err(RecvTimeoutError::Timeout) => panic!("a deadlock: no end after {limit:?}"),
    }
}

/// Returns the moment with this number.
pub fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + seconds)
}

/// Returns the number of a moment made by [`at`].
pub fn number(moment: SystemTime) -> u64 {
    let since = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    since.as_secs() - 1_000_000_000
}

/// Returns a registration with every field set.
pub fn registration(service: &str, pod: &str, subscriptions: &[&str]) -> ServiceRegistration {
    ServiceRegistration {
        service_name: service.into(),
        pod_name: pod.into(),
        providers: vec![Provider {
            protocol: Protocol::Http,
            host: [10, 0, 0, 1].into(),
            port: 8080,
        }],
        health_check_url: format!("http://{pod}/health"),
        notification_url: format!("http://{pod}/notify"),
        subscriptions: subscriptions.iter().map(ToString::to_string).collect(),
        zone: "eu-1a".into(),
        weight: 3,
        metadata: [("version".into(), "1.4.2".into())].into(),
    }
}

/// Returns a record that is the same on every call.
pub fn pod(service: &str, pod: &str) -> ServiceInfo {
    ServiceInfo::new(registration(service, pod, &[]))
        .unwrap()
        .with_registered_at(at(0))
        .unwrap()
}

/// Returns a record under the same key as `pod(service, pod)`, marked with a
/// version.
pub fn version(service: &str, pod: &str, version: u64) -> ServiceInfo {
    let mut registration = registration(service, pod, &[]);
    registration.health_check_url = format!("http://{pod}/v{version}");
    ServiceInfo::new(registration)
        .unwrap()
        .with_registered_at(at(version))
        .unwrap()
}

/// Returns the keys of records, in their order.
pub fn keys(records: &[ServiceInfo]) -> Vec<&str> {
    records.iter().map(|record| &**record.key()).collect()
}

/// Returns the keys of records, sorted, because scans have no particular order.
pub fn sorted_keys(records: &[ServiceInfo]) -> Vec<&str> {
    let mut keys = keys(records);
    keys.sort_unstable();
    keys
}

pub fn by_key(records: Vec<ServiceInfo>) -> BTreeMap<String, ServiceInfo> {
    let n = records.len();
    let records: BTreeMap<_, _> = records
        .into_iter()
        .map(|record| (record.key().to_string(), record))
        .collect();
    assert_eq!(records.len(), n, "a key came twice in {:?}", records.keys());
    records
}

/// The whole observable state of a store.
#[derive(Clone, Debug, PartialEq)]
pub struct ObservedState {
    pub services: BTreeMap<String, ServiceInfo>,
    /// Groups with subscribers, and those in the order of subscription.
    pub groups: BTreeMap<String, Vec<String>>,
    pub revision: u64,
}

/// Reads all content of a store without concurrent writers, by key, by name, by group and as a
/// whole, and checks that all answers agree. `groups` are all groups that may have subscribers.
pub fn observe(store: &(impl RegistryStore + ?Sized), groups: &[&str]) -> ObservedState {
    let services = by_key(store.get_all_services().unwrap());
    let names: BTreeSet<_> = services.values().map(ServiceInfo::service_name).collect();
    for name in names {
        let found = by_key(store.get_services_by_name(name).unwrap());
        let expected: BTreeMap<_, _> = services
            .iter()
            .filter(|(_, info)| info.service_name() == name)
            .map(|(key, info)| (key.clone(), info.clone()))
            .collect();
        assert_eq!(found, expected, "by the name {name:?}");
    }
    for (key, info) in &services {
        assert_eq!(info.key(), key.as_str());
        assert_eq!(store.get_service(key).as_ref(), Ok(info));
        let mut visited = Vec::new();
        store
            .visit_service(key, &mut |info| visited.push(info.clone()))
            .unwrap();
        assert_eq!(visited, std::slice::from_ref(info));
    }
    let mut subscribed = BTreeMap::new();
    for group in groups {
        let subscribers: Vec<String> = store
            .get_subscribers(group)
            .unwrap()
            .iter()
            .map(ToString::to_string)
            .collect();
        let distinct: BTreeSet<_> = subscribers.iter().collect();
        assert_eq!(distinct.len(), subscribers.len(), "twice in {group:?}");
        let registered: Vec<_> = subscribers
            .iter()
            .filter_map(|key| services.get(key).cloned())
            .collect();
        assert_eq!(store.get_subscriber_services(group).unwrap(), registered);
        if !subscribers.is_empty() {
            subscribed.insert((*group).to_string(), subscribers);
        }
    }
    let pairs: usize = subscribed.values().map(Vec::len).sum();
    assert_eq!(
        store.stats(),
        Ok(StoreStats::new(services.len(), pairs)),
        "stats disagree with {subscribed:?}"
    );
    ObservedState {
        services,
        groups: subscribed,
        revision: store.revision().as_u64(),
    }
}

/// Reads a view through every method, and checks that all answers agree. `groups`
/// are all groups that may have subscribers.
pub fn observe_view(view: &impl RegistryView, groups: &[&str]) -> ObservedState {
    let services = by_key(view.services().cloned().collect());
    let names: BTreeSet<_> = services.values().map(ServiceInfo::service_name).collect();
    for name in names {
        let found = by_key(view.services_by_name(name).cloned().collect());
        let expected: BTreeMap<_, _> = services
            .iter()
            .filter(|(_, info)| info.service_name() == name)
            .map(|(key, info)| (key.clone(), info.clone()))
            .collect();
        assert_eq!(found, expected, "by the name {name:?}");
    }
    for (key, info) in &services {
        assert_eq!(view.get(key), Some(info));
    }
    let mut subscribed = BTreeMap::new();
    for group in groups {
        let subscribers: Vec<String> = view.subscribers(group).map(ToString::to_string).collect();
        let distinct: BTreeSet<_> = subscribers.iter().collect();
        assert_eq!(distinct.len(), subscribers.len(), "twice in {group:?}");
        let registered: Vec<_> = subscribers
            .iter()
            .filter_map(|key| services.get(key))
            .collect();
        assert_eq!(
            view.subscriber_services(group).collect::<Vec<_>>(),
            registered
        );
        if !subscribers.is_empty() {
            subscribed.insert((*group).to_string(), subscribers);
        }
    }
    let pairs: usize = subscribed.values().map(Vec::len).sum();
    assert_eq!(view.stats(), StoreStats::new(services.len(), pairs));
    ObservedState {
        services,
        groups: subscribed,
        revision: view.revision().as_u64(),
    }
}

/// A named call of a store that can fail.
pub type Call = (&'static str, fn(&dyn RegistryStore) -> Result<()>);

/// The key that `CALLS` use, registered by [`fill_store`].
pub const KEY: &str = "db:pod-1";
/// The groups that `CALLS` and [`fill_store`] use.
pub const GROUPS: &[&str] = &["g", "h", "new"];

/// Creates the content that the `CALLS` need.
pub fn fill_store(store: &impl RegistryStore) {
    store.save_service(pod("db", "pod-1")).unwrap();
    store.save_service(pod("db", "pod-2")).unwrap();
    store.add_subscription(KEY, "g").unwrap();
    store.add_subscription(KEY, "h").unwrap();
    store.add_subscription("web:pod-1", "g").unwrap();
}

/// Every method that can fail. On an open store that [`fill_store`] has filled, each of them
/// succeeds and, if it writes, changes something.
pub const CALLS: &[Call] = &[
    ("save_service", |s| {
        s.save_service(pod("db", "saved by a call"))
    }),
    ("save_service, replacing", |s| {
        s.save_service(version("db", "pod-1", 7))
    }),
    ("get_service", |s| s.get_service(KEY).map(drop)),
    ("find_service", |s| s.find_service(KEY).map(drop)),
    ("contains_service", |s| s.contains_service(KEY).map(drop)),
    ("get_services_by_name", |s| {
        s.get_services_by_name("db").map(drop)
    }),
    ("get_all_services", |s| s.get_all_services().map(drop)),
    ("delete_service", |s| s.delete_service(KEY)),
    ("update_health_status", |s| {
        s.update_health_status(KEY, ServiceStatus::Healthy, at(9))
            .map(drop)
    }),
    ("add_subscription", |s| s.add_subscription(KEY, "new")),
    ("remove_subscription", |s| s.remove_subscription(KEY, "g")),
    ("remove_all_subscriptions", |s| {
        s.remove_all_subscriptions(KEY)
    }),
    ("get_subscribers", |s| s.get_subscribers("g").map(drop)),
    ("get_subscriber_services", |s| {
        s.get_subscriber_services("g").map(drop)
    }),
    ("commit", |s| {
        let mut batch = Batch::new();
        batch
            .save_service(pod("db", "saved by a batch"))
            .remove_all_subscriptions(KEY);
        s.commit(batch).map(drop)
    }),
    ("commit_changes", |s| {
        let mut batch = Batch::new();
        batch.save_service(pod("db", "saved by a batch that is told"));
        s.commit_changes(batch).map(drop)
    }),
    ("commit of nothing", |s| s.commit(Batch::new()).map(drop)),
    ("take_service", |s| s.take_service(KEY).map(drop)),
    ("clear", |s| s.clear()),
    ("stats", |s| s.stats().map(drop)),
    ("ping", |s| s.ping()),
    ("visit_service", |s| s.visit_service(KEY, &mut |_| ())),
    ("visit_view", |s| s.visit_view(&mut |_| ())),
];

/// The calls that begin a watch, for stores that report changes.
pub const WATCHES: &[Call] = &[
    ("watch", |s| s.watch(Selection::All).map(drop)),
    ("watch_from", |s| {
        let other = service_registry::MemoryStore::new();
        let cursor = other.watch(Selection::All)?.cursor();
        s.watch_from(Selection::All, cursor).map(drop)
    }),
];

/// Returns the refused input, or panics with what happened instead.
#[track_caller]
pub fn refused<T: std::fmt::Debug>(answer: Result<T>) -> InvalidInput {
    match answer {
        Err(StoreError::Invalid(invalid)) => *invalid,
        other => panic!("not refused as invalid: {other:?}"),
    }
}

/// Checks that an input was refused, that the error has the input and the reason,
/// and that the message names them.
#[track_caller]
pub fn assert_refused<T: std::fmt::Debug>(
    answer: Result<T>,
    field: &str,
    value: &str,
    problem: &Problem,
) {
    let invalid = refused(answer);
    assert_eq!((invalid.field(), invalid.problem()), (field, problem));
    // The message shows only the beginning of a long input.
    let told: String = value.chars().take(64).collect();
    assert_eq!(invalid.value(), told);
    let message = StoreError::from(invalid).to_string();
    assert!(message.contains(field), "the field is not in {message:?}");
    assert!(
        message.contains(&problem.to_string()),
        "the problem is not in {message:?}"
    );
}

/// Reports a health check that is not late, and returns the previous status.
#[track_caller]
pub fn report_health(
    store: &(impl RegistryStore + ?Sized),
    key: &str,
    status: ServiceStatus,
    moment: SystemTime,
) -> ServiceStatus {
    match store.update_health_status(key, status, moment) {
        Ok(HealthUpdate::Applied { before }) => before,
        other => panic!("not applied: {other:?}"),
    }
}

/// Texts that are not keys, and the problem of each.
pub fn malformed_keys() -> Vec<(String, Problem)> {
    let max = service_registry::MAX_NAME_LEN;
    let long = "x".repeat(max + 1);
    let too_long = Problem::TooLong { len: max + 1, max };
    vec![
        (String::new(), Problem::Empty),
        ("no-colon".into(), Problem::NoColon),
        (":".into(), Problem::NoService),
        (":pod".into(), Problem::NoService),
        ("::".into(), Problem::NoService),
        ("service:".into(), Problem::NoPod),
        ("s:p\0".into(), Problem::Control { at: 1 }),
        ("s\n:p".into(), Problem::Control { at: 1 }),
        (" s:p".into(), Problem::Padded),
        ("s:p ".into(), Problem::Padded),
        ("s:\u{3000}p".into(), Problem::Padded),
    ]
    .into_iter()
    .chain([(format!("s:{long}"), too_long.clone())])
    .chain([(format!("{long}:p"), too_long)])
    .collect()
}

pub fn key(text: &str) -> ServiceKey {
    text.parse().unwrap()
}

pub fn revision(number: u64) -> Revision {
    Revision::from(number)
}
