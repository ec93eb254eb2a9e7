//! Proof that the suite can fail: stores that break one promise each, and the
//! test that has to notice.

#[path = "three_locks.rs"]
mod three_locks;

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, SystemTime};

use service_registry::changes::{
    Cursor, Difference, Event, Log, LogOptions, ReadState, Reason, Selection, State, Watch,
};
use service_registry::{
    Batch, Change, DynView, Expected, HealthUpdate, MemoryStore, OnForeign, RegistryStore, Result,
    Revision, ServiceInfo, ServiceKey, ServiceStatus, StoreError,
};

use crate::support::failing::{must_fail, must_hang};
use crate::support::faulty_log::state_of;
use crate::support::list_view::ListView;
use crate::{
    batches, closing, closures, conditions, law, order, registry, restoring, revisions, services,
    shared, subscriptions, watches, whole,
};

/// What a [`Broken`] store gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The whole suite has to pass, so that a failure is a fault's own.
    None,
    DeleteTakesSubscriptions,
    SubscribersAreSorted,
    SecondSubscriptionCounts,
    SaveKeepsHealth,
    UpdateCopiesRegistration,
    EqualSaveCounts,
    BatchStopsHalfWay,
    BatchCountsChanges,
    BatchChecksAgainstTheStoreOnly,
    WrongIndex,
    RegisteringKeepsSubscriptions,
    ClearRestartsRevision,
    TakeLeavesSubscriptions,
    AnswersAfterClose,
    AcceptsMalformedKeys,
    MissingIsNamedWrongly,
    VisitsTwice,
    HoldsItsLockInClosures,

    SaveDeletesFirst,
    UpdateDeletesFirst,
    TornCommit,
    TornTake,
    TornClear,
    TornScan,
    TornView,
    SwapInTwoSteps,
    LosesSubscriptions,
    LosesRevisions,
    StaleReads,
    TakesLateHealth,
    RevisionRunsAhead,
    RevisionGoesBackwards,
    CloseForgetsWhatItAccepted,

    RequirementsAreIgnored,
    ConditionsAreJudgedInTurn,
    RemovesWhateverIsThere,
    ForeignKeysAreSkipped,
    SourcesOnlyGrow,
    SkipsInSilence,
    RestoresInSilence,
    RestoresBackwards,

    TellsTooSoon,
    LosesChanges,
    TellsTwice,
    TellsOfTimes,
    AnswersStepByStep,
    TellsEverybody,
    LeavesWatchesAsleep,
}

/// A `MemoryStore` behind a mutex, with a fault, and with a log of its own: as a store from
/// elsewhere has one.
pub(crate) struct Broken {
    fault: Fault,
    inner: Arc<Mutex<LoggedStore>>,
    log: Log,
    /// The revision that reads show, with [`Fault::TellsTooSoon`].
    shown: AtomicU64,
    /// Added to the revision of `inner`.
    extra: AtomicU64,
    /// Answers of reads that are stale.
    stale: Mutex<HashMap<String, (u32, ServiceInfo)>>,
}

/// The store inside, and what it has told of its changes.
struct LoggedStore {
    store: MemoryStore,
    watch: Watch,
    /// What was last told.
    last: Vec<Difference>,
    /// Up to where it has told.
    revision: Revision,
    commits: u64,
}

pub(crate) fn broken(fault: Fault) -> Broken {
    let store = MemoryStore::new();
    let mut watch = store.watch(Selection::All).unwrap();
    drop(watch.recv().unwrap());
    let logged = LoggedStore {
        store,
        watch,
        last: Vec::new(),
        revision: Revision::ZERO,
        commits: 0,
    };
    Broken {
        fault,
        inner: Arc::new(Mutex::new(logged)),
        log: Log::new(LogOptions::default()),
        shown: AtomicU64::new(0),
        extra: AtomicU64::new(0),
        stale: Mutex::default(),
    }
}

/// Long enough for another thread to look.
fn pause() {
    thread::sleep(Duration::from_micros(100));
}

/// The store inside. When it goes, what was changed goes to the log, and then the lock back.
struct Inner<'a> {
    broken: &'a Broken,
    logged: Option<MutexGuard<'a, LoggedStore>>,
}

