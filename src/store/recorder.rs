//! Records what a commit changes, for the log and for callers that need it.

use std::mem;
use std::sync::Arc;

use super::write::{Before, ClearTables, Put, WriteTables, replace_all};
use crate::changes::{Aftermath, CommitEffect, Difference, Log, net};
use crate::model::cause::Cause;
use crate::model::error::Result;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;
use crate::model::status::{HealthUpdate, ServiceStatus};
use crate::model::subscription::Subscription;
use crate::model::time::Moment;

/// Tables in a turn of a writer, together with their changes if they are recorded.
pub(crate) struct RecordingTables<'t, T> {
    tables: &'t mut T,
    effect: Option<&'t mut CommitEffect>,
    /// Whether the caller needs the differences. Otherwise a restored store does not record
    /// them.
    with_changes: bool,
}

/// The result of a commit.
pub(crate) struct CommitOutcome<R> {
    pub(crate) answer: R,
    pub(crate) revision: Revision,
    /// the differences, if the caller needs them.
    pub(crate) changes: Vec<Difference>,
}

/// What receives the changes of a turn: [`ChangeRecorder`], or [`NoRecorder`].
pub(crate) trait RecordChanges {
    /// Calls `write` to change the tables, records the changes, and returns the result of
    /// `write`.
    fn record_writes<T, R>(
        &mut self,
        tables: &mut T,
        write: impl FnOnce(&mut RecordingTables<'_, T>) -> Result<R>,
    ) -> Result<R>;

    /// Appends a commit to the log, in its turn, after the commit is visible to readers.
    /// Returns the work that is left for after the turn.
    fn append_to_log(
        &mut self,
        revisions: (Revision, Revision),
        append: impl FnOnce(&Log, &mut CommitEffect) -> Aftermath,
    ) -> Option<Aftermath>;

    /// Returns the differences, if the caller needs them.
    fn take_changes(&mut self) -> Vec<Difference>;
}

pub(crate) struct NoRecorder;

impl RecordChanges for NoRecorder {
    #[inline]
    fn record_writes<T, R>(
        &mut self,
        tables: &mut T,
        write: impl FnOnce(&mut RecordingTables<'_, T>) -> Result<R>,
    ) -> Result<R> {
        write(&mut RecordingTables {
            tables,
            effect: None,
            with_changes: false,
        })
    }

    #[inline]
    fn append_to_log(
        &mut self,
        _: (Revision, Revision),
        _: impl FnOnce(&Log, &mut CommitEffect) -> Aftermath,
    ) -> Option<Aftermath> {
        None
    }

    #[inline]
    fn take_changes(&mut self) -> Vec<Difference> {
        Vec::new()
    }
}

/// The state of a turn that records changes.
pub(crate) struct ChangeRecorder<'l> {
    /// `None` if the log does not record.
    log: Option<&'l Log>,
    with_changes: bool,
    effect: CommitEffect,
    changes: Vec<Difference>,
}

impl<'l> ChangeRecorder<'l> {
    /// Returns `None` if neither the log nor the caller needs the changes. Call it in the turn.
    /// With `with_changes` the differences are kept for the caller.
    #[inline]
    pub(crate) fn new(
        log: impl Into<Option<&'l Log>>,
        with_changes: bool,
    ) -> Option<ChangeRecorder<'l>> {
        let log = log.into().filter(|log| log.is_recording());
        // `.ci/hook` compares with a build that never records changes.
        let is_wanted = !cfg!(no_changes) && (log.is_some() || with_changes);
        is_wanted.then(|| ChangeRecorder {
            log,
            with_changes,
            effect: CommitEffect::default(),
            changes: Vec::new(),
        })
    }
}

impl RecordChanges for ChangeRecorder<'_> {
    fn record_writes<T, R>(
        &mut self,
        tables: &mut T,
        write: impl FnOnce(&mut RecordingTables<'_, T>) -> Result<R>,
    ) -> Result<R> {
        write(&mut RecordingTables {
            tables,
            effect: Some(&mut self.effect),
            with_changes: self.with_changes,
        })
    }

    fn append_to_log(
        &mut self,
        (before, revision): (Revision, Revision),
        append: impl FnOnce(&Log, &mut CommitEffect) -> Aftermath,
    ) -> Option<Aftermath> {
        let effect = &mut self.effect;
        net(&mut effect.differences);
        if self.with_changes {
            self.changes = effect.differences.to_vec();
        }
        let log = self.log.filter(|_| before != revision)?;
        if effect.differences.is_empty() && !effect.is_restored && !log.is_idle() {
            log.advance(revision);
            return None;
        }
        Some(append(log, effect))
    }

    fn take_changes(&mut self) -> Vec<Difference> {
        mem::take(&mut self.changes)
    }
}

/// Keeps the code that records changes away from the path without recording.
#[cold]
#[inline(never)]
pub(crate) fn out_of_line<R>(work: impl FnOnce() -> R) -> R {
    work()
}

impl<T: WriteTables> RecordingTables<'_, T> {
    #[inline]
    fn record_difference(&mut self, difference: impl FnOnce(&T) -> Option<Difference>) {
        if let Some(effect) = &mut self.effect {
            out_of_line(|| effect.differences.extend(difference(self.tables)));
        }
    }

    fn remove(&mut self, key: &str, cause: Cause) -> Option<ServiceInfo> {
        let last = self.tables.delete(key)?;
        self.record_difference(|_| {
            let last = last.clone();
            Some(Difference::Removed { last, cause })
        });
        Some(last)
    }
}

