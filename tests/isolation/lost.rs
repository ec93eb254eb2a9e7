//! Lost updates (P4) and write skew (A5B).

use std::thread;

use service_registry::{Batch, RegistryStore, RegistryView, ServiceStatus, StoreError};

use super::viewer::{ROUNDS, value, value_of};
use crate::support::race::{race, together};
use crate::support::views::Views;
use crate::support::{self, at, version};

/// P4: a health update touches the health and nothing else, so that a record
/// which was saved beside it stays saved.
pub(crate) fn no_update_is_lost_to_a_health_update<S: Views>(store: &S) {
    store.save_service(version("a", "1", 0)).unwrap();
    let save = |round: usize| {
        let n = round as u64;
        store.save_service(version("a", "1", n)).unwrap();
        // Nobody else saves.
        let stored = store.get_service("a:1").unwrap();
        assert_eq!(value(&stored), n, "an update was lost");
        assert_eq!(value_of(&store.snapshot(), "a:1"), Some(n));
    };
    let check = |round: usize| {
        let (status, checked_at) = (ServiceStatus::Healthy, at(round as u64));
        store
            .update_health_status("a:1", status, checked_at)
            .unwrap();
    };
    race(ROUNDS, &[&save, &check], &[]);
}

/// P4: each status that a swap puts down one other swap picks up, or the end.
pub(crate) fn no_swap_is_lost<S: Views>(store: &S) {
    const STATUSES: [ServiceStatus; 3] = [
        ServiceStatus::Healthy,
        ServiceStatus::Unhealthy,
        ServiceStatus::Unknown,
    ];
    store.save_service(version("a", "1", 0)).unwrap();
    let first = store.get_service("a:1").unwrap().status();
    let swaps = together(3, |thread| {
        let swap = |round: usize| {
            let put = STATUSES[(round * (thread + 1) + round / 3) % 3];
            // At one time, so that none is late.
            (put, support::report_health(store, "a:1", put, at(0)))
        };
        (0..ROUNDS).map(swap).collect::<Vec<_>>()
    });
    let swaps = swaps.concat();
    let last = store.get_service("a:1").unwrap().status();
    for status in STATUSES {
        let put = swaps.iter().filter(|(put, _)| *put == status).count();
        let got = swaps.iter().filter(|(_, got)| *got == status).count();
        assert_eq!(
            put + usize::from(first == status),
            got + usize::from(last == status),
            "a swap was lost: {status}"
        );
    }
}

/// The token that a view shows: its number.
fn token(view: &impl RegistryView) -> u64 {
    let tokens: Vec<u64> = view.services_by_name("token").map(value).collect();
    assert_eq!(tokens.len(), 1, "there is one token at a time: {tokens:?}");
    tokens[0]
}

/// A batch that is rejected unless the token is still that of the view: it takes
/// it, and puts down the next.
fn if_unchanged_since(view: &impl RegistryView) -> Batch {
    let token = token(view);
    let mut batch = Batch::new();
    batch
        .delete_service(&format!("token:{token}"))
        .save_service(version("token", &(token + 1).to_string(), token + 1));
    batch
}

/// P4, between reading and writing: a batch does not remember what its writer has
/// read, but it can be made to fail if somebody else was quicker.
pub(crate) fn no_update_is_lost_where_batches_take_a_token<S: Views>(store: &S) {
    store.save_service(version("token", "0", 0)).unwrap();
    store.save_service(version("a", "1", 0)).unwrap();
    let done: Vec<u64> = together(3, |_| {
        let mut done = 0;
        for _ in 0..ROUNDS {
            let view = store.snapshot();
            let counted = value_of(&view, "a:1").unwrap();
            let mut batch = if_unchanged_since(&view);
            batch.save_service(version("a", "1", counted + 1));
            match store.commit(batch) {
                Ok(_) => done += 1,
                Err(StoreError::BatchRejected { index: 0, .. }) => {}
                Err(other) => panic!("{other}"),
            }
        }
        done
    });
    let counted = value_of(&store.snapshot(), "a:1").unwrap();
    assert_eq!(counted, done.iter().sum::<u64>(), "an update was lost");
    assert_eq!(counted, token(&store.snapshot()));
    // Of those who were beside each other one always wins.
    assert!(counted >= ROUNDS as u64, "{done:?}");
}

const ON_CALL: [&str; 2] = ["oncall:0", "oncall:1"];

fn on_call(view: &impl RegistryView) -> usize {
    let healthy = |key: &&&str| {
        let info = view.get(key).expect("both are always registered");
        info.status() == ServiceStatus::Healthy
    };
    ON_CALL.iter().filter(healthy).count()
}

fn both_are_on_call(store: &impl RegistryStore) {
    for pod in ["0", "1"] {
        let record = version("oncall", pod, 0)
            .with_health(ServiceStatus::Healthy, at(0))
            .unwrap();
        store.save_service(record).unwrap();
    }
}

/// A5B: two who may leave while the other stays do not both leave, if their
/// batches take the same token.
pub(crate) fn no_write_skew_where_batches_take_a_token<S: Views>(store: &S) {
    store.save_service(version("token", "0", 0)).unwrap();
    both_are_on_call(store);
    together(2, |own| {
        for round in 0..ROUNDS {
            let view = store.snapshot();
            if on_call(&view) < 2 {
                thread::yield_now();
                continue;
            }
            let moment = at(round as u64);
            let mut batch = if_unchanged_since(&view);
            batch.update_health_status(ON_CALL[own], ServiceStatus::Unhealthy, moment);
            let left = store.commit(batch).is_ok();
            assert!(on_call(&store.snapshot()) > 0, "nobody is on call");
            if left {
                store
                    .update_health_status(ON_CALL[own], ServiceStatus::Healthy, moment)
                    .unwrap();
            }
        }
    });
}

/// A5B is possible without: snapshot isolation does not rule it out, and a batch
/// is not even asked what it has read.
pub(crate) fn write_skew_is_possible_where_batches_share_nothing<S: Views>(store: &S) {
    both_are_on_call(store);
    let views = [store.snapshot(), store.snapshot()];
    for (own, view) in views.iter().enumerate() {
        assert_eq!(on_call(view), 2, "so one may leave");
        let mut batch = Batch::new();
        batch.update_health_status(ON_CALL[own], ServiceStatus::Unhealthy, at(1));
        store.commit(batch).unwrap();
    }
    assert_eq!(on_call(&store.snapshot()), 0);
    assert_eq!(on_call(&views[0]), 2, "what was read stays as it was");
}
