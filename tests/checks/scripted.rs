//! Probes that answer as they are told, on a runtime whose time jumps to whatever comes next.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use service_registry::changes::Selection;
use service_registry::checks::{CheckOptions, Checks, Probe};
use service_registry::{
    Batch, MemoryStore, Registry, RegistryStore, Result, Revision, ServiceInfo,
    ServiceRegistration, ServiceStatus, StoreError, delegate_store,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use crate::support;

const INTERVAL: Duration = Duration::from_secs(10);
const OPTIONS: CheckOptions = CheckOptions {
    interval: INTERVAL,
    jitter_percent: 10,
    timeout: Duration::from_secs(2),
    rise: 2,
    fall: 3,
    at_once: 64,
};

/// What a probe is asked, and when.
type Asked = Vec<(Instant, ServiceInfo)>;

#[derive(Default)]
struct Script {
    /// Whether the pod is well, by the number of the probe; `true` behind the last.
    answers: Vec<bool>,
    asked: Mutex<Asked>,
    under_way: Mutex<(usize, usize)>,
    /// What a probe does before it answers.
    hangs: bool,
    panics: bool,
    waits: Option<Arc<Notify>>,
    takes: Duration,
}

/// Counts what is under way, also where it is dropped.
struct Guard<'a>(&'a Script);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.under_way.lock().unwrap().0 -= 1;
    }
}

#[derive(Clone, Default)]
struct Scripted(Arc<Script>);

impl Probe for Scripted {
    async fn probe(&self, service: &ServiceInfo) -> bool {
        let number = {
            let mut asked = self.0.asked.lock().unwrap();
            asked.push((Instant::now(), service.clone()));
            asked.len() - 1
        };
        {
            let mut under_way = self.0.under_way.lock().unwrap();
            under_way.0 += 1;
            under_way.1 = under_way.1.max(under_way.0);
        }
        let _guard = Guard(&self.0);
        assert!(!self.0.panics, "a probe that panics");
        if self.0.hangs {
            pending::<()>().await;
        }
        if let Some(notify) = &self.0.waits {
            if number > 0 {
                // A pod that was registered anew is asked soon.
                pending::<()>().await;
            }
            notify.notified().await;
        }
        sleep(self.0.takes).await;
        self.0.answers.get(number).copied().unwrap_or(true)
    }
}

impl Scripted {
    fn asked(&self) -> Asked {
        self.0.asked.lock().unwrap().clone()
    }
}

fn web(pod: impl Into<String>) -> ServiceRegistration {
    ServiceRegistration::new("web", pod)
}

/// Runs `test` on one thread, where time jumps to whatever comes next.
fn paused(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    tokio::task::LocalSet::new().block_on(&runtime, test);
}

/// Runs `test` beside checks of a registry with the pod `web:1`.
fn beside<F: Future>(
    script: Script,
    options: CheckOptions,
    test: impl FnOnce(Registry<Arc<MemoryStore>>, Scripted) -> F,
) {
    paused(async {
        #[allow(clippy::arc_with_non_send_sync)] // one thread has them all
        let registry = Registry::new(Arc::new(MemoryStore::new()));
        registry.register(web("1")).unwrap();
        let scripted = Scripted(Arc::new(script));
        let checks = Checks::new(registry.clone(), scripted.clone(), options);
        let running = tokio::task::spawn_local(checks.run());
        test(registry, scripted).await;
        running.abort();
    });
}

fn status(registry: &Registry<Arc<MemoryStore>>) -> ServiceStatus {
    registry.get_service("web:1").unwrap().status()
}

#[test]
fn statuses_change_at_their_thresholds() {
    use ServiceStatus::{Healthy as H, Unhealthy as F, Unknown as U};
    let answers = [
        true, true, false, false, true, false, false, false, true, false, true, true, false,
    ];
    // What each probe finds as the status of before.
    let expected = [U, U, H, H, H, H, H, H, F, F, F, F, H, H];
    let script = Script {
        answers: answers.into(),
        ..Script::default()
    };
    beside(script, OPTIONS, |_, scripted| async move {
        sleep(INTERVAL * 20).await;
        let asked = scripted.asked();
        let seen: Vec<ServiceStatus> = asked.iter().map(|(_, pod)| pod.status()).collect();
        assert_eq!(seen[..expected.len()], expected);
    });
}

