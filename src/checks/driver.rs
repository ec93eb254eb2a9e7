//! [`CheckDriver`]: schedules the probes and records their results.
//!
//! Each probe is a task, so that a panic counts as a failure, and a probe of a pod that has left
//! can be dropped. The driver wakes once for all probes that are due within 20 ms, because waking a
//! thread is the largest cost. A result has the time at which its probe began, but never an earlier
//! time than the check before. So a check that was reported meanwhile wins, and a clock that was
//! set back does not block checks. If the store cannot be read, the pod is queued again, one
//! interval later. Only a closed store or a failed watch ends the driver.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use hashbrown::HashMap;
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use super::options::CheckOptions;
use super::probe::Probe;
use crate::changes::{Difference, Event, Watch};
use crate::hash::RandomState;
use crate::model::batch::Batch;
use crate::model::condition::Expected;
use crate::model::error::{Result, StoreError};
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;
use crate::model::status::ServiceStatus;
use crate::registry::Registry;
use crate::store::RegistryStore;

/// The longest time by which a probe may begin late.
const LONGEST_NAP: Duration = Duration::from_millis(20);
/// Checks without a pause would occupy a processor.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);
/// Keeps `Instant` additions from overflowing.
const LONGEST_INTERVAL: Duration = Duration::from_secs(365 * 24 * 3600);

pub(super) struct CheckDriver<S, P> {
    registry: Registry<S>,
    probe: Arc<P>,
    options: CheckOptions,
    watch: Watch,
    pods: HashMap<ServiceKey, CheckedPod, RandomState>,
    /// The pods by the time of their next probe, except those whose probe is running.
    queue: BTreeSet<(Instant, ServiceKey)>,
    running: HashMap<Id, RunningProbe, RandomState>,
    /// The running probes. Each returns whether it succeeded.
    probes: JoinSet<bool>,
    /// Ends a nap after the first pod of the queue is due.
    sleep: Pin<Box<Sleep>>,
    nap: Duration,
    /// The time when `sleep` last ended.
    awake: Instant,
}

struct CheckedPod {
    incarnation: Revision,
    /// The number of consecutive probes that succeeded or, if negative, that failed.
    streak: i64,
    probe: ProbeState,
}

/// Whether the next probe of a pod waits or runs.
enum ProbeState {
    /// The pod is in the queue, with this time.
    Scheduled(Instant),
    Running(AbortHandle),
}

/// A running probe, and the state of its pod's record when it began.
struct RunningProbe {
    key: ServiceKey,
    begun: Instant,
    revision: Revision,
    status: ServiceStatus,
    checked_at: SystemTime,
}

/// Returns a duration below `most`, uniformly at random.
fn jitter_below(most: Duration) -> Duration {
    // SipHash under new keys each time: numbers in a row that foldhash hashes are not spread evenly
    // under every seed.
    let random = std::hash::RandomState::new().hash_one(()) >> 11;
    #[allow(clippy::cast_precision_loss)] // it has 53 bits
    most.mul_f64(random as f64 / (1_u64 << 53) as f64)
}

enum DriverEvent {
    Watch(Result<Event>),
    ProbesEnded(Vec<(Id, Option<bool>)>),
    ProbeDue,
}

