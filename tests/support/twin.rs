//! A twin of a store with views that breaks one promise at a time.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, SystemTime};

use service_registry::changes::Difference;
use service_registry::{
    Batch, Change, RegistryStore, RegistryView, Result, Revision, ServiceInfo, ServiceKey,
    ServiceStatus, Snapshot, SnapshotReader, SnapshotStore, Snapshots, StoreError, StoreStats,
    delegate_store,
};

use super::views::Views;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,

    // of commits
    /// A batch is checked by making its changes, which are undone if one fails.
    RejectedBatchesShow,
    /// Each change of a batch is published.
    BatchesShowHalfDone,
    /// Whether a batch may be made is asked before its turn.
    ChecksBeforeItsTurn,
    /// A health update reads the record, and writes it back later.
    LostUpdate,
    /// A swap reads the status, and writes the new one later.
    SwapInTwoSteps,

    // of views, which are two snapshots, of which they should show the first
    /// Services are of one, subscriptions of the other.
    TwoMoments,
    /// Every read of a key but the first is of the other.
    ReadsAnew,
    /// Every scan of all records but the first is of the other,
    ScansAnew,
    /// or of a name,
    NamesAnew,
    /// or of a group.
    GroupsAnew,
    /// One index is of the other snapshot,
    LateNames,
    /// or the counts,
    LateStats,
    /// or the revision.
    LateRevision,
    /// What has changed since an older view is told with records that were skipped,
    ChangesShowSkipped,
    /// or without the last of it.
    ChangesLose,
    /// Where the store goes, its views go.
    EndsWithItsStore,

    // of readers
    /// A reader renews its view at every third read only.
    LateReader,
    /// A reader shows what it has shown long ago.
    ReaderGoesBack,
}

pub(crate) struct Twin {
    inner: SnapshotStore,
    fault: Fault,
    gone: Arc<AtomicBool>,
}

pub(crate) fn twin(fault: Fault) -> Twin {
    Twin {
        inner: SnapshotStore::new(),
        fault,
        gone: Arc::default(),
    }
}

impl Drop for Twin {
    fn drop(&mut self) {
        self.gone.store(true, SeqCst);
    }
}

/// Another thread may look; with one processor, too.
fn pause() {
    thread::sleep(Duration::from_micros(20));
}

impl Twin {
    fn one_by_one(&self, batch: Batch) {
        for change in batch {
            // Another thread may have made it impossible meanwhile.
            let _ = self.inner.commit([change].into_iter().collect());
            pause();
        }
    }

    /// Leaves out what cannot be deleted any more.
    fn as_far_as_it_goes(&self, batch: Batch) -> Result<()> {
        let deletes = |change: &Change| matches!(change, Change::DeleteService { .. });
        let (delete, rest): (Vec<_>, Vec<_>) = batch.into_iter().partition(deletes);
        for change in delete {
            let _ = self.inner.commit([change].into_iter().collect());
        }
        self.inner.commit(rest.into_iter().collect()).map(drop)
    }

    /// Makes the changes as far as they can be made, and undoes them. (Of
    /// subscriptions it undoes nothing; no test needs it.)
    fn try_and_undo(&self, batch: Batch) {
        let mut undo = Vec::new();
        for change in batch {
            let key = match &change {
                Change::SaveService(info) => Some(info.key().to_string()),
                Change::DeleteService { key } | Change::UpdateHealthStatus { key, .. } => {
                    Some(key.to_string())
                }
                _ => None,
            };
            if let Some(key) = key {
                let before = self.inner.get_service(&key).ok();
                undo.push(match before {
                    Some(before) => Change::SaveService(before),
                    None => Change::DeleteService { key: key.into() },
                });
            }
            if self.inner.commit([change].into_iter().collect()).is_err() {
                break;
            }
            pause();
        }
        for change in undo.into_iter().rev() {
            let _ = self.inner.commit([change].into_iter().collect());
        }
    }

    fn snapshot_of(&self, first: Snapshot) -> View {
        let later = match self.fault {
            Fault::TwoMoments
            | Fault::ReadsAnew
            | Fault::ScansAnew
            | Fault::NamesAnew
            | Fault::GroupsAnew
            | Fault::LateNames
            | Fault::LateStats
            | Fault::LateRevision => {
                pause();
                self.inner.snapshot()
            }
            _ => first.clone(),
        };
        View {
            moments: [first, later],
            fault: self.fault,
            reads: Arc::default(),
            gone: self.gone.clone(),
        }
    }
}

impl RegistryStore for Twin {
    fn commit(&self, batch: Batch) -> Result<Revision> {
        match self.fault {
            Fault::RejectedBatchesShow => {
                let answer = self.inner.commit(batch.clone());
                if answer.is_err() {
                    self.try_and_undo(batch);
                }
                answer
            }
            Fault::BatchesShowHalfDone | Fault::ChecksBeforeItsTurn => {
                let snapshot = self.inner.snapshot();
                batch.check(snapshot.revision(), |key| snapshot.get(key))?;
                pause();
                if self.fault == Fault::BatchesShowHalfDone {
                    self.one_by_one(batch);
                } else {
                    self.as_far_as_it_goes(batch)?;
                }
                Ok(self.inner.revision())
            }
            _ => self.inner.commit(batch),
        }
    }
    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<service_registry::HealthUpdate> {
        if self.fault == Fault::LostUpdate {
            let known = self.inner.get_service(key)?;
            pause();
            let before = known.status();
            let updated = known.with_health(status, checked_at)?;
            self.inner.save_service(updated)?;
            return Ok(service_registry::HealthUpdate::Applied { before });
        }
        if self.fault == Fault::SwapInTwoSteps {
            let before = self.inner.get_service(key)?.status();
            pause();
            self.inner.update_health_status(key, status, checked_at)?;
            return Ok(service_registry::HealthUpdate::Applied { before });
        }
        self.inner.update_health_status(key, status, checked_at)
    }
    fn close(&self) -> Result<()> {
        self.gone.store(true, SeqCst);
        self.inner.close()
    }

