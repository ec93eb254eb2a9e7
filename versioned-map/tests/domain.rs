//! Several maps of a domain: commits, and what views show of them. The anomalies have the names of
//! Adya's and of Berenson's papers.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use versioned_map::{Domain, VersionedMap};

#[test]
fn a_commit_is_seen_whole_or_not_at_all() {
    // None of those that are removed.
    const KEPT: u64 = 1 << 32;
    let domain = Domain::new();
    let maps: Vec<VersionedMap<u64, u64>> = (0..6).map(|_| domain.map()).collect();
    let is_over = AtomicBool::new(false);
    thread::scope(|threads| {
        for _ in 0..2 {
            threads.spawn(|| {
                let mut reader = domain.reader();
                let mut last = 0;
                while !is_over.load(Ordering::Relaxed) {
                    let snapshot = domain.snapshot();
                    let pinned = domain.pinned();
                    let newest = reader.view();
                    let of = |get: &dyn Fn(&VersionedMap<u64, u64>) -> Option<u64>| {
                        let mut seen: Vec<_> = maps.iter().map(get).collect();
                        seen.dedup();
                        assert_eq!(seen.len(), 1, "a part of a commit");
                        seen[0].unwrap_or(0)
                    };
                    let seen = of(&|map| snapshot.get(map, &KEPT).copied());
                    assert!(seen >= last, "a view goes back");
                    last = seen;
                    assert!(of(&|map| pinned.get(map, &KEPT).copied()) >= seen);
                    assert!(of(&|map| newest.get(map, &KEPT).copied()) >= seen);
                    for map in &maps {
                        assert_eq!(snapshot.iter(map).count(), snapshot.len(map));
                    }
                }
            });
        }
        for round in 1..3_000 {
            let mut commit = domain.commit();
            for map in &maps {
                if round % 100 == 0 {
                    commit.clear(map);
                }
                commit.insert(map, KEPT, round);
                commit.insert(map, round, round);
                commit.remove(map, round.saturating_sub(50));
            }
            assert_eq!(commit.publish(), round);
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_commit_that_is_dropped_has_done_nothing() {
    let domain = Domain::new();
    let map: VersionedMap<&str, u8> = domain.map();
    let mut commit = domain.commit();
    commit.insert(&map, "a", 1);
    assert_eq!(map.get("a"), None);
    drop(commit);
    assert_eq!((map.get("a"), domain.revision()), (None, 0));
}

#[test]
fn the_last_change_of_a_key_counts() {
    let domain = Domain::new();
    let map: VersionedMap<&str, u8> = domain.map();
    map.insert("a", 0);
    let mut commit = domain.commit();
    commit
        .insert(&map, "a", 1)
        .remove(&map, "a")
        .insert(&map, "b", 1);
    commit
        .insert(&map, "b", 2)
        .insert(&map, "c", 1)
        .remove(&map, "c");
    commit.remove(&map, "d");
    assert_eq!(commit.publish(), 2);
    assert_eq!(map.snapshot().iter().collect::<Vec<_>>(), [(&"b", &2)]);
    let mut commit = domain.commit();
    commit
        .insert(&map, "lost", 1)
        .clear(&map)
        .insert(&map, "b", 3)
        .insert(&map, "e", 4);
    commit.publish();
    let snapshot = map.snapshot();
    let mut seen: Vec<_> = snapshot.iter().collect();
    seen.sort_unstable();
    assert_eq!((seen, map.len()), (vec![(&"b", &3), (&"e", &4)], 2));
    let mut commit = domain.commit();
    commit.remove(&map, "nobody");
    assert_eq!(commit.publish(), 3, "nothing was changed");
}

#[test]
fn clearing_one_map_leaves_the_others() {
    let domain = Domain::new();
    let (one, other): (VersionedMap<u8, u8>, VersionedMap<u8, String>) =
        (domain.map(), domain.map());
    for is_seen in [false, true] {
        one.insert(1, 1);
        other.insert(1, "stays".into());
        let snapshot = is_seen.then(|| domain.snapshot());
        assert!(one.clear() && !one.clear());
        assert_eq!((one.len(), one.get(&1)), (0, None));
        assert_eq!((other.len(), other.get(&1).as_deref()), (1, Some("stays")));
        if let Some(snapshot) = snapshot {
            assert_eq!((snapshot.get(&one, &1), snapshot.len(&one)), (Some(&1), 1));
        }
    }
}

#[test]
fn a_map_that_is_made_later_is_empty_in_an_older_snapshot() {
    let domain = Domain::new();
    let before = domain.snapshot();
    let maps: Vec<VersionedMap<u8, u8>> = (0..10).map(|_| domain.map()).collect();
    for map in &maps {
        map.insert(1, 1);
        assert_eq!((before.get(map, &1), before.len(map)), (None, 0));
        assert_eq!(before.iter(map).count(), 0);
    }
}

/// Values and keys, counted.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct Counted(Arc<()>, u64);

#[test]
fn a_map_that_is_dropped_gives_back_what_was_in_it() {
    let domain = Domain::new();
    let other: VersionedMap<u64, Counted> = domain.map();
    let alive = Arc::new(());
    other.insert(0, Counted(alive.clone(), 0));
    for is_seen in [false, true] {
        let map: VersionedMap<Counted2, Counted> = domain.map();
        for number in 0..100 {
            let key = Counted2(alive.clone(), number);
            map.insert(key.clone(), Counted(alive.clone(), 0));
            map.insert(key, Counted(alive.clone(), 1));
        }
        let snapshot = is_seen.then(|| map.snapshot());
        drop(map);
        if let Some(snapshot) = snapshot {
            assert_eq!(snapshot.iter().count(), 100);
            drop(snapshot);
        }
        // The next thread that reads frees the rest.
        (0..10).for_each(|_| drop(domain.pinned()));
        assert_eq!(Arc::strong_count(&alive), 2, "seen: {is_seen}");
    }
    drop((other, domain));
    assert_eq!(Arc::strong_count(&alive), 1);
}

/// Whoever has a commit does not have its maps.
#[test]
fn changes_of_a_map_that_has_gone_are_nothing() {
    let domain = Domain::new();
    let other: VersionedMap<u8, u8> = domain.map();
    for step in 0..3 {
        let map: VersionedMap<u8, String> = domain.map();
        map.insert(1, "a".into());
        let mut commit = domain.commit();
        match step {
            0 => commit.insert(&map, 1, "b".into()),
            1 => commit.remove(&map, 1),
            _ => commit.clear(&map).insert(&map, 2, "b".into()),
        };
        commit.insert(&other, step, 1);
        drop(map);
        let before = domain.revision();
        assert_eq!(commit.publish(), before + 1);
        assert_eq!(
            (other.get(&step), other.len()),
            (Some(1), step as usize + 1)
        );
    }
    let map: VersionedMap<u8, u8> = domain.map();
    let mut commit = domain.commit();
    commit.insert(&map, 1, 1);
    drop(map);
    let before = domain.revision();
    assert_eq!(commit.publish(), before, "nothing was changed");
}

/// The length and what is there go at the same revision.
#[test]
fn views_of_a_map_that_is_dropped_agree_with_themselves() {
    for _ in 0..500 {
        let domain = Domain::new();
        let map: VersionedMap<u64, u64> = domain.map();
        map.insert(1, 1);
        map.insert(2, 1);
        let mut reader = map.reader();
        let (looks, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
        thread::scope(|threads| {
            threads.spawn(|| {
                let mut is_last = false;
                while !is_last {
                    is_last = is_over.load(Ordering::Acquire);
                    let view = reader.view();
                    let seen = (view.revision(), view.len(), view.iter().count());
                    assert!([(2, 2, 2), (3, 0, 0)].contains(&seen), "{seen:?}");
                    assert!(!is_last || seen.0 == 3);
                    looks.fetch_add(1, Ordering::Relaxed);
                }
            });
            while looks.load(Ordering::Relaxed) < 10 {
                thread::yield_now();
            }
            drop(map);
            is_over.store(true, Ordering::Release);
        });
    }
}

#[derive(Clone, Debug)]
struct Counted2(#[allow(dead_code)] Arc<()>, u64);

impl PartialEq for Counted2 {
    fn eq(&self, other: &Counted2) -> bool {
        self.1 == other.1
    }
}

impl Eq for Counted2 {}

impl std::hash::Hash for Counted2 {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.1.hash(state);
    }
}

#[test]
fn what_is_replaced_does_not_grow_with_what_is_written() {
    let alive = Arc::new(());
    let map: VersionedMap<u64, Counted> = VersionedMap::new();
    let view = map.snapshot();
    let mut most = 0;
    for step in 0..200_000 {
        map.insert(step % 10, Counted(alive.clone(), step));
        most = most.max(Arc::strong_count(&alive));
    }
    assert!(most < 10_000, "{most} are kept");
    assert_eq!(view.len(), 0);
}

#[test]
fn a_map_of_another_domain_is_refused() {
    let (domain, stranger) = (Domain::new(), VersionedMap::<u8, u8>::new());
    let told = |work: &dyn Fn()| {
        let panic = catch_unwind(AssertUnwindSafe(work)).expect_err("it was not refused");
        let text = panic.downcast_ref::<&str>().copied();
        assert_eq!(text, Some("the map is of another domain"));
    };
    told(&|| _ = domain.snapshot().get(&stranger, &1));
    told(&|| _ = domain.pinned().get(&stranger, &1));
    told(&|| _ = domain.snapshot().iter(&stranger).count());
    told(&|| _ = domain.snapshot().len(&stranger));
    told(&|| _ = domain.commit().insert(&stranger, 1, 1));
    told(&|| _ = domain.commit().remove(&stranger, 1));
    told(&|| _ = domain.commit().clear(&stranger));
}

// --- isolation

/// Two withdrawals, each allowed by what the other one changes.
#[test]
fn write_skew_is_refused_where_it_is_asked_for() {
    let domain = Domain::new();
    let accounts: VersionedMap<&str, i64> = domain.map();
    accounts.extend_from([("a", 60), ("b", 60)]);
    let views = [domain.snapshot(), domain.snapshot()];
    let mut answers = Vec::new();
    for (view, account) in views.iter().zip(["a", "b"]) {
        let sum: i64 = view.iter(&accounts).map(|(_, value)| *value).sum();
        assert_eq!(sum, 120);
        let mut commit = domain.commit();
        commit.insert(&accounts, account, 60 - 100);
        answers.push(commit.publish_if_unchanged_since(view.revision()).is_ok());
    }
    assert_eq!(answers, [true, false]);
    let sum: i64 = accounts.pinned().values().sum();
    assert_eq!(sum, 20);
}

trait ExtendFrom<K, V> {
    fn extend_from<const N: usize>(&self, items: [(K, V); N]);
}

impl ExtendFrom<&'static str, i64> for VersionedMap<&'static str, i64> {
    fn extend_from<const N: usize>(&self, items: [(&'static str, i64); N]) {
        let mut map = self;
        Extend::extend(&mut map, items);
    }
}

/// Money that threads send to and fro is neither made nor lost, in whatever view.
#[test]
fn transfers_keep_the_sum() {
    let domain = Domain::new();
    let (ones, others): (VersionedMap<usize, i64>, VersionedMap<usize, i64>) =
        (domain.map(), domain.map());
    for account in 0..8 {
        ones.insert(account, 100);
        others.insert(account, 100);
    }
    let sum = |view: &versioned_map::Snapshot| -> i64 {
        let all = [&ones, &others].into_iter().flat_map(|map| view.iter(map));
        all.map(|(_, value)| *value).sum()
    };
    thread::scope(|threads| {
        for seed in 1..4_usize {
            let (domain, ones, others) = (&domain, &ones, &others);
            threads.spawn(move || {
                for step in 1..1_000 {
                    let (from, to) = (step * seed % 8, (step / 8 + seed) % 8);
                    loop {
                        let view = domain.snapshot();
                        let have = |map, at| *view.get(map, &at).unwrap();
                        let mut commit = domain.commit();
                        commit.insert(ones, from, have(ones, from) - 1);
                        commit.insert(others, to, have(others, to) + 1);
                        if commit.publish_if_unchanged_since(view.revision()).is_ok() {
                            break;
                        }
                    }
                }
            });
        }
        for _ in 0..300 {
            assert_eq!(sum(&domain.snapshot()), 1_600);
        }
    });
    assert_eq!(sum(&domain.snapshot()), 1_600);
    assert_eq!(domain.revision(), 16 + 3 * 999);
}

/// A view that was taken before shows nothing of what comes (no fuzzy read, no phantom), and one
/// that is taken afterwards shows it.
#[test]
fn a_view_is_repeatable() {
    let domain = Domain::new();
    let map: VersionedMap<u32, u32> = domain.map();
    (0..100).for_each(|key| _ = map.insert(key, 0));
    let (snapshot, pinned) = (domain.snapshot(), domain.pinned());
    for round in 1..100 {
        (0..200).for_each(|key| _ = map.insert(key, round));
        (0..20).for_each(|key| _ = map.remove(&key));
    }
    for (count, seen) in [
        (snapshot.len(&map), snapshot.iter(&map).collect::<Vec<_>>()),
        (pinned.len(&map), pinned.iter(&map).collect::<Vec<_>>()),
    ] {
        assert_eq!((count, seen.len()), (100, 100));
        assert!(seen.iter().all(|(key, value)| **key < 100 && **value == 0));
    }
    assert_eq!(map.len(), 180);
}
