//! Snapshots and reader handles, for the stores that have them.

use std::fmt::Debug;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, PoisonError};
use std::thread;

use service_registry::{
    Batch, Registry, RegistryStore, RegistryView, Result, ServiceInfo, ServiceStatus, StoreError,
    StoreStats,
};

use crate::support::race::race;
use crate::support::{
    CALLS, GROUPS, KEY, State, at, number, observe, observe_view, pod, registration, revision,
    set_the_table, version,
};

/// What a store with snapshots offers besides [`RegistryStore`].
pub(crate) trait Snapshots: RegistryStore + Send + Sync + 'static {
    type Snapshot: RegistryView + Clone + Debug + Send + Sync + 'static;
    type Reader: Debug + Send + 'static;

    fn snapshot(&self) -> Self::Snapshot;
    fn reader(&self) -> Self::Reader;
    fn view(reader: &mut Self::Reader) -> &Self::Snapshot;
    fn read<R>(
        reader: &mut Self::Reader,
        key: &str,
        read: impl FnOnce(&ServiceInfo) -> R,
    ) -> Result<R>;
}

macro_rules! impl_snapshots {
    ($store:ident, $snapshot:ident, $reader:ident) => {
        impl Snapshots for service_registry::$store {
            type Snapshot = service_registry::$snapshot;
            type Reader = service_registry::$reader;

            fn snapshot(&self) -> Self::Snapshot {
                self.snapshot()
            }
            fn reader(&self) -> Self::Reader {
                self.reader()
            }
            fn view(reader: &mut Self::Reader) -> &Self::Snapshot {
                reader.view()
            }
            fn read<R>(
                reader: &mut Self::Reader,
                key: &str,
                read: impl FnOnce(&ServiceInfo) -> R,
            ) -> Result<R> {
                reader.with_service(key, read)
            }
        }
    };
}

#[cfg(feature = "snapshot")]
impl_snapshots!(SnapshotStore, Snapshot, SnapshotReader);

// --- one thread

pub(crate) fn a_snapshot_of_a_new_store_is_empty<S: Snapshots>(store: &S) {
    let snapshot = store.snapshot();
    assert_eq!(snapshot.revision(), revision(0));
    assert_eq!(snapshot.stats(), StoreStats::default());
    assert_eq!(snapshot.get("db:1"), None);
    assert_eq!(snapshot.services().count(), 0);
    assert_eq!(snapshot.services_by_name("db").count(), 0);
    assert_eq!(snapshot.subscribers("db").count(), 0);
    assert_eq!(snapshot.subscriber_services("db").count(), 0);
}

pub(crate) fn a_snapshot_is_what_the_store_is<S: Snapshots>(store: &S) {
    let mut reader = store.reader();
    for (_, call) in CALLS {
        store.clear().unwrap();
        set_the_table(store);
        call(store).unwrap();
        let state = observe(store, GROUPS);
        assert_eq!(observe_view(&store.snapshot(), GROUPS), state);
        assert_eq!(observe_view(S::view(&mut reader), GROUPS), state);
    }
}

pub(crate) fn a_view_answers_like_the_store<S: Snapshots>(store: &S) {
    for name in ["1", "2", "3"] {
        store.save_service(pod("db", name)).unwrap();
    }
    for key in ["web:2", "db:3", "web:1", "db:1"] {
        store.add_subscription(key, "g").unwrap();
    }
    let view = store.snapshot();
    let subscribers: Vec<&str> = view.subscribers("g").map(|key| &**key).collect();
    assert_eq!(subscribers, ["web:2", "db:3", "web:1", "db:1"]);
    let services: Vec<&str> = view
        .subscriber_services("g")
        .map(|info| &**info.key())
        .collect();
    assert_eq!(services, ["db:3", "db:1"]);
    assert_eq!(view.services_by_name("d").count(), 0);
    assert_eq!(view.services_by_name("db:1").count(), 0);
    assert_eq!(view.get("db:4"), None);
    assert_eq!(view.get(""), None);
    assert_eq!(view.stats(), StoreStats::new(3, 4));
    // What iterators yield is borrowed from the view, not from the name asked
    // for.
    let named: Vec<&ServiceInfo> = {
        let name = String::from("db");
        view.services_by_name(&name).collect()
    };
    assert_eq!(named.len(), 3);
}

