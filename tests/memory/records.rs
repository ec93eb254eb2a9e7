//! The records of one thread: what each operation frees.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use service_registry::{Batch, Registry, RegistryStore, ServiceStatus};

use crate::heap::ledger::{self, PayloadScope, mark, number};
use crate::support::{at, registration};
use crate::{Churn, check_exact, check_held, marked};

/// A store with a hundred marked records, of ten names.
fn filled<S: RegistryStore>(make: impl Fn() -> S) -> S {
    let store = make();
    for n in 0..100 {
        let (name, pod) = (format!("service-{}", n % 10), n.to_string());
        store.save_service(marked(&name, &pod)).unwrap();
        store
            .add_subscription(&format!("{name}:{pod}"), "g")
            .unwrap();
    }
    store
}

pub(crate) fn each_operation_frees_what_it_replaces<S: RegistryStore>(make: impl Fn() -> S) {
    let book = ledger::open();
    let store = filled(&make);
    let registry = Registry::new(&store);
    let check = |when| check_exact(&store, &book, when);
    check("filled");
    assert_eq!(book.alive().len(), 100);
    store.save_service(marked("service-0", "0")).unwrap();
    check("replaced");
    store
        .update_health_status("service-0:0", ServiceStatus::Healthy, at(1))
        .unwrap();
    store
        .update_health_status("service-0:0", ServiceStatus::Unhealthy, at(2))
        .unwrap();
    check("updated");
    store.delete_service("service-0:0").unwrap();
    check("deleted");
    drop(store.take_service("service-1:1").unwrap());
    check("taken");
    store.remove_all_subscriptions("service-2:2").unwrap();
    check("unsubscribed");
    for round in 0..3 {
        let pod = registration("service-3", "3", &["g", "h"]);
        registry.register(mark(pod)).unwrap();
        check("registered anew");
        if round == 1 {
            drop(registry.unregister("service-3", "3").unwrap().unwrap());
            check("unregistered");
        }
    }
    let mut batch = Batch::new();
    batch
        .save_service(marked("service-4", "4"))
        .save_service(marked("service-4", "4"))
        .save_service(marked("service-4", "104"))
        .delete_service("service-4:4")
        .update_health_status("service-4:104", ServiceStatus::Healthy, at(1))
        .delete_service("service-5:5");
    store.commit(batch).unwrap();
    check("after a batch");
    // So many that tables and runs grow, move and shrink.
    for n in 0..500 {
        store.save_service(marked("many", &n.to_string())).unwrap();
    }
    check("grown");
    for n in 0..500 {
        store.delete_service(&format!("many:{n}")).unwrap();
    }
    check("shrunk");
    drop(store);
    book.check_all_died("the store is gone");
}

pub(crate) fn a_rejected_batch_frees_what_it_brought<S: RegistryStore>(make: impl Fn() -> S) {
    let book = ledger::open();
    let store = filled(make);
    let before = book.alive();
    for _ in 0..10 {
        let mut batch = Batch::new();
        for n in 0..20 {
            batch.save_service(marked("service-0", &n.to_string()));
        }
        batch.delete_service("nobody:1");
        store.commit(batch).unwrap_err();
        book.check(&before, "a rejected batch");
    }
    drop(store);
    book.check_all_died("the store is gone");
}

/// What a caller was given lives as long as the caller wants, and the rest does not.
pub(crate) fn answers_keep_their_records_and_no_others<S: RegistryStore>(make: impl Fn() -> S) {
    let book = ledger::open();
    let store = filled(make);
    let mut answers = store.get_services_by_name("service-7").unwrap();
    answers.push(store.get_service("service-8:8").unwrap());
    answers.extend(store.get_subscriber_services("g").unwrap().drain(..5));
    let inside = store.with_service("service-9:9", Clone::clone).unwrap();
    answers.push(inside);
    store.clear().unwrap();
    let numbers = |answers: &[_]| answers.iter().map(number).collect();
    check_held(&store, &book, &numbers(&answers), "cleared");
    while answers.pop().is_some() {
        check_held(&store, &book, &numbers(&answers), "let go of an answer");
    }
    let last = {
        store.save_service(marked("last", "1")).unwrap();
        store.get_service("last:1").unwrap()
    };
    drop(store);
    book.check(&BTreeSet::from([number(&last)]), "an answer outlives all");
    drop(last);
    book.check_all_died("the answer is gone, too");
}

pub(crate) fn clearing_frees_every_record<S: RegistryStore>(make: impl Fn() -> S) {
    let book = ledger::open();
    let store = filled(make);
    assert_eq!(book.alive().len(), 100);
    store.clear().unwrap();
    check_exact(&store, &book, "cleared");
    book.check_all_died("cleared");
}

pub(crate) fn closing_frees_every_record<S: RegistryStore>(make: impl Fn() -> S) {
    let book = ledger::open();
    let store = filled(make);
    // Of what was removed before nothing may be waiting for its turn, either.
    for n in 0..10 {
        store.save_service(marked("service-0", "0")).unwrap();
        store.delete_service(&format!("service-{n}:{n}")).unwrap();
    }
    store.close().unwrap();
    book.check_all_died("closed");
    let refused = store.save_service(marked("late", "1"));
    assert!(refused.is_err());
    book.check_all_died("refused");
}

pub(crate) fn dropping_a_store_frees_every_record<S: RegistryStore>(make: impl Fn() -> S) {
    let book = ledger::open();
    let stores: Vec<S> = (0..3).map(|_| filled(&make)).collect();
    for store in stores {
        store.delete_service("service-0:0").unwrap();
        drop(store);
    }
    book.check_all_died("the stores are gone");
}

fn churned<S: RegistryStore>(make: &impl Fn() -> S, book: &PayloadScope, seed: u64) -> S {
    let store = make();
    let mut churn = Churn::new(seed);
    for round in 0..20 {
        for _ in 0..50 {
            churn.step(&store);
        }
        let kept = churn.kept.iter().map(number).collect();
        check_held(&store, book, &kept, &format!("seed {seed}, round {round}"));
    }
    store
}

pub(crate) fn churn_drops_every_record_once<S: RegistryStore>(make: impl Fn() -> S) {
    for seed in 0..3 {
        let book = ledger::open();
        let store = churned(&make, &book, seed);
        check_exact(&store, &book, "the answers are gone");
        if seed % 2 == 0 {
            store.close().unwrap();
            book.check_all_died("closed");
        }
        drop(store);
        book.check_all_died("the store is gone");
    }
}

pub(crate) fn a_panic_in_a_closure_loses_no_record<S: RegistryStore>(make: impl Fn() -> S) {
    let book = ledger::open();
    let store = filled(make);
    for n in 0..20 {
        let key = format!("service-{}:{n}", n % 10);
        for _ in 0..2 {
            let panicked = catch_unwind(AssertUnwindSafe(|| {
                store.with_service(&key, |info| {
                    // What the closure has made is its own, and goes with it.
                    let _copy = info.clone();
                    resume_unwind(Box::new("on purpose"))
                })
            }));
            assert!(panicked.is_err());
        }
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            store.visit_service(&key, &mut |_| resume_unwind(Box::new("on purpose")))
        }));
        assert!(panicked.is_err());
        store.delete_service(&key).unwrap();
        check_exact(&store, &book, "deleted after a panic");
    }
    drop(store);
    book.check_all_died("the store is gone");
}
