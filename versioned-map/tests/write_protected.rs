//! Readers write to no memory that another thread uses: all memory of a domain is write-protected while
//! they read.
//!
//! What lies elsewhere is a reader's own: its stack, its thread locals, and the record in which its thread
//! says that it is pinned, which it has made before.

#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

extern crate libc;

#[path = "../../tests/support/arena.rs"]
mod arena;

use std::sync::{Arc, Barrier};
use std::thread;

use arena::{Arena, ChildEnd, in_arena, in_child, protect, used};
use versioned_map::{Domain, MapReader, MapSnapshot, Reader, Snapshot, VersionedMap};

#[global_allocator]
static ALLOCATOR: Arena = Arena;

const KEYS: u64 = 10_000;

type Numbers = VersionedMap<u64, Arc<u64>>;

struct Whole {
    domain: Domain,
    numbers: Numbers,
    texts: VersionedMap<String, String>,
    /// Of before the last change.
    older: Snapshot,
    older_numbers: MapSnapshot<u64, Arc<u64>>,
    newest: Snapshot,
}

/// What a reader asks, which has readers of its own.
type Read = fn(&Whole, &mut Own);

struct Own {
    reader: Reader,
    numbers: MapReader<u64, Arc<u64>>,
}

impl Whole {
    fn new() -> Whole {
        let domain = Domain::new();
        let (numbers, texts): (Numbers, VersionedMap<String, String>) =
            (domain.map(), domain.map());
        for key in 0..KEYS {
            numbers.insert(key, key.into());
            texts.insert(key.to_string(), key.to_string());
        }
        let (older, older_numbers) = (domain.snapshot(), numbers.snapshot());
        for key in 0..KEYS {
            if key % 3 == 0 {
                numbers.insert(key, (key + 1).into());
            }
            if key % 5 == 0 {
                texts.remove(&key.to_string());
            }
        }
        let newest = domain.snapshot();
        Whole {
            domain,
            numbers,
            texts,
            older,
            older_numbers,
            newest,
        }
    }

    fn own(&self) -> Own {
        Own {
            reader: self.domain.reader(),
            numbers: self.numbers.reader(),
        }
    }
}

/// Reads in every way that there is.
fn read_all(whole: &Whole, own: &mut Own) {
    let Whole { numbers, texts, .. } = whole;
    for key in 0..KEYS + 10 {
        let is_there = key < KEYS;
        let value = is_there.then(|| key + u64::from(key % 3 == 0));
        let text = key.to_string();
        let has_text = is_there && key % 5 != 0;
        assert_eq!(numbers.with(&key, |value| **value), value);
        assert_eq!(numbers.contains_key(&key), is_there);
        assert_eq!(texts.contains_key(&text), has_text);
        assert_eq!(numbers.pinned().get(&key).map(|value| **value), value);
        let pinned = whole.domain.pinned();
        assert_eq!(pinned.get(texts, &text).is_some(), has_text);
        assert_eq!(own.numbers.get(&key).map(|value| **value), value);
        assert_eq!(own.reader.view().get(texts, &text).is_some(), has_text);
        assert_eq!(whole.newest.get(numbers, &key).map(|value| **value), value);
        assert_eq!(whole.older.get(texts, &text).is_some(), is_there);
        let older = whole.older_numbers.get(&key).map(|value| **value);
        assert_eq!(older, is_there.then_some(key));
    }
    assert_eq!(numbers.pinned().iter().count(), 10_000);
    assert_eq!(whole.older_numbers.iter().count(), 10_000);
    assert_eq!(whole.newest.iter(texts).count(), 8_000);
    assert_eq!(own.reader.view().len(texts), 8_000);
    assert_eq!((numbers.len(), texts.len()), (10_000, 8_000));
    assert_eq!(whole.domain.revision(), whole.newest.revision());
}

/// Has three threads read a domain whose memory they cannot write to.
fn read_protected(read: Read) {
    // The first pin of a thread makes its record, which is no part of a domain.
    assert!(!VersionedMap::<u8, u8>::new().contains_key(&0));
    let whole = in_arena(Whole::new);
    assert!(used() > 1 << 20, "it lies elsewhere");
    let ready = &Barrier::new(4);
    thread::scope(|threads| {
        let readers = [(); 3].map(|()| {
            let mut own = in_arena(|| whole.own());
            let whole = &whole;
            threads.spawn(move || {
                assert!(whole.numbers.contains_key(&0));
                ready.wait();
                ready.wait();
                read(whole, &mut own);
                // Its end writes.
                std::mem::forget(own);
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
fn readers_write_to_no_memory_of_the_domain() {
    let name = "readers_write_to_no_memory_of_the_domain";
    assert_eq!(in_child(name, || read_protected(read_all)), ChildEnd::Whole);
}

/// A clone of a value that counts its references is a write.
#[test]
fn a_read_that_counts_references_is_caught() {
    let name = "a_read_that_counts_references_is_caught";
    let count: Read = |whole, _| drop(whole.numbers.get(&1));
    assert_eq!(in_child(name, || read_protected(count)), ChildEnd::Writing);
}

/// So is a share in the tables, as each read had that held them by a count.
#[test]
fn a_read_that_registers_is_caught() {
    let name = "a_read_that_registers_is_caught";
    let register: Read =
        |whole, _| assert!(whole.domain.snapshot().get(&whole.numbers, &1).is_some());
    assert_eq!(
        in_child(name, || read_protected(register)),
        ChildEnd::Writing
    );
}