impl Deref for Inner<'_> {
    type Target = MemoryStore;

    fn deref(&self) -> &MemoryStore {
        &self.logged.as_ref().expect("there until the end").store
    }
}

impl DerefMut for Inner<'_> {
    fn deref_mut(&mut self) -> &mut MemoryStore {
        &mut self.logged.as_mut().expect("there until the end").store
    }
}

impl Drop for Inner<'_> {
    fn drop(&mut self) {
        let Broken {
            fault, log, shown, ..
        } = self.broken;
        let mut logged = self.logged.take().expect("there until the end");
        let mut left = Vec::new();
        while let Ok(Some(event)) = logged.watch.try_recv_commit() {
            let (revision, changes) = match event {
                Event::Changes {
                    revision, changes, ..
                } => (revision, changes),
                Event::State {
                    revision,
                    reason: Reason::Restored,
                    ..
                } => {
                    if *fault != Fault::RestoresInSilence {
                        left.push(log.restored(revision));
                    }
                    continue;
                }
                event => panic!("nobody waits so long: {event:?}"),
            };
            logged.commits += 1;
            let changes = match fault {
                Fault::LosesChanges if logged.commits.is_multiple_of(5) => Vec::new(),
                Fault::TellsTwice => {
                    let last = std::mem::replace(&mut logged.last, changes.clone());
                    last.into_iter().chain(changes).collect()
                }
                _ => changes,
            };
            left.push(log.append(revision, changes));
        }
        let revision = logged.store.revision();
        // Where there are no differences, it brought newer times only.
        let is_time = left.is_empty() && revision > logged.revision;
        logged.revision = revision;
        let same = (is_time && *fault == Fault::TellsOfTimes)
            .then(|| logged.store.get_all_services().unwrap().pop())
            .flatten();
        let same = same.map(|info| Difference::changed(info.clone(), info));
        left.push(log.append(revision, same));
        drop(logged);
        drop(left);
        if *fault == Fault::TellsTooSoon {
            pause();
            shown.fetch_max(revision.as_u64(), SeqCst);
        }
    }
}

/// How a watch reads the state of a store that may have gone.
struct BrokenStateReader(Weak<Mutex<LoggedStore>>);

impl ReadState for BrokenStateReader {
    fn read_state(&self, selection: &Selection) -> Result<Option<State>> {
        let inner = self.0.upgrade().ok_or(StoreError::Closed)?;
        let logged = inner.lock().unwrap_or_else(PoisonError::into_inner);
        logged
            .store
            .with_view(|view| Some(state_of(view, selection)))
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        drop(self.log.close());
    }
}

impl Broken {
    fn lock(&self) -> MutexGuard<'_, LoggedStore> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn inner(&self) -> Inner<'_> {
        Inner {
            broken: self,
            logged: Some(self.lock()),
        }
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let selection = match self.fault {
            Fault::TellsEverybody => Selection::All,
            _ => selection,
        };
        let read = Arc::new(BrokenStateReader(Arc::downgrade(&self.inner)));
        self.log.watch(selection, from, read, || {
            let logged = self.lock();
            logged.store.ping()?;
            Ok(logged.store.revision())
        })
    }

