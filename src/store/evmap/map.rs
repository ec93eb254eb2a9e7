//! The map that readers read, and what it holds.

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

/// What is published with the entries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meta {
    pub(super) revision: Revision,
    pub(super) stats: StoreStats,
}

/// The indexes that share the map; see the texts in [`super`].
#[derive(Clone, Copy)]
pub(super) enum Index {
    Services,
    Names,
    Groups,
}

impl Index {
    /// The key of the map under which `name` stands in this index.
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

// Equality and hash tell apart the values of one entry, which are pods of a name,
// or subscribers of a group, or one record. They depend on nothing that changes.

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

/// An empty map that has been published once, so that readers find it.
#[allow(unsafe_code)]
pub(super) fn new(hasher: &RandomState) -> (WriteHandle, ReadHandle) {
    // SAFETY: `with_hasher` asks that the hasher yields the same for the same
    // input, its clones among them: it is a seed, which is never changed.
    // `assert_stable` asks the same of `Hash` and `Eq` of keys and values. Keys
    // are texts behind an `Arc`. Values compare and hash an immutable record, a
    // text or a number, see above; none of them has interior mutability that
    // takes part.
    let (mut writer, reader) = unsafe {
        evmap::Options::default()
            .with_meta(Meta::default())
            .with_hasher(hasher.clone())
            .assert_stable()
    };
    writer.publish();
    (writer, reader)
}

/// One state of the map, for as long as its guard is held.
pub(super) struct View<'a> {
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
        // The other indexes are passed over entry by entry, without a look at what
        // stands in them: a group may have many subscribers.
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
