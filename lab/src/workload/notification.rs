//! Measures notifications of a change: their cost to the thread that makes the change, and the time
//! until the followers receive them.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Builder, JoinHandle, Thread};
use std::time::{Duration, Instant};

use rand::RngExt;
use service_registry::ServiceStatus;

use super::timing;
use super::verify::{Checks, verify};
use super::worker::wait_until;
use super::worker_pool::spawn;
use crate::affinity;
use crate::fault::Fault;
use crate::fleet::{Fleet, Rng, later, rng};
use crate::scenario::{Cell, NotifyBy};
use crate::stage::{Slice, Stage};
use crate::subject::{FollowFuture, Handle, SharedSubject};

/// A notification that takes longer is lost.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a thread usually needs at most until it sleeps again, in microseconds.
const TO_SLEEP: u64 = 100;

/// What the followers and their wakers record.
#[derive(Debug)]
struct Deliveries {
    start: Instant,
    /// The number of counting wakers that were called.
    woken: AtomicU64,
    /// When the waker of a thread was last called, in nanoseconds from the start.
    woken_at: AtomicU64,
    /// The number of notifications that all followers together have received.
    told: AtomicU64,
    /// When the last one was received, in nanoseconds from the start.
    told_at: AtomicU64,
    is_over: AtomicBool,
}

/// A waker that counts.
impl Wake for Deliveries {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Relaxed);
    }
}

impl Deliveries {
    /// Stores the present moment, in nanoseconds from the start.
    fn note(&self, at: &AtomicU64) {
        at.store(u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }
}

/// A waker that records the moment and unparks a thread.
struct Unpark(Thread, Arc<Deliveries>);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.1.note(&self.1.woken_at);
        self.0.unpark();
    }
}

enum Followers {
    /// Futures with a counting waker; polling them arms it again.
    Counted(Vec<FollowFuture>, Waker),
    /// Each is a thread.
    Asleep(Vec<JoinHandle<()>>),
}

/// A subject, the followers of one of its names, and the pod of that name that changes.
pub(super) struct Notification<S> {
    followers: Followers,
    deliveries: Arc<Deliveries>,
    subject: S,
    fleet: Fleet,
    pod: usize,
    key: String,
    many: usize,
    changes: u64,
    rng: Rng,
}

fn sleep(mut follower: FollowFuture, deliveries: &Arc<Deliveries>) {
    let waker = Waker::from(Arc::new(Unpark(thread::current(), deliveries.clone())));
    while follower.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        // Acquire: pairs with the Release in `finish`.
        if deliveries.is_over.load(Acquire) {
            return;
        }
        thread::park();
    }
}

impl<S: SharedSubject> Notification<S> {
    pub(super) fn new(
        subject: S,
        cell: &Cell,
        (many, sleep_by): (usize, NotifyBy),
        seed: u64,
    ) -> Result<Notification<S>, Fault> {
        let fleet = Fleet(cell.holds);
        let mut rng = rng(seed, "told");
        let pod = rng.random_range(0..fleet.0.services);
        let deliveries = Arc::new(Deliveries {
            start: Instant::now(),
            woken: AtomicU64::new(0),
            woken_at: AtomicU64::new(0),
            told: AtomicU64::new(0),
            told_at: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        });
        let follower = || {
            let deliveries = deliveries.clone();
            let on_change = Box::new(move || {
                deliveries.note(&deliveries.told_at);
                // Release: pairs with the Acquire in `has_all`.
                deliveries.told.fetch_add(1, Release);
            });
            let follower = subject.follow(&fleet.name(pod), on_change);
            follower.ok_or_else(|| Fault::new("cannot be watched"))
        };
        // A single follower gets a processor of its own, so that it and the writer do not wait for
        // each other's processor.
        let processors = if many == 1 { affinity::processor_order() } else { Vec::new() };
        let followers = if sleep_by == NotifyBy::Wakers {
            let all = (0..many).map(|_| follower()).collect::<Result<_, _>>()?;
            Followers::Counted(all, Waker::from(deliveries.clone()))
        } else {
            let thread = |_| {
                let (follower, deliveries) = (follower()?, deliveries.clone());
                let processor = processors.get(1).copied();
                let work = move || {
                    processor.into_iter().for_each(affinity::pin);
                    sleep(follower, &deliveries);
                };
                spawn(Builder::new().stack_size(256 << 10), work)
            };
            Followers::Asleep((0..many).map(thread).collect::<Result<_, _>>()?)
        };
        processors.into_iter().take(1).for_each(affinity::pin);
        let mut stage = Notification {
            followers,
            deliveries,
            subject,
            fleet,
            pod,
            key: fleet.key(pod),
            many,
            changes: 0,
            rng,
        };
        stage.rest()?;
        Ok(stage)
    }

