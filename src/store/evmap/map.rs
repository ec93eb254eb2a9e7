//! The map that readers read, and its contents.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::hash::RandomState;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::model::revision::Revision;
use crate::store::{RegistryView, StoreStats};

pub(super) type WriteHandle = evmap::handles::WriteHandle<Arc<str>, Value, Meta, RandomState>;
pub(super) type ReadHandle = evmap::handles::ReadHandle<Arc<str>, Value, Meta, RandomState>;
type Guard<'a> = evmap::refs::MapReadRef<'a, Arc<str>, Value, Meta, RandomState>;

/// Data that is published together with the entries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meta {
    pub(super) revision: Revision,
    pub(super) stats: StoreStats,
}

/// The indexes that share the map. [`super`] lists their keys.
#[derive(Clone, Copy)]
pub(super) enum Index {
    Services,
    Names,
    Groups,
}

impl Index {
    /// Returns the key of the map for `name` in this index.
    pub(super) fn text<T: for<'a> From<&'a str> + From<String>>(self, name: &str) -> T {
        match self {
            Index::Services => name.into(),
            Index::Names => [":", name].concat().into(),
            Index::Groups => ["::", name].concat().into(),
        }
    }
}

#[derive(Clone)]
pub(super) enum Value {
    Service(ServiceInfo),
    Pod(ServiceKey),
    /// A subscriber, and the number of its subscription.
    Subscriber(u64, ServiceKey),
}

// Equality and hash distinguish the values of one entry, which are pods of a name, subscribers
// of a group, or one record. They depend only on data that never changes.

impl PartialEq for Value {
    fn eq(&self, other: &Value) -> bool {
        match (self, other) {
            (Value::Service(one), Value::Service(other)) => one == other,
            (Value::Pod(one), Value::Pod(other)) => one == other,
            (Value::Subscriber(one, _), Value::Subscriber(other, _)) => one == other,
            _ => false,
        }
    }
}

impl Eq for Value {}

impl Hash for Value {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Value::Service(service) => service.key().hash(state),
            Value::Pod(key) => key.hash(state),
            Value::Subscriber(number, _) => number.hash(state),
        }
    }
}

/// Creates an empty map and publishes it once, so that readers find it.
#[allow(unsafe_code)]
pub(super) fn new(hasher: &RandomState) -> (WriteHandle, ReadHandle) {
    // SAFETY: `with_hasher` requires that the hasher and its clones return the same hash for
    // the same input. It is a seed, which never changes. `assert_stable` requires the same of
    // `Hash` and `Eq` of keys and values. Keys are strings behind an `Arc`. Values compare and
    // hash an immutable record, a string or a number, see above. None of them has interior
    // mutability that affects the result.
    let (mut writer, reader) = unsafe {
        evmap::Options::default()
            .with_meta(Meta::default())
            .with_hasher(hasher.clone())
            .assert_stable()
    };
    writer.publish();
    (writer, reader)
}

/// One state of the map while its guard is held.
pub(crate) struct View<'a> {
    guard: &'a Guard<'a>,
}

impl<'a> View<'a> {
    #[inline]
    pub(super) fn new(guard: &'a Guard<'a>) -> View<'a> {
        View { guard }
    }

    fn values(&self, index: Index, name: &str) -> impl Iterator<Item = &Value> + use<'_> {
        let values = self.guard.get(&*index.text::<String>(name));
        values.into_iter().flatten()
    }
}

impl<'a> RegistryView for View<'a> {
    fn revision(&self) -> Revision {
        self.guard.meta().revision
    }

    #[inline]
    fn get(&self, key: &str) -> Option<&ServiceInfo> {
        match self.guard.get_one(key)? {
            Value::Service(service) => Some(service),
            Value::Pod(_) | Value::Subscriber(..) => None,
        }
    }

    fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
        // Skips the entries of the other indexes without reading their values, since a group
        // may have many subscribers.
        let entries = self.guard.iter().filter(|(text, _)| !text.starts_with(':'));
        entries.filter_map(|(_, values)| match values.get_one()? {
            Value::Service(service) => Some(service),
            Value::Pod(_) | Value::Subscriber(..) => None,
        })
    }

    fn services_by_name<'b>(
        &'b self,
        service_name: &str,
    ) -> impl Iterator<Item = &'b ServiceInfo> + use<'a, 'b> {
        let pods = self.values(Index::Names, service_name);
        pods.filter_map(|value| match value {
            Value::Pod(key) => self.get(key),
            Value::Service(_) | Value::Subscriber(..) => None,
        })
    }

    fn subscribers<'b>(
        &'b self,
        service_group: &str,
    ) -> impl Iterator<Item = &'b ServiceKey> + use<'a, 'b> {
        let values = self.values(Index::Groups, service_group);
        let mut subscribers: Vec<_> = values
            .filter_map(|value| match value {
                Value::Subscriber(number, subscriber) => Some((*number, subscriber)),
                Value::Service(_) | Value::Pod(_) => None,
            })
            .collect();
        subscribers.sort_unstable_by_key(|(number, _)| *number);
        subscribers.into_iter().map(|(_, subscriber)| subscriber)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let texts = self.guard.iter().map(|(text, _)| &**text);
        let names = texts.filter_map(|text| text.strip_prefix(':'));
        names.filter(|name| !name.starts_with(':'))
    }

    fn groups(&self) -> impl Iterator<Item = &str> {
        let texts = self.guard.iter().map(|(text, _)| &**text);
        texts.filter_map(|text| text.strip_prefix("::"))
    }

    fn stats(&self) -> StoreStats {
        self.guard.meta().stats
    }
}
