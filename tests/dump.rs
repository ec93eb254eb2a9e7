//! A registry as a file, and back, on every store.

#![cfg(feature = "dump")]
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

#[path = "dump/files.rs"]
mod files;
#[path = "dump/refused.rs"]
mod refused;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;

use files::dumped;
use proptest::collection::vec;
use proptest::test_runner::{Config, TestRunner};
use service_registry::dump::{Error, Health};
use service_registry::{
    Batch, MemoryStore, Registry, RegistryStore, ServiceInfo, ServiceStatus, StoreError, StoreStats,
};
use support::model::{GROUPS, Model, step};
use support::random::any_operation_with_conditions;
use support::{ObservedState, at, fill_store, observe, pod};

/// What a store holds, without its revision.
fn held(store: &impl RegistryStore) -> ObservedState {
    ObservedState {
        revision: 0,
        ..observe(store, GROUPS)
    }
}

/// All but the header, which has the revision; records come in any order.
fn lines(file: &[u8]) -> BTreeSet<String> {
    let text = std::str::from_utf8(file).unwrap();
    let lines = text.lines().skip(1).map(String::from);
    lines.filter(|line| !line.contains("crc32")).collect()
}

// --- every store

/// Whatever a store holds, whatever another one held before.
fn what_is_dumped_is_what_is_restored<S: RegistryStore>(make: impl Fn() -> S) {
    let config = Config {
        cases: if cfg!(debug_assertions) { 60 } else { 400 },
        ..Config::with_source_file("tests/dump.rs")
    };
    let some = || vec(any_operation_with_conditions(), 0..40);
    let both = (some(), some());
    let ran = TestRunner::new(config).run(&both, |(operations, others)| {
        let (store, other) = (make(), make());
        for (store, operations) in [(&store, operations), (&other, others)] {
            let mut model = Model::default();
            for operation in &operations {
                step(store, &mut model, operation);
            }
        }
        let before = other.revision();
        let is_nothing = [&store, &other].map(|store| store.stats().unwrap());
        let is_nothing = is_nothing == [StoreStats::default(); 2];
        let file = dumped(&store);
        let revision = Registry::new(&other).restore_with(&file[..], Health::Keep);
        let revision = revision.unwrap();
        assert_eq!(revision, if is_nothing { before } else { before.next() });
        assert_eq!(revision, other.revision());
        assert_eq!(held(&other), held(&store));
        for record in other.get_all_services().unwrap() {
            assert_eq!(
                (record.revision(), record.incarnation()),
                (revision, revision)
            );
        }
        assert_eq!(lines(&dumped(&other)), lines(&file));
        Ok(())
    });
    ran.unwrap();
}

fn health_comes_back_where_it_is_asked_for<S: RegistryStore>(make: impl Fn() -> S) {
    let store = make();
    let registry = Registry::new(&store);
    let healths = [
        pod("a", "healthy").with_health(ServiceStatus::Healthy, at(7)),
        pod("a", "draining").with_health(ServiceStatus::Draining, at(8)),
        Ok(pod("a", "never")),
    ];
    let services = healths.map(Result::unwrap);
    for service in &services {
        store.save_service(service.clone()).unwrap();
    }
    let file = dumped(&store);
    registry.restore(&file[..]).unwrap();
    for service in &services {
        let found = store.get_service(service.key()).unwrap();
        assert_eq!(
            (found.status(), found.last_health_check()),
            (ServiceStatus::Unknown, None)
        );
        assert_eq!(found.registration(), service.registration());
        assert_eq!(found.registered_at(), service.registered_at());
    }
    registry.restore_with(&file[..], Health::Keep).unwrap();
    for service in &services {
        assert_eq!(store.get_service(service.key()).as_ref(), Ok(service));
    }
}

fn a_closed_store_is_neither_dumped_nor_restored<S: RegistryStore>(make: impl Fn() -> S) {
    let store = make();
    fill_store(&store);
    let file = dumped(&store);
    store.close().unwrap();
    let registry = Registry::new(&store);
    let dumped = registry.dump(io::sink());
    assert!(
        matches!(dumped, Err(Error::Store(StoreError::Closed))),
        "{dumped:?}"
    );
    let restored = registry.restore(&file[..]);
    assert!(
        matches!(restored, Err(Error::Store(StoreError::Closed))),
        "{restored:?}"
    );
}