    /// The batch as it is made with a fault in conditions or sources.
    fn spoil(&self, batch: Batch) -> Batch {
        let spoil = |change| match (self.fault, change) {
            (
                Fault::RequirementsAreIgnored,
                Change::Require { .. } | Change::RequireUnchangedSince { .. },
            ) => vec![],
            (Fault::RemovesWhateverIsThere, Change::RemoveIf { key, cause, .. }) => {
                let expected = Expected::Present;
                vec![Change::RemoveIf {
                    key,
                    expected,
                    cause,
                }]
            }
            (
                Fault::ForeignKeysAreSkipped,
                Change::ReplaceSource {
                    source, services, ..
                },
            ) => vec![Change::ReplaceSource {
                source,
                services,
                on_foreign: OnForeign::Skip,
            }],
            (
                Fault::SourcesOnlyGrow,
                Change::ReplaceSource {
                    source, services, ..
                },
            ) => {
                let own = |info: ServiceInfo| info.with_source(&source).unwrap();
                let own = services.into_iter().map(own);
                own.map(Change::SaveService).collect()
            }
            (
                Fault::RestoresBackwards,
                Change::ReplaceAll {
                    services,
                    mut subscriptions,
                },
            ) => {
                subscriptions.reverse();
                vec![Change::ReplaceAll {
                    services,
                    subscriptions,
                }]
            }
            (_, change) => vec![change],
        };
        batch.into_iter().flat_map(spoil).collect()
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn apply(&self, change: Change) -> Result<()> {
        match change {
            Change::SaveService(service) | Change::RegisterService(service) => {
                self.inner().save_service(service)
            }
            Change::DeleteService { key } => self.inner().delete_service(&key),
            Change::UpdateHealthStatus {
                key,
                status,
                checked_at,
            } => self
                .inner()
                .update_health_status(&key, status, checked_at)
                .map(drop),
            Change::AddSubscription {
                subscriber_key,
                service_group,
            } => self
                .inner()
                .add_subscription(&subscriber_key, &service_group),
            Change::RemoveSubscription {
                subscriber_key,
                service_group,
            } => self
                .inner()
                .remove_subscription(&subscriber_key, &service_group),
            Change::RemoveAllSubscriptions { subscriber_key } => {
                self.inner().remove_all_subscriptions(&subscriber_key)
            }
            other => panic!("an unknown change: {other:?}"),
        }
    }
}

impl RegistryStore for Broken {
    fn save_service(&self, service: ServiceInfo) -> Result<()> {
        let known = self.inner().get_service(service.key()).ok();
        match (self.fault, known) {
            (Fault::SaveDeletesFirst, Some(_)) => {
                self.inner().delete_service(service.key())?;
                pause();
            }
            (Fault::SaveKeepsHealth, Some(known)) => {
                if let Some(moment) = known.last_health_check() {
                    let kept = service.with_health(known.status(), moment).unwrap();
                    return self.inner().save_service(kept);
                }
            }
            (Fault::EqualSaveCounts, Some(known)) if known == service => {
                self.extra.fetch_add(1, SeqCst);
            }
            (Fault::LosesRevisions, _) => {
                // A counter that is read and written in two steps.
                let extra = self.extra.load(SeqCst);
                let before = self.inner().revision().as_u64();
                pause();
                let answer = self.inner().save_service(service);
                let after = self.inner().revision().as_u64();
                let others = after - before - 1;
                self.extra.store(extra.wrapping_sub(others), SeqCst);
                return answer;
            }
            _ => {}
        }
        self.inner().save_service(service)
    }

    fn get_service(&self, key: &str) -> Result<ServiceInfo> {
        let found = self.inner().get_service(key);
        match (self.fault, &found) {
            (Fault::StaleReads, Ok(info)) => {
                let mut stale = self.stale.lock().unwrap();
                let (uses, kept) = stale.entry(key.into()).or_insert((0, info.clone()));
                *uses += 1;
                if *uses % 10 == 0 {
                    *kept = info.clone();
                }
                Ok(kept.clone())
            }
            (Fault::MissingIsNamedWrongly, Err(StoreError::NotFound(_))) => {
                Err(StoreError::NotFound("key".into()))
            }
            (Fault::AnswersAfterClose, Err(StoreError::Closed)) => {
                Err(StoreError::NotFound(key.into()))
            }
            _ => found,
        }
    }

    fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
        let all = self.inner().get_all_services()?;
        if self.has(Fault::TornScan) {
            let half = all.len() / 2;
            pause();
            let later = self.inner();
            return Ok(all
                .iter()
                .enumerate()
                .filter_map(|(n, info)| match n {
                    n if n < half => Some(info.clone()),
                    _ => later.get_service(info.key()).ok(),
                })
                .collect());
        }
        Ok(all)
    }