impl<T: ClearTables> RecordingTables<'_, T> {
    /// Clears the tables like [`ClearTables::clear`], and records the removals.
    pub(crate) fn clear(&mut self) -> impl Sized + use<T> {
        if let Some(CommitEffect {
            differences: changes,
            ..
        }) = &mut self.effect
        {
            self.tables.each_record(|last| {
                changes.push(Difference::Removed {
                    last: last.clone(),
                    cause: Cause::Cleared,
                });
            });
            self.tables.each_subscription(|subscriber, group| {
                changes.push(unsubscribed(subscriber, group));
            });
        }
        self.tables.clear()
    }
}

/// Returns the change that one step of a commit makes to a record. All steps of a commit give
/// it the same revision, so only its contents distinguish them.
fn difference_between(before: ServiceInfo, after: ServiceInfo) -> Option<Difference> {
    let is_same = before.revision() == after.revision()
        && before.incarnation() == after.incarnation()
        && before.has_same_content(&after);
    (!is_same).then_some(Difference::Changed { before, after })
}

fn unsubscribed(subscriber: &ServiceKey, group: &Arc<str>) -> Difference {
    Difference::Unsubscribed {
        subscriber: subscriber.clone(),
        group: group.clone(),
    }
}

impl<T: WriteTables> WriteTables for RecordingTables<'_, T> {
    fn record(&self, key: &str) -> Option<&ServiceInfo> {
        self.tables.record(key)
    }

    fn each_record(&self, visit: impl FnMut(&ServiceInfo)) {
        self.tables.each_record(visit);
    }

    fn each_subscription(&self, visit: impl FnMut(&ServiceKey, &Arc<str>)) {
        self.tables.each_subscription(visit);
    }

    fn current(&self) -> Revision {
        self.tables.current()
    }

    fn replace_all(&mut self, services: Vec<ServiceInfo>, subscriptions: Vec<Subscription>) {
        if let Some(effect) = &mut self.effect {
            effect.is_restored = true;
        }
        if !self.with_changes {
            return self.tables.replace_all(services, subscriptions);
        }
        replace_all(self, services, subscriptions);
    }

    #[inline]
    fn put_record(&mut self, service: ServiceInfo, how: Put) -> Result<Before> {
        if self.effect.is_none() {
            return self.tables.put_record(service, how);
        }
        out_of_line(|| {
            let key = service.key().clone();
            let before = self.tables.put_record(service, how)?;
            self.record_difference(|tables| {
                let now = tables.record(&key)?.clone();
                match &before {
                    Before::Same => None,
                    Before::Absent => Some(Difference::Added(now)),
                    Before::Other(before) => difference_between(before.clone(), now),
                }
            });
            Ok(before)
        })
    }

    fn delete(&mut self, key: &str) -> Option<ServiceInfo> {
        self.remove(key, Cause::Deleted)
    }

    fn take(&mut self, key: &str, cause: Cause) -> Option<ServiceInfo> {
        let taken = self.remove(key, cause)?;
        self.unsubscribe_all(key);
        Some(taken)
    }

    fn skip(&mut self, key: &str) {
        self.record_difference(|tables| {
            let kept = tables.record(key)?.clone();
            Some(Difference::Skipped { kept })
        });
    }

    #[inline]
    fn set_health(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: Moment,
        see: impl FnOnce(&ServiceInfo),
    ) -> Option<HealthUpdate> {
        let next = self.next_revision();
        let RecordingTables { tables, effect, .. } = self;
        let Some(CommitEffect {
            differences: changes,
            ..
        }) = effect
        else {
            return tables.set_health(key, status, checked_at, see);
        };
        out_of_line(|| {
            tables.set_health(key, status, checked_at, |known| {
                see(known);
                // A newer time alone is not a difference.
                if known.status() != status {
                    let mut after = known.clone();
                    after.set_health(status, checked_at, next);
                    let before = known.clone();
                    changes.push(Difference::Changed { before, after });
                }
            })
        })
    }

    fn subscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let is_new = self.tables.subscribe(subscriber_key, service_group);
        if is_new {
            self.record_difference(|_| {
                Some(Difference::Subscribed {
                    subscriber: subscriber_key.parse().ok()?,
                    group: service_group.into(),
                })
            });
        }
        is_new
    }

    fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let was_there = self.tables.unsubscribe(subscriber_key, service_group);
        if was_there {
            self.record_difference(|_| {
                let subscriber = subscriber_key.parse().ok()?;
                Some(unsubscribed(&subscriber, &service_group.into()))
            });
        }
        was_there
    }

    fn unsubscribe_all(&mut self, subscriber_key: &str) -> Vec<Arc<str>> {
        let groups = self.tables.unsubscribe_all(subscriber_key);
        if let Some(effect) = &mut self.effect
            && !groups.is_empty()
            && let Ok(subscriber) = subscriber_key.parse()
        {
            effect
                .differences
                .extend(groups.iter().map(|group| unsubscribed(&subscriber, group)));
        }
        groups
    }

    #[inline]
    fn settle(&mut self) -> Revision {
        self.tables.settle()
    }
}