pub(crate) fn a_snapshot_never_changes<S: Snapshots>(store: &S) {
    // Of every state that the store goes through, kept to the end.
    let mut kept: Vec<(S::Snapshot, State)> = Vec::new();
    let mut keep = || kept.push((store.snapshot(), observe(store, GROUPS)));
    for n in 0..100_u64 {
        let name = (n % 40).to_string();
        match n % 5 {
            0 | 1 => store.save_service(version("db", &name, n)).unwrap(),
            2 => store.add_subscription(&format!("db:{n}"), "g").unwrap(),
            3 => {
                let mut batch = Batch::new();
                batch
                    .save_service(version("db", "batch", n))
                    .update_health_status("db:batch", ServiceStatus::Healthy, at(n))
                    .add_subscription("db:batch", "h")
                    .remove_all_subscriptions(&format!("db:{}", n - 1));
                store.commit(batch).unwrap();
            }
            _ => {
                let _there_or_not = store.delete_service(&format!("db:{name}"));
            }
        }
        keep();
    }
    for (_, call) in CALLS {
        store.clear().unwrap();
        keep();
        set_the_table(store);
        keep();
        call(store).unwrap();
        keep();
    }
    store.close().unwrap();
    for (snapshot, state) in &kept {
        assert_eq!(observe_view(snapshot, GROUPS), *state);
        assert_eq!(observe_view(&snapshot.clone(), GROUPS), *state);
    }
    // Whichever goes first, the others stay.
    while !kept.is_empty() {
        drop(kept.swap_remove(kept.len() / 2));
        for (snapshot, state) in kept.iter().step_by(17) {
            assert_eq!(observe_view(snapshot, GROUPS), *state);
        }
    }
}

pub(crate) fn a_large_snapshot_stays_while_the_store_shrinks<S: Snapshots>(store: &S) {
    const PODS: u64 = 3_000;
    let name = |n: u64| format!("service-{}", n % 7);
    for n in 0..PODS {
        store
            .save_service(version(&name(n), &n.to_string(), n))
            .unwrap();
        store
            .add_subscription(&format!("{}:{n}", name(n)), "g")
            .unwrap();
    }
    let full = store.snapshot();
    for n in 0..PODS {
        store.take_service(&format!("{}:{n}", name(n))).unwrap();
        if n == PODS / 2 {
            assert_eq!(store.snapshot().stats(), full.stats_less(n + 1));
        }
    }
    assert_eq!(store.snapshot().stats(), StoreStats::default());
    let seen = observe_view(&full, &["g"]);
    assert_eq!(seen.services.len() as u64, PODS);
    for n in 0..PODS {
        assert_eq!(
            full.get(&format!("{}:{n}", name(n))),
            Some(&version(&name(n), &n.to_string(), n))
        );
    }
}

trait StatsLess: RegistryView {
    /// The counts after `n` pods with one subscription each have left.
    fn stats_less(&self, n: u64) -> StoreStats {
        let n = usize::try_from(n).unwrap();
        let stats = self.stats();
        StoreStats::new(stats.services - n, stats.subscriptions - n)
    }
}

impl<V: RegistryView> StatsLess for V {}

pub(crate) fn snapshots_and_readers_outlive_their_store<S: Snapshots>(make: impl Fn() -> S) {
    let store = make();
    set_the_table(&store);
    let state = observe(&store, GROUPS);
    let (snapshot, mut reader) = (store.snapshot(), store.reader());
    drop(store);
    let snapshot = thread::spawn(move || {
        assert_eq!(observe_view(&snapshot, GROUPS), state);
        let last = S::view(&mut reader);
        // The store went away: with its last state, or as if it was closed.
        assert_eq!(last.revision().as_u64(), state.revision);
        let found = S::read(&mut reader, KEY, ServiceInfo::clone);
        assert!(
            found.as_ref() == Ok(&state.services[KEY]) || found == Err(StoreError::Closed),
            "{found:?}"
        );
        snapshot
    })
    .join()
    .unwrap();
    assert_eq!(snapshot.stats(), StoreStats::new(2, 3));
}

