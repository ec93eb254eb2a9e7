//! What the types promise to the compiler.
//!
//! What a type must *not* be is shown by `compile_fail` tests in its
//! documentation.

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

use std::fmt::Debug;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::sync::Arc;

use service_registry::{
    Batch, Change, DefaultStore, Expected, HealthUpdate, InvalidInput, MemoryStore, Problem,
    Protocol, Provider, Registry, RegistryStore, Revision, ServiceInfo, ServiceKey,
    ServiceRegistration, ServiceStatus, StoreError, StoreKind, StoreStats,
};
use support::{at, pod, registration};

// --- checked when this file compiles

const fn is_send<T: Send>() {}
const fn is_sync<T: Sync>() {}
const fn is_static<T: 'static>() {}
const fn is_unpin<T: Unpin>() {}
const fn is_unwind_safe<T: UnwindSafe>() {}
const fn is_ref_unwind_safe<T: RefUnwindSafe>() {}
const fn is_clone<T: Clone>() {}
const fn is_copy<T: Copy>() {}
const fn is_debug<T: Debug>() {}
const fn is_default<T: Default>() {}
const fn is_store<T: RegistryStore + ?Sized>() {}
const fn is_error<T: std::error::Error + Send + Sync + 'static>() {}

/// What a value that may be handed around freely is.
const fn is_plain<T>()
where
    T: Send + Sync + Unpin + UnwindSafe + RefUnwindSafe + Clone + Debug + 'static,
{
}

/// What every store is.
const fn is_any_store<T>()
where
    T: RegistryStore + Send + Unpin + UnwindSafe + Default + Debug + 'static,
{
}

const _: () = {
    is_plain::<ServiceInfo>();
    is_plain::<ServiceKey>();
    is_plain::<ServiceRegistration>();
    is_plain::<Provider>();
    is_plain::<Protocol>();
    is_plain::<ServiceStatus>();
    is_plain::<StoreStats>();
    is_plain::<StoreKind>();
    is_plain::<Revision>();
    is_plain::<Batch>();
    is_plain::<Change>();
    is_plain::<StoreError>();
    is_plain::<InvalidInput>();
    is_plain::<Problem>();
    is_copy::<ServiceStatus>();
    is_copy::<StoreStats>();
    is_copy::<StoreKind>();
    is_copy::<Revision>();
    is_default::<ServiceRegistration>();
    is_default::<Batch>();
    is_error::<StoreError>();
    is_error::<InvalidInput>();
};

// The interface can be used through `dyn`, by every pointer, at any depth.
const _: () = {
    is_store::<dyn RegistryStore>();
    is_store::<dyn RegistryStore + Send + Sync>();
    is_store::<&dyn RegistryStore>();
    is_store::<Box<dyn RegistryStore>>();
    is_store::<Box<dyn RegistryStore + Send + Sync>>();
    is_store::<Rc<dyn RegistryStore>>();
    is_store::<Arc<dyn RegistryStore + Send + Sync>>();
    is_store::<&&Arc<Box<MemoryStore>>>();
    is_send::<Box<dyn RegistryStore + Send + Sync>>();
    is_sync::<Box<dyn RegistryStore + Send + Sync>>();
};

const _: () = {
    is_any_store::<MemoryStore>();
    is_any_store::<DefaultStore>();
    is_send::<Registry<MemoryStore>>();
    is_static::<Registry<MemoryStore>>();
    is_debug::<Registry<MemoryStore>>();
    is_default::<Registry<MemoryStore>>();
};

macro_rules! shared {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        const _: () = {
            use service_registry::$store;
            is_any_store::<$store>();
            is_sync::<$store>();
            is_ref_unwind_safe::<$store>();
            is_sync::<Registry<$store>>();
            is_clone::<Registry<Arc<$store>>>();
        };
    };
}

shared_stores!(shared);

#[cfg(feature = "snapshot")]
const _: () = {
    use service_registry::{Snapshot, SnapshotReader};
    is_plain::<Snapshot>();
    is_send::<SnapshotReader>();
    is_static::<SnapshotReader>();
    is_unpin::<SnapshotReader>();
    is_unwind_safe::<SnapshotReader>();
    is_debug::<SnapshotReader>();
};