#[test]
fn a_threshold_of_one_or_none_is_one() {
    use ServiceStatus::{Healthy, Unhealthy};
    for threshold in [0, 1] {
        let script = Script {
            answers: vec![true, false, true],
            ..Script::default()
        };
        let options = CheckOptions {
            rise: threshold,
            fall: threshold,
            at_once: 0,
            ..OPTIONS
        };
        beside(script, options, |_, scripted| async move {
            sleep(INTERVAL * 5).await;
            let asked = scripted.asked();
            let seen: Vec<_> = asked[1..4].iter().map(|(_, pod)| pod.status()).collect();
            assert_eq!(seen, [Healthy, Unhealthy, Healthy]);
        });
    }
}

#[test]
fn jitter_spreads_what_was_registered_at_once() {
    const PODS: usize = 1_000;
    beside(
        Script::default(),
        OPTIONS,
        |registry, scripted| async move {
            // The watch has begun; those that come later are probed within a tenth of an interval.
            sleep(INTERVAL).await;
            let mut batch = Batch::new();
            for pod in 0..PODS {
                batch.register_service(ServiceInfo::new(web(format!("pod-{pod}"))).unwrap());
            }
            let begin = Instant::now();
            registry.commit(batch).unwrap();
            sleep(INTERVAL * 6).await;
            let mut times: BTreeMap<String, Vec<Duration>> = BTreeMap::new();
            for (when, pod) in scripted.asked() {
                let pod = pod.key().to_string();
                times
                    .entry(pod)
                    .or_default()
                    .push(when.saturating_duration_since(begin));
            }
            times.remove("web:1");
            assert_eq!(times.len(), PODS);
            let firsts: Vec<Duration> = times.values().map(|times| times[0]).collect();
            // Five standard deviations about a hundred in each part of ten.
            assert_spread(&firsts, INTERVAL / 10, Duration::ZERO);
            let mut pauses = Vec::new();
            for times in times.values() {
                assert!((5..=7).contains(&times.len()), "{times:?}");
                pauses.push(times[1].saturating_sub(times[0]));
            }
            assert_spread(&pauses, INTERVAL / 5, INTERVAL * 9 / 10);
        },
    );
    // The pods of the begin are spread over the whole interval.
    paused(async {
        #[allow(clippy::arc_with_non_send_sync)] // one thread has them all
        let registry = Registry::new(Arc::new(MemoryStore::new()));
        for pod in 0..PODS {
            registry.register(web(format!("pod-{pod}"))).unwrap();
        }
        let scripted = Scripted::default();
        let begin = Instant::now();
        let checks = Checks::new(registry, scripted.clone(), OPTIONS);
        let running = tokio::task::spawn_local(checks.run());
        sleep(INTERVAL + INTERVAL / 10).await;
        running.abort();
        let mut firsts = BTreeMap::new();
        for (when, pod) in scripted.asked() {
            firsts.entry(pod.key().to_string()).or_insert(when - begin);
        }
        assert_eq!(firsts.len(), PODS);
        let firsts: Vec<Duration> = firsts.into_values().collect();
        assert_spread(&firsts, INTERVAL, Duration::ZERO);
    });
}

/// A thousand times are spread evenly over `range`, which begins at `least`.
fn assert_spread(times: &[Duration], range: Duration, least: Duration) {
    let mut parts = [0; 10];
    for time in times {
        // A probe may begin late by a nap of the driver.
        let part = time.saturating_sub(least).as_millis() * 10 / range.as_millis();
        parts[usize::try_from(part).unwrap().min(9)] += 1;
        assert!(
            *time <= least + range + Duration::from_millis(25),
            "{time:?}"
        );
    }
    assert!(
        parts.iter().all(|part| (50..150).contains(part)),
        "{parts:?}"
    );
}

#[test]
fn what_is_under_way_is_bounded_and_everybody_has_a_turn() {
    let script = Script {
        hangs: true,
        ..Script::default()
    };
    let options = CheckOptions {
        at_once: 7,
        ..OPTIONS
    };
    beside(script, options, |registry, scripted| async move {
        for pod in 2..=30 {
            registry.register(web(pod.to_string())).unwrap();
        }
        // Seven at a time, two seconds each: thirty in less than a minute, three times.
        sleep(Duration::from_secs(60)).await;
        assert_eq!(scripted.0.under_way.lock().unwrap().1, 7);
        let pods = registry.get_all_services().unwrap();
        assert_eq!(pods.len(), 30);
        assert!(
            pods.iter()
                .all(|pod| pod.status() == ServiceStatus::Unhealthy)
        );
    });
}