pub(crate) fn close_leaves_snapshots_and_ends_readers<S: Snapshots>(store: &S) {
    set_the_table(store);
    let state = observe(store, GROUPS);
    let (snapshot, mut reader, mut fresh) = (store.snapshot(), store.reader(), store.reader());
    assert_eq!(S::read(&mut reader, KEY, |_| ()), Ok(()));
    store.close().unwrap();

    assert_eq!(observe_view(&snapshot, GROUPS), state);
    for reader in [&mut reader, &mut fresh, &mut store.reader()] {
        let called = S::read(reader, KEY, |_| panic!("called on a closed store"));
        assert_eq!(called, Err::<(), _>(StoreError::Closed));
        let missing = S::read(reader, "x:1", |_| ());
        assert_eq!(missing, Err(StoreError::Closed));
        let view = S::view(reader);
        assert_eq!(view.stats(), StoreStats::default());
        assert_eq!(view.get(KEY), None);
        assert_eq!(view.revision().as_u64(), state.revision);
    }
    assert_eq!(store.snapshot().stats(), StoreStats::default());
    assert_eq!(store.snapshot().revision().as_u64(), state.revision);
}

pub(crate) fn a_reader_reads_like_the_store<S: Snapshots>(store: &S) {
    let mut reader = store.reader();
    assert_eq!(
        S::read(&mut reader, "db:1", |_| ()),
        Err(StoreError::NotFound("db:1".into()))
    );
    for n in 0..10 {
        let saved = version("db", "1", n);
        store.save_service(saved.clone()).unwrap();
        let found = S::read(&mut reader, "db:1", ServiceInfo::clone);
        assert_eq!(found, Ok(saved.clone()));
        assert_eq!(S::view(&mut reader).get("db:1"), Some(&saved));
        // A view that is not renewed stays as it is.
        let kept = S::view(&mut reader).clone();
        store.take_service("db:1").unwrap();
        assert_eq!(kept.get("db:1"), Some(&saved));
        assert_eq!(S::view(&mut reader).get("db:1"), None);
    }
    // `FnOnce`, and a panic leaves the reader usable.
    store.save_service(pod("db", "1")).unwrap();
    let moved = String::from("moved");
    let out = S::read(&mut reader, "db:1", move |_| moved);
    assert_eq!(out.as_deref(), Ok("moved"));
    let reader = Mutex::new(reader);
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut reader = reader.lock().unwrap();
        S::read(&mut reader, "db:1", |_| {
            std::panic::resume_unwind(Box::new("on purpose"))
        })
    }));
    assert!(panicked.is_err());
    let mut reader = reader.into_inner().unwrap_or_else(PoisonError::into_inner);
    store.save_service(version("db", "1", 7)).unwrap();
    assert_eq!(
        S::read(&mut reader, "db:1", ServiceInfo::clone),
        Ok(version("db", "1", 7))
    );
}

pub(crate) fn writing_from_inside_a_reader_closure_works<S: Snapshots>(store: &S) {
    set_the_table(store);
    let mut reader = store.reader();
    for (name, call) in CALLS {
        store.clear().unwrap();
        set_the_table(store);
        let before = store.get_service(KEY).unwrap();
        let inside = S::read(&mut reader, KEY, |info| {
            let answer = call(store);
            assert_eq!(*info, before, "what the closure was lent has changed");
            answer
        });
        assert_eq!(inside, Ok(Ok(())), "{name}");
    }
}

// --- threads

pub(crate) fn a_kept_snapshot_holds_up_nobody<S: Snapshots>(store: &S) {
    set_the_table(store);
    let kept: Vec<_> = (0..100).map(|_| store.snapshot()).collect();
    let mut reader = store.reader();
    let view = S::view(&mut reader);
    // From inside a closure, on another thread, to its end: a lock would hang.
    store
        .with_service(KEY, |info| {
            thread::scope(|scope| {
                let writer = scope.spawn(|| {
                    for n in 0..100 {
                        store.save_service(version("db", "pod-1", n)).unwrap();
                    }
                    store.clear().unwrap();
                });
                writer.join().unwrap();
            });
            assert_eq!(*info, pod("db", "pod-1"));
            assert_eq!(store.stats(), Ok(StoreStats::default()));
        })
        .unwrap();
    assert_eq!(view.get(KEY), Some(&pod("db", "pod-1")));
    for snapshot in kept {
        assert_eq!(snapshot.get(KEY), Some(&pod("db", "pod-1")));
    }
}

/// Checks a view under the writers of the tests below: pods have two
/// subscriptions each, of which one is to the group of their version.
fn check_whole(view: &impl RegistryView) {
    let state = observe_view(view, &["even", "odd", "both"]);
    let counts = view.stats();
    assert_eq!(
        counts.subscriptions,
        2 * counts.services,
        "half a registration"
    );
    for (key, info) in &state.services {
        for group in info.subscriptions() {
            assert!(
                state.groups[group].contains(key),
                "half a registration: {key} is not in {group}"
            );
        }
    }
}

