//! As a map of serde's.

use std::fmt;
use std::hash::{BuildHasher, Hash};
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::commit::Commit;
use crate::map::VersionedMap;
use crate::map_view::{MapSnapshot, PinnedMap};

macro_rules! impl_serialize {
    ($view:ident<$($lifetime:lifetime,)? K, V, S>) => {
        impl<$($lifetime,)? K, V, S> Serialize for $view<$($lifetime,)? K, V, S>
        where
            K: Hash + Eq + Send + Sync + Serialize + 'static,
            V: Send + Sync + Serialize + 'static,
        {
            fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
                // Not `collect_map`: a pinned view's iterator does not know how many there are.
                let mut map = serializer.serialize_map(Some(self.len()))?;
                for (key, value) in self.iter() {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    };
}

impl_serialize!(PinnedMap<'m, K, V, S>);
impl_serialize!(MapSnapshot<K, V, S>);

impl<K, V, S> Serialize for VersionedMap<K, V, S>
where
    K: Hash + Eq + Send + Sync + Serialize + 'static,
    V: Send + Sync + Serialize + 'static,
    S: BuildHasher,
{
    /// The present state. What is replaced meanwhile is freed afterwards.
    fn serialize<T: Serializer>(&self, serializer: T) -> Result<T::Ok, T::Error> {
        self.pinned().serialize(serializer)
    }
}

impl<'de, K, V, S> Deserialize<'de> for VersionedMap<K, V, S>
where
    K: Hash + Eq + Send + Sync + Deserialize<'de> + 'static,
    V: Send + Sync + Deserialize<'de> + 'static,
    S: BuildHasher + Default,
{
    /// In a domain of its own.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<K, V, S>(PhantomData<VersionedMap<K, V, S>>);

        impl<'de, K, V, S> Visitor<'de> for Items<K, V, S>
        where
            K: Hash + Eq + Send + Sync + Deserialize<'de> + 'static,
            V: Send + Sync + Deserialize<'de> + 'static,
            S: BuildHasher + Default,
        {
            type Value = VersionedMap<K, V, S>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let map = VersionedMap::default();
                let mut commit = Commit::new(map.handle());
                while let Some((key, value)) = items.next_entry()? {
                    commit.insert(&map, key, value);
                }
                commit.publish();
                Ok(map)
            }
        }

        deserializer.deserialize_map(Items(PhantomData))
    }
}
