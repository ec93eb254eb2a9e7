//! What the stores promise to threads, as models for loom.
//!
//! A property is written once, against [`Calls`]: the calls by which the threads of
//! a model use a store. [`Calls::real`] are those of the store itself. A twin is the
//! same with one of them broken in a way that one could have written, and loom must
//! find the schedule that shows it. Twins that any store could have are here; those
//! of one protocol stand beside it, in the `models` of its file.
//!
//! [`store_models!`] runs every property, and every twin of this file, on a store.
//!
//! Orderings: each Release store to `signal` or `beside` pairs with the Acquire load of
//! the same one. Where a property or a twin is relaxed, it is so that nothing but the
//! store under test orders what is seen.

pub(super) mod watched;

use std::ops::Deref;
use std::sync::Arc;

use loom::sync::atomic::AtomicU64;
use loom::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use loom::thread::{self, JoinHandle};

use super::methods::prelude::*;
use crate::changes::Log;
use crate::model::registration::ServiceRegistration;

/// Interruptions in a model of three threads or more.
const AMONG_MORE: usize = 3;

const TORN: &str = "a reader saw a part of a commit";
const WENT_BACK: &str = "a reader went back";
const LOST: &str = "an update was lost";
const UNSEEN: &str = "a commit that has returned was not seen";
const AHEAD: &str = "a revision was learnt before its commit";
pub(super) const NOT_ONCE: &str = "an accepted operation was not done exactly once";
const REOPENED: &str = "a closed store has changed";

/// A store, and what twins and properties need beside it.
pub(super) struct Subject<S> {
    pub(super) store: LeakOnPanic<S>,
    /// A counter or a flag of a twin.
    pub(super) beside: AtomicU64,
    /// The log of a twin.
    log: Log,
    /// What a writer signals to a reader.
    signal: AtomicU64,
    /// How many calls were begun, see [`Subject::call`].
    calls: AtomicU64,
}

/// A store, which is leaked if a model has failed: the threads that it would
/// wait for do not run any more.
pub(super) struct LeakOnPanic<S>(Option<S>);

impl<S> LeakOnPanic<S> {
    pub(super) fn new(store: S) -> LeakOnPanic<S> {
        LeakOnPanic(Some(store))
    }
}

impl<S> Deref for LeakOnPanic<S> {
    type Target = S;

    fn deref(&self) -> &S {
        self.0.as_ref().expect("there until it is dropped")
    }
}

impl<S> Drop for LeakOnPanic<S> {
    fn drop(&mut self) {
        if thread::panicking() {
            std::mem::forget(self.0.take());
        }
    }
}

impl<S> Subject<S> {
    /// Begins a call. Counting them orders nothing, but lets loom know that their
    /// order matters: see the stand-in for `arc_swap` in [`crate::sync`], which
    /// hides less from it than `left-right` does.
    fn call(&self) -> &Subject<S> {
        self.calls.fetch_add(1, Relaxed);
        self
    }
}

/// How the threads of a model use a store.
pub(super) struct Calls<S> {
    pub(super) make: fn() -> S,
    pub(super) commit: fn(&Subject<S>, Batch) -> Result<Revision>,
    pub(super) swap: fn(&Subject<S>, &str, ServiceStatus) -> Result<ServiceStatus>,
    pub(super) revision: fn(&Subject<S>) -> u64,
    pub(super) close: fn(&Subject<S>),
    pub(super) watch: fn(&Subject<S>) -> Result<Watch>,
    /// How many commits a model may make beside a reader.
    pub(super) commits_beside_a_reader: u64,
    /// How many times a reader reads a commit.
    pub(super) reads: usize,
    /// How often a thread may be interrupted where it could have gone on, in models
    /// that would take too long otherwise. `None` tries all there is for two threads,
    /// and [`AMONG_MORE`] for more.
    pub(super) preemptions: Option<usize>,
}

impl<S> Clone for Calls<S> {
    fn clone(&self) -> Calls<S> {
        *self
    }
}

impl<S> Copy for Calls<S> {}

