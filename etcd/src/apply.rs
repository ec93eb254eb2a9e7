//! Applies a commit of the reducer to the store.

use service_registry::{
    Batch, Cause, Expected, OnForeign, RegistryStore, Result, ServiceInfo, ServiceKey, StoreError,
};

use crate::reducer::{CommitContent, PodChange};

/// Writes the state of etcd into a store, as the records of one source.
///
/// Does not touch records of other sources. If a health check made on this store is later than the
/// one in etcd, the record keeps its result, unless the pod is registered anew.
pub(crate) struct Target<S> {
    store: S,
    source: Box<str>,
}

/// The outcome of a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ApplyOutcome {
    /// The number of records that were skipped because another source has their keys.
    pub(crate) skipped: usize,
}

impl<S: RegistryStore> Target<S> {
    pub(crate) fn new(store: S, source: impl Into<Box<str>>) -> Target<S> {
        Target {
            store,
            source: source.into(),
        }
    }

    /// Commits `content` atomically. A conflict means that another writer committed between the
    /// read and the commit, so this reads again.
    pub(crate) fn apply(&self, content: CommitContent) -> Result<ApplyOutcome> {
        match content {
            CommitContent::Changes(changes) => self.apply_changes(&changes),
            CommitContent::List { pods, anew } => self.apply_list(pods, &anew),
        }
    }

    fn apply_changes(&self, changes: &[PodChange]) -> Result<ApplyOutcome> {
        loop {
            let mut applied = ApplyOutcome::default();
            let mut batch = Batch::with_capacity(2 * changes.len());
            for change in changes {
                self.add(&mut batch, change, &mut applied)?;
            }
            if let Some(()) = none_on_conflict(self.store.commit(batch).map(|_| ()))? {
                return Ok(applied);
            }
        }
    }

    fn apply_list(&self, pods: Vec<ServiceInfo>, anew: &[ServiceInfo]) -> Result<ApplyOutcome> {
        let mut applied = ApplyOutcome::default();
        // When a registration is unchanged, the store keeps its old registration time; the copy
        // must have the time from etcd.
        let mut other_times = Vec::new();
        if self.store.stats()?.services > 0 {
            for pod in &pods {
                match self.find_own(pod.key())? {
                    Err(()) => applied.skipped += 1,
                    Ok(Some(found)) if found.registered_at() != pod.registered_at() => {
                        other_times.push(PodChange::Save(pod.clone()));
                    }
                    Ok(_) => {}
                }
            }
        }
        let mut batch = Batch::with_capacity(1 + anew.len());
        batch.replace_source(&self.source, pods, OnForeign::Skip);
        if anew.is_empty() && other_times.is_empty() {
            // This batch has no preconditions, so it cannot conflict.
            self.store.commit(batch)?;
            return Ok(applied);
        }
        loop {
            let mut whole = batch.clone();
            for change in &other_times {
                self.add(&mut whole, change, &mut ApplyOutcome::default())?;
            }
            for pod in anew {
                if self.find_own(pod.key())?.is_ok() {
                    whole.register_service(self.with_own_source(pod)?);
                }
            }
            if none_on_conflict(self.store.commit(whole))?.is_some() {
                return Ok(applied);
            }
        }
    }

    fn add(&self, batch: &mut Batch, change: &PodChange, applied: &mut ApplyOutcome) -> Result<()> {
        let key = match change {
            PodChange::Save(pod) | PodChange::Register(pod) => pod.key(),
            PodChange::Remove(key) => key,
        };
        let Ok(found) = self.find_own(key)? else {
            applied.skipped += usize::from(!matches!(change, PodChange::Remove(_)));
            return Ok(());
        };
        match (change, found) {
            (PodChange::Save(pod), Some(found)) => {
                let later = found.last_health_check() > pod.last_health_check();
                let kept = found.last_health_check().filter(|_| later);
                let pod = match kept {
                    Some(at) => self.with_own_source(&pod.with_health(found.status(), at)?)?,
                    None => self.with_own_source(pod)?,
                };
                batch.require(key, Expected::Revision(found.revision()));
                batch.save_service(pod);
            }
            (PodChange::Save(pod), None) => {
                batch.require(key, Expected::Absent);
                batch.save_service(self.with_own_source(pod)?);
            }
            (PodChange::Register(pod), _) => {
                batch.register_service(self.with_own_source(pod)?);
            }
            (PodChange::Remove(_), Some(found)) => {
                let expected = Expected::Incarnation(found.incarnation());
                batch.require(key, expected);
                batch.remove_if(key, expected, Cause::Deleted);
            }
            (PodChange::Remove(_), None) => {}
        }
        Ok(())
    }

    fn with_own_source(&self, pod: &ServiceInfo) -> Result<ServiceInfo> {
        pod.clone().with_source(&self.source)
    }

    /// Returns the record under a key, or an error if it belongs to another source.
    fn find_own(&self, key: &ServiceKey) -> Result<Result<Option<ServiceInfo>, ()>> {
        let found = self.store.find_service(key)?;
        let is_foreign = |found: &ServiceInfo| found.source() != Some(&*self.source);
        Ok(match found {
            Some(found) if is_foreign(&found) => Err(()),
            found => Ok(found),
        })
    }
}