    fn delete_service(&self, key: &str) -> Result<()> {
        if self.has(Fault::DeleteTakesSubscriptions) {
            return self.inner().take_service(key).map(drop);
        }
        self.inner().delete_service(key)
    }

    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<HealthUpdate> {
        match self.fault {
            Fault::UpdateCopiesRegistration => {
                let known = self.inner().get_service(key)?;
                let copy = ServiceInfo::new(known.registration().clone())?
                    .with_registered_at(known.registered_at())?
                    .with_health(status, checked_at)?;
                self.inner().save_service(copy)?;
                let before = known.status();
                Ok(HealthUpdate::Applied { before })
            }
            Fault::UpdateDeletesFirst => {
                let known = self.inner().get_service(key)?;
                self.inner().delete_service(key)?;
                pause();
                let before = known.status();
                self.inner()
                    .save_service(known.with_health(status, checked_at)?)?;
                Ok(HealthUpdate::Applied { before })
            }
            Fault::SwapInTwoSteps => {
                let before = self.get_service(key)?.status();
                pause();
                self.inner().update_health_status(key, status, checked_at)?;
                Ok(HealthUpdate::Applied { before })
            }
            Fault::TakesLateHealth => {
                let known = self.inner().get_service(key)?;
                let before = known.status();
                self.inner()
                    .save_service(known.with_health(status, checked_at)?)?;
                Ok(HealthUpdate::Applied { before })
            }
            _ => self.inner().update_health_status(key, status, checked_at),
        }
    }

    fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        match self.fault {
            Fault::AcceptsMalformedKeys if subscriber_key.parse::<ServiceKey>().is_err() => Ok(()),
            Fault::SecondSubscriptionCounts => {
                let before = self.inner().revision();
                self.inner()
                    .add_subscription(subscriber_key, service_group)?;
                if self.inner().revision() == before {
                    self.extra.fetch_add(1, SeqCst);
                }
                Ok(())
            }
            Fault::LosesSubscriptions => {
                // A list that is read and written in two steps.
                let known = self.inner().get_subscribers(service_group)?;
                pause();
                let inner = self.inner();
                for key in inner.get_subscribers(service_group)? {
                    if !known.contains(&key) {
                        inner.remove_subscription(&key, service_group)?;
                    }
                }
                inner.add_subscription(subscriber_key, service_group)
            }
            _ => self.inner().add_subscription(subscriber_key, service_group),
        }
    }

    fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
        let mut subscribers = self.inner().get_subscribers(service_group)?;
        if self.has(Fault::SubscribersAreSorted) {
            subscribers.sort();
        }
        Ok(subscribers)
    }

    fn visit_view(&self, visit: &mut dyn FnMut(&dyn DynView)) -> Result<()> {
        let mut copied = self.inner().with_view(ListView::of)?;
        if self.has(Fault::TornView) {
            pause();
            copied.groups = self.inner().with_view(ListView::of)?.groups;
        }
        visit(&copied);
        Ok(())
    }

    fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
        let inner = self.inner();
        if self.has(Fault::AnswersStepByStep) {
            let mut steps = Vec::new();
            for change in batch {
                let (_, changes) = inner.commit_changes([change].into_iter().collect())?;
                steps.extend(changes);
            }
            return Ok((inner.revision(), steps));
        }
        let (revision, mut changes) = inner.commit_changes(batch)?;
        if self.has(Fault::SkipsInSilence) {
            changes.retain(|change| !matches!(change, Difference::Skipped { .. }));
        }
        Ok((revision, changes))
    }

    fn watch(&self, selection: Selection) -> Result<Watch> {
        self.begin_watch(selection, None)
    }

    fn watch_from(&self, selection: Selection, cursor: Cursor) -> Result<Watch> {
        self.begin_watch(selection, Some(cursor))
    }

    fn commit(&self, batch: Batch) -> Result<Revision> {
        match self.fault {
            Fault::TornCommit => {
                let mut checked = batch.clone();
                checked.delete_service("nobody:has-this-key");
                let last = batch.len();
                match self.inner().commit(checked) {
                    Err(StoreError::BatchRejected { index, .. }) if index == last => {}
                    other => return other,
                }
                for change in batch {
                    // Another torn commit may have come between; this store
                    // does not notice.
                    let _ = self.apply(change);
                    pause();
                }
                Ok(self.inner().revision())
            }
            Fault::BatchStopsHalfWay => {
                let before = self.inner().revision();
                for (index, change) in batch.into_iter().enumerate() {
                    let operation = change.operation();
                    if let Err(source) = self.apply(change) {
                        return Err(StoreError::BatchRejected {
                            index,
                            operation,
                            source: Box::new(source),
                        });
                    }
                }
                Ok(before.next())
            }
            Fault::BatchCountsChanges => {
                let n = batch.len() as u64;
                self.inner().commit(batch)?;
                self.extra.fetch_add(n.saturating_sub(1), SeqCst);
                Ok(self.revision())
            }
            Fault::BatchChecksAgainstTheStoreOnly => {
                for (index, change) in batch.changes().iter().enumerate() {
                    if let Change::UpdateHealthStatus { key, .. } = change
                        && let Err(source) = self.inner().get_service(key)
                    {
                        return Err(StoreError::BatchRejected {
                            index,
                            operation: change.operation(),
                            source: Box::new(source),
                        });
                    }
                }
                self.inner().commit(batch)
            }
            Fault::WrongIndex => match self.inner().commit(batch) {
                Err(StoreError::BatchRejected {
                    index,
                    operation,
                    source,
                }) => Err(StoreError::BatchRejected {
                    index: index + 1,
                    operation,
                    source,
                }),
                answer => answer,
            },
            Fault::RegisteringKeepsSubscriptions => {
                let kept = batch
                    .into_iter()
                    .filter(|change| !matches!(change, Change::RemoveAllSubscriptions { .. }));
                let kept: Batch = kept.collect();
                self.inner().commit(kept)
            }
            Fault::ConditionsAreJudgedInTurn => {
                let inner = self.inner();
                for change in batch {
                    inner.commit(change.into())?;
                }
                Ok(inner.revision())
            }
            _ => self.inner().commit(self.spoil(batch)),
        }
    }

    fn revision(&self) -> Revision {
        if self.has(Fault::TellsTooSoon) {
            return self.shown.load(SeqCst).into();
        }
        let revision = self.inner().revision().as_u64();
        let extra = match self.fault {
            Fault::RevisionRunsAhead => u64::from(revision > 0),
            Fault::RevisionGoesBackwards => self.extra.fetch_add(1, SeqCst) % 2,
            _ => self.extra.load(SeqCst),
        };
        revision.wrapping_add(extra).into()
    }

    fn take_service(&self, key: &str) -> Result<ServiceInfo> {
        match self.fault {
            Fault::TornTake => {
                let taken = self.inner().get_service(key)?;
                pause();
                // Whether it is still there, this store does not ask.
                let _ = self.inner().delete_service(key);
                pause();
                self.inner().remove_all_subscriptions(key)?;
                Ok(taken)
            }
            Fault::TakeLeavesSubscriptions => {
                let taken = self.inner().get_service(key)?;
                self.inner().delete_service(key)?;
                Ok(taken)
            }
            _ => self.inner().take_service(key),
        }
    }

    fn clear(&self) -> Result<()> {
        match self.fault {
            Fault::ClearRestartsRevision => {
                let mut inner = self.inner();
                inner.clear()?;
                *inner = MemoryStore::new();
                Ok(())
            }
            Fault::TornClear => {
                let all = self.inner().get_all_services()?;
                for info in all {
                    self.inner().delete_service(info.key())?;
                    thread::yield_now();
                }
                self.inner().clear()
            }
            _ => self.inner().clear(),
        }
    }

    fn close(&self) -> Result<()> {
        if self.has(Fault::CloseForgetsWhatItAccepted) && self.inner().ping().is_ok() {
            let inner = self.inner();
            let n = inner.revision().as_u64();
            self.extra.store(0_u64.wrapping_sub(n.min(3)), SeqCst);
            return inner.close();
        }
        let closed = self.inner().close();
        if !self.has(Fault::LeavesWatchesAsleep) {
            drop(self.log.close());
        }
        closed
    }

    fn visit_service(&self, key: &str, visit: &mut dyn FnMut(&ServiceInfo)) -> Result<()> {
        match self.fault {
            Fault::HoldsItsLockInClosures => self.inner().visit_service(key, visit),
            Fault::VisitsTwice => {
                let info = self.get_service(key)?;
                visit(&info);
                visit(&info);
                Ok(())
            }
            _ => {
                visit(&self.get_service(key)?);
                Ok(())
            }
        }
    }

    forward_required!(self => *self.inner(); except save_service, get_service, get_all_services, delete_service,
        update_health_status, add_subscription, get_subscribers, visit_view, commit_changes, commit,
        revision, take_service, clear, close);
}

