//! [`Difference`], a single difference between two states.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::model::cause::Cause;
use crate::model::host::Host;
use crate::model::key::ServiceKey;
use crate::model::protocol::Protocol;
use crate::model::provider::Provider;
use crate::model::record::ServiceInfo;

/// A single difference between two states of a registry.
///
/// # The law
///
/// The differences from one state to a later one, applied to the first in order, produce
/// the second: its records, their revisions and incarnations, its subscriptions and the
/// order of subscribers in each group. The times of health checks are not included: a
/// check that only brings a newer time is not a difference. Applying a
/// [`Skipped`](Self::Skipped) record changes nothing. Neither a watch nor
/// [`changes_since`](crate::RegistryView::changes_since) reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// A record was added under a key that had none.
    Added(ServiceInfo),
    /// The record under a key changed.
    #[non_exhaustive]
    Changed {
        /// The old record.
        before: ServiceInfo,
        /// The new record. A different [incarnation](ServiceInfo::incarnation) means that the
        /// pod was registered again, with or without a removal in between, even if the two
        /// records are equal.
        after: ServiceInfo,
    },
    /// The record under a key was removed.
    #[non_exhaustive]
    Removed {
        /// The last record under the key.
        last: ServiceInfo,
        /// Why it was removed.
        cause: Cause,
    },
    /// A subscription began. It is the last one of its group.
    #[non_exhaustive]
    Subscribed {
        /// The key of the subscriber, `service:pod`.
        subscriber: ServiceKey,
        /// The group that it subscribed to.
        group: Arc<str>,
    },
    /// A subscription ended.
    #[non_exhaustive]
    Unsubscribed {
        /// The key of the subscriber, `service:pod`.
        subscriber: ServiceKey,
        /// The group that it was subscribed to.
        group: Arc<str>,
    },
    /// [`replace_source`](crate::Batch::replace_source) skipped a record because its key
    /// belongs to another source: see [`OnForeign::Skip`](crate::OnForeign::Skip). Only the
    /// result of the commit contains it, once for each skipped record.
    #[non_exhaustive]
    Skipped {
        /// The record that stays under the key. Its [`source`](ServiceInfo::source) is the
        /// owner.
        kept: ServiceInfo,
    },
}

/// Constructors for third-party stores. The variants are non-exhaustive because they may get
/// more fields, so other crates cannot construct them directly.
impl Difference {
    /// Creates a [`Changed`](Self::Changed).
    pub fn changed(before: ServiceInfo, after: ServiceInfo) -> Difference {
        Difference::Changed { before, after }
    }

    /// Creates a [`Removed`](Self::Removed).
    pub fn removed(last: ServiceInfo, cause: Cause) -> Difference {
        Difference::Removed { last, cause }
    }

    /// Creates a [`Subscribed`](Self::Subscribed).
    pub fn subscribed(subscriber: ServiceKey, group: impl Into<Arc<str>>) -> Difference {
        let group = group.into();
        Difference::Subscribed { subscriber, group }
    }

    /// Creates an [`Unsubscribed`](Self::Unsubscribed).
    pub fn unsubscribed(subscriber: ServiceKey, group: impl Into<Arc<str>>) -> Difference {
        let group = group.into();
        Difference::Unsubscribed { subscriber, group }
    }

    /// Creates a [`Skipped`](Self::Skipped).
    pub fn skipped(kept: ServiceInfo) -> Difference {
        Difference::Skipped { kept }
    }

    pub(crate) fn is_skipped(&self) -> bool {
        matches!(self, Difference::Skipped { .. })
    }
}

/// The differences of one commit, usually one.
pub(crate) type Differences = SmallVec<[Difference; 1]>;

/// The effect of a commit, for the log and its watches.
#[derive(Default)]
pub(crate) struct CommitEffect {
    /// What it changed, as a net effect.
    pub(crate) differences: Differences,
    /// Whether it replaced the whole state. Watches then receive the new state.
    pub(crate) is_restored: bool,
}

/// Returns the most memory that a record takes, in bytes, if nothing else shares it.
fn record_bytes(service: &ServiceInfo) -> usize {
    // The overhead of the allocator for a string.
    const BESIDE: usize = 16;
    // A node of a `BTreeMap` has space for 11 entries and 12 children. All nodes except one have
    // at least 5 entries.
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
    // The key is a separate string.
    400 + texts + service.key().len() + source + providers + groups + nodes * NODE
}

impl Difference {
    /// Returns the most memory that it keeps, in bytes, besides itself and what is in the store.
    ///
    /// A record that a difference adds is in the store until a later difference removes it.
    /// Only the later difference counts the record, and the log forgets that one later.
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