#[cfg(feature = "versioned")]
const _: () = {
    use service_registry::{VersionedReader, VersionedSnapshot};
    is_plain::<VersionedSnapshot>();
    is_send::<VersionedReader>();
    is_static::<VersionedReader>();
    is_unpin::<VersionedReader>();
    is_unwind_safe::<VersionedReader>();
    is_debug::<VersionedReader>();
};

// --- checked when it runs

#[test]
#[cfg(any(
    feature = "thread-safe",
    feature = "worker",
    feature = "evmap",
    feature = "snapshot",
    feature = "versioned"
))]
fn a_panic_can_be_caught_around_a_store() {
    // Without `AssertUnwindSafe`, because a store stays usable.
    fn around<S: RegistryStore + RefUnwindSafe>(store: &S) {
        store.save_service(pod("db", "1")).unwrap();
        let panicked = std::panic::catch_unwind(|| {
            store.with_service("db:1", |_| {
                std::panic::resume_unwind(Box::new("on purpose"))
            })
        });
        assert!(panicked.is_err());
        store.delete_service("db:1").unwrap();
    }
    macro_rules! shared {
        ($feature:literal $module:ident $kind:ident $store:ident) => {
            #[cfg(feature = $feature)]
            around(&service_registry::$store::new());
        };
    }
    shared_stores!(shared);
}

/// A store says what it is: open, closed, and from inside a closure.
fn prints<S: RegistryStore + Debug + Default>(name: &str) {
    let store = S::default();
    store.save_service(pod("db", "1")).unwrap();
    store.add_subscription("db:1", "g").unwrap();
    store.add_subscription("web:1", "g").unwrap();
    let open = format!("{store:?}");
    assert!(open.starts_with(name), "{open}");
    for fact in ["revision: Revision(3)", "services: 1", "subscriptions: 2"] {
        assert!(open.contains(fact), "{open}");
    }
    let inside = store.with_service("db:1", |_| format!("{store:?}"));
    assert!(inside.unwrap().starts_with(name));
    assert!(format!("{:?}", Registry::new(&store)).contains(name));
    store.close().unwrap();
    let closed = format!("{store:?}");
    assert!(closed.starts_with(name), "{closed}");
}

#[test]
fn a_store_prints_what_it_holds() {
    prints::<MemoryStore>("MemoryStore");
    macro_rules! shared {
        ($feature:literal $module:ident $kind:ident $store:ident) => {
            #[cfg(feature = $feature)]
            prints::<service_registry::$store>(stringify!($store));
        };
    }
    shared_stores!(shared);
}

#[test]
fn new_and_default_are_the_same_empty_store() {
    fn empty(store: &impl RegistryStore) {
        assert_eq!(store.stats(), Ok(StoreStats::default()));
        assert_eq!(store.revision(), Revision::ZERO);
    }
    empty(&MemoryStore::new());
    empty(&MemoryStore::default());
    empty(&DefaultStore::new());
    macro_rules! shared {
        ($feature:literal $module:ident $kind:ident $store:ident) => {
            #[cfg(feature = $feature)]
            for store in [
                service_registry::$store::new(),
                service_registry::$store::default(),
            ] {
                empty(&store);
            }
        };
    }
    shared_stores!(shared);
}

#[path = "traits/pointers.rs"]
mod pointers;

#[test]
#[cfg(feature = "snapshot")]
fn pointers_hand_out_the_snapshots_of_their_store() {
    use service_registry::{RegistryView, SnapshotStore, Snapshots};

    fn count<S: Snapshots>(store: &S) -> usize {
        store.snapshot().services().count()
    }
    let store = SnapshotStore::new();
    store.save_service(pod("db", "1")).unwrap();
    assert_eq!((count(&store), count(&&store)), (1, 1));
    let nested = Rc::new(Box::new(Arc::new(store)));
    assert_eq!((count(&*nested), count(&nested)), (1, 1));
}

/// A store from elsewhere that tells no changes.
struct Untold(MemoryStore);

impl RegistryStore for Untold {
    service_registry::delegate_store!(self => self.0; except commit_changes, watch, watch_from);
}

