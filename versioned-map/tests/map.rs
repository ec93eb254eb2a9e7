//! One map, with keys and values of all kinds: what it answers is what a `HashMap` would.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

use versioned_map::{Change, VersionedMap};

/// A program of changes on a map and on a `HashMap`, with snapshots held against copies.
fn behaves_like_a_hash_map<K, V>(key: impl Fn(usize) -> K, value: impl Fn(usize) -> V)
where
    K: Hash + Eq + Clone + Debug + Send + Sync + 'static,
    V: PartialEq + Clone + Debug + Send + Sync + 'static,
{
    let map = VersionedMap::new();
    let mut model: HashMap<K, V> = HashMap::new();
    let mut snapshots = Vec::new();
    let mut reader = map.reader();
    for step in 0..3_000_usize {
        let random = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7;
        let key = key(random % 97);
        match random / 97 % 10 {
            0..4 => {
                let is_new = model.insert(key.clone(), value(step)).is_none();
                assert_eq!(map.insert(key.clone(), value(step)), is_new);
            }
            4..6 => assert_eq!(map.remove(&key), model.remove(&key).is_some()),
            6 => {
                let known = model.get_mut(&key);
                assert_eq!(map.update(&key, |_| value(step)), known.is_some());
                if let Some(known) = known {
                    *known = value(step);
                }
            }
            7 => {
                let changed = map.compute(key.clone(), |known| match known {
                    Some(_) => Change::Remove,
                    None => Change::Insert(value(step)),
                });
                assert!(changed);
                if model.remove(&key).is_none() {
                    model.insert(key.clone(), value(step));
                }
            }
            8 => {
                let is_new = !model.contains_key(&key);
                assert_eq!(map.try_insert(key.clone(), value(step)), is_new);
                model.entry(key.clone()).or_insert_with(|| value(step));
            }
            _ => {
                let known = model.get_mut(&key);
                let stale = value(usize::MAX);
                let other = known.as_ref().is_some_and(|known| **known != stale);
                let is_set = map.compare_and_set(&key, &stale, value(step));
                assert!(!(other && is_set));
                if is_set {
                    model.insert(key.clone(), value(step));
                }
            }
        }
        if step % 701 == 700 {
            assert_eq!(map.clear(), !model.is_empty());
            model.clear();
        }
        assert_eq!(map.get(&key), model.get(&key).cloned());
        assert_eq!(reader.get(&key), model.get(&key));
        assert_eq!(map.contains_key(&key), model.contains_key(&key));
        assert_eq!((map.len(), map.is_empty()), (model.len(), model.is_empty()));
        if step % 300 == 0 {
            snapshots.push((map.snapshot(), model.clone()));
            let pinned = map.pinned();
            let seen: HashMap<&K, &V> = pinned.iter().collect();
            assert_eq!(seen, model.iter().collect());
        }
    }
    drop((map, reader));
    for (snapshot, model) in snapshots {
        assert_eq!(snapshot.len(), model.len());
        assert_eq!(snapshot.iter().count(), model.len());
        let seen: HashMap<&K, &V> = snapshot.iter().collect();
        assert_eq!(seen, model.iter().collect());
        for (key, value) in &model {
            assert_eq!(snapshot.get(key), Some(value));
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Large([u64; 512]);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[repr(align(256))]
struct Aligned(u8);

#[test]
fn numbers() {
    behaves_like_a_hash_map(|key| key as u64, |value| value as u64);
}

#[test]
fn texts() {
    behaves_like_a_hash_map(|key| key.to_string(), |value| value.to_string());
}

#[test]
fn borrowed_texts() {
    const TEXTS: [&str; 4] = ["a", "b", "a longer one, beyond a line of the cache", ""];
    behaves_like_a_hash_map(|key| TEXTS[key % 4], |value| TEXTS[value % 4]);
}

#[test]
fn shared_values() {
    behaves_like_a_hash_map(Arc::new, |value| Arc::new(vec![value]));
}

#[test]
fn large_keys_and_values() {
    let large = |number| Large([number as u64; 512]);
    behaves_like_a_hash_map(large, large);
}

#[test]
fn keys_and_values_of_another_alignment() {
    #[allow(clippy::cast_possible_truncation)]
    let aligned = |number| Aligned(number as u8);
    behaves_like_a_hash_map(aligned, aligned);
}

#[test]
fn small_keys_of_all_sizes() {
    #[allow(clippy::cast_possible_truncation)]
    let byte = |number| number as u8;
    behaves_like_a_hash_map(byte, |value| value);
    behaves_like_a_hash_map(|key| [byte(key), 1, 2], |value| [byte(value); 5]);
    behaves_like_a_hash_map(|key| key as u128, byte);
    behaves_like_a_hash_map(|key| (byte(key), key as u64), |value| value.to_string());
    behaves_like_a_hash_map(|key| [key; 2], |value| [value; 6]);
}

#[test]
fn zero_sized_keys_and_values() {
    behaves_like_a_hash_map(|_| (), |_| ());
    behaves_like_a_hash_map(|key| key, |_| ());
    behaves_like_a_hash_map(|_| (), |value| value);
}

#[test]
fn a_key_is_asked_for_in_a_borrowed_form() {
    let map: VersionedMap<String, u8> = [("a".to_string(), 1)].into_iter().collect();
    assert_eq!(map.get("a"), Some(1));
    assert_eq!(map.with("b", |value| *value), None);
    assert!(map.update("a", |value| value + 1));
    assert!(map.compare_and_set("a", &2, 3) && !map.compare_and_set("a", &2, 4));
    assert_eq!(map.snapshot().get("a"), Some(&3));
    assert_eq!(map.pinned().get("a"), Some(&3));
    assert!(map.remove("a") && !map.remove("a"));
}

#[test]
fn what_is_extended_is_one_commit() {
    let mut map = VersionedMap::new();
    map.extend((0..1_000).map(|number| (number, number)));
    assert_eq!((map.len(), map.domain().revision()), (1_000, 1));
    map.extend([(1, 2), (1, 3)]);
    assert_eq!((map.get(&1), map.domain().revision()), (Some(3), 2));
    map.extend([]);
    assert_eq!(map.domain().revision(), 2, "nothing was changed");
}

#[test]
fn what_is_not_retained_is_gone_and_stays_in_a_snapshot() {
    let map: VersionedMap<u64, u64> = (0..100).map(|n| (n, n)).collect();
    let before = map.snapshot();
    map.retain(|key, value| {
        // Changed when it has been looked at for the first time: it is looked at again.
        if *key == 1 && *value == 1 {
            map.insert(1, 2);
        }
        value % 2 == 0
    });
    let mut left: Vec<_> = map.snapshot().iter().map(|(key, _)| *key).collect();
    left.sort_unstable();
    let even = (0..100).filter(|key| key % 2 == 0 || *key == 1);
    assert_eq!(left, even.collect::<Vec<_>>());
    assert_eq!((before.len(), map.len()), (100, 51));
}

#[test]
fn too_much_room_is_refused_and_nothing_has_happened() {
    let map = VersionedMap::with_capacity(100);
    map.insert(1, 1);
    for many in [usize::MAX, usize::MAX / 2, isize::MAX as usize] {
        let refused = std::panic::catch_unwind(|| map.reserve(many));
        let refused = refused.expect_err("no memory holds it");
        let text = refused.downcast_ref::<String>();
        let text = text
            .map(String::as_str)
            .or(refused.downcast_ref::<&str>().copied());
        assert_eq!(text, Some("capacity overflow"));
    }
    map.insert(2, 2);
    assert_eq!((map.get(&1), map.get(&2)), (Some(1), Some(2)));
}

#[test]
fn it_is_shown_as_a_map_is() {
    let map = VersionedMap::new();
    map.insert("a", 1);
    for shown in [
        format!("{map:?}"),
        format!("{:?}", map.pinned()),
        format!("{:?}", map.snapshot()),
    ] {
        assert_eq!(shown, r#"{"a": 1}"#);
    }
}

#[test]
fn updates_of_many_threads_all_count() {
    let map: VersionedMap<u8, u64> = [(0, 0), (1, 0)].into_iter().collect();
    thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| {
                for step in 0..5_000_u64 {
                    assert!(map.update(&u8::from(step % 2 == 0), |count| count + 1));
                    map.compute(2, |count| Change::Insert(count.unwrap_or(&0) + 1));
                }
            });
        }
    });
    assert_eq!(
        [0, 1, 2].map(|key| map.get(&key)),
        [10_000, 10_000, 20_000].map(Some)
    );
}

