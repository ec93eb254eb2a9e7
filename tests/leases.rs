//! Random sequences of operations of `Leases` against a plain model, for every store.
//!
//! The model is written from the documentation: it looks at every pod each time. Time passes
//! in steps that meet the ends of leases often. A failure is shrunk to the shortest sequence
//! that shows it.
//!
//! `PROPTEST_CASES=10000 cargo test --release --test leases` looks further.

// A build with fewer stores uses less of this file.
#![allow(dead_code, unused_macros)]

#[macro_use]
mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::FileFailurePersistence;

use service_registry::leases::{Lease, LeaseOptions, Leases};
use service_registry::{Registry, RegistryStore, Revision};
use support::{registration, sorted_keys};

const NAMES: [&str; 2] = ["db", "web"];

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[derive(Clone, Debug)]
enum Step {
    /// By the leases, for so many seconds.
    Register(usize, u64),
    /// Past them.
    Plain(usize),
    Unregister(usize),
    Grant(usize, u64),
    /// The lease that was given so many leases ago.
    Renew(usize),
    Revoke(usize),
    Pass(u64),
    Sweep,
}

fn any_step() -> impl Strategy<Value = Step> {
    let ttl = || select(vec![0, 1, 5, 10, 30, u64::MAX]);
    let pod = || 0..6_usize;
    prop_oneof![
        4 => (pod(), ttl()).prop_map(|(pod, ttl)| Step::Register(pod, ttl)),
        1 => pod().prop_map(Step::Plain),
        1 => pod().prop_map(Step::Unregister),
        1 => (pod(), ttl()).prop_map(|(pod, ttl)| Step::Grant(pod, ttl)),
        6 => (0..8_usize).prop_map(Step::Renew),
        1 => (0..8_usize).prop_map(Step::Revoke),
        4 => select(vec![1, 4, 5, 10, 30]).prop_map(Step::Pass),
        6 => Just(Step::Sweep),
    ]
}

fn any_options() -> impl Strategy<Value = LeaseOptions> {
    let percent = || select(vec![0, 30, 50, 100]);
    let times = (select(vec![0, 10, 60]), select(vec![0, 15, 60, u64::MAX]));
    (percent(), percent(), times).prop_map(|(name, all, (window, hold))| LeaseOptions {
        percent_of_name: name,
        percent_of_all: all,
        window: seconds(window),
        hold: seconds(hold),
    })
}

/// A lease as the model has it.
struct Given {
    lease: Lease,
    pod: usize,
    incarnation: Revision,
    ttl: u64,
    ends: u64,
    /// Since when it is withheld, and for which end.
    withheld: Option<(u64, u64)>,
    is_lost: bool,
}

#[derive(Default)]
struct Model {
    now: u64,
    pods: BTreeMap<usize, Revision>,
    given: Vec<Given>,
    /// Who has expired, and when.
    gone: Vec<(u64, usize)>,
}

/// The name of a pod: two names, of three pods each.
fn name(pod: usize) -> &'static str {
    NAMES[pod % 2]
}

fn key(pod: usize) -> String {
    format!("{}:{}", name(pod), pod / 2)
}

impl Model {
    fn lose(&mut self, is_lost: impl Fn(&Given) -> bool) {
        for given in &mut self.given {
            given.is_lost |= is_lost(given);
        }
    }

    fn give(&mut self, lease: Lease, pod: usize, ttl: u64) {
        self.lose(|given| given.pod == pod);
        self.given.push(Given {
            pod,
            incarnation: self.pods[&pod],
            ttl,
            ends: self.now.saturating_add(ttl),
            withheld: None,
            is_lost: false,
            lease,
        });
    }

    fn is_too_many(&self, overdue: &[usize], percent: u8, of: impl Fn(usize) -> bool) -> bool {
        let count = |pods: &mut dyn Iterator<Item = usize>| pods.filter(|pod| of(*pod)).count();
        let gone = count(&mut self.gone.iter().map(|(_, pod)| *pod));
        let lost = gone + count(&mut overdue.iter().copied());
        let all = gone + count(&mut self.pods.keys().copied());
        lost * 100 > all * usize::from(percent)
    }

    /// Answers with who expired and who is withheld.
    fn sweep(&mut self, options: &LeaseOptions) -> (Vec<String>, Vec<String>) {
        let pods = self.pods.clone();
        self.lose(|given| pods.get(&given.pod) != Some(&given.incarnation));
        let (now, window) = (self.now, options.window.as_secs());
        self.gone.retain(|(when, _)| now - when < window);
        let is_overdue =
            |given: &Given| !given.is_lost && given.ends <= now && given.ttl < u64::MAX;
        let overdue = self.given.iter().filter(|given| is_overdue(given));
        let overdue: Vec<usize> = overdue.map(|given| given.pod).collect();
        let all = self.is_too_many(&overdue, options.percent_of_all, |_| true);
        let names = NAMES
            .map(|one| self.is_too_many(&overdue, options.percent_of_name, |pod| name(pod) == one));
        let (mut expired, mut withheld) = (Vec::new(), Vec::new());
        for given in self.given.iter_mut().filter(|given| is_overdue(given)) {
            let is_held = all || names[given.pod % 2];
            let (ends, hold) = (given.ends, options.hold.as_secs());
            let known = given.withheld.filter(|(_, ended)| *ended == ends);
            let (since, _) = known.unwrap_or((now, ends));
            if is_held && since.saturating_add(hold) > now {
                given.withheld = Some((since, ends));
                withheld.push(key(given.pod));
            } else {
                given.is_lost = true;
                self.pods.remove(&given.pod);
                self.gone.push((now, given.pod));
                expired.push(key(given.pod));
            }
        }
        expired.sort();
        withheld.sort();
        (expired, withheld)
    }
}