#[test]
fn a_store_that_tells_no_changes_says_so_and_changes_nothing() {
    let store = Untold(MemoryStore::new());
    let told = |answer: service_registry::Result<()>| match answer {
        Err(StoreError::Failed(failure)) => failure.to_string(),
        other => panic!("{other:?}"),
    };
    let mut batch = Batch::new();
    batch.save_service(pod("db", "1"));
    let registry = Registry::new(&store);
    let list = [registration("db", "1", &[])];
    let replaced = registry.replace_source("file", list, service_registry::OnForeign::Skip);
    let calls = support::WATCHES.iter().map(|(_, call)| call(&store));
    let answers = [store.commit_changes(batch).map(drop), replaced.map(drop)];
    for answer in answers.into_iter().chain(calls) {
        assert_eq!(told(answer), "this store tells no changes");
    }
    assert_eq!(store.revision(), Revision::ZERO);
    assert_eq!(store.stats(), Ok(StoreStats::new(0, 0)));
}

/// An error above another one.
#[derive(Debug)]
struct Above(std::io::Error);
impl std::fmt::Display for Above {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("could not write")
    }
}
impl std::error::Error for Above {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn errors_say_what_caused_them_once() {
    use std::error::Error;
    let store = MemoryStore::new();
    let mut batch = Batch::new();
    batch.delete_service("db:1");
    let rejected = store.commit(batch).unwrap_err();
    let mut chain = vec![rejected.to_string()];
    let mut source = rejected.source();
    while let Some(error) = source {
        chain.push(error.to_string());
        source = error.source();
    }
    let told = chain.join(": ");
    let cause = StoreError::NotFound("db:1".into()).to_string();
    assert_eq!(told.matches(&cause).count(), 1, "{told}");