impl<S: RegistryStore + Send + Sync + 'static> Calls<S> {
    pub(super) fn real(make: fn() -> S) -> Calls<S> {
        Calls {
            make,
            commit: |subject, batch| subject.store.commit(batch),
            swap: |subject, key, status| {
                let store = &subject.store;
                match store.update_health_status(key, status, SystemTime::UNIX_EPOCH)? {
                    HealthUpdate::Applied { before } => Ok(before),
                    HealthUpdate::Late { .. } => unreachable!("all reports are of one time"),
                }
            },
            revision: |subject| subject.store.revision().as_u64(),
            close: |subject| subject.store.close().unwrap(),
            watch: |subject| subject.store.watch(Selection::All),
            commits_beside_a_reader: 2,
            reads: 4,
            preemptions: None,
        }
    }

    fn check_more(mut self, model: fn(Calls<S>, &Arc<Subject<S>>)) {
        self.preemptions = self.preemptions.or(Some(AMONG_MORE));
        self.check(model);
    }

    fn check(self, model: fn(Calls<S>, &Arc<Subject<S>>)) {
        let mut builder = loom::model::Builder::new();
        builder.preemption_bound = builder.preemption_bound.or(self.preemptions);
        builder.check(move || {
            let subject = Arc::new(Subject {
                store: LeakOnPanic::new((self.make)()),
                beside: AtomicU64::new(0),
                log: Log::new(LogOptions::default()),
                signal: AtomicU64::new(0),
                calls: AtomicU64::new(0),
            });
            model(self, &subject);
        });
    }

    pub(super) fn a_reader_sees_all_of_a_commit_or_nothing(self) {
        self.check(|calls, subject| {
            let writer = spawn(subject, move |subject| calls.write(subject, everything()));
            let mut before = false;
            for read in read_checks::<S>().into_iter().take(calls.reads) {
                let seen = read(&subject.call().store).expect(TORN);
                assert!(seen || !before, "{TORN}");
                before = seen;
            }
            writer.join().unwrap();
        });
    }

    pub(super) fn revisions_never_go_back(self) {
        const GROUPS: [&str; 2] = ["left", "right"];
        self.check_more(|calls, subject| {
            let commits = calls.commits_beside_a_reader;
            let writers: Vec<_> = (0..commits)
                .zip(GROUPS)
                .map(|(_, group)| {
                    spawn(subject, move |subject| {
                        calls.write(subject, subscription(group));
                    })
                })
                .collect();
            let first = (calls.revision)(subject.call());
            let second = (calls.revision)(subject.call());
            assert!(first <= second, "{WENT_BACK}");
            for writer in writers {
                writer.join().unwrap();
            }
            assert_eq!((calls.revision)(subject.call()), commits, "{WENT_BACK}");
        });
    }

    pub(super) fn no_update_is_lost_between_two_writers(self) {
        use ServiceStatus::{Healthy, Unhealthy, Unknown};
        self.check(|calls, subject| {
            calls.write(subject, everything());
            let writer = spawn(subject, move |subject| {
                (calls.swap)(subject.call(), KEY, Healthy).unwrap()
            });
            let own = (calls.swap)(subject.call(), KEY, Unhealthy).unwrap();
            let other = writer.join().unwrap();
            // Who came second replaced what the first one wrote.
            assert!(
                matches!((own, other), (Unknown, Unhealthy) | (Healthy, Unknown)),
                "{LOST}"
            );
            assert_eq!((calls.revision)(subject.call()), 3, "{LOST}");
        });
    }

    pub(super) fn a_commit_that_has_returned_is_seen(self) {
        self.check(|calls, subject| {
            let [read, read_again, ..] = read_checks::<S>();
            let writer = spawn(subject, move |subject| {
                calls.write(subject, everything());
                subject.signal.store(1, Release);
            });
            // A thread that has read before may have kept something.
            let _ = read(&subject.call().store);
            if subject.signal.load(Acquire) == 1 {
                assert_eq!((calls.revision)(subject.call()), 1, "{UNSEEN}");
                assert_eq!(read_again(&subject.call().store), Some(true), "{UNSEEN}");
            }
            writer.join().unwrap();
            assert_eq!((calls.revision)(subject.call()), 1, "{UNSEEN}");
            assert_eq!(read_again(&subject.call().store), Some(true), "{UNSEEN}");
        });
    }

    /// The commit, and all that its writer did before.
    pub(super) fn a_revision_that_was_read_makes_its_commit_visible(self) {
        self.check(|calls, subject| {
            let [read, ..] = read_checks::<S>();
            let writer = spawn(subject, move |subject| {
                subject.signal.store(1, Relaxed);
                calls.write(subject, everything());
            });
            if (calls.revision)(subject.call()) == 1 {
                assert_eq!(subject.signal.load(Relaxed), 1, "{AHEAD}");
                assert_eq!(read(&subject.call().store), Some(true), "{AHEAD}");
            }
            writer.join().unwrap();
        });
    }

    pub(super) fn a_closed_store_has_done_what_it_accepted_exactly_once(self) {
        self.check_more(|calls, subject| {
            let scripts: [&[&str]; 2] = [&["left", "left again"], &["right"]];
            let writers = scripts.map(|groups| {
                spawn(subject, move |subject| {
                    let accepted = groups.iter().map(|group| {
                        let answer = (calls.commit)(subject.call(), a_change_each_time(group));
                        assert!(matches!(answer, Ok(_) | Err(StoreError::Closed)));
                        u64::from(answer.is_ok())
                    });
                    accepted.sum::<u64>()
                })
            });
            (calls.close)(subject.call());
            let last = (calls.revision)(subject.call());
            let late = (calls.commit)(subject.call(), subscription("late"));
            assert!(late == Err(StoreError::Closed), "{REOPENED}");
            let accepted = writers.map(|writer| writer.join().unwrap());
            assert_eq!((calls.revision)(subject.call()), last, "{REOPENED}");
            assert_eq!(accepted.iter().sum::<u64>(), last, "{NOT_ONCE}");
        });
    }

    fn write(self, subject: &Subject<S>, batch: Batch) {
        (self.commit)(subject.call(), batch).unwrap();
    }
}