    delegate_store!(self => self.inner; except commit, update_health_status, close);
}

#[derive(Clone, Debug)]
pub(crate) struct View {
    moments: [Snapshot; 2],
    fault: Fault,
    reads: Arc<AtomicUsize>,
    gone: Arc<AtomicBool>,
}

impl View {
    /// The first moment; with `fault` only once.
    fn anew(&self, fault: Fault) -> &Snapshot {
        let again = self.fault == fault && self.reads.fetch_add(1, SeqCst) > 0;
        &self.moments[usize::from(again)]
    }

    /// The first moment, or the second with one of these faults.
    fn late(&self, faults: &[Fault]) -> &Snapshot {
        &self.moments[usize::from(faults.contains(&self.fault))]
    }

    fn is_gone(&self) -> bool {
        self.fault == Fault::EndsWithItsStore && self.gone.load(SeqCst)
    }
}

impl RegistryView for View {
    fn revision(&self) -> Revision {
        self.late(&[Fault::LateRevision]).revision()
    }
    fn get(&self, key: &str) -> Option<&ServiceInfo> {
        let found = self.anew(Fault::ReadsAnew).get(key);
        found.filter(|_| !self.is_gone())
    }
    fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
        let all = self.anew(Fault::ScansAnew).services();
        all.filter(|_| !self.is_gone())
    }
    fn services_by_name<'a>(
        &'a self,
        service_name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a> {
        let of = match self.fault {
            Fault::LateNames => &self.moments[1],
            _ => self.anew(Fault::NamesAnew),
        };
        of.services_by_name(service_name)
    }
    fn subscribers<'a>(
        &'a self,
        service_group: &str,
    ) -> impl Iterator<Item = &'a ServiceKey> + use<'a> {
        let of = match self.fault {
            Fault::TwoMoments => &self.moments[1],
            _ => self.anew(Fault::GroupsAnew),
        };
        of.subscribers(service_group)
    }
    fn names(&self) -> impl Iterator<Item = &str> {
        self.late(&[Fault::LateNames]).names()
    }
    fn groups(&self) -> impl Iterator<Item = &str> {
        self.late(&[Fault::TwoMoments]).groups()
    }
    fn changes_since(&self, older: &View) -> Result<Vec<Difference>> {
        let mut changes = self.moments[0].changes_since(&older.moments[0])?;
        match (self.fault, changes.first()) {
            (Fault::ChangesShowSkipped, Some(Difference::Added(info))) => {
                changes.push(Difference::skipped(info.clone()));
            }
            (Fault::ChangesLose, _) => drop(changes.pop()),
            _ => {}
        }
        Ok(changes)
    }
    fn stats(&self) -> StoreStats {
        let services = self.late(&[Fault::LateStats]).stats().services;
        let of = self.late(&[Fault::LateStats, Fault::TwoMoments]);
        StoreStats::new(services, of.stats().subscriptions)
    }
}

pub(crate) struct Reader {
    inner: SnapshotReader,
    fault: Fault,
    reads: usize,
    shown: Vec<View>,
}

impl Snapshots for Twin {
    type Snapshot = View;

    fn snapshot(&self) -> View {
        self.snapshot_of(self.inner.snapshot())
    }
}

impl Views for Twin {
    type Reader = Reader;

    fn reader(&self) -> Reader {
        Reader {
            inner: self.inner.reader(),
            fault: self.fault,
            reads: 0,
            shown: Vec::new(),
        }
    }
    fn view(reader: &mut Reader) -> &View {
        let n = reader.reads;
        reader.reads += 1;
        match reader.fault {
            Fault::LateReader if !n.is_multiple_of(3) => {}
            Fault::ReaderGoesBack if n % 50 == 49 => return &reader.shown[0],
            _ => {
                let newest = reader.inner.view().clone();
                reader.shown.push(View {
                    moments: [newest.clone(), newest],
                    fault: Fault::None,
                    reads: Arc::default(),
                    gone: Arc::default(),
                });
            }
        }
        reader.shown.last().expect("the first read shows one")
    }
    fn read<R>(reader: &mut Reader, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Result<R> {
        let answer = match Self::view(reader).get(key) {
            Some(info) => Ok(read(info)),
            None => Err(match key.parse::<ServiceKey>() {
                Ok(_) => StoreError::NotFound(key.into()),
                Err(invalid) => invalid,
            }),
        };
        // A late reader is not late with this. It comes after the view, which may be that of
        // the close: nothing is in it.
        match reader.inner.with_service(key, |_| ()) {
            Err(StoreError::Closed) => Err(StoreError::Closed),
            _ => answer,
        }
    }
}
