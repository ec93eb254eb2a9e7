//! Dirty writes and reads, reads that do not repeat, and phantoms: P0 to P3, G0, G1a, G1b.

use service_registry::{Batch, RegistryView, ServiceStatus, StoreError};

use super::viewer::{ROUNDS, Viewer, race_with_comings_and_goings, sorted, texts, value, value_of};
use crate::support::race::race;
use crate::support::views::Views;
use crate::support::{at, version};

/// P0, G0: of two commits that write the same records, one is whole.
pub(crate) fn no_dirty_write<S: Views>(store: &S) {
    let write = |writer: u64| {
        move |round: usize| {
            let n = 2 * round as u64 + writer;
            let mut batch = Batch::new();
            // In opposite orders.
            let pods = if writer == 0 { ["1", "2"] } else { ["2", "1"] };
            for pod in pods {
                batch.save_service(version("a", pod, n));
            }
            store.commit(batch).unwrap();
        }
    };
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        assert_eq!(
            value_of(&view, "a:1"),
            value_of(&view, "a:2"),
            "one record is of one commit, the other of another"
        );
    };
    race(ROUNDS, &[&write(0), &write(1)], &[&read]);
}

/// G1a: nobody sees what a rejected batch would have written.
pub(crate) fn no_aborted_read<S: Views>(store: &S) {
    const POISON: u64 = 999;
    let rejected = |_: usize| {
        let mut batch = Batch::new();
        batch
            .save_service(version("a", "1", POISON))
            .save_service(version("a", "2", POISON))
            .add_subscription("a:1", "poison")
            .delete_service("nobody:1");
        let answer = store.commit(batch);
        assert!(
            matches!(answer, Err(StoreError::BatchRejected { index: 3, .. })),
            "{answer:?}"
        );
    };
    let accepted = |round: usize| {
        let n = round as u64 % POISON;
        let mut batch = Batch::new();
        batch.save_service(version("a", "1", n));
        store.commit(batch).unwrap();
    };
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let keyed = ["a:1", "a:2"].iter().filter_map(|key| view.get(key));
        let named = view.services_by_name("a");
        for info in keyed.chain(named).chain(view.services()) {
            assert_ne!(value(info), POISON, "a rejected batch shows");
        }
        assert_eq!(view.subscribers("poison").count(), 0);
        assert_eq!(view.stats().subscriptions, 0);
        // The store itself shows it as little.
        let stored = store.get_services_by_name("a").unwrap();
        assert!(stored.iter().all(|info| value(info) != POISON));
    };
    race(ROUNDS, &[&rejected, &accepted], &[&read]);
}

/// G1b: of a record that a batch writes twice, nobody sees the first.
pub(crate) fn no_intermediate_read<S: Views>(store: &S) {
    let write = |round: usize| {
        let n = 2 * round as u64;
        let mut batch = Batch::new();
        batch
            .save_service(version("a", "1", n + 1))
            .add_subscription("a:1", "h")
            .save_service(version("a", "1", n + 2))
            .remove_subscription("a:1", "h");
        store.commit(batch).unwrap();
    };
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let seen = value_of(&view, "a:1").unwrap_or_default();
        assert_eq!(seen % 2, 0, "a record that was never committed");
        assert_eq!(view.subscribers("h").count(), 0, "nor this subscription");
    };
    race(ROUNDS, &[&write], &[&read]);
}

// --- reads that do not repeat, phantoms

/// P2: a view answers the same however often it is asked.
pub(crate) fn no_fuzzy_read<S: Views>(store: &S) {
    let write = |round: usize| {
        let n = round as u64;
        store.save_service(version("a", "1", n)).unwrap();
        let (status, checked_at) = (ServiceStatus::Healthy, at(n));
        store
            .update_health_status("a:1", status, checked_at)
            .unwrap();
        if round % 3 == 2 {
            store.delete_service("a:1").unwrap();
        }
    };
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let first = view.get("a:1").cloned();
        let stats = view.stats();
        viewer.hold(&view);
        for _ in 0..3 {
            assert_eq!(view.get("a:1"), first.as_ref(), "a read does not repeat");
        }
        assert_eq!(view.stats(), stats);
    };
    race(ROUNDS, &[&write], &[&read]);
}

/// P3: a scan of a view, of all records, of a name or of a group, finds the same
/// when it is made again, and no key comes or goes.
pub(crate) fn no_phantom<S: Views>(store: &S) {
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let all = || sorted(view.services());
        let named = || sorted(view.services_by_name("a"));
        let group = || texts(view.subscribers("g").map(|key| &**key));
        let notified = || sorted(view.subscriber_services("all"));
        let missing = || -> Vec<bool> {
            let keys = (0..4).map(|pod| format!("b:{pod}"));
            keys.map(|key| view.get(&key).is_none()).collect()
        };
        let before = (all(), named(), group(), notified(), missing());
        viewer.hold(&view);
        assert_eq!(all(), before.0, "a phantom among all records");
        assert_eq!(named(), before.1, "a phantom of a name");
        assert_eq!(group(), before.2, "a phantom of a group");
        assert_eq!(notified(), before.3, "a phantom among subscribers");
        assert_eq!(missing(), before.4, "a phantom under a key");
    };
    race_with_comings_and_goings(store, &read);
}