/// Each thread writes keys of its own, and knows what is under them, while the table that they share
/// grows, shrinks and is looked at by all.
#[test]
fn threads_see_their_own_writes() {
    const THREADS: u64 = 4;
    let map = VersionedMap::new();
    thread::scope(|threads| {
        for own in 0..THREADS {
            let map = &map;
            threads.spawn(move || {
                let mut model: HashMap<u64, u64> = HashMap::new();
                let mut reader = map.reader();
                for step in 0..20_000_u64 {
                    let random = (step * THREADS + own).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 8;
                    // Now more and more keys, now fewer.
                    let range = if step / 2_000 % 2 == 0 { 2_000 } else { 20 };
                    let key = random % range * THREADS + own;
                    if (random / range).is_multiple_of(3) {
                        assert_eq!(map.remove(&key), model.remove(&key).is_some());
                    } else {
                        let is_new = model.insert(key, step).is_none();
                        assert_eq!(map.insert(key, step), is_new);
                    }
                    assert_eq!(map.get(&key), model.get(&key).copied());
                    assert_eq!(reader.get(&key), model.get(&key));
                    if step % 1_000 == 999 {
                        let snapshot = map.snapshot();
                        let seen = snapshot.iter().filter(|(key, _)| **key % THREADS == own);
                        let seen: HashMap<u64, u64> =
                            seen.map(|(key, value)| (*key, *value)).collect();
                        assert_eq!(seen, model);
                        assert_eq!(snapshot.iter().count(), snapshot.len());
                        model.retain(|key, _| key % 3 != 0 || !map.remove(key));
                    }
                }
            });
        }
    });
}

