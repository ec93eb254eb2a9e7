//! Readers of a `VersionedStore` write to no memory that another thread uses: all memory of the
//! store is write-protected while they read.
//!
//! What lies elsewhere is a reader's own: its stack, its thread locals, and the record in which its
//! thread says that it is pinned, which it has made before.

#![cfg(all(target_os = "linux", feature = "versioned", not(shuttle)))]
#![allow(unsafe_code)]

#[path = "support/arena.rs"]
mod arena;

use std::sync::Barrier;
use std::thread;

use arena::{Arena, ChildEnd, in_arena, in_child, protect, used};
use nix::libc;
use service_registry::{
    RegistryStore, RegistryView, ServiceInfo, ServiceRegistration, VersionedReader,
    VersionedSnapshot, VersionedStore,
};

#[global_allocator]
static ALLOCATOR: Arena = Arena;

const PODS: usize = 1_000;
const NAMES: usize = 10;

fn record(pod: usize, weight: u32) -> ServiceInfo {
    let name = format!("s-{}", pod % NAMES);
    let mut registration = ServiceRegistration::new(name, pod.to_string());
    registration.weight = weight;
    ServiceInfo::new(registration).unwrap()
}

struct Whole {
    store: VersionedStore,
    /// Of before the last change.
    older: VersionedSnapshot,
    newest: VersionedSnapshot,
}

impl Whole {
    fn new() -> Whole {
        let store = VersionedStore::new();
        for pod in 0..PODS {
            store.save_service(record(pod, 1)).unwrap();
            let key = record(pod, 1).key().clone();
            store.add_subscription(&key, "s-1").unwrap();
        }
        let older = store.snapshot();
        for pod in 0..PODS {
            store.save_service(record(pod, 2)).unwrap();
        }
        store.delete_service("s-0:0").unwrap();
        let newest = store.snapshot();
        Whole {
            store,
            older,
            newest,
        }
    }
}

/// Asks a view all that it can be asked without a clone.
fn ask(view: &impl RegistryView, weight: u32) {
    let pods = PODS - usize::from(weight == 2);
    for pod in 0..PODS {
        let key = format!("s-{}:{pod}", pod % NAMES);
        let is_there = weight == 1 || pod > 0;
        let seen = view.get(&key);
        assert_eq!(seen.map(ServiceInfo::weight), is_there.then_some(weight));
    }
    assert!(view.get("s-1:none").is_none());
    assert_eq!(view.services_by_name("s-1").count(), PODS / NAMES);
    assert_eq!(view.subscribers("s-1").count(), PODS);
    assert_eq!(view.services().count(), pods);
    assert_eq!(view.names().count(), NAMES);
    assert_eq!(view.groups().count(), 1);
    assert_eq!(view.stats().services, pods);
}

type Read = fn(&Whole, &mut VersionedReader);

/// Reads in every way that there is, but for those that answer with a clone, which is counted.
fn read_all(whole: &Whole, reader: &mut VersionedReader) {
    let Whole { store, .. } = whole;
    for pod in 1..PODS {
        let key = format!("s-{}:{pod}", pod % NAMES);
        let weight = store.with_service(&key, ServiceInfo::weight).unwrap();
        assert_eq!(weight, 2);
        let weight = reader.with_service(&key, ServiceInfo::weight).unwrap();
        assert_eq!(weight, 2);
        assert!(store.contains_service(&key).unwrap());
    }
    assert!(store.with_service("s-0:0", |_| ()).is_err());
    assert_eq!(store.revision(), whole.newest.revision());
    ask(&store.pinned(), 2);
    ask(reader.view(), 2);
    ask(&whole.newest, 2);
    ask(&whole.older, 1);
}

/// Has three threads read a store whose memory they cannot write to.
fn read_protected(read: Read) {
    // The first pin of a thread makes its record, which is no part of a store.
    assert_eq!(VersionedStore::new().pinned().stats().services, 0);
    let whole = in_arena(Whole::new);
    assert!(used() > 1 << 20, "it lies elsewhere");
    let ready = &Barrier::new(4);
    thread::scope(|threads| {
        let readers = [(); 3].map(|()| {
            let mut reader = in_arena(|| whole.store.reader());
            let whole = &whole;
            threads.spawn(move || {
                assert!(whole.store.contains_service("s-1:1").unwrap());
                ready.wait();
                ready.wait();
                read(whole, &mut reader);
                // Its end writes.
                std::mem::forget(reader);
            })
        });
        ready.wait();
        protect();
        ready.wait();
        for reader in readers {
            reader.join().unwrap();
        }
    });
    std::mem::forget(whole);
}

#[test]
fn readers_write_to_no_memory_of_the_store() {
    let name = "readers_write_to_no_memory_of_the_store";
    assert_eq!(in_child(name, || read_protected(read_all)), ChildEnd::Whole);
}

/// A record that is answered has its registration counted, which is a write.
#[test]
fn a_read_that_counts_references_is_caught() {
    let name = "a_read_that_counts_references_is_caught";
    let count: Read = |whole, _| drop(whole.store.get_service("s-1:1"));
    assert_eq!(in_child(name, || read_protected(count)), ChildEnd::Writing);
}

/// So is a share in the tables, as each read had that held them by a count.
#[test]
fn a_read_that_registers_is_caught() {
    let name = "a_read_that_registers_is_caught";
    let register: Read = |whole, _| assert!(whole.store.snapshot().get("s-1:1").is_some());
    assert_eq!(
        in_child(name, || read_protected(register)),
        ChildEnd::Writing
    );
}