macro_rules! noticed {
    ($must:ident: $($name:ident: $fault:ident by $module:ident::$test:ident;)+) => {$(
        #[test]
        fn $name() {
            $must(|| $module::$test(&broken(Fault::$fault)));
        }
    )+};
    ($must:ident, from make: $($name:ident: $fault:ident by $module:ident::$test:ident;)+) => {$(
        #[test]
        fn $name() {
            $must(|| $module::$test(|| broken(Fault::$fault)));
        }
    )+};
}

noticed! { must_fail:
    deleting_subscriptions: DeleteTakesSubscriptions by services::deleting_leaves_subscriptions_alone;
    a_wrong_order: SubscribersAreSorted by subscriptions::subscribers_stand_in_the_order_of_subscription;
    a_second_subscription: SecondSubscriptionCounts by revisions::what_changes_nothing_keeps_the_revision;
    a_record_half_replaced: SaveKeepsHealth by services::saving_again_replaces_the_whole_record;
    a_copied_registration: UpdateCopiesRegistration by services::a_health_update_copies_no_registration;
    a_revision_for_nothing: EqualSaveCounts by revisions::an_equal_record_keeps_the_revision;
    half_a_batch: BatchStopsHalfWay by batches::the_last_of_a_thousand_changes_undoes_them_all;
    a_revision_per_change: BatchCountsChanges by revisions::a_batch_grows_the_revision_by_one_at_most;
    changes_that_do_not_see_each_other: BatchChecksAgainstTheStoreOnly by batches::later_changes_build_on_earlier_ones;
    the_wrong_change_blamed: WrongIndex by batches::the_first_change_that_fails_is_named;
    subscriptions_that_stay: RegisteringKeepsSubscriptions by registry::registering_anew_replaces_record_and_subscriptions;
    revisions_from_the_start: ClearRestartsRevision by revisions::clear_counts_on;
    subscriptions_left_behind: TakeLeavesSubscriptions by registry::unregistering_answers_with_what_was_removed;
    answers_after_close: AnswersAfterClose by closing::a_closed_store_says_so_before_anything_else;
    malformed_keys: AcceptsMalformedKeys by subscriptions::a_malformed_subscriber_is_refused_and_says_why;
    an_error_without_the_key: MissingIsNamedWrongly by services::a_missing_key_is_not_found_and_named;
    two_visits: VisitsTwice by services::a_read_closure_is_called_once_and_may_move_things;
    health_that_goes_back: TakesLateHealth by services::health_that_is_late_changes_nothing_and_says_so;
    stale_answers: StaleReads by services::a_health_update_changes_health_and_nothing_else;
    an_answer_lost: AnswersAfterClose by closing::all_calls_after_close_are_refused;

    a_gap_while_saving: SaveDeletesFirst by whole::a_pod_is_never_missing_while_it_is_saved;
    a_gap_while_updating: UpdateDeletesFirst by whole::a_pod_is_never_missing_while_its_health_is_updated;
    a_gap_in_a_batch: TornCommit by whole::a_pod_is_never_missing_while_a_batch_replaces_it;
    a_gap_while_registering: TornCommit by whole::a_pod_is_never_missing_while_it_registers_anew;
    half_a_registration: TornCommit by whole::no_reader_sees_half_a_registration;
    half_an_unregistration: TornTake by whole::no_reader_sees_half_a_registration;
    a_commit_in_two_scans: TornCommit by whole::a_scan_sees_whole_commits;
    a_view_in_two_steps: TornView by whole::a_view_is_of_one_state_beside_writers;
    a_scan_in_two_steps: TornScan by whole::a_scan_sees_whole_commits;
    a_pod_in_two_places: TornCommit by whole::a_pod_that_moves_is_in_one_place;
    half_a_clear: TornClear by whole::clear_is_one_step;
    a_rejected_batch_in_sight: BatchStopsHalfWay by whole::a_rejected_batch_is_never_seen;
    two_told_of_one_change: SwapInTwoSteps by shared::one_thread_of_thirty_is_told_that_the_status_changed;
    a_lost_swap: SwapInTwoSteps by shared::three_thousand_writes_of_one_pod_lose_none;
    two_who_took_one_pod: TornTake by shared::one_thread_of_thirty_takes_a_pod_away;
    a_pod_of_two_pieces: TornCommit by shared::a_pod_registered_by_thirty_threads_is_of_one_piece;
    a_revision_for_two: TornCommit by shared::every_commit_has_a_revision_of_its_own;
    a_lost_subscription: LosesSubscriptions by shared::thirty_threads_fill_one_group;
    a_subscription_lost_at_the_door: LosesSubscriptions by shared::the_last_to_leave_meets_the_first_to_come;
    lost_revisions: LosesRevisions by shared::three_thousand_operations_end_in_the_exact_state;
    a_stale_read: StaleReads by order::a_write_that_returned_is_seen_by_every_read;
    a_revision_that_goes_backwards: RevisionGoesBackwards by order::revisions_never_go_backwards;
    a_revision_ahead_of_its_state: RevisionRunsAhead by order::a_state_lies_between_the_revisions_around_it;

    a_requirement_ignored: RequirementsAreIgnored by conditions::a_requirement_that_does_not_hold_rejects_the_batch;
    a_store_that_changed_unasked: RequirementsAreIgnored by conditions::a_store_that_has_changed_since_rejects_the_batch;
    an_order_turned_round: RestoresBackwards by restoring::what_is_replaced_is_what_was_given;
    an_older_list: RequirementsAreIgnored by conditions::an_older_list_of_a_source_is_refused;
    conditions_judged_in_turn: ConditionsAreJudgedInTurn by conditions::requirements_are_judged_against_the_state_before_the_batch;
    a_successor_removed: RemovesWhateverIsThere by conditions::what_does_not_hold_is_left_out_and_the_rest_is_done;
    a_foreign_key_passed_over: ForeignKeysAreSkipped by conditions::a_key_of_another_source_rejects_or_is_skipped;
    what_a_source_no_longer_has: SourcesOnlyGrow by conditions::a_source_is_replaced_by_what_it_has;

    changes_told_too_soon: TellsTooSoon by watches::watches_of_many_threads_miss_nothing;
    changes_lost_among_threads: LosesChanges by watches::watches_of_many_threads_miss_nothing;
    an_answer_of_steps: AnswersStepByStep by law::what_a_commit_answers_leads_from_one_state_to_the_next;
    a_skipped_record_untold: SkipsInSilence by conditions::what_is_skipped_is_told_to_who_commits;
    skipped_records_untold: SkipsInSilence by law::what_a_commit_answers_leads_from_one_state_to_the_next;
    a_relist_without_a_removal: SourcesOnlyGrow by watches::what_a_source_no_longer_has_is_removed_even_unread;
    everybody_woken: TellsEverybody by watches::who_watches_other_names_sleeps_on;
}