fn register_and_unregister<S: Snapshots>(store: &S, service: &str, round: usize) {
    let registry = Registry::new(store);
    let own = ["even", "odd"][round % 2];
    let pod = (round % 3).to_string();
    registry
        .register(registration(service, &pod, &[own, "both"]))
        .unwrap();
    if round % 5 == 4 {
        registry.unregister(service, &pod).unwrap();
    }
}

pub(crate) fn every_snapshot_is_of_one_moment<S: Snapshots>(store: &S) {
    let one = |round| register_and_unregister(store, "one", round);
    let other = |round| register_and_unregister(store, "other", round);
    let snapshots = |_| check_whole(&store.snapshot());
    let readers: [Mutex<S::Reader>; 2] = std::array::from_fn(|_| Mutex::new(store.reader()));
    let reader = |_| check_whole(S::view(&mut readers[0].lock().unwrap()));
    race(500, &[&one, &other], &[&snapshots, &reader]);
}

pub(crate) fn a_reader_never_goes_backwards<S: Snapshots>(store: &S) {
    store.save_service(pod("db", "1")).unwrap();
    let base = store.revision().as_u64();
    let record = |n: u64| pod("db", "1").with_health(ServiceStatus::Healthy, at(n));
    // Of one writer's commits, number n leads to revision base + n.
    let returned = AtomicU64::new(0);
    let write = |round: usize| {
        let n = round as u64 + 1;
        store.save_service(record(n)).unwrap();
        returned.store(n, SeqCst);
    };
    let seen_in = |view: &S::Snapshot| {
        let info = view.get("db:1").expect("a registered pod was missing");
        let seen = info.last_health_check().map_or(0, number);
        assert_eq!(view.revision().as_u64(), base + seen);
        seen
    };
    let readers: [Mutex<(S::Reader, u64)>; 2] =
        std::array::from_fn(|_| Mutex::new((store.reader(), 0)));
    let read = |which: usize, round: usize| {
        let (reader, last) = &mut *readers[which].lock().unwrap();
        let before = returned.load(SeqCst);
        let seen = match round % 100 {
            // A reader that is new is no older than what was read before.
            99 => {
                *reader = store.reader();
                seen_in(S::view(reader))
            }
            n if n.is_multiple_of(2) => seen_in(S::view(reader)),
            _ => {
                let found = S::read(reader, "db:1", ServiceInfo::last_health_check);
                found.unwrap().map_or(0, number)
            }
        };
        assert!(seen >= before, "a write that had returned was not seen");
        assert!(seen >= *last, "a reader went backwards");
        *last = seen;
        let snapshot = seen_in(&store.snapshot());
        assert!(snapshot >= seen, "a snapshot is older than what was read");
    };
    let (one, other) = (|round| read(0, round), |round| read(1, round));
    race(3_000, &[&write], &[&one, &other]);
}

pub(crate) fn snapshots_can_be_shared_and_sent<S: Snapshots>(store: &S) {
    set_the_table(store);
    let state = observe(store, GROUPS);
    let snapshot = store.snapshot();
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let own = snapshot.clone();
                assert_eq!(observe_view(&snapshot, GROUPS), state);
                assert_eq!(observe_view(&own, GROUPS), state);
            });
        }
        store.clear().unwrap();
    });
    // The last to hold a state may be a thread that never saw the store.
    thread::spawn(move || drop(snapshot)).join().unwrap();
}

pub(crate) fn readers_race_with_the_end_of_their_store<S: Snapshots>(make: impl Fn() -> S) {
    for _ in 0..50 {
        let store = make();
        set_the_table(&store);
        let readers: Vec<S::Reader> = (0..4).map(|_| store.reader()).collect();
        let mut readers = readers.into_iter();
        thread::scope(|scope| {
            for mut reader in readers.by_ref() {
                scope.spawn(move || {
                    for _ in 0..100 {
                        let stats = S::view(&mut reader).stats();
                        assert!(
                            stats == StoreStats::default() || stats == StoreStats::new(2, 3),
                            "{stats:?}"
                        );
                        match S::read(&mut reader, KEY, ServiceInfo::clone) {
                            Ok(info) => assert_eq!(info, pod("db", "pod-1")),
                            Err(error) => assert_eq!(error, StoreError::Closed),
                        }
                    }
                });
            }
            store.close().unwrap();
            drop(store);
        });
    }
}

/// Twins of a store with snapshots that break one promise each.
#[cfg(feature = "snapshot")]
mod twins {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::{Duration, SystemTime};