fn spawn<S: Send + Sync + 'static, R: 'static>(
    subject: &Arc<Subject<S>>,
    work: impl FnOnce(&Subject<S>) -> R + 'static,
) -> JoinHandle<R> {
    let subject = subject.clone();
    thread::spawn(move || work(&subject))
}

// --- what is written, and how it can be seen

const KEY: &str = "a:1";

/// A commit that shows in every index.
pub(super) fn everything() -> Batch {
    let pod = |pod_name: &str| {
        let registration = ServiceRegistration {
            service_name: "a".into(),
            pod_name: pod_name.into(),
            ..ServiceRegistration::default()
        };
        ServiceInfo::new(registration).unwrap()
    };
    let mut batch = Batch::new();
    batch
        .save_service(pod("1"))
        .save_service(pod("2"))
        .add_subscription(KEY, "g");
    batch
}

pub(super) fn subscription(group: &str) -> Batch {
    let mut batch = Batch::new();
    batch.add_subscription(KEY, group);
    batch
}

/// A commit that changes something however often it is made.
pub(super) fn a_change_each_time(group: &str) -> Batch {
    let mut batch = Batch::new();
    batch
        .remove_subscription(KEY, group)
        .add_subscription(KEY, group);
    batch
}

/// Whether [`everything`] is there, or nothing of it. `None`: a part.
type ReadCheck<S> = fn(&S) -> Option<bool>;

fn read_checks<S: RegistryStore>() -> [ReadCheck<S>; 4] {
    fn all_of(seen: usize, all: usize) -> Option<bool> {
        (seen == all || seen == 0).then_some(seen > 0)
    }
    [
        |store| all_of(store.get_all_services().unwrap().len(), 2),
        |store| all_of(store.get_services_by_name("a").unwrap().len(), 2),
        |store| all_of(store.get_subscriber_services("g").unwrap().len(), 1),
        |store| {
            let stats = store.stats().unwrap();
            all_of(stats.services + 10 * stats.subscriptions, 12)
        },
    ]
}