    /// Waits until every follower has received all changes, and waits for the next one.
    fn rest(&mut self) -> Result<(), Fault> {
        if let Followers::Counted(all, waker) = &mut self.followers {
            for follower in all {
                if follower.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
                    return Err(Fault::new("a watch has ended"));
                }
            }
        }
        let expected = self.changes * self.many as u64;
        // Acquire: pairs with the Release in the followers' `on_change`.
        let has_all = || self.deliveries.told.load(Acquire) >= expected;
        wait_until(Instant::now() + PATIENCE, has_all);
        let told = self.deliveries.told.load(Acquire);
        if told != expected {
            return Err(Fault(format!("{expected} changes, of which {told} were told")));
        }
        if matches!(self.followers, Followers::Asleep(_)) {
            let many = self.many as u64;
            let pause = self.rng.random_range(TO_SLEEP..2 * TO_SLEEP) + 5 * (many - 1);
            // A processor that sleeps as well would need some time to wake up for the change.
            wait_until(Instant::now() + Duration::from_micros(pause), || false);
        }
        Ok(())
    }

    /// Changes the pod. Returns how long that took, and when it began.
    fn change(&mut self) -> Result<(Duration, Instant), Fault> {
        self.changes += 1;
        let is_even = self.changes.is_multiple_of(2);
        let status = if is_even { ServiceStatus::Healthy } else { ServiceStatus::Unhealthy };
        let woken = self.deliveries.woken.load(Relaxed);
        let (mut handle, at) = (self.subject.handle(), later(self.changes));
        let began = Instant::now();
        let done = handle.update(&self.key, status, at);
        let took = began.elapsed();
        let woken = self.deliveries.woken.load(Relaxed) - woken;
        if matches!(self.followers, Followers::Counted(..)) && woken != self.many as u64 {
            return Err(Fault(format!("{woken} of {} were woken", self.many)));
        }
        done.then_some((took, began)).ok_or_else(|| Fault::new("a change was refused"))
    }
}

impl<S: SharedSubject> Stage for Notification<S> {
    fn slice(&mut self, length: Duration) -> Result<Slice, Fault> {
        timing::medians(length, || {
            let (took, began) = self.change()?;
            self.rest()?;
            if matches!(self.followers, Followers::Counted(..)) || self.many > 1 {
                return Ok(vec![took.as_nanos() as f64 / self.many as f64]);
            }
            let time =
                |at: &AtomicU64| self.deliveries.start + Duration::from_nanos(at.load(Relaxed));
            let [told, woken] = [&self.deliveries.told_at, &self.deliveries.woken_at].map(time);
            let since = |at| told.saturating_duration_since(at).as_nanos() as f64;
            Ok(vec![since(began), since(woken)])
        })
    }

    fn finish(mut self: Box<Self>) -> Result<(), Fault> {
        self.rest()?;
        // Release: pairs with the Acquire of the sleepers.
        self.deliveries.is_over.store(true, Release);
        if let Followers::Asleep(threads) = self.followers {
            for thread in threads {
                thread.thread().unpark();
                thread.join().map_err(|_| Fault::new("a thread panicked at its end"))?;
            }
        }
        let last = (self.changes > 0).then(|| (self.pod, later(self.changes)));
        let last: Checks = last.into_iter().collect();
        verify::<S>(&mut self.subject.handle(), self.fleet, &[last])
    }
}
