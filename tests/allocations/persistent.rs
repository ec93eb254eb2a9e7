//! What snapshots and reader handles of `SnapshotStore` cost.

use service_registry::{RegistryView, SnapshotStore};

use super::*;

tests! { SnapshotStore::new(); dropping_gives_back_every_byte }

#[test]
fn snapshots_and_readers_allocate_nothing() {
    let _alone = alone();
    let store = filled(SnapshotStore::new());
    let mut reader = store.reader();
    let read = |reader: &mut service_registry::SnapshotReader| {
        let snapshot = store.snapshot();
        black_box(snapshot.clone().stats());
        black_box(snapshot.get("db:1").unwrap());
        black_box(reader.view().get("db:1").unwrap());
        reader.with_service("db:1", ServiceInfo::clone).unwrap();
    };
    read(&mut reader);
    let reads = here(|| (0..1000).for_each(|_| read(&mut reader)));
    assert_eq!(reads, Counts::default());

    // Also where there is a newer state each time, written elsewhere.
    let renewed = thread::scope(|scope| {
        let store = &store;
        let mut renewed = Counts::default();
        for n in 0..100 {
            scope.spawn(move || update(store, n)).join().unwrap();
            let counts = here(|| black_box(reader.view().get("db:1").is_some()));
            renewed.allocations += counts.allocations;
        }
        renewed
    });
    assert_eq!(renewed, Counts::default());
    assert_eq!(here(|| store.reader()), Counts::default());
}

#[test]
fn the_memory_of_a_snapshot_goes_with_it() {
    let _alone = alone();
    let life = || {
        let store = SnapshotStore::new();
        register_many(&store);
        let snapshots: Vec<_> = (0..100)
            .map(|n| {
                store
                    .delete_service(&format!("many-{}:{n}", n / 2))
                    .unwrap();
                store.snapshot()
            })
            .collect();
        let empty = here(|| store.clear().unwrap()).live;
        assert!(
            empty > -(1 << 20),
            "{empty} bytes went while snapshots hold them"
        );
        let held = here(|| drop(snapshots)).live;
        assert!(held < -(5 << 20), "{held} bytes went with the snapshots");
        store
    };
    life();
    assert_eq!(here(life).live, 0);
}

#[test]
fn a_reader_keeps_one_state_and_no_more() {
    let _alone = alone();
    let store = filled(SnapshotStore::new());
    let mut reader = store.reader();
    let left = here(|| {
        for n in 0..1000 {
            update(&store, n);
            if n % 10 == 0 {
                reader.view();
            }
        }
        reader.view();
    });
    // States of one size take each other's place.
    assert!(left.live.abs() < 4096, "{left:?}");
}

#[test]
fn a_batch_copies_each_path_once() {
    let _alone = alone();
    let store = filled(SnapshotStore::new());
    let key = |n: u64| format!("service-{}:{n}", n % 100);
    let singles = here(|| {
        for n in 0..1000 {
            let healthy = ServiceStatus::Healthy;
            store.update_health_status(&key(n), healthy, at(1)).unwrap();
        }
    });
    let mut batch = Batch::with_capacity(1000);
    for n in 0..1000 {
        batch.update_health_status(&key(n), ServiceStatus::Unhealthy, at(2));
    }
    let together = here(|| store.commit(batch).unwrap());
    assert!(
        together.allocated * 2 < singles.allocated,
        "{together:?} for a batch, {singles:?} one by one"
    );
}