// --- twins that any store could have

/// Twin: a batch as so many commits.
pub(super) fn commit_one_by_one<S: RegistryStore>(
    subject: &Subject<S>,
    batch: Batch,
) -> Result<Revision> {
    for change in batch {
        subject
            .call()
            .store
            .commit([change].into_iter().collect())?;
    }
    Ok(subject.store.revision())
}

/// Twin: what was there is read in one step, and replaced in another.
pub(super) fn swap_in_two_steps<S: RegistryStore>(
    subject: &Subject<S>,
    key: &str,
    status: ServiceStatus,
) -> Result<ServiceStatus> {
    let before = subject.store.get_service(key)?.status();
    let moment = SystemTime::UNIX_EPOCH;
    subject
        .call()
        .store
        .update_health_status(key, status, moment)?;
    Ok(before)
}

/// Twin: writers count the commits themselves, when they have returned.
pub(super) fn count_commits_afterwards<S: RegistryStore>(
    subject: &Subject<S>,
    batch: Batch,
) -> Result<Revision> {
    let revision = subject.store.commit(batch)?;
    subject.beside.store(revision.as_u64(), Release);
    Ok(revision)
}

/// Twin: publishes the number of a commit before it makes the commit.
pub(super) fn count_commits_before<S: RegistryStore>(
    subject: &Subject<S>,
    batch: Batch,
) -> Result<Revision> {
    let revision = subject.store.revision().next();
    subject.beside.store(revision.as_u64(), Release);
    subject.call().store.commit(batch)
}

/// Twin: publishes the revision with no ordering, so that nothing becomes visible with it.
pub(super) fn count_commits_relaxed<S: RegistryStore>(
    subject: &Subject<S>,
    batch: Batch,
) -> Result<Revision> {
    let revision = subject.store.commit(batch)?;
    subject.beside.store(revision.as_u64(), Relaxed);
    Ok(revision)
}

pub(super) fn counted<S>(subject: &Subject<S>) -> u64 {
    subject.beside.load(Acquire)
}

/// Twin: of two calls, one is answered by the counter of [`count_commits_before`], and
/// the other by the store.
pub(super) fn revision_in_two_places<S: RegistryStore>(subject: &Subject<S>) -> u64 {
    if subject.calls.load(Relaxed).is_multiple_of(2) {
        counted(subject)
    } else {
        subject.store.revision().as_u64()
    }
}

/// Twin: a commit is made once more, as if its answer had got lost.
pub(super) fn commit_again<S: RegistryStore>(
    subject: &Subject<S>,
    batch: Batch,
) -> Result<Revision> {
    subject.store.commit(batch.clone())?;
    subject.call().store.commit(batch)
}

/// Twin: a flag tells that the store is closed; it is asked before a commit, not in it.
pub(super) fn close_by_a_flag<S: RegistryStore>(subject: &Subject<S>) {
    subject.beside.store(1, Release);
}

pub(super) fn commit_unless_flagged<S: RegistryStore>(
    subject: &Subject<S>,
    batch: Batch,
) -> Result<Revision> {
    if subject.beside.load(Acquire) == 1 {
        return Err(StoreError::Closed);
    }
    subject.store.commit(batch)
}