fn run(store: &impl RegistryStore, options: LeaseOptions, steps: &[Step]) {
    let (start, passed) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let clock = {
        let passed = passed.clone();
        move || start + seconds(passed.load(SeqCst))
    };
    let leases = Leases::with_clock(Registry::new(store), options, clock.clone()).unwrap();
    let registry = leases.registry();
    let mut model = Model::default();
    let time = |ttl| match ttl {
        u64::MAX => Duration::MAX,
        ttl => seconds(ttl),
    };
    let pod_of = |pod: usize| registration(name(pod), &(pod / 2).to_string(), &["g"]);
    for step in steps {
        match *step {
            Step::Register(pod, ttl) => {
                let lease = leases.register(pod_of(pod), time(ttl)).unwrap();
                model.pods.insert(pod, lease.incarnation());
                model.give(lease, pod, ttl);
            }
            Step::Plain(pod) => {
                let service = registry.register(pod_of(pod)).unwrap();
                model.pods.insert(pod, service.incarnation());
            }
            Step::Unregister(pod) => {
                let gone = registry.unregister(name(pod), &(pod / 2).to_string());
                assert_eq!(gone.unwrap().is_some(), model.pods.remove(&pod).is_some());
            }
            Step::Grant(pod, ttl) => {
                if let Some(service) = registry.find_service(&key(pod)).unwrap() {
                    let lease = leases.grant(&service, time(ttl)).unwrap();
                    model.give(lease, pod, ttl);
                }
            }
            Step::Renew(back) => {
                let now = model.now;
                if let Some(given) = model.given.iter_mut().rev().nth(back) {
                    assert_eq!(leases.renew(&given.lease).is_err(), given.is_lost);
                    if !given.is_lost {
                        given.ends = now.saturating_add(given.ttl);
                    }
                }
            }
            Step::Revoke(back) => {
                let Some(given) = model.given.iter_mut().rev().nth(back) else {
                    continue;
                };
                let removed = leases.revoke(given.lease.clone()).unwrap();
                given.is_lost = true;
                let (pod, own) = (given.pod, given.incarnation);
                let is_own = model.pods.get(&pod) == Some(&own);
                assert_eq!(removed.is_some(), is_own);
                if is_own {
                    model.pods.remove(&pod);
                }
            }
            Step::Pass(time) => {
                model.now += time;
                passed.store(model.now, SeqCst);
            }
            Step::Sweep => {
                let sweep = leases.sweep(clock()).unwrap();
                let (expired, withheld) = model.sweep(&options);
                assert_eq!(sorted_keys(&sweep.expired), expired);
                let mut held: Vec<String> =
                    sweep.withheld.iter().map(ToString::to_string).collect();
                held.sort();
                assert_eq!(held, withheld);
                let live = model.given.iter().filter(|given| !given.is_lost);
                assert_eq!(leases.stats().leases, live.clone().count());
                assert_eq!(leases.stats().withheld, withheld.len());
                // It may come too soon, and not too late.
                let ends = live.filter(|given| given.ttl < u64::MAX && given.ends > model.now);
                let soonest = ends.map(|given| given.ends).min();
                if let Some(soonest) = soonest {
                    assert!(sweep.next.unwrap() <= start + seconds(soonest));
                }
            }
        }
        let keys: Vec<String> = model.pods.keys().map(|pod| key(*pod)).collect();
        let mut there = registry.get_all_services().unwrap();
        there.retain(|service| !keys.contains(&service.key().to_string()));
        assert_eq!(sorted_keys(&there), [""; 0]);
        assert_eq!(registry.stats().unwrap().services, keys.len());
    }
}

fn every_sweep_is_the_models<S: RegistryStore + 'static>(make: fn() -> S) {
    let patience = support::PATIENCE * (ProptestConfig::default().cases / 256).max(1);
    support::within(patience, move || {
        let some = (any_options(), vec(any_step(), 1..80));
        let config = ProptestConfig {
            source_file: Some(file!()),
            // Beside this file: `tests/leases.regressions`.
            failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
            ..ProptestConfig::default()
        };
        proptest!(config, |((options, steps) in some)| {
            run(&make(), options, &steps);
        });
    });
}

#[test]
fn memory_every_sweep_is_the_models() {
    every_sweep_is_the_models(service_registry::MemoryStore::new);
}

macro_rules! suite {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            #[test]
            fn every_sweep_is_the_models() {
                crate::every_sweep_is_the_models(service_registry::$store::new);
            }
        }
    };
}

shared_stores!(suite);