    // What lies below is told by whoever stands above, too.
    let failed = StoreError::failed(Above(std::io::Error::other("disk full")));
    let rejected = StoreError::BatchRejected {
        index: 0,
        operation: "save_service",
        source: Box::new(failed),
    };
    assert!(rejected.to_string().contains("could not write"));
    assert_eq!(rejected.source().unwrap().to_string(), "disk full");
    assert!(StoreError::Closed.source().is_none());
    assert!(StoreError::Reentrant.to_string().contains("closure"));
}

#[test]
fn an_error_shows_a_little_of_a_large_input() {
    use service_registry::{Condition, Conflict, Found};
    let large = "x".repeat(10 << 20);
    let key: Box<str> = large.as_str().into();
    let of = |condition| StoreError::Conflict(Box::new(Conflict::new(condition, Found::Absent)));
    let errors = [
        StoreError::NotFound(key.clone()),
        large.parse::<ServiceKey>().unwrap_err(),
        of(Condition::Source {
            key: key.clone(),
            source: Some(key.clone()),
        }),
        of(Condition::Expected {
            key: key.clone(),
            expected: Expected::Present,
        }),
        service_registry::InvalidInput::new("zone", &large, Problem::Padded).into(),
        ServiceInfo::new(registration("db", "1", &[]).with_metadata(
            "x".repeat(service_registry::MAX_METADATA_KEY_LEN),
            large.as_str(),
        ))
        .unwrap_err(),
    ];
    let longest = |shown: &str| shown.split(|c| c != 'x').map(str::len).max();
    for error in errors {
        let rejected = StoreError::BatchRejected {
            index: 0,
            operation: "save_service",
            source: Box::new(error.clone()),
        };
        for shown in [
            format!("{error}"),
            format!("{error:?}"),
            format!("{rejected}"),
            format!("{rejected:#?}"),
        ] {
            assert_eq!(longest(&shown), Some(64), "{shown:.300}");
            assert!(shown.contains("xxx\"..."), "{shown}");
        }
        if let StoreError::Conflict(conflict) = &error {
            let found = Found::Record {
                revision: Revision::ZERO,
                incarnation: Revision::ZERO,
                source: Some(key.clone()),
            };
            for shown in [format!("{:?}", conflict.condition()), format!("{found:?}")] {
                assert_eq!(longest(&shown), Some(64), "{shown:.300}");
            }
        }
    }
}

#[test]
fn a_registry_over_any_store_prints() {
    let boxed: Box<dyn RegistryStore> = Box::new(MemoryStore::new());
    boxed.save_service(pod("db", "1")).unwrap();
    let registry = Registry::new(boxed);
    assert!(format!("{registry:?}").contains("services: 1"));
    let shared: Arc<dyn RegistryStore + Send + Sync> = StoreKind::ALL
        .first()
        .map_or_else(|| panic!("no store"), |kind| kind.open().into());
    assert!(format!("{:?}", Registry::new(shared)).contains("services: 0"));
}

#[test]
fn keys_become_texts_and_come_from_them() {
    let key = ServiceKey::try_from(String::from("db:1")).unwrap();
    assert_eq!(String::from(key.clone()), "db:1");
    let text: Arc<str> = key.clone().into();
    assert_eq!(&*text, "db:1");
    assert!(ServiceKey::try_from(String::from("db")).is_err());
    assert_eq!(ServiceKey::try_from("db:1"), Ok(key));
}

/// Everything by way of another store.
#[test]
fn a_store_delegates_the_rest_in_one_line() {
    struct Wrapper<S>(S);
    impl<S: RegistryStore> RegistryStore for Wrapper<S> {
        service_registry::delegate_store!(self => self.0);
    }
    struct Deaf(Box<dyn RegistryStore>);
    impl RegistryStore for Deaf {
        fn add_subscription(&self, _: &str, _: &str) -> service_registry::Result<()> {
            Ok(())
        }
        service_registry::delegate_store!(self => *self.0; except add_subscription, with_service, with_view);
    }
    let store = Wrapper(Deaf(Box::new(Wrapper(MemoryStore::new()))));
    store.save_service(pod("db", "1")).unwrap();
    store.add_subscription("db:1", "g").unwrap();
    assert_eq!(store.stats(), Ok(StoreStats::new(1, 0)));
    let name = store.with_service("db:1", |pod| pod.pod_name().to_owned());
    assert_eq!(name, Ok("1".into()));
}

#[test]
fn a_map_of_keys_can_be_asked_with_a_text() {
    use std::collections::{BTreeMap, HashMap};
    let key: ServiceKey = "db:1".parse().unwrap();
    assert_eq!(HashMap::from([(key.clone(), 1)]).get("db:1"), Some(&1));
    assert_eq!(BTreeMap::from([(key.clone(), 1)]).get("db:1"), Some(&1));
    assert_eq!(key, "db:1");
    assert_eq!("db:1", key);
    assert_eq!(key, *"db:1");
    assert_eq!(*"db:1", key);
    let mut sorted: Vec<ServiceKey> = ["b:1", "a:2", "a:10", "a:1"]
        .map(|key| key.parse().unwrap())
        .into();
    sorted.sort();
    assert_eq!(sorted, ["a:1", "a:10", "a:2", "b:1"]);
    assert_eq!(format!("{key:>6}|{key:?}"), "  db:1|\"db:1\"");
}

#[test]
fn records_are_equal_when_all_they_say_is() {
    let one = pod("db", "1");
    assert_eq!(one, pod("db", "1"));
    assert_ne!(one, pod("db", "2"));
    assert_ne!(one, one.with_health(ServiceStatus::Unknown, at(1)).unwrap());
    assert_ne!(one, one.clone().with_registered_at(at(1)).unwrap());
    assert_ne!(one, one.clone().with_source("etcd").unwrap());
    assert_eq!(
        one.with_health(ServiceStatus::Healthy, at(1)).unwrap(),
        one.with_health(ServiceStatus::Unhealthy, at(2))
            .unwrap()
            .with_health(ServiceStatus::Healthy, at(1))
            .unwrap()
    );
    let printed = format!("{one:?}");
    assert!(
        printed.contains("db") && printed.contains("Unknown"),
        "{printed}"
    );
}

#[test]
fn revisions_count() {
    let three = Revision::from(3);
    assert_eq!(three.next().as_u64(), 4);
    assert!(Revision::ZERO < three && three < three.next());
    assert_eq!((u64::from(three), three.to_string()), (3, "3".into()));
    assert_eq!(Revision::default(), Revision::ZERO);
}

#[test]
fn store_kinds_read_and_print() {
    assert_eq!(
        StoreKind::ALL.is_empty(),
        cfg!(not(any(
            feature = "thread-safe",
            feature = "worker",
            feature = "evmap",
            feature = "snapshot",
            feature = "versioned"
        )))
    );
    for kind in StoreKind::ALL {
        assert_eq!(kind.name().parse(), Ok(*kind));
        assert_eq!(kind.to_string(), kind.name());
        let store = kind.open();
        store.save_service(pod("db", "1")).unwrap();
        assert_eq!(store.revision().as_u64(), 1);
        // Each is a store of its own.
        assert_eq!(kind.open().revision(), Revision::ZERO);
    }
    for name in ["", "redis", "Snapshot", "thread_safe", "memory"] {
        let refused = support::refused(name.parse::<StoreKind>());
        assert_eq!((refused.field(), refused.value()), ("store", name));
    }
}
