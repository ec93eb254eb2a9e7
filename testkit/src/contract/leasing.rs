//! `Leases` shared by threads.

// The test sets the clock.
#![allow(clippy::unchecked_time_subtraction)]

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use service_registry::leases::{Lease, LeaseOptions, Leases};
use service_registry::{Registry, RegistryStore};

use crate::leases::{Clock, unguarded};
use crate::support::dice::Dice;
use crate::support::race::together;
use crate::support::registration;

const TTL: Duration = Duration::from_secs(30);

pub fn of_a_renewal_and_a_sweep_one_wins<S>(store: &S)
where
    S: RegistryStore + Sync,
{
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    for _ in 0..300 {
        let lease = leases.register(registration("web", "1", &[]), TTL).unwrap();
        clock.pass(TTL);
        let answers = together(2, |thread| match thread {
            0 => leases.renew(&lease).is_ok(),
            _ => leases.sweep(clock.now()).unwrap().expired.is_empty(),
        });
        let stays = store.contains_service("web:1").unwrap();
        assert_eq!(answers, [stays, stays], "both have won");
        assert_eq!(leases.renew(&lease).is_ok(), stays);
    }
}

/// A sweep that finds a lease due, which is then renewed, must still look at it later.
pub fn who_renews_while_a_sweep_looks_ends_later<S>(store: &S)
where
    S: RegistryStore + Sync,
{
    const PODS: usize = 200;
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    for _ in 0..30 {
        let register = |pod: usize| {
            let own = registration("web", &pod.to_string(), &[]);
            leases.register(own, TTL).unwrap()
        };
        let kept: Vec<Lease> = (0..PODS).map(register).collect();
        // Reads what has happened so far, so that the sweep need not.
        leases.sweep(clock.now()).unwrap();
        clock.pass(TTL);
        let counts = together(2, |thread| match thread {
            0 => kept
                .iter()
                .rev()
                .filter(|one| leases.renew(one).is_ok())
                .count(),
            _ => PODS - leases.sweep(clock.now()).unwrap().expired.len(),
        });
        assert_eq!(counts[0], counts[1], "renewed, and staying");
        clock.pass(TTL);
        leases.sweep(clock.now()).unwrap();
        assert_eq!(leases.stats().leases, 0);
        assert_eq!(store.stats().unwrap().services, 0);
    }
}

pub fn a_renewal_waits_neither_for_sweeps_nor_for_the_store<S>(store: &S)
where
    S: RegistryStore + Sync,
{
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let kept = leases
        .register(registration("web", "1", &[]), 2 * TTL)
        .unwrap();
    let _ends = leases.register(registration("web", "2", &[]), TTL).unwrap();
    clock.pass(TTL);
    thread::scope(|scope| {
        let renewed = store.with_service("web:1", |_| {
            // On some stores the write waits until the closure has returned.
            scope.spawn(|| leases.sweep(clock.now()).unwrap());
            thread::sleep(Duration::from_millis(20));
            let here = (0..1_000).all(|_| leases.renew(&kept).is_ok());
            let elsewhere = scope.spawn(|| leases.renew(&kept).is_ok());
            here && elsewhere.join().unwrap()
        });
        assert_eq!(renewed, Ok(true));
    });
    assert!(!store.contains_service("web:2").unwrap());
}

/// Registrations race with others of the same pods, with removals that bypass the leases, and with
/// sweeps.
pub fn a_lease_is_lost_exactly_where_its_pod_is_another<S>(store: &S)
where
    S: RegistryStore + Sync,
{
    const THREADS: usize = 8;
    let clock = Clock::new();
    let leases = clock.leases(store, unguarded());
    let is_over = AtomicBool::new(false);
    let kept = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(SeqCst) {
                leases.sweep(clock.now()).unwrap();
            }
        });
        let kept = together(THREADS, |thread| {
            let mut dice = Dice::new(thread as u64);
            let mut kept = Vec::new();
            for _ in 0..150 {
                let pod = dice.roll(3).to_string();
                match dice.roll(8) {
                    0..4 => {
                        let own = registration("web", &pod, &[]);
                        kept.push(leases.register(own, TTL).unwrap());
                    }
                    4 => drop(leases.registry().unregister("web", &pod).unwrap()),
                    5 => {
                        let anew = registration("web", &pod, &[]);
                        let anew = leases.registry().register(anew).unwrap();
                        kept.push(leases.grant(&anew, TTL).unwrap());
                    }
                    6 => {
                        if let Some(lease) = leases.find(&format!("web:{pod}")) {
                            leases.revoke(lease).unwrap();
                        }
                    }
                    _ => kept.iter().for_each(|lease| {
                        let _ = leases.renew(lease);
                    }),
                }
            }
            kept
        });
        is_over.store(true, SeqCst);
        kept
    });
    leases.sweep(clock.now()).unwrap();
    let mut live = 0;
    for lease in kept.iter().flatten() {
        let found = store.find_service(lease.key()).unwrap();
        let is_its_own = found.is_some_and(|found| found.incarnation() == lease.incarnation());
        assert_eq!(leases.renew(lease).is_ok(), is_its_own, "{lease:?}");
        live += usize::from(is_its_own);
    }
    assert_eq!(leases.stats().leases, live);
    clock.pass(TTL);
    let sweep = leases.sweep(clock.now()).unwrap();
    assert_eq!(sweep.expired.len(), live);
    assert_eq!(leases.stats().leases, 0);
}

pub fn a_thread_sweeps_until_its_handle_is_dropped<S>(make: impl Fn() -> S)
where
    S: RegistryStore + Send + Sync + 'static,
{
    const TICK: Duration = Duration::from_millis(2);
    let store = Arc::new(make());
    let options = LeaseOptions {
        hold: Duration::ZERO,
        ..LeaseOptions::default()
    };
    let leases = Leases::new(Registry::new(store.clone()), options).unwrap();
    let web = |pod| registration("web", pod, &[]);
    let kept = leases.register(web("kept"), 100 * TTL).unwrap();
    // A thread with an endless tick must end as well.
    drop(leases.spawn(Duration::MAX));
    let sweeping = leases.spawn(TICK);
    let gone = leases.register(web("gone"), 5 * TICK).unwrap();
    while store.contains_service("web:gone").unwrap() {
        thread::sleep(TICK);
    }
    assert!(leases.renew(&gone).is_err());
    assert!(leases.renew(&kept).is_ok());
    drop(sweeping);
    let _stays = leases.register(web("stays"), Duration::ZERO).unwrap();
    thread::sleep(10 * TICK);
    assert!(store.contains_service("web:stays").unwrap());
    // Closing the store ends it, too.
    let sweeping = leases.spawn(Duration::ZERO);
    store.close().unwrap();
    drop(sweeping);
}
