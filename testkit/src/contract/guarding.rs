//! The guard of `Leases` over every store: pods that fall silent together.

// The test sets the clock.
#![allow(clippy::unchecked_time_subtraction)]

use std::time::{Duration, SystemTime};

use service_registry::leases::{Lease, LeaseOptions, Sweep};
use service_registry::{RegistryStore, ServiceStatus, StoreStats};

use crate::leases::{
    Clock, HOLD, NANO, SECOND, TTL, WINDOW, gone, guarded, held, pods, register, status, web,
};
use crate::support::registration;

pub fn everything_silent_is_withheld_and_goes_after_its_time(store: &impl RegistryStore) {
    let clock = Clock::new();
    // One of three pods of each name expires: few of each name, but many of all.
    let options = LeaseOptions {
        percent_of_all: 30,
        ..guarded()
    };
    let leases = clock.leases(store, options);
    for name in ["a", "b", "c"] {
        let _ = leases.register(registration(name, "1", &["db"]), TTL);
        for pod in ["2", "3"] {
            let others = registration(name, pod, &[]);
            leases.registry().register(others).unwrap();
        }
        let key = format!("{name}:1");
        store
            .update_health_status(&key, ServiceStatus::Healthy, SystemTime::now())
            .unwrap();
    }
    clock.pass(TTL);
    let revision = store.revision();
    let sweep = leases.sweep(clock.now()).unwrap();
    assert_eq!(held(&sweep), ["a:1", "b:1", "c:1"]);
    assert_eq!(sweep.expired, []);
    assert_eq!(sweep.next, Some(clock.now() + HOLD));
    assert_eq!(leases.stats().withheld, 3);
    assert_eq!(store.revision(), revision.next());
    assert_eq!(status(store, "a:1"), ServiceStatus::Unknown);
    assert_eq!(store.get_subscribers("db").unwrap().len(), 3);
    // A sweep that finds no change returns the same, and commits nothing.
    clock.pass(HOLD - NANO);
    let sweep = leases.sweep(clock.now()).unwrap();
    assert_eq!(held(&sweep).len(), 3);
    assert_eq!(store.revision(), revision.next());
    clock.pass(NANO);
    let sweep = leases.sweep(clock.now()).unwrap();
    assert_eq!(gone(&sweep), ["a:1", "b:1", "c:1"]);
    assert_eq!((sweep.withheld.len(), sweep.next), (0, None));
    assert_eq!(store.stats(), Ok(StoreStats::new(6, 0)));
    assert_eq!(leases.stats().withheld, 0);
}

/// Pods whose renewals are spread over their time to live expire one by one.
pub fn who_falls_silent_one_by_one_is_withheld(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, guarded());
    for pod in 0..30 {
        let _ = leases.register(web(&pod.to_string()), TTL);
        clock.pass(SECOND);
    }
    for left in (15..30).rev() {
        assert_eq!(leases.sweep(clock.now()).unwrap().expired.len(), 1);
        assert_eq!(pods(store), left);
        clock.pass(SECOND);
    }
    for withheld in 1..=15 {
        let sweep = leases.sweep(clock.now()).unwrap();
        assert_eq!((gone(&sweep).len(), held(&sweep).len()), (0, withheld));
        clock.pass(SECOND);
    }
    // A guard that looked at each sweep alone would have let all expire.
    store.clear().unwrap();
    let window = Duration::ZERO;
    let leases = clock.leases(
        store,
        LeaseOptions {
            window,
            ..guarded()
        },
    );
    for pod in 0..30 {
        let _ = leases.register(web(&pod.to_string()), TTL);
        clock.pass(SECOND);
    }
    for left in (1..30).rev() {
        leases.sweep(clock.now()).unwrap();
        assert_eq!(pods(store), left);
        clock.pass(SECOND);
    }
}