/// Returns the answer of a commit, or `None` if it met a conflict.
fn none_on_conflict<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(StoreError::BatchRejected { source, .. })
            if matches!(*source, StoreError::Conflict(_)) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use service_registry::{MemoryStore, ServiceRegistration, ServiceStatus};

    use super::*;

    fn pod(name: &str) -> ServiceInfo {
        let pod = ServiceInfo::new(ServiceRegistration::new("web", name)).unwrap();
        pod.with_registered_at(SystemTime::UNIX_EPOCH).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn list(pods: Vec<ServiceInfo>) -> CommitContent {
        let anew = Vec::new();
        CommitContent::List { pods, anew }
    }

    #[test]
    fn the_later_check_of_the_two_stays() {
        let store = MemoryStore::new();
        let target = Target::new(&store, "etcd");
        let seen = |status, seconds| pod("1").with_health(status, at(seconds)).unwrap();
        target
            .apply(list(vec![seen(ServiceStatus::Unknown, 1)]))
            .unwrap();
        store
            .update_health_status("web:1", ServiceStatus::Unhealthy, at(5))
            .unwrap();
        let of_etcd = PodChange::Save(seen(ServiceStatus::Healthy, 3));
        target.apply(CommitContent::Changes(vec![of_etcd])).unwrap();
        assert_eq!(
            store.get_service("web:1").unwrap().status(),
            ServiceStatus::Unhealthy
        );
        let of_etcd = PodChange::Save(seen(ServiceStatus::Healthy, 6));
        target.apply(CommitContent::Changes(vec![of_etcd])).unwrap();
        assert_eq!(
            store.get_service("web:1").unwrap().status(),
            ServiceStatus::Healthy
        );
        // The check made here was of the previous incarnation.
        store
            .update_health_status("web:1", ServiceStatus::Unhealthy, at(9))
            .unwrap();
        let before = store.get_service("web:1").unwrap();
        let anew = PodChange::Register(seen(ServiceStatus::Healthy, 7));
        target.apply(CommitContent::Changes(vec![anew])).unwrap();
        let after = store.get_service("web:1").unwrap();
        assert_eq!(after.status(), ServiceStatus::Healthy);
        assert!(after.incarnation() > before.incarnation());
    }

    #[test]
    fn what_is_anothers_is_left_alone_and_counted() {
        let store = MemoryStore::new();
        let of_file = pod("1").with_source("file").unwrap();
        store.save_service(of_file.clone()).unwrap();
        let target = Target::new(&store, "etcd");
        let applied = target.apply(list(vec![pod("1"), pod("2")])).unwrap();
        assert_eq!(applied.skipped, 1);
        let changes = CommitContent::Changes(vec![
            PodChange::Register(pod("1")),
            PodChange::Save(pod("1")),
            PodChange::Remove(pod("1").key().clone()),
            PodChange::Remove(pod("2").key().clone()),
        ]);
        assert_eq!(target.apply(changes).unwrap().skipped, 2);
        assert_eq!(store.get_all_services().unwrap(), [of_file]);
    }

    #[test]
    fn a_list_is_a_difference_and_starts_only_the_requested_incarnations() {
        let store = MemoryStore::new();
        let target = Target::new(&store, "etcd");
        target
            .apply(list(vec![pod("1"), pod("2"), pod("3")]))
            .unwrap();
        let first = store.revision();
        store.add_subscription("web:1", "db").unwrap();
        let before = store.revision();
        target
            .apply(list(vec![pod("1"), pod("2"), pod("3")]))
            .unwrap();
        assert_eq!(store.revision(), before, "nothing has changed");
        let anew = vec![pod("2")];
        let pods = vec![pod("1"), pod("2")];
        target.apply(CommitContent::List { pods, anew }).unwrap();
        let incarnation = |key| store.get_service(key).unwrap().incarnation();
        assert_eq!(incarnation("web:1"), first);
        assert_eq!(incarnation("web:2"), before.next());
        assert!(!store.contains_service("web:3").unwrap());
        assert_eq!(store.get_subscribers("db").unwrap(), ["web:1"]);
    }

    #[test]
    fn a_list_brings_the_time_of_registration_that_etcd_has() {
        let store = MemoryStore::new();
        let target = Target::new(&store, "etcd");
        target.apply(list(vec![pod("1"), pod("2")])).unwrap();
        store
            .update_health_status("web:1", ServiceStatus::Unhealthy, at(5))
            .unwrap();
        let (before, revision) = (store.get_service("web:1").unwrap(), store.revision());
        let later = pod("1").with_registered_at(at(9)).unwrap();
        target.apply(list(vec![later, pod("2")])).unwrap();
        let after = store.get_service("web:1").unwrap();
        assert_eq!(after.registered_at(), at(9));
        assert_eq!(after.status(), ServiceStatus::Unhealthy);
        assert_eq!(after.incarnation(), before.incarnation());
        assert_eq!(store.revision(), revision.next(), "one commit");
    }

    #[test]
    fn a_closed_store_is_an_error() {
        let store = MemoryStore::new();
        let target = Target::new(&store, "etcd");
        store.close().unwrap();
        assert_eq!(target.apply(list(Vec::new())), Err(StoreError::Closed));
    }
}
