//! The contenders: a few lines each.

use std::sync::{Arc, Mutex, RwLock};

use bustle::{Collection, CollectionHandle, Measurement, Workload};
use foldhash::fast::RandomState;

type Contender = (&'static str, fn(&Workload) -> Measurement);

pub(crate) const ALL: &[Contender] = &[
    ("versioned-map", Workload::run_silently::<Versioned>),
    ("versioned-map, reader", Workload::run_silently::<Reader>),
    ("papaya", Workload::run_silently::<Papaya>),
    ("scc::HashMap", Workload::run_silently::<SccMap>),
    ("scc::HashIndex", Workload::run_silently::<SccIndex>),
    ("dashmap", Workload::run_silently::<Dash>),
    ("flurry", Workload::run_silently::<Flurry>),
    ("evmap", Workload::run_silently::<Evmap>),
    ("concread", Workload::run_silently::<Concread>),
    ("RwLock of hashbrown", Workload::run_silently::<Locked>),
];

/// A map behind an `Arc`, whose handles are clones of the `Arc`.
macro_rules! shared {
    ($name:ident($map:ty), $new:expr, |$own:ident, $key:ident|
        $get:expr, $insert:expr, $remove:expr, $update:expr) => {
        #[derive(Clone)]
        struct $name(Arc<$map>);

        impl Collection for $name {
            type Handle = $name;

            fn with_capacity(capacity: usize) -> $name {
                let new: fn(usize) -> $map = $new;
                $name(Arc::new(new(capacity)))
            }

            fn pin(&self) -> $name {
                self.clone()
            }
        }

        impl CollectionHandle for $name {
            type Key = u64;

            fn get(&mut self, $key: &u64) -> bool {
                let $own = &*self.0;
                $get
            }

            fn insert(&mut self, $key: &u64) -> bool {
                let $own = &*self.0;
                $insert
            }

            fn remove(&mut self, $key: &u64) -> bool {
                let $own = &*self.0;
                $remove
            }

            fn update(&mut self, $key: &u64) -> bool {
                let $own = &*self.0;
                $update
            }
        }
    };
}

#[allow(clippy::trivially_copy_pass_by_ref)] // the signature that the maps need
fn see(value: &u64) {
    std::hint::black_box(*value);
}

shared!(
    Versioned(versioned_map::VersionedMap<u64, u64>),
    |_| versioned_map::VersionedMap::new(),
    |map, key| map.with(key, see).is_some(),
    map.insert(*key, 0),
    map.remove(key),
    map.update(key, |value| value + 1)
);

shared!(
    Papaya(papaya::HashMap<u64, u64, RandomState>),
    |capacity| papaya::HashMap::with_capacity_and_hasher(capacity, RandomState::default()),
    |map, key| map.pin().get(key).map(see).is_some(),
    map.pin().insert(*key, 0).is_none(),
    map.pin().remove(key).is_some(),
    map.pin().update(*key, |value| value + 1).is_some()
);

shared!(
    SccMap(scc::HashMap<u64, u64, RandomState>),
    |capacity| scc::HashMap::with_capacity_and_hasher(capacity, RandomState::default()),
    |map, key| map.read_sync(key, |_, value| see(value)).is_some(),
    map.insert_sync(*key, 0).is_ok(),
    map.remove_sync(key).is_some(),
    map.update_sync(key, |_, value| *value += 1).is_some()
);

shared!(
    SccIndex(scc::HashIndex<u64, u64, RandomState>),
    |capacity| scc::HashIndex::with_capacity_and_hasher(capacity, RandomState::default()),
    |map, key| map.peek_with(key, |_, value| see(value)).is_some(),
    map.insert_sync(*key, 0).is_ok(),
    map.remove_sync(key),
    map.get_sync(key)
        .map(|mut entry| {
            let next = *entry.get() + 1;
            entry.update(next);
        })
        .is_some()
);

shared!(
    Dash(dashmap::DashMap<u64, u64, RandomState>),
    |capacity| dashmap::DashMap::with_capacity_and_hasher(capacity, RandomState::default()),
    |map, key| map.get(key).map(|value| see(&value)).is_some(),
    map.insert(*key, 0).is_none(),
    map.remove(key).is_some(),
    map.get_mut(key).map(|mut value| *value += 1).is_some()
);

shared!(
    Flurry(flurry::HashMap<u64, u64, RandomState>),
    |capacity| flurry::HashMap::with_capacity_and_hasher(capacity, RandomState::default()),
    |map, key| map.get(key, &map.guard()).map(see).is_some(),
    map.insert(*key, 0, &map.guard()).is_none(),
    map.remove(key, &map.guard()).is_some(),
    map.compute_if_present(key, |_, value| Some(value + 1), &map.guard())
        .is_some()
);

shared!(
    Locked(RwLock<hashbrown::HashMap<u64, u64, RandomState>>),
    |capacity| {
        let hasher = RandomState::default();
        RwLock::new(hashbrown::HashMap::with_capacity_and_hasher(
            capacity, hasher,
        ))
    },
    |map, key| map.read().unwrap().get(key).map(see).is_some(),
    map.write().unwrap().insert(*key, 0).is_none(),
    map.write().unwrap().remove(key).is_some(),
    map.write()
        .unwrap()
        .get_mut(key)
        .map(|value| *value += 1)
        .is_some()
);

shared!(
    Concread(concread::hashmap::HashMap<u64, u64>),
    |_| concread::hashmap::HashMap::new(),
    |map, key| map.read().get(key).map(see).is_some(),
    {
        let mut commit = map.write();
        let is_new = commit.insert(*key, 0).is_none();
        commit.commit();
        is_new
    },
    {
        let mut commit = map.write();
        let was_there = commit.remove(key).is_some();
        commit.commit();
        was_there
    },
    {
        let mut commit = map.write();
        let was_there = commit.get_mut(key).map(|value| *value += 1).is_some();
        commit.commit();
        was_there
    }
);

/// `VersionedMap` with a reader handle for each thread, which advances to the newest revision.
struct Reader(Arc<versioned_map::VersionedMap<u64, u64>>);

struct OwnReader {
    map: Arc<versioned_map::VersionedMap<u64, u64>>,
    reader: versioned_map::MapReader<u64, u64>,
}

impl Collection for Reader {
    type Handle = OwnReader;

    fn with_capacity(_: usize) -> Reader {
        Reader(Arc::default())
    }

    fn pin(&self) -> OwnReader {
        OwnReader {
            map: self.0.clone(),
            reader: self.0.reader(),
        }
    }
}

impl CollectionHandle for OwnReader {
    type Key = u64;

    fn get(&mut self, key: &u64) -> bool {
        self.reader.get(key).map(see).is_some()
    }

    fn insert(&mut self, key: &u64) -> bool {
        self.map.insert(*key, 0)
    }

    fn remove(&mut self, key: &u64) -> bool {
        self.map.remove(key)
    }

    fn update(&mut self, key: &u64) -> bool {
        self.map.update(key, |value| value + 1)
    }
}

type Write = evmap::handles::WriteHandle<u64, u64, (), RandomState>;
type Read = evmap::handles::ReadHandle<u64, u64, (), RandomState>;

/// `evmap`, which publishes each write before the call returns, as the others do.
struct Evmap {
    write: Arc<Mutex<Write>>,
    /// The reader from which those of the threads are cloned.
    read: Mutex<Read>,
}

struct EvmapHandle {
    write: Arc<Mutex<Write>>,
    read: Read,
}

impl Collection for Evmap {
    type Handle = EvmapHandle;

    fn with_capacity(capacity: usize) -> Evmap {
        let mut options = evmap::Options::default();
        options = options.with_capacity(capacity);
        // SAFETY: numbers always hash and compare in the same way.
        #[allow(unsafe_code)]
        let (write, read) = unsafe { options.with_hasher(RandomState::default()).assert_stable() };
        Evmap {
            write: Arc::new(Mutex::new(write)),
            read: Mutex::new(read),
        }
    }

    fn pin(&self) -> EvmapHandle {
        EvmapHandle {
            write: self.write.clone(),
            read: self.read.lock().unwrap().clone(),
        }
    }
}

impl CollectionHandle for EvmapHandle {
    type Key = u64;

    fn get(&mut self, key: &u64) -> bool {
        self.read.get_one(key).map(|value| see(&value)).is_some()
    }

    fn insert(&mut self, key: &u64) -> bool {
        let mut write = self.write.lock().unwrap();
        let is_new = !write.contains_key(key);
        write.update(*key, 0).publish();
        is_new
    }

    fn remove(&mut self, key: &u64) -> bool {
        let mut write = self.write.lock().unwrap();
        let was_there = write.contains_key(key);
        if was_there {
            write.remove_entry(*key).publish();
        }
        was_there
    }

    fn update(&mut self, key: &u64) -> bool {
        let mut write = self.write.lock().unwrap();
        let known = write.get_one(key).map(|value| *value);
        if let Some(known) = known {
            write.update(*key, known + 1).publish();
        }
        known.is_some()
    }
}