noticed! { must_fail, from make:
    a_state_untold: RestoresInSilence by restoring::a_watch_is_told_the_state_that_replaces_everything;
    an_accepted_write_lost: CloseForgetsWhatItAccepted by shared::closing_among_thirty_threads_hangs_nobody;
    a_change_lost: LosesChanges by law::what_is_applied_is_the_state_of_that_revision;
    a_change_told_twice: TellsTwice by law::what_is_applied_is_the_state_of_that_revision;
    a_time_told: TellsOfTimes by law::what_is_applied_is_the_state_of_that_revision;
    a_selection_ignored: TellsEverybody by law::what_is_applied_is_the_state_of_that_revision;
}

noticed! { must_hang:
    a_call_from_inside: HoldsItsLockInClosures by closures::a_write_from_inside_is_seen_from_inside;
    a_reader_beside_a_closure: HoldsItsLockInClosures by shared::every_thread_has_closures_of_its_own;
    a_call_past_a_waiting_writer: HoldsItsLockInClosures by shared::a_call_from_inside_passes_a_waiting_writer;
}

noticed! { must_hang:
    a_watch_without_an_end: LeavesWatchesAsleep by watches::a_closed_store_ends_its_watches;
}

noticed! { must_hang, from make:
    calls_from_inside: HoldsItsLockInClosures by closures::a_call_from_inside_a_closure_is_done_or_refused;
}
