//! One thing that differs between two states.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::model::cause::Cause;
use crate::model::host::Host;
use crate::model::key::ServiceKey;
use crate::model::protocol::Protocol;
use crate::model::provider::Provider;
use crate::model::record::ServiceInfo;

/// One thing that differs between two states of a registry.
///
/// # The law
///
/// The differences from one state to a later one, applied to the first in their order,
/// give the second: its records, their revisions and incarnations, its subscriptions and
/// the order of subscribers in each group. Times of health checks are not part of it: a
/// check that brings nothing but a newer time is no difference. A [`Skipped`](Self::Skipped)
/// record changes nothing when it is applied; no watch tells it, nor does
/// [`changes_since`](crate::RegistryView::changes_since).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// A key that was absent has this record.
    Added(ServiceInfo),
    /// The record under a key is another one.
    #[non_exhaustive]
    Changed {
        /// The record before.
        before: ServiceInfo,
        /// The record now. Another [incarnation](ServiceInfo::incarnation) means that the
        /// pod was registered anew, even where the two are equal.
        after: ServiceInfo,
    },
    /// A key has no record any more.
    #[non_exhaustive]
    Removed {
        /// The last record that it had.
        last: ServiceInfo,
        /// Why.
        cause: Cause,
    },
    /// A subscription has begun. It is the last one of its group.
    #[non_exhaustive]
    Subscribed {
        /// `service:pod` of the subscriber.
        subscriber: ServiceKey,
        /// The group that it hears of.
        group: Arc<str>,
    },
    /// A subscription has ended.
    #[non_exhaustive]
    Unsubscribed {
        /// `service:pod` of the subscriber.
        subscriber: ServiceKey,
        /// The group that it no longer hears of.
        group: Arc<str>,
    },
    /// A record that [`replace_source`](crate::Batch::replace_source) brought was left out,
    /// since its key belongs to another source:
    /// [`OnForeign::Skip`](crate::OnForeign::Skip). Only the answer of the commit has it, one
    /// for each record that was left out.
    #[non_exhaustive]
    Skipped {
        /// The record that stays under the key. Its [`source`](ServiceInfo::source) is the
        /// owner.
        kept: ServiceInfo,
    },
}

/// For stores from elsewhere, which cannot write these variants out: they may get more fields.
impl Difference {
    /// The record under a key was `before`, and is `after`.
    pub fn changed(before: ServiceInfo, after: ServiceInfo) -> Difference {
        Difference::Changed { before, after }
    }

    /// A key has no record any more; `last` was the last one.
    pub fn removed(last: ServiceInfo, cause: Cause) -> Difference {
        Difference::Removed { last, cause }
    }

    /// `subscriber` hears of `group` from now on.
    pub fn subscribed(subscriber: ServiceKey, group: impl Into<Arc<str>>) -> Difference {
        let group = group.into();
        Difference::Subscribed { subscriber, group }
    }

    /// `subscriber` hears of `group` no longer.
    pub fn unsubscribed(subscriber: ServiceKey, group: impl Into<Arc<str>>) -> Difference {
        let group = group.into();
        Difference::Unsubscribed { subscriber, group }
    }

    /// A record for the key of `kept`, which is another source's, was left out.
    pub fn skipped(kept: ServiceInfo) -> Difference {
        Difference::Skipped { kept }
    }

    pub(crate) fn is_skipped(&self) -> bool {
        matches!(self, Difference::Skipped { .. })
    }
}

/// The differences of one commit: mostly one.
pub(crate) type Differences = SmallVec<[Difference; 1]>;

/// What a commit did, for the log and its watches.
#[derive(Default)]
pub(crate) struct CommitEffect {
    /// What it changed, as a net effect.
    pub(crate) differences: Differences,
    /// Whether it made the whole state another one, of which watches are told as a state.
    pub(crate) is_restored: bool,
}

/// What a record takes in memory if nobody else has it, at most.
fn record_bytes(service: &ServiceInfo) -> usize {
    // What an allocator adds to a text.
    const BESIDE: usize = 16;
    // A node of a `BTreeMap` has room for 11 entries and 12 children, and all but one hold at
    // least 5.
    const NODE: usize = 11 * 2 * size_of::<String>() + 12 * size_of::<usize>() + 2 * BESIDE;
    let registration = service.registration();
    let texts = [
        &registration.service_name,
        &registration.pod_name,
        &registration.health_check_url,
        &registration.notification_url,
        &registration.zone,
    ];
    let groups = &registration.subscriptions;
    let metadata = &registration.metadata;
    let entries = metadata.iter().flat_map(|(key, value)| [key, value]);
    let texts = texts.into_iter().chain(groups).chain(entries);
    let texts: usize = texts.map(|text| text.capacity() + BESIDE).sum();
    let providers = &registration.providers;
    let names = providers.iter().map(|provider| {
        let protocol = match &provider.protocol {
            Protocol::Other(name) => name.capacity() + BESIDE,
            _ => 0,
        };
        let host = match &provider.host {
            Host::Name(name) => name.capacity() + BESIDE,
            Host::Ip(_) => 0,
        };
        protocol + host
    });
    let providers = providers.capacity() * size_of::<Provider>() + names.sum::<usize>();
    let source = service.source().map_or(0, |source| source.len() + BESIDE);
    let groups = groups.capacity() * size_of::<String>();
    let nodes = if metadata.is_empty() {
        0
    } else {
        metadata.len() / 5 + 1
    };
    // The key is a text of its own.
    400 + texts + service.key().len() + source + providers + groups + nodes * NODE
}

impl Difference {
    /// How many bytes it keeps in memory beside itself and what the store has, at most.
    ///
    /// A record that a difference brings is in the store until a later difference takes it
    /// away, which counts it, and which a log forgets later.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Difference::Added(_) | Difference::Skipped { .. } => 0,
            Difference::Changed { before, after } => {
                let is_shared = std::ptr::eq(before.registration(), after.registration());
                if is_shared { 0 } else { record_bytes(before) }
            }
            Difference::Removed { last, .. } => record_bytes(last),
            Difference::Subscribed { subscriber, group }
            | Difference::Unsubscribed { subscriber, group } => subscriber.len() + group.len() + 64,
        }
    }
}