impl<S: RegistryStore, P: Probe> CheckDriver<S, P> {
    pub(super) fn new(
        registry: Registry<S>,
        probe: P,
        mut options: CheckOptions,
        watch: Watch,
    ) -> CheckDriver<S, P> {
        options.interval = options.interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL);
        CheckDriver {
            registry,
            probe: Arc::new(probe),
            options,
            watch,
            pods: HashMap::default(),
            queue: BTreeSet::new(),
            running: HashMap::default(),
            probes: JoinSet::new(),
            sleep: Box::pin(sleep_until(Instant::now())),
            nap: LONGEST_NAP.min(options.interval / 100),
            awake: Instant::now(),
        }
    }

    pub(super) async fn run(mut self) -> Result<()> {
        loop {
            let answer = match poll_fn(|context| self.next_event(context)).await {
                DriverEvent::Watch(event) => event.map(|event| self.apply_event(event)),
                DriverEvent::ProbesEnded(found) => self.record_results(found),
                DriverEvent::ProbeDue => self.start_due_probe(),
            };
            match answer {
                Err(StoreError::Closed) => return Ok(()),
                Err(error) => return Err(error),
                Ok(()) => {}
            }
        }
    }

    /// Returns what comes first: an event of the watch, probes that have ended, or a probe that is
    /// due.
    fn next_event(&mut self, context: &mut Context<'_>) -> Poll<DriverEvent> {
        if let Poll::Ready(event) = self.watch.poll_recv(context) {
            return Poll::Ready(DriverEvent::Watch(event));
        }
        let mut found = Vec::new();
        while let Poll::Ready(Some(ended)) = self.probes.poll_join_next_with_id(context) {
            found.push(match ended {
                Ok((id, is_healthy)) => (id, Some(is_healthy)),
                // A panic is a failure. Any other error means that the runtime shuts down and has
                // cancelled the probe, which tells nothing about the pod.
                Err(error) => (error.id(), error.is_panic().then_some(false)),
            });
        }
        if !found.is_empty() {
            return Poll::Ready(DriverEvent::ProbesEnded(found));
        }
        match self.queue.first() {
            Some((first, _)) if self.probes.len() < self.options.at_once.max(1) => {
                // Sleeps a nap longer than until the first is due. By then, others are due as well,
                // and share one wake-up and one commit.
                let until = *first + self.nap;
                if *first <= self.awake {
                    return Poll::Ready(DriverEvent::ProbeDue);
                }
                if self.sleep.deadline() != until {
                    self.sleep.as_mut().reset(until);
                }
                ready!(self.sleep.as_mut().poll(context));
                self.awake = Instant::now();
                Poll::Ready(DriverEvent::ProbeDue)
            }
            _ => Poll::Pending,
        }
    }

    fn apply_event(&mut self, event: Event) {
        let interval = self.options.interval;
        match event {
            Event::State { services, .. } => {
                let found: HashMap<&ServiceKey, Revision, RandomState> = (services.iter())
                    .map(|service| (service.key(), service.incarnation()))
                    .collect();
                let gone: Vec<ServiceKey> = (self.pods.keys())
                    .filter(|key| !found.contains_key(key))
                    .cloned()
                    .collect();
                for key in gone {
                    self.remove(&key);
                }
                for service in &services {
                    self.add(service, interval);
                }
            }
            Event::Changes { changes, .. } => {
                for change in &changes {
                    match change {
                        Difference::Added(service) | Difference::Changed { after: service, .. } => {
                            self.add(service, interval / 10);
                        }
                        Difference::Removed { last, .. } => self.remove(last.key()),
                        _ => {}
                    }
                }
            }
        }
    }

    /// Adds a pod, unless this incarnation is known.
    fn add(&mut self, service: &ServiceInfo, spread: Duration) {
        let (key, incarnation) = (service.key(), service.incarnation());
        let known = self.pods.get(key);
        if known.is_some_and(|pod| pod.incarnation == incarnation) {
            return;
        }
        self.remove(key);
        let pod = CheckedPod {
            incarnation,
            streak: 0,
            probe: ProbeState::Scheduled(Instant::now()),
        };
        self.pods.insert(key.clone(), pod);
        let first = Instant::now() + jitter_below(spread);
        self.enqueue(key, first);
    }

    /// Queues a pod that is not in the queue.
    fn enqueue(&mut self, key: &ServiceKey, at: Instant) {
        if let Some(pod) = self.pods.get_mut(key) {
            pod.probe = ProbeState::Scheduled(at);
            self.queue.insert((at, key.clone()));
        }
    }

    fn remove(&mut self, key: &ServiceKey) {
        match self.pods.remove(key).map(|pod| pod.probe) {
            Some(ProbeState::Scheduled(at)) => {
                self.queue.remove(&(at, key.clone()));
            }
            Some(ProbeState::Running(task)) => {
                self.running.remove(&task.id());
                task.abort();
            }
            None => {}
        }
    }

    /// Begins the probe that is due.
    fn start_due_probe(&mut self) -> Result<()> {
        let Some((at, key)) = self.queue.pop_first() else {
            return Ok(());
        };
        // The current record, because the watch does not report the times of checks.
        let service = match self.registry.find_service(&key) {
            Ok(Some(service)) => service,
            Err(StoreError::Closed) => return Err(StoreError::Closed),
            // The pod has left, and the watch will report it, or the store cannot be read now. In
            // both cases the pod must stay in the queue.
            Ok(None) | Err(_) => {
                let next = self.next_after(at);
                self.enqueue(&key, next);
                return Ok(());
            }
        };
        let Some(pod) = self.pods.get_mut(&key) else {
            return Ok(());
        };
        if pod.incarnation != service.incarnation() {
            // Anticipates the event of the watch.
            pod.incarnation = service.incarnation();
            pod.streak = 0;
        }
        let now = SystemTime::now();
        let running = RunningProbe {
            key,
            begun: Instant::now(),
            revision: service.revision(),
            status: service.status(),
            // Not earlier than the last check, so that a clock that steps back does not block
            // checks; otherwise the beginning of the probe, so that a check reported meanwhile
            // wins.
            checked_at: service
                .last_health_check()
                .map_or(now, |last| last.max(now)),
        };
        let (probe, limit) = (self.probe.clone(), self.options.timeout);
        let task = self.probes.spawn(async move {
            let answer = timeout(limit, probe.probe(&service)).await;
            answer.unwrap_or(false)
        });
        self.running.insert(task.id(), running);
        pod.probe = ProbeState::Running(task);
        Ok(())
    }

    /// Records the results of probes in one commit.
    fn record_results(&mut self, found: Vec<(Id, Option<bool>)>) -> Result<()> {
        let mut batch = Batch::with_capacity(found.len());
        for (id, is_healthy) in found {
            let Some(ended) = self.running.remove(&id) else {
                continue;
            };
            let Some(pod) = self.pods.get_mut(&ended.key) else {
                continue;
            };
            let Some(is_healthy) = is_healthy else {
                let next = self.next_after(ended.begun);
                self.enqueue(&ended.key, next);
                continue;
            };
            pod.streak = if is_healthy {
                pod.streak.max(0) + 1
            } else {
                pod.streak.min(0) - 1
            };
            let CheckOptions { rise, fall, .. } = self.options;
            let status = match ended.status {
                ServiceStatus::Draining => ServiceStatus::Draining,
                _ if pod.streak >= i64::from(rise.max(1)) => ServiceStatus::Healthy,
                _ if -pod.streak >= i64::from(fall.max(1)) => ServiceStatus::Unhealthy,
                status => status,
            };
            // The revision is another one if the pod has registered again, or if somebody else has
            // set its status.
            let expected = Expected::Revision(ended.revision);
            batch.update_health_if(&ended.key, expected, status, ended.checked_at);
            let next = self.next_after(ended.begun);
            self.enqueue(&ended.key, next);
        }
        match self.registry.commit(batch) {
            Err(StoreError::Closed) => Err(StoreError::Closed),
            // The next check has a newer result.
            _ => Ok(()),
        }
    }

    fn next_after(&mut self, begun: Instant) -> Instant {
        let CheckOptions {
            interval,
            jitter_percent,
            ..
        } = self.options;
        let jitter = interval / 100 * u32::from(jitter_percent.min(100));
        let pause = interval.saturating_sub(jitter) + jitter_below(2 * jitter);
        (begun + pause).max(Instant::now())
    }
}
