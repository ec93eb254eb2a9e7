//! Read skew (A5A): a view that mixes two moments.

use service_registry::{Batch, RegistryView};

use super::viewer::{ROUNDS, Viewer, race_with_comings_and_goings, sorted, texts, value, value_of};
use crate::support::race::race;
use crate::support::version;
use crate::support::views::Views;

/// A5A: what two commits have written a view does not mix. Two records of two
/// services, which always add up to the same.
pub(crate) fn no_read_skew<S: Views>(store: &S) {
    const SUM: u64 = 1_000_000;
    let write = |round: usize| {
        let n = round as u64;
        let mut batch = Batch::new();
        batch
            .save_service(version("a", "1", n))
            .save_service(version("b", "1", SUM - n));
        store.commit(batch).unwrap();
    };
    write(0);
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let first = value_of(&view, "a:1").unwrap();
        viewer.hold(&view);
        let second = value_of(&view, "b:1").unwrap();
        assert_eq!(first + second, SUM, "two records are of two moments");
        let sum: u64 = view.services().map(value).sum();
        assert_eq!(sum, SUM, "a scan is of two moments");
        let named = ["a", "b"].map(|name| view.services_by_name(name).map(value).sum::<u64>());
        assert_eq!(named[0] + named[1], SUM, "two names are of two moments");
    };
    race(ROUNDS, &[&write], &[&read]);
}

/// A5A over more than two: money moves between accounts, of which each writer
/// moves its own, and none is made or lost.
pub(crate) fn the_sum_of_all_accounts_stays<S: Views>(store: &S) {
    const ACCOUNTS: u64 = 4;
    const MONEY: u64 = 100;
    let open = |service: &str| {
        let mut batch = Batch::new();
        for n in 0..ACCOUNTS {
            batch.save_service(version(service, &n.to_string(), MONEY));
        }
        store.commit(batch).unwrap();
    };
    open("a");
    open("b");
    // Nobody else writes these accounts, so what was read is still so.
    let transfer = |service: &'static str| {
        move |round: usize| {
            let from = round as u64 % ACCOUNTS;
            let to = (from + 1 + round as u64 % 2) % ACCOUNTS;
            let balance = |n: u64| value(&store.get_service(&format!("{service}:{n}")).unwrap());
            let amount = balance(from) / 2;
            let mut batch = Batch::new();
            batch
                .save_service(version(service, &from.to_string(), balance(from) - amount))
                .save_service(version(service, &to.to_string(), balance(to) + amount));
            store.commit(batch).unwrap();
        }
    };
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let sum: u64 = view.services().map(value).sum();
        assert_eq!(sum, 2 * ACCOUNTS * MONEY, "money was made or lost");
        for name in ["a", "b"] {
            let sum: u64 = view.services_by_name(name).map(value).sum();
            assert_eq!(sum, ACCOUNTS * MONEY, "of {name:?}");
        }
    };
    race(ROUNDS, &[&transfer("a"), &transfer("b")], &[&read]);
}

/// A5A between indexes: who is registered is subscribed, and who is subscribed is
/// registered.
pub(crate) fn no_half_registration<S: Views>(store: &S) {
    let viewer = Viewer::of(store);
    let read = |round: usize| {
        let view = viewer.view(round);
        let registered = sorted(view.services());
        viewer.hold(&view);
        let mut subscribed = texts(view.subscribers("all").map(|key| &**key));
        subscribed.sort_unstable();
        let registered: Vec<String> = registered.into_keys().collect();
        assert_eq!(subscribed, registered, "half a registration");
        for info in view.services() {
            for group in info.subscriptions() {
                assert!(
                    view.subscribers(group).any(|key| key == info.key()),
                    "{} is not in {group:?}",
                    info.key()
                );
            }
        }
    };
    race_with_comings_and_goings(store, &read);
}