#[test]
fn a_pod_that_leaves_is_probed_no_more() {
    let script = Script {
        takes: Duration::from_secs(1),
        answers: vec![true, true, false],
        ..Script::default()
    };
    beside(script, OPTIONS, |registry, scripted| async move {
        while scripted.asked().len() < 3 {
            sleep(Duration::from_millis(100)).await;
        }
        assert_eq!(status(&registry), ServiceStatus::Healthy);
        assert_eq!(scripted.0.under_way.lock().unwrap().0, 1);
        registry.unregister("web", "1").unwrap();
        tokio::task::yield_now().await;
        sleep(Duration::from_millis(1)).await;
        assert_eq!(scripted.0.under_way.lock().unwrap().0, 0, "it is dropped");
        let revision = registry.revision();
        sleep(INTERVAL * 5).await;
        assert_eq!((scripted.asked().len(), registry.revision()), (3, revision));
        // It comes back, and begins anew.
        let anew = registry.register(web("1")).unwrap();
        sleep(INTERVAL + INTERVAL / 2).await;
        let asked = scripted.asked();
        assert_eq!(asked[3].1.incarnation(), anew.incarnation());
        assert_eq!(asked[4].1.status(), ServiceStatus::Unknown, "one is no two");
        sleep(INTERVAL).await;
        assert_eq!(status(&registry), ServiceStatus::Healthy);
    });
}

#[test]
fn a_check_that_comes_late_changes_nothing() {
    use ServiceStatus::{Draining, Healthy, Unhealthy, Unknown};
    type Meanwhile = fn(&Registry<Arc<MemoryStore>>);
    let later = || SystemTime::now() + Duration::from_secs(1);
    let cases: [(Meanwhile, ServiceStatus); 5] = [
        (|_| (), Healthy),
        (
            |registry| {
                registry.register(web("1")).unwrap();
            },
            Unknown,
        ),
        (
            |registry| {
                registry.update_health_status("web:1", Unhealthy).unwrap();
            },
            Unhealthy,
        ),
        (
            |registry| {
                registry.update_health_status("web:1", Draining).unwrap();
            },
            Draining,
        ),
        (
            |registry| {
                registry.unregister("web", "1").unwrap();
                registry.register(web("1")).unwrap();
            },
            Unknown,
        ),
    ];
    for (n, (meanwhile, expected)) in cases.into_iter().enumerate() {
        let notify = Arc::new(Notify::new());
        let script = Script {
            waits: Some(notify.clone()),
            ..Script::default()
        };
        let options = CheckOptions {
            rise: 1,
            timeout: INTERVAL,
            ..OPTIONS
        };
        beside(script, options, |registry, scripted| async move {
            while scripted.asked().is_empty() {
                sleep(Duration::from_millis(100)).await;
            }
            // Without a chance for the driver to hear of it before the probe has ended.
            notify.notify_one();
            meanwhile(&registry);
            let before = registry.get_service("web:1").unwrap();
            sleep(Duration::from_millis(500)).await;
            let found = registry.get_service("web:1").unwrap();
            assert_eq!(found.status(), expected, "case {n}");
            if n > 0 {
                assert_eq!(found.last_health_check(), before.last_health_check());
            }
        });
    }
    // Nor the time of one, where somebody has checked meanwhile and found the same.
    let notify = Arc::new(Notify::new());
    let script = Script {
        waits: Some(notify.clone()),
        ..Script::default()
    };
    beside(script, OPTIONS, |registry, scripted| async move {
        while scripted.asked().is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
        let later = later();
        let store = registry.store();
        RegistryStore::update_health_status(store, "web:1", Unknown, later).unwrap();
        notify.notify_one();
        sleep(Duration::from_millis(500)).await;
        let found = registry.get_service("web:1").unwrap();
        assert_eq!(found.last_health_check(), Some(later));
    });
}

#[test]
fn a_pod_that_drains_goes_on_to() {
    beside(
        Script::default(),
        OPTIONS,
        |registry, scripted| async move {
            registry
                .update_health_status("web:1", ServiceStatus::Draining)
                .unwrap();
            let before = registry.get_service("web:1").unwrap().last_health_check();
            sleep(INTERVAL * 5).await;
            assert!(scripted.asked().len() >= 4);
            assert_eq!(status(&registry), ServiceStatus::Draining);
            let after = registry.get_service("web:1").unwrap().last_health_check();
            assert!(before < after, "the time is noted");
        },
    );
}

