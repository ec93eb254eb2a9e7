//! Models for loom of the guarantees that maps add to those of the engine: commits of several maps,
//! and updates that read before they take the turn.

use std::sync::Arc;

use foldhash::fast::FixedState;
use loom::thread;

use crate::domain::Domain;
use crate::map::{Change, VersionedMap};
use crate::twin::{self, Twin};

type Numbers = VersionedMap<u64, u64, FixedState>;

struct Two {
    domain: Domain,
    maps: [Numbers; 2],
}

impl Two {
    fn new() -> Arc<Two> {
        let domain = Domain::new();
        let map = |_| domain.map_with_hasher(FixedState::default());
        let maps = [0, 1].map(map);
        Arc::new(Two { domain, maps })
    }

    fn publish(&self, value: u64) {
        let mut commit = self.domain.commit();
        for map in &self.maps {
            commit.insert(map, 1, value);
        }
        commit.publish();
    }
}

fn model(twin: Twin, model: impl Fn() + Send + Sync + 'static) {
    twin::set(twin);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.max_branches = 4_000;
    builder.check(model);
}

// --- commits

fn a_commit_is_seen_whole(twin: Twin) {
    model(twin, || {
        let two = Two::new();
        let writer = thread::spawn({
            let two = two.clone();
            move || {
                two.publish(1);
                two.publish(2);
            }
        });
        let [first, second] = &two.maps;
        let snapshot = two.domain.snapshot();
        let seen = [snapshot.get(second, &1), snapshot.get(first, &1)];
        assert_eq!(seen[0], seen[1], "a part of a commit");
        let pinned = two.domain.pinned();
        let seen = [pinned.get(second, &1), pinned.get(first, &1)];
        assert_eq!(seen[0], seen[1], "a part of a commit");
        drop(pinned);
        writer.join().unwrap();
    });
}

#[test]
fn models_a_commit_of_two_maps_is_seen_whole() {
    a_commit_is_seen_whole(Twin::None);
}

#[test]
#[should_panic(expected = "a part of a commit")]
fn models_twin_a_commit_that_is_published_first_is_rejected() {
    a_commit_is_seen_whole(Twin::PublishedBeforeWritten);
}

// --- updates

fn updates_all_count(twin: Twin) {
    model(twin, || {
        let two = Two::new();
        let count = |two: &Two| {
            two.maps[0].compute(1, |count| Change::Insert(count.unwrap_or(&0) + 1));
        };
        let other = thread::spawn({
            let two = two.clone();
            move || count(&two)
        });
        count(&two);
        other.join().unwrap();
        assert_eq!(two.maps[0].get(&1), Some(2), "an update was lost");
    });
}

#[test]
fn models_updates_of_two_threads_both_count() {
    updates_all_count(Twin::None);
}

#[test]
#[should_panic(expected = "an update was lost")]
fn models_twin_an_update_that_is_not_compared_is_rejected() {
    updates_all_count(Twin::UpdateNotCompared);
}

// --- conditions

/// Two withdrawals read both maps, and one of them is refused.
#[test]
fn models_write_skew_is_refused() {
    model(Twin::None, || {
        let two = Two::new();
        two.publish(60);
        let withdraw = |two: &Two, from: usize| {
            let before = two.domain.snapshot();
            let sum: u64 = two.maps.iter().filter_map(|map| before.get(map, &1)).sum();
            let mut commit = two.domain.commit();
            commit.insert(&two.maps[from], 1, 0);
            sum == 120 && commit.publish_if_unchanged_since(before.revision()).is_ok()
        };
        let other = thread::spawn({
            let two = two.clone();
            move || withdraw(&two, 0)
        });
        let own = withdraw(&two, 1);
        assert!(own != other.join().unwrap(), "not exactly one of them");
    });
}