    use service_registry::{Revision, ServiceKey, Snapshot, SnapshotStore};

    use super::*;

    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        None,
        /// Services and subscriptions are loaded one after the other.
        Torn,
        /// A reader renews its view at every third read only.
        StaleReader,
        /// A reader may pick up a view that it has shown long ago.
        ReaderGoesBack,
    }

    struct Twin {
        inner: SnapshotStore,
        fault: Fault,
    }

    fn twin(fault: Fault) -> Twin {
        Twin {
            inner: SnapshotStore::new(),
            fault,
        }
    }

    impl RegistryStore for Twin {
        forward_required!(self => self.inner);
    }

    #[derive(Clone, Debug)]
    struct View {
        services: Snapshot,
        subscriptions: Snapshot,
    }

    impl RegistryView for View {
        fn revision(&self) -> Revision {
            self.services.revision()
        }
        fn get(&self, key: &str) -> Option<&ServiceInfo> {
            self.services.get(key)
        }
        fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
            self.services.services()
        }
        fn services_by_name<'a>(
            &'a self,
            service_name: &str,
        ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a> {
            self.services.services_by_name(service_name)
        }
        fn subscribers<'a>(
            &'a self,
            service_group: &str,
        ) -> impl Iterator<Item = &'a ServiceKey> + use<'a> {
            self.subscriptions.subscribers(service_group)
        }
        fn stats(&self) -> StoreStats {
            let (services, subscriptions) = (self.services.stats(), self.subscriptions.stats());
            StoreStats::new(services.services, subscriptions.subscriptions)
        }
    }

    #[derive(Debug)]
    struct Reader {
        inner: service_registry::SnapshotReader,
        fault: bool,
        back: bool,
        reads: usize,
        shown: Vec<View>,
    }

    impl Snapshots for Twin {
        type Snapshot = View;
        type Reader = Reader;

        fn snapshot(&self) -> View {
            let services = self.inner.snapshot();
            if self.fault == Fault::Torn {
                thread::sleep(Duration::from_micros(100));
            }
            let subscriptions = match self.fault {
                Fault::Torn => self.inner.snapshot(),
                _ => services.clone(),
            };
            View {
                services,
                subscriptions,
            }
        }
        fn reader(&self) -> Reader {
            Reader {
                inner: self.inner.reader(),
                fault: self.fault == Fault::StaleReader,
                back: self.fault == Fault::ReaderGoesBack,
                reads: 0,
                shown: Vec::new(),
            }
        }
        fn view(reader: &mut Reader) -> &View {
            reader.reads += 1;
            if reader.fault && reader.reads % 3 != 1 {
                return reader.shown.last().unwrap();
            }
            let newest = reader.inner.view().clone();
            reader.shown.push(View {
                services: newest.clone(),
                subscriptions: newest,
            });
            if reader.back && reader.reads.is_multiple_of(50) {
                return &reader.shown[0];
            }
            reader.shown.last().unwrap()
        }
        fn read<R>(
            reader: &mut Reader,
            key: &str,
            read: impl FnOnce(&ServiceInfo) -> R,
        ) -> Result<R> {
            match Self::view(reader).get(key) {
                Some(info) => Ok(read(info)),
                None => Err(StoreError::NotFound(key.into())),
            }
        }
    }

    fn fails(test: impl FnOnce()) -> bool {
        catch_unwind(AssertUnwindSafe(test)).is_err()
    }

    #[test]
    fn a_snapshot_of_two_moments_is_noticed() {
        assert!(fails(|| every_snapshot_is_of_one_moment(&twin(
            Fault::Torn
        ))));
        assert!(!fails(|| every_snapshot_is_of_one_moment(&twin(
            Fault::None
        ))));
    }

    #[test]
    fn a_reader_that_is_late_is_noticed() {
        let stale = Fault::StaleReader;
        assert!(fails(|| a_reader_reads_like_the_store(&twin(stale))));
        assert!(fails(|| a_snapshot_is_what_the_store_is(&twin(stale))));
        assert!(!fails(|| a_reader_reads_like_the_store(&twin(Fault::None))));
    }

    #[test]
    fn a_reader_that_goes_back_is_noticed() {
        let back = Fault::ReaderGoesBack;
        assert!(fails(|| a_reader_never_goes_backwards(&twin(back))));
        assert!(!fails(|| a_reader_never_goes_backwards(&twin(Fault::None))));
    }
}
