//! A store with one of many faults.

use std::collections::HashMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::SystemTime;

use service_registry::changes::{Cursor, Difference, Log, LogOptions, Selection, Watch};
use service_registry::{
    Batch, Change, DynView, Expected, HealthUpdate, MemoryStore, OnForeign, RegistryStore, Result,
    Revision, ServiceInfo, ServiceKey, ServiceStatus, StoreError,
};

use super::Fault;
use super::logged::{BrokenStateReader, Inner, LoggedStore, pause};
use crate::support::list_view::ListView;

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

pub(crate) fn broken(fault: Fault) -> Broken {
    Broken {
        fault,
        inner: Arc::new(Mutex::new(LoggedStore::new())),
        log: Log::new(LogOptions::default()),
        shown: AtomicU64::new(0),
        extra: AtomicU64::new(0),
        stale: Mutex::default(),
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
            fault: self.fault,
            log: &self.log,
            shown: &self.shown,
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
