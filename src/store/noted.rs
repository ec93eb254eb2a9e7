//! Records what a commit changes, for the log and for a caller that asks.

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

/// The tables during the turn of a writer. Records their changes if somebody needs them.
pub(crate) struct Noted<'t, T> {
    tables: &'t mut T,
    effect: Option<&'t mut CommitEffect>,
    /// Whether the caller has asked for the differences. Otherwise replacing the whole state
    /// does not record them.
    is_asked: bool,
}

/// The result of a commit.
pub(crate) struct Written<R> {
    pub(crate) answer: R,
    pub(crate) revision: Revision,
    /// What it changed, if the caller asked for that.
    pub(crate) changes: Vec<Difference>,
}

/// Reports the commit of a turn: [`Telling`] does, and [`Nobody`] does nothing.
pub(crate) trait Tell {
    /// Calls `write` to change the tables, records the changes, and returns its result.
    fn note<T, R>(
        &mut self,
        tables: &mut T,
        write: impl FnOnce(&mut Noted<'_, T>) -> Result<R>,
    ) -> Result<R>;

    /// Reports a commit in its turn, after it becomes visible. Returns the work that remains
    /// after the turn is released.
    fn tell(
        &mut self,
        revisions: (Revision, Revision),
        append: impl FnOnce(&Log, &mut CommitEffect) -> Aftermath,
    ) -> Option<Aftermath>;

    /// Takes the differences. Empty unless the caller asked for them.
    fn asked(&mut self) -> Vec<Difference>;
}

pub(crate) struct Nobody;

impl Tell for Nobody {
    #[inline]
    fn note<T, R>(
        &mut self,
        tables: &mut T,
        write: impl FnOnce(&mut Noted<'_, T>) -> Result<R>,
    ) -> Result<R> {
        write(&mut Noted {
            tables,
            effect: None,
            is_asked: false,
        })
    }

    #[inline]
    fn tell(
        &mut self,
        _: (Revision, Revision),
        _: impl FnOnce(&Log, &mut CommitEffect) -> Aftermath,
    ) -> Option<Aftermath> {
        None
    }

    #[inline]
    fn asked(&mut self) -> Vec<Difference> {
        Vec::new()
    }
}

/// Reports the commit of a turn to the log and to the caller.
pub(crate) struct Telling<'l> {
    /// `None` if the log is not recording.
    log: Option<&'l Log>,
    is_asked: bool,
    effect: CommitEffect,
    asked: Vec<Difference>,
}

impl<'l> Telling<'l> {
    /// Returns `None` if nobody needs the changes. Must be called in the turn. `is_asked` means
    /// that the caller wants the differences.
    #[inline]
    pub(crate) fn new(log: impl Into<Option<&'l Log>>, is_asked: bool) -> Option<Telling<'l>> {
        let log = log.into().filter(|log| log.is_recording());
        // `.ci/hook` compares with a build that has no changes at all.
        let is_wanted = !cfg!(no_changes) && (log.is_some() || is_asked);
        is_wanted.then(|| Telling {
            log,
            is_asked,
            effect: CommitEffect::default(),
            asked: Vec::new(),
        })
    }
}

impl Tell for Telling<'_> {
    fn note<T, R>(
        &mut self,
        tables: &mut T,
        write: impl FnOnce(&mut Noted<'_, T>) -> Result<R>,
    ) -> Result<R> {
        write(&mut Noted {
            tables,
            effect: Some(&mut self.effect),
            is_asked: self.is_asked,
        })
    }

    fn tell(
        &mut self,
        (before, revision): (Revision, Revision),
        append: impl FnOnce(&Log, &mut CommitEffect) -> Aftermath,
    ) -> Option<Aftermath> {
        let effect = &mut self.effect;
        net(&mut effect.differences);
        if self.is_asked {
            self.asked = effect.differences.to_vec();
        }
        let log = self.log.filter(|_| before != revision)?;
        if effect.differences.is_empty() && !effect.is_restored && !log.is_idle() {
            log.pass(revision);
            return None;
        }
        Some(append(log, effect))
    }

    fn asked(&mut self) -> Vec<Difference> {
        mem::take(&mut self.asked)
    }
}

/// Runs `work`, which records or reports changes, outside the hot path of commits that nobody
/// observes.
#[cold]
#[inline(never)]
pub(crate) fn aside<R>(work: impl FnOnce() -> R) -> R {
    work()
}

impl<T: WriteTables> Noted<'_, T> {
    #[inline]
    fn note(&mut self, difference: impl FnOnce(&T) -> Option<Difference>) {
        if let Some(effect) = &mut self.effect {
            aside(|| effect.differences.extend(difference(self.tables)));
        }
    }

    fn remove(&mut self, key: &str, cause: Cause) -> Option<ServiceInfo> {
        let last = self.tables.delete(key)?;
        self.note(|_| {
            let last = last.clone();
            Some(Difference::Removed { last, cause })
        });
        Some(last)
    }
}

impl<T: ClearTables> Noted<'_, T> {
    /// Like [`ClearTables::clear`], and records the removals.
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

/// Returns what one step of a commit changes in a record. All steps of a commit give a record
/// the same revision, so their results can only be distinguished by content.
fn step(before: ServiceInfo, after: ServiceInfo) -> Option<Difference> {
    let is_same = before.revision() == after.revision()
        && before.incarnation() == after.incarnation()
        && before.says_the_same(&after);
    (!is_same).then_some(Difference::Changed { before, after })
}

fn unsubscribed(subscriber: &ServiceKey, group: &Arc<str>) -> Difference {
    Difference::Unsubscribed {
        subscriber: subscriber.clone(),
        group: group.clone(),
    }
}

impl<T: WriteTables> WriteTables for Noted<'_, T> {
    fn record(&self, key: &str) -> Option<&ServiceInfo> {
        self.tables.record(key)
    }

    fn each_record(&self, look: impl FnMut(&ServiceInfo)) {
        self.tables.each_record(look);
    }

    fn each_subscription(&self, look: impl FnMut(&ServiceKey, &Arc<str>)) {
        self.tables.each_subscription(look);
    }

    fn current(&self) -> Revision {
        self.tables.current()
    }

    fn replace_all(&mut self, services: Vec<ServiceInfo>, subscriptions: Vec<Subscription>) {
        if let Some(effect) = &mut self.effect {
            effect.is_restored = true;
        }
        if !self.is_asked {
            return self.tables.replace_all(services, subscriptions);
        }
        replace_all(self, services, subscriptions);
    }

    #[inline]
    fn put_record(&mut self, service: ServiceInfo, how: Put) -> Result<Before> {
        if self.effect.is_none() {
            return self.tables.put_record(service, how);
        }
        aside(|| {
            let key = service.key().clone();
            let before = self.tables.put_record(service, how)?;
            self.note(|tables| {
                let now = tables.record(&key)?.clone();
                match &before {
                    Before::Same => None,
                    Before::Absent => Some(Difference::Added(now)),
                    Before::Other(before) => step(before.clone(), now),
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
        self.note(|tables| {
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
        let Noted { tables, effect, .. } = self;
        let Some(CommitEffect {
            differences: changes,
            ..
        }) = effect
        else {
            return tables.set_health(key, status, checked_at, see);
        };
        aside(|| {
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
            self.note(|_| {
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
            self.note(|_| {
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

    fn settle(&mut self) -> Revision {
        self.tables.settle()
    }
}
