//! One sweep: it reads the changes of the store, decides about the overdue leases, and commits.

use std::time::Instant;

use hashbrown::HashMap;

use super::inner::LeasesInner;
use super::slot::{Nanos, Slot};
use super::sweeper::{Sweeper, Withheld};
use super::table::LEASES_PER_LOCK;
use crate::changes::{Difference, Event};
use crate::hash::RandomState;
use crate::model::batch::Batch;
use crate::model::cause::Cause;
use crate::model::condition::Expected;
use crate::model::error::{Result, StoreError};
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;
use crate::model::status::ServiceStatus;
use crate::store::RegistryStore;

/// The result of a [`sweep`](super::Leases::sweep).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sweep {
    /// The last records of the removed pods.
    pub expired: Vec<ServiceInfo>,
    /// All pods that are withheld, including those that earlier sweeps found.
    pub withheld: Vec<ServiceKey>,
    /// When the next sweep may find something to do: a lease that may have ended, or a withheld
    /// pod whose time is over. `None` if nothing ends.
    pub next: Option<Instant>,
}

impl<S: RegistryStore> LeasesInner<S> {
    pub(super) fn sweep(&self, sweeper: &mut Sweeper, now: Nanos) -> Result<Sweep> {
        self.read_changes(sweeper)?;
        sweeper.guard.expire_window(now);
        self.decide(sweeper, now);
        let expired = self.remove_expired(sweeper)?;
        for last in &expired {
            sweeper.guard.record_expired(now, last.key());
        }
        for slots in sweeper.to_remove.chunks(LEASES_PER_LOCK) {
            let mut table = self.table();
            for slot in slots {
                table.remove(slot);
            }
        }
        sweeper.to_remove.clear();
        let mut table = self.table();
        table.expired += expired.len() as u64;
        table.withheld = sweeper.withheld.len();
        let ends = sweeper.withheld.iter().map(|one| one.until);
        let next = ends.chain(table.next()).min();
        Ok(Sweep {
            expired,
            withheld: (sweeper.withheld.iter())
                .map(|one| one.slot.key.clone())
                .collect(),
            next: next.and_then(|next| self.instant(next)),
        })
    }

    /// Reads the changes that others made to pods with leases, and counts the pods.
    ///
    /// It reads commit by commit: the net effect of several commits would hide a pod that came
    /// and went since the last sweep.
    fn read_changes(&self, sweeper: &mut Sweeper) -> Result<()> {
        // The next sweep reads what is committed from here on.
        let head = self.registry.revision();
        let mut is_behind = true;
        while is_behind {
            match sweeper.watch.try_recv_commit()? {
                Some(Event::State {
                    revision, services, ..
                }) => {
                    sweeper.guard.recount(&services);
                    self.remove_gone(&services, revision);
                }
                Some(Event::Changes { revision, changes }) => {
                    let mut table = self.table();
                    for change in &changes {
                        sweeper.guard.count(change);
                        match change {
                            Difference::Added(after) | Difference::Changed { after, .. } => {
                                table.remove_if_gone(
                                    after.key(),
                                    Some(after.incarnation()),
                                    revision,
                                );
                            }
                            Difference::Removed { last, .. } => {
                                table.remove_if_gone(last.key(), None, revision);
                            }
                            _ => {}
                        }
                    }
                    // Under the same lock, so that a lease that is inserted next knows that no
                    // sweep reads this commit again.
                    table.seen = revision;
                }
                None => is_behind = false,
            }
            // With `<=` it would also read one event of the next sweep, which does no harm.
            is_behind &= sweeper.watch.revision() < head;
        }
        Ok(())
    }

    fn remove_gone(&self, services: &[ServiceInfo], revision: Revision) {
        let found: HashMap<&str, Revision, RandomState> = (services.iter())
            .map(|service| (&**service.key(), service.incarnation()))
            .collect();
        let keys = {
            let mut table = self.table();
            // Under the same lock, as for changes.
            table.seen = revision;
            table.keys()
        };
        for keys in keys.chunks(LEASES_PER_LOCK) {
            let mut table = self.table();
            for key in keys {
                table.remove_if_gone(key, found.get(&**key).copied(), revision);
            }
        }
    }

    /// Divides the overdue leases into those that end and those that are withheld.
    fn decide(&self, sweeper: &mut Sweeper, now: Nanos) {
        let until = now.saturating_add(sweeper.guard.hold());
        let mut overdue = std::mem::take(&mut sweeper.withheld);
        let put_renewed_back = |overdue: &mut Vec<Withheld>| {
            for renewed in overdue.extract_if(.., |one| one.slot.ends() != one.ended) {
                self.table().put_back(renewed.slot);
            }
        };
        // Before the queue is read: a renewed lease may be due again.
        put_renewed_back(&mut overdue);
        let mut due = Vec::new();
        while self.table().take_due(now, &mut due) {}
        overdue.extend(due.into_iter().map(|(slot, ended)| Withheld {
            slot,
            ended,
            until,
            is_shown: false,
        }));
        put_renewed_back(&mut overdue);
        let withholding = sweeper
            .guard
            .decide(overdue.iter().map(|one| &one.slot.key));
        for one in overdue {
            if one.until > now && withholding.withholds(&one.slot.key) {
                sweeper.withheld.push(one);
            } else if one.slot.expire(now) {
                sweeper.to_remove.push(one.slot);
            } else {
                // Renewed or removed in the meantime.
                self.table().put_back(one.slot);
            }
        }
    }

    /// Removes the pods whose leases have ended and marks the withheld ones, in one commit. If it
    /// fails, the next sweep tries again.
    fn remove_expired(&self, sweeper: &mut Sweeper) -> Result<Vec<ServiceInfo>> {
        let mut batch = Batch::with_capacity(sweeper.to_remove.len());
        for slot in &sweeper.to_remove {
            let expected = Expected::Incarnation(slot.incarnation);
            batch.remove_if(&slot.key, expected, Cause::Expired);
        }
        for one in sweeper.withheld.iter().filter(|one| !one.is_shown) {
            self.mark_unknown(&mut batch, &one.slot)?;
        }
        let mut changes = Vec::new();
        if !batch.is_empty() {
            changes = self.registry.commit_changes(batch)?.1;
        }
        for one in &mut sweeper.withheld {
            one.is_shown = true;
        }
        let expired = changes.into_iter().filter_map(|change| match change {
            Difference::Removed { last, .. } => Some(last),
            _ => None,
        });
        Ok(expired.collect())
    }

    /// Sets the status of a withheld pod to unknown. A draining pod keeps its status, because
    /// it wants no new requests.
    ///
    /// The time of its last check does not change, so the next check applies no matter what its
    /// clock says.
    fn mark_unknown(&self, batch: &mut Batch, slot: &Slot) -> Result<()> {
        let checked_at = self.registry.with_service(&slot.key, |service| {
            use ServiceStatus::{Draining, Unknown};
            let is_known = !matches!(service.status(), Draining | Unknown);
            is_known.then(|| {
                let checked = service.last_health_check();
                checked.unwrap_or_else(|| service.registered_at())
            })
        });
        match checked_at {
            Ok(Some(checked_at)) => {
                let expected = Expected::Incarnation(slot.incarnation);
                batch.update_health_if(&slot.key, expected, ServiceStatus::Unknown, checked_at);
                Ok(())
            }
            Ok(None) | Err(StoreError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