/// A table that grows and shrinks beside readers, who miss nothing that stays.
#[test]
fn a_key_that_stays_is_always_found() {
    let map = VersionedMap::new();
    map.insert(u64::MAX, 0);
    let is_over = AtomicBool::new(false);
    thread::scope(|threads| {
        threads.spawn(|| {
            for round in 0..20_u64 {
                (0..2_000).for_each(|key| _ = map.insert(key, round));
                (0..2_000).for_each(|key| _ = map.remove(&key));
            }
            is_over.store(true, Relaxed);
        });
        for _ in 0..2 {
            threads.spawn(|| {
                let mut reader = map.reader();
                while !is_over.load(Relaxed) {
                    assert_eq!(map.get(&u64::MAX), Some(0));
                    assert_eq!(reader.get(&u64::MAX), Some(&0));
                    assert_eq!(map.snapshot().get(&u64::MAX), Some(&0));
                    let view = map.pinned();
                    assert_eq!(view.iter().count(), view.len());
                }
            });
        }
    });
    assert_eq!(map.len(), 1);
}

#[cfg(feature = "serde")]
#[test]
fn it_goes_through_serde() {
    let map: VersionedMap<String, u8> = [("a".to_string(), 1)].into_iter().collect();
    let text = serde_json::to_string(&map).unwrap();
    assert_eq!(text, r#"{"a":1}"#);
    assert_eq!(serde_json::to_string(&map.snapshot()).unwrap(), text);
    let again: VersionedMap<String, u8> = serde_json::from_str(&text).unwrap();
    assert_eq!(again.get("a"), Some(1));
    // A format that says how many keys there are before it comes to them.
    let binary = |map: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        map(&mut bytes);
        bytes
    };
    let model = HashMap::from([("a", 1)]);
    let model = binary(&|bytes| ciborium::into_writer(&model, bytes).unwrap());
    for bytes in [
        binary(&|bytes| ciborium::into_writer(&map, bytes).unwrap()),
        binary(&|bytes| ciborium::into_writer(&map.pinned(), bytes).unwrap()),
        binary(&|bytes| ciborium::into_writer(&map.snapshot(), bytes).unwrap()),
    ] {
        assert_eq!(bytes, model);
    }
}
