//! Reader handles of one thread, for the stores of this crate that have them.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, PoisonError};
use std::thread;

use service_registry::{RegistryView, ServiceInfo, ServiceStatus, StoreError, StoreStats};

use crate::snapshots::{check_whole, register_and_unregister, write_and_clear_beside};
use crate::support::race::race;
use crate::support::views::Views;
use crate::support::{
    CALLS, GROUPS, KEY, at, fill_store, number, observe, observe_view, pod, version,
};

// --- one thread

pub fn a_reader_shows_what_the_store_is<S: Views>(store: &S) {
    let mut reader = store.reader();
    for (_, call) in CALLS {
        store.clear().unwrap();
        fill_store(store);
        call(store).unwrap();
        let state = observe(store, GROUPS);
        assert_eq!(observe_view(S::view(&mut reader), GROUPS), state);
    }
}

pub fn a_reader_reads_like_the_store<S: Views>(store: &S) {
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
        // A view that is not renewed does not change.
        let kept = S::view(&mut reader).clone();
        store.take_service("db:1").unwrap();
        assert_eq!(kept.get("db:1"), Some(&saved));
        assert_eq!(S::view(&mut reader).get("db:1"), None);
    }
    // Takes an `FnOnce`, and a panic leaves the reader usable.
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

pub fn writing_from_inside_a_reader_closure_works<S: Views>(store: &S) {
    fill_store(store);
    let mut reader = store.reader();
    for (name, call) in CALLS {
        store.clear().unwrap();
        fill_store(store);
        let before = store.get_service(KEY).unwrap();
        let inside = S::read(&mut reader, KEY, |info| {
            let answer = call(store);
            assert_eq!(*info, before, "what the closure was lent has changed");
            answer
        });
        assert_eq!(inside, Ok(Ok(())), "{name}");
    }
}

pub fn readers_outlive_their_store<S: Views>(make: impl Fn() -> S) {
    let store = make();
    fill_store(&store);
    let state = observe(&store, GROUPS);
    let mut reader = store.reader();
    drop(store);
    let outlived = thread::spawn(move || {
        let last = S::view(&mut reader);
        // The store was dropped: the reader has its last state, or is closed.
        assert_eq!(last.revision().as_u64(), state.revision);
        let found = S::read(&mut reader, KEY, ServiceInfo::clone);
        assert!(
            found.as_ref() == Ok(&state.services[KEY]) || found == Err(StoreError::Closed),
            "{found:?}"
        );
    });
    outlived.join().unwrap();
}

pub fn close_ends_readers<S: Views>(store: &S) {
    fill_store(store);
    let state = observe(store, GROUPS);
    let (mut reader, mut fresh) = (store.reader(), store.reader());
    assert_eq!(S::read(&mut reader, KEY, |_| ()), Ok(()));
    store.close().unwrap();
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
}

// --- threads

pub fn a_kept_view_of_a_reader_holds_up_nobody<S: Views>(store: &S) {
    fill_store(store);
    let mut reader = store.reader();
    let view = S::view(&mut reader);
    write_and_clear_beside(store);
    assert_eq!(view.get(KEY), Some(&pod("db", "pod-1")));
    assert_eq!(S::view(&mut reader).stats(), StoreStats::default());
}

pub fn every_view_of_a_reader_is_of_one_moment<S: Views>(store: &S) {
    let one = |round| register_and_unregister(store, "one", round);
    let other = |round| register_and_unregister(store, "other", round);
    let readers: [Mutex<S::Reader>; 2] = std::array::from_fn(|_| Mutex::new(store.reader()));
    let read = |which: usize| check_whole(S::view(&mut readers[which].lock().unwrap()));
    race(500, &[&one, &other], &[&|_| read(0), &|_| read(1)]);
}

pub fn a_reader_never_goes_backwards<S: Views>(store: &S) {
    store.save_service(pod("db", "1")).unwrap();
    let base = store.revision().as_u64();
    let record = |n: u64| {
        pod("db", "1")
            .with_health(ServiceStatus::Healthy, at(n))
            .unwrap()
    };
    // There is one writer, so commit n has the revision base + n.
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
            // A new reader is not older than what was read before.
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

pub fn readers_race_with_the_end_of_their_store<S: Views>(make: impl Fn() -> S) {
    for _ in 0..50 {
        let store = make();
        fill_store(&store);
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