pub fn the_guard_forgets_who_left_long_ago(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, guarded());
    let pods = register(&leases, 10);
    let renew = |pods: &[Lease]| pods.iter().try_for_each(|lease| leases.renew(lease));
    clock.pass(TTL - NANO);
    renew(&pods[5..]).unwrap();
    clock.pass(NANO);
    // Five of ten are not more than half.
    assert_eq!(leases.sweep(clock.now()).unwrap().expired.len(), 5);
    clock.pass(WINDOW / 3);
    renew(&pods[5..]).unwrap();
    clock.pass(WINDOW / 3);
    renew(&pods[6..]).unwrap();
    clock.pass(WINDOW / 3 - NANO);
    // The sixth of ten, within the window.
    let sweep = leases.sweep(clock.now()).unwrap();
    assert_eq!((held(&sweep), gone(&sweep)), (vec!["web:5"], vec![]));
    clock.pass(NANO);
    // One of five: a pod that expired before the window no longer counts, neither among the pods
    // nor among the expired ones.
    assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), ["web:5"]);
    // Pods that unregister are not counted. Half of the two remaining pods may expire.
    for lease in &pods[8..] {
        leases.revoke(lease.clone()).unwrap();
    }
    clock.pass(WINDOW);
    renew(&pods[7..8]).unwrap();
    assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), ["web:6"]);
}

pub fn who_renews_while_withheld_stays(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, guarded());
    let pods = register(&leases, 4);
    store
        .update_health_status("web:0", ServiceStatus::Draining, SystemTime::now())
        .unwrap();
    clock.pass(TTL);
    assert_eq!(held(&leases.sweep(clock.now()).unwrap()).len(), 4);
    // A draining pod must not look as if it accepted requests.
    assert_eq!(status(store, "web:0"), ServiceStatus::Draining);
    clock.pass(SECOND);
    leases.renew(&pods[0]).unwrap();
    assert_eq!(held(&leases.sweep(clock.now()).unwrap()).len(), 3);
    clock.pass(SECOND);
    leases.renew(&pods[1]).unwrap();
    // Two of four are no longer too many, so they expire.
    let sweep = leases.sweep(clock.now()).unwrap();
    assert_eq!(
        (gone(&sweep), held(&sweep)),
        (vec!["web:2", "web:3"], vec![])
    );
    // The others have their own ends again.
    assert_eq!(sweep.next, Some(clock.now() + TTL - SECOND));
    clock.pass(TTL - SECOND - NANO);
    assert_eq!(held(&leases.sweep(clock.now()).unwrap()), [""; 0]);
    clock.pass(NANO);
    assert_eq!(held(&leases.sweep(clock.now()).unwrap()), ["web:0"]);
    // When it falls silent again, its hold begins anew.
    clock.pass(HOLD - NANO);
    assert!(store.contains_service("web:0").unwrap());
}

pub fn the_last_pod_of_a_name_is_withheld_and_goes(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, guarded());
    for name in ["db", "cache"] {
        leases
            .registry()
            .register(registration(name, "1", &[]))
            .unwrap();
    }
    register(&leases, 1);
    clock.pass(TTL);
    assert_eq!(held(&leases.sweep(clock.now()).unwrap()), ["web:0"]);
    assert_eq!(store.get_services_by_name("web").unwrap().len(), 1);
    clock.pass(HOLD);
    assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), ["web:0"]);
    assert_eq!(store.get_services_by_name("web"), Ok(vec![]));
    // A guard of 100 per cent of a name withholds nothing, and neither does a hold of zero.
    for options in [
        LeaseOptions {
            percent_of_name: 100,
            ..guarded()
        },
        LeaseOptions {
            hold: Duration::ZERO,
            ..guarded()
        },
    ] {
        let leases = clock.leases(store, options);
        register(&leases, 1);
        clock.pass(TTL);
        assert_eq!(gone(&leases.sweep(clock.now()).unwrap()), ["web:0"]);
    }
}

pub fn an_explicit_removal_of_the_last_pod_shows_as_empty(store: &impl RegistryStore) {
    let clock = Clock::new();
    let leases = clock.leases(store, guarded());
    for is_withheld in [false, true] {
        for by_lease in [false, true] {
            let [lease] = &register(&leases, 1)[..] else {
                unreachable!()
            };
            if is_withheld {
                clock.pass(TTL);
                assert_eq!(held(&leases.sweep(clock.now()).unwrap()), ["web:0"]);
            }
            if by_lease {
                let removed = leases.revoke(lease.clone()).unwrap();
                assert_eq!(removed.unwrap().key(), "web:0");
            } else {
                leases.registry().unregister("web", "0").unwrap();
            }
            assert_eq!(store.get_services_by_name("web"), Ok(vec![]));
            let sweep = leases.sweep(clock.now()).unwrap();
            assert_eq!(sweep, Sweep::default());
            assert_eq!(leases.stats().leases, 0);
        }
    }
}