/// A writer that fails, one that panics, and one that calls the store.
fn a_writer_harms_no_store<S: RegistryStore>(make: impl Fn() -> S) {
    struct Fails(usize);

    impl Write for Fails {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("the disk is full"));
            }
            let written = bytes.len().min(self.0);
            self.0 -= written;
            Ok(written)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Calls<'s, S>(&'s S);

    impl<S: RegistryStore> Write for Calls<'_, S> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Done or refused; it does not wait for itself.
            let _ = (self.0.stats(), self.0.save_service(pod("late", "1")));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Panics;

    impl Write for Panics {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            panic!("in a writer of the caller");
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    let store = make();
    fill_store(&store);
    let registry = Registry::new(&store);
    let before = held(&store);
    let len = dumped(&store).len();
    for room in [0, 1, len / 2, len - 1] {
        let failed = registry.dump(Fails(room)).unwrap_err();
        assert_eq!(failed.to_string(), "the disk is full");
    }
    registry.dump(Fails(len)).unwrap();
    assert_eq!(held(&store), before);
    let panicked = catch_unwind(AssertUnwindSafe(|| registry.dump(Panics)));
    assert!(panicked.is_err());
    assert_eq!(held(&store), before);
    registry.dump(Calls(&store)).unwrap();
    store.save_service(pod("more", "1")).unwrap();
}

macro_rules! every_store {
    ($make:expr) => {
        every_store! { $make;
            what_is_dumped_is_what_is_restored
            health_comes_back_where_it_is_asked_for
            a_closed_store_is_neither_dumped_nor_restored
            a_writer_harms_no_store
        }
    };
    // Who waits for itself is to fail, and not to hang.
    ($make:expr; $($test:ident)+) => {$(
        #[test]
        fn $test() {
            crate::support::within(crate::support::PATIENCE, || crate::$test(|| $make));
        }
    )+};
}

mod memory {
    every_store!(service_registry::MemoryStore::new());
}

mod required_methods_only {
    every_store!(crate::support::stores::Required::new());
}

macro_rules! shared {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            every_store!(service_registry::$store::new());

            #[test]
            fn a_dump_beside_writers_is_of_one_state() {
                crate::support::within(crate::support::PATIENCE, || {
                    crate::a_dump_beside_writers_is_of_one_state(service_registry::$store::new());
                });
            }
        }
    };
}

shared_stores!(shared);

/// Batches that keep one pod and one subscription of a hundred, all of one version.
fn a_dump_beside_writers_is_of_one_state<S: RegistryStore + Sync>(store: S) {
    fn state(version: u64) -> Batch {
        let mut batch = Batch::new();
        for n in 0..100 {
            batch.save_service(support::version("s", &n.to_string(), version));
        }
        batch
            .remove_all_subscriptions("s:0")
            .add_subscription("s:0", &format!("g{version}"));
        batch
    }

    store.commit(state(0)).unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for version in (1..).take_while(|_| !is_over.load(SeqCst)) {
                store.commit(state(version)).unwrap();
            }
        });
        for _ in 0..50 {
            let file = dumped(&store);
            let seen = Registry::new(MemoryStore::new());
            seen.restore(&file[..]).unwrap();
            let services = seen.get_all_services().unwrap();
            let urls: BTreeSet<&str> = services.iter().map(ServiceInfo::health_check_url).collect();
            let versions: BTreeSet<&str> = urls
                .iter()
                .filter_map(|url| Some(url.rsplit_once("/v")?.1))
                .collect();
            assert_eq!((services.len(), versions.len()), (100, 1), "{versions:?}");
            let group = format!("g{}", versions.first().unwrap());
            assert_eq!(seen.get_subscribers(&group).unwrap().len(), 1);
        }
        is_over.store(true, SeqCst);
    });
}

/// Nobody waits while a snapshot is written.
#[cfg(feature = "versioned")]
#[test]
fn a_snapshot_is_dumped_while_the_store_goes_on() {
    let store = service_registry::VersionedStore::new();
    fill_store(&store);
    let (snapshot, before) = (store.snapshot(), held(&store));
    store.clear().unwrap();
    let mut file = Vec::new();
    assert_eq!(
        service_registry::dump::write(&snapshot, &mut file).unwrap(),
        service_registry::RegistryView::revision(&snapshot)
    );
    Registry::new(&store).restore(&file[..]).unwrap();
    assert_eq!(held(&store), before);
}

#[test]
fn the_form_of_the_file_is_the_documented_one() {
    let store = MemoryStore::new();
    let info = ServiceInfo::new(service_registry::ServiceRegistration::new("web", "pod-1"));
    let info = info.unwrap().with_registered_at(at(0)).unwrap();
    store.save_service(info).unwrap();
    store.add_subscription("web:pod-1", "payment").unwrap();
    let file = String::from_utf8(dumped(&store)).unwrap();
    let expected = concat!(
        r#"{"format":"service-registry","version":1,"revision":2,"services":1,"subscriptions":1}"#,
        "\n",
        r#"{"service_name":"web","pod_name":"pod-1","providers":[],"health_check_url":"","#,
        r#""notification_url":"","subscriptions":[],"zone":"","weight":1,"metadata":{},"#,
        r#""status":"unknown","last_health_check":null,"registered_at":"2001-09-09T01:46:40Z"}"#,
        "\n",
        r#"{"subscriber":"web:pod-1","group":"payment"}"#,
        "\n",
    );
    let sum = crc32fast::hash(expected.as_bytes());
    assert_eq!(
        file,
        format!("{expected}{{\"lines\":3,\"crc32\":\"{sum:08x}\"}}\n")
    );
}
