//! The order of calls of several threads: a finished write is seen, and no reader goes back in
//! time.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;

use service_registry::{Batch, RegistryStore, ServiceInfo, ServiceStatus, StoreStats};

use crate::support::race::race;
use crate::support::{at, number, pod, report_health, version};

pub fn a_write_that_returned_is_seen_by_every_read<S: RegistryStore + Sync>(store: &S) {
    store.save_service(pod("db", "1")).unwrap();
    store.add_subscription("db:1", "g").unwrap();
    let base = store.revision().as_u64() - 1;
    // The number of the last write that has returned.
    let returned = AtomicU64::new(0);
    let write = |round: usize| {
        let n = round as u64 + 1;
        let status = ServiceStatus::Healthy;
        match round % 3 {
            0 => drop(report_health(store, "db:1", status, at(n))),
            1 => store
                .save_service(pod("db", "1").with_health(status, at(n)).unwrap())
                .unwrap(),
            _ => {
                let mut batch = Batch::new();
                batch.update_health_status("db:1", status, at(n));
                store.commit(batch).unwrap();
            }
        }
        returned.store(n, SeqCst);
    };
    let moment = |info: &ServiceInfo| info.last_health_check().map_or(0, number);
    let reads: [&(dyn Fn() -> u64 + Sync); 7] = [
        &|| moment(&store.get_service("db:1").unwrap()),
        &|| store.with_service("db:1", moment).unwrap(),
        &|| moment(&store.get_services_by_name("db").unwrap()[0]),
        &|| moment(&store.get_all_services().unwrap()[0]),
        &|| moment(&store.get_subscriber_services("g").unwrap()[0]),
        &|| store.revision().as_u64() - base - 1,
        &|| {
            let mut seen = 0;
            store
                .visit_service("db:1", &mut |info| seen = moment(info))
                .unwrap();
            seen
        },
    ];
    thread_local! {
        // The latest write that this reader has seen.
        static SEEN: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }
    let read = |round: usize| {
        if round == 0 {
            SEEN.set(0);
        }
        let before = returned.load(SeqCst);
        let seen = reads[round % reads.len()]();
        assert!(
            seen >= before,
            "a stale read: {seen} after {before} had returned"
        );
        assert!(seen >= SEEN.get(), "a reader went backwards");
        SEEN.set(seen);
    };
    race(2_000, &[&write], &[&read, &read]);
}

pub fn a_state_lies_between_the_revisions_around_it<S: RegistryStore + Sync>(store: &S) {
    // There is one writer, so each commit can write the revision that it will have.
    let record = |n: u64| {
        pod("db", "1")
            .with_health(ServiceStatus::Healthy, at(n))
            .unwrap()
    };
    store.save_service(record(1)).unwrap();
    let write = |round: usize| {
        let n = round as u64 + 2;
        if round.is_multiple_of(2) {
            store.save_service(record(n)).unwrap();
        } else {
            let mut batch = Batch::new();
            batch
                .save_service(record(n))
                .save_service(pod("x", "1"))
                .delete_service("x:1");
            assert_eq!(store.commit(batch).unwrap().as_u64(), n);
        }
        assert_eq!(store.revision().as_u64(), n);
    };
    let read = |round: usize| {
        let before = store.revision().as_u64();
        let info = match round % 2 {
            0 => store.get_service("db:1").unwrap(),
            _ => store.get_all_services().unwrap().remove(0),
        };
        let after = store.revision().as_u64();
        let seen = number(info.last_health_check().unwrap());
        assert!(
            (before..=after).contains(&seen),
            "state {seen} was read between revisions {before} and {after}"
        );
    };
    race(2_000, &[&write], &[&read, &read]);
}

pub fn revisions_never_go_backwards<S: RegistryStore + Sync>(store: &S) {
    thread_local! {
        static LAST: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
    }
    let watch = |round: usize| {
        let revision = store.revision().as_u64();
        if round > 0 {
            assert!(revision >= LAST.get(), "the revision went backwards");
        }
        LAST.set(revision);
    };
    let write = |service: &'static str| {
        move |round: usize| {
            store
                .save_service(version(service, "1", round as u64))
                .unwrap();
            let mut batch = Batch::new();
            batch.delete_service(&format!("{service}:1"));
            let led_to = store.commit(batch).unwrap();
            assert!(
                store.revision() >= led_to,
                "a commit returned before its revision"
            );
        }
    };
    let (one, other) = (write("one"), write("other"));
    race(1_000, &[&one, &other], &[&watch, &watch]);
    assert_eq!(store.stats(), Ok(StoreStats::default()));
}