/// Runs the properties and the twins of this file on the store that `$real` uses.
macro_rules! store_models {
    ($real:expr) => {
        use crate::store::models;

        #[test]
        fn models_a_reader_sees_all_of_a_commit_or_nothing() {
            $real.a_reader_sees_all_of_a_commit_or_nothing();
        }

        #[test]
        #[should_panic(expected = "a reader saw a part of a commit")]
        fn models_twin_a_batch_as_so_many_commits_is_rejected() {
            let mut twin = $real;
            twin.commit = models::commit_one_by_one;
            twin.a_reader_sees_all_of_a_commit_or_nothing();
        }

        #[test]
        fn models_revisions_never_go_back() {
            $real.revisions_never_go_back();
        }

        #[test]
        #[should_panic(expected = "a reader went back")]
        fn models_twin_a_revision_that_writers_count_afterwards_is_rejected() {
            let mut twin = $real;
            twin.commit = models::count_commits_afterwards;
            twin.revision = models::counted;
            // Two writers overtake each other; one alone counts in order.
            twin.commits_beside_a_reader = 2;
            twin.revisions_never_go_back();
        }

        #[test]
        #[should_panic(expected = "a reader went back")]
        fn models_twin_a_revision_in_two_places_is_rejected() {
            let mut twin = $real;
            twin.commit = models::count_commits_before;
            twin.revision = models::revision_in_two_places;
            // With one writer, too, where the store has no more beside a reader.
            twin.commits_beside_a_reader = 1;
            twin.revisions_never_go_back();
        }

        #[test]
        fn models_no_update_is_lost_between_two_writers() {
            $real.no_update_is_lost_between_two_writers();
        }

        #[test]
        #[should_panic(expected = "an update was lost")]
        fn models_twin_a_swap_in_two_steps_is_rejected() {
            let mut twin = $real;
            twin.swap = models::swap_in_two_steps;
            twin.no_update_is_lost_between_two_writers();
        }

        #[test]
        fn models_a_commit_that_has_returned_is_seen() {
            $real.a_commit_that_has_returned_is_seen();
        }

        #[test]
        fn models_a_revision_that_was_read_makes_its_commit_visible() {
            $real.a_revision_that_was_read_makes_its_commit_visible();
        }

        #[test]
        #[should_panic(expected = "a revision was learnt before its commit")]
        fn models_twin_a_revision_that_is_published_before_is_rejected() {
            let mut twin = $real;
            twin.commit = models::count_commits_before;
            twin.revision = models::counted;
            twin.a_revision_that_was_read_makes_its_commit_visible();
        }

        #[test]
        #[should_panic(expected = "a revision was learnt before its commit")]
        fn models_twin_a_revision_that_is_published_relaxed_is_rejected() {
            let mut twin = $real;
            twin.commit = models::count_commits_relaxed;
            twin.revision = models::counted;
            twin.a_revision_that_was_read_makes_its_commit_visible();
        }

        #[test]
        fn models_a_closed_store_has_done_what_it_accepted_exactly_once() {
            $real.a_closed_store_has_done_what_it_accepted_exactly_once();
        }

        #[test]
        #[should_panic(expected = "an accepted operation was not done exactly once")]
        fn models_twin_a_commit_that_is_made_again_is_rejected() {
            let mut twin = $real;
            twin.commit = models::commit_again;
            twin.a_closed_store_has_done_what_it_accepted_exactly_once();
        }

        #[test]
        #[should_panic(expected = "a closed store has changed")]
        fn models_twin_closing_by_a_flag_is_rejected() {
            let mut twin = $real;
            twin.commit = models::commit_unless_flagged;
            twin.close = models::close_by_a_flag;
            twin.a_closed_store_has_done_what_it_accepted_exactly_once();
        }

        #[test]
        fn models_a_delivered_commit_can_be_read() {
            $real.a_delivered_commit_can_be_read();
        }

        #[test]
        #[should_panic(expected = "a watch delivered a commit before it could be read")]
        fn models_twin_a_commit_that_is_logged_before_it_is_made_is_rejected() {
            let mut twin = $real;
            twin.watch = models::watched::watch_beside;
            twin.commit = models::watched::log_and_commit;
            twin.a_delivered_commit_can_be_read();
        }

        #[test]
        fn models_a_watch_ends_with_its_store() {
            $real.a_watch_ends_with_its_store();
        }

        #[test]
        #[should_panic(expected = "deadlock")]
        fn models_twin_a_log_that_is_not_closed_is_rejected() {
            let mut twin = $real;
            twin.watch = models::watched::watch_beside;
            twin.commit = models::watched::commit_and_log;
            twin.a_watch_ends_with_its_store();
        }
    };
}