#[test]
fn a_clock_that_steps_back_holds_up_nothing() {
    beside(Script::default(), OPTIONS, |registry, _| async move {
        let ahead = SystemTime::now() + Duration::from_secs(3_600);
        let store = registry.store();
        let unhealthy = ServiceStatus::Unhealthy;
        RegistryStore::update_health_status(store, "web:1", unhealthy, ahead).unwrap();
        sleep(INTERVAL * 3).await;
        let found = registry.get_service("web:1").unwrap();
        assert_eq!(found.status(), ServiceStatus::Healthy);
        assert_eq!(found.last_health_check(), Some(ahead));
    });
}

#[test]
fn a_probe_that_panics_has_failed() {
    let script = Script {
        panics: true,
        ..Script::default()
    };
    beside(script, OPTIONS, |registry, _| async move {
        sleep(INTERVAL * 5).await;
        assert_eq!(status(&registry), ServiceStatus::Unhealthy);
    });
}

/// A store from elsewhere that cannot be asked for a while.
struct Unreachable {
    inner: MemoryStore,
    for_calls: Cell<usize>,
}

impl RegistryStore for Unreachable {
    fn find_service(&self, key: &str) -> Result<Option<ServiceInfo>> {
        match self.for_calls.get() {
            0 => self.inner.find_service(key),
            more => {
                self.for_calls.set(more - 1);
                Err(StoreError::failed("nobody answers"))
            }
        }
    }

    delegate_store!(self => self.inner; except find_service);
}

#[test]
fn a_look_that_fails_is_made_again_an_interval_later() {
    paused(async {
        #[allow(clippy::arc_with_non_send_sync)] // one thread has them all
        let store = Arc::new(Unreachable {
            inner: MemoryStore::new(),
            for_calls: Cell::new(3),
        });
        let registry = Registry::new(store.clone());
        registry.register(web("1")).unwrap();
        let scripted = Scripted::default();
        let checks = Checks::new(registry.clone(), scripted.clone(), OPTIONS);
        let running = tokio::task::spawn_local(checks.run());
        let begin = Instant::now();
        sleep(INTERVAL * 10).await;
        assert!(!running.is_finished());
        assert_eq!(store.for_calls.get(), 0);
        let (first, _) = scripted.asked()[0];
        let after = first - begin;
        assert!(
            after >= INTERVAL * 27 / 10 && after <= INTERVAL * 44 / 10,
            "{after:?}"
        );
        let found = registry.get_service("web:1").unwrap();
        assert_eq!(found.status(), ServiceStatus::Healthy);
        // A closed store ends it.
        registry.close().unwrap();
        assert_eq!(running.await.unwrap(), Ok(()));
    });
}

/// Nor does it keep a processor to itself.
#[test]
fn an_interval_of_zero_is_a_millisecond() {
    support::within(Duration::from_secs(20), || {
        let options = CheckOptions {
            interval: Duration::ZERO,
            ..OPTIONS
        };
        beside(Script::default(), options, |_, scripted| async move {
            sleep(Duration::from_millis(500)).await;
            let asked = scripted.asked().len();
            assert!((100..=600).contains(&asked), "{asked}");
        });
    });
}

#[test]
fn only_what_is_selected_is_probed() {
    paused(async {
        #[allow(clippy::arc_with_non_send_sync)] // one thread has them all
        let registry = Registry::new(Arc::new(MemoryStore::new()));
        registry.register(web("1")).unwrap();
        registry
            .register(ServiceRegistration::new("db", "1"))
            .unwrap();
        let scripted = Scripted::default();
        let checks = Checks::new(registry.clone(), scripted.clone(), OPTIONS)
            .with_selection(Selection::service("db"));
        let running = tokio::task::spawn_local(checks.run());
        sleep(INTERVAL * 3).await;
        let asked = scripted.asked();
        assert!(asked.len() >= 2 && asked.iter().all(|(_, pod)| pod.key() == "db:1"));
        assert_eq!(asked[0].1.incarnation(), Revision::from(2));
        // One that is dropped drops its probes.
        running.abort();
        let count = scripted.asked().len();
        sleep(INTERVAL * 3).await;
        assert_eq!(scripted.asked().len(), count);
    });
}
