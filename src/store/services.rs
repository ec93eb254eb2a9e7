//! The records of the mutable tables, with the pods of a service next to each other.
//!
//! ```text
//!  index:  hash of a key   ->  place
//!  names:  service name    ->  run (start, length, room)
//!  places: [ a:1 | a:2 | a:3 |  -  | b:1 |  -  | c:1 | c:2 | ... ]
//!            '---- run of a ----'   run of b    run of c
//! ```
//!
//! A record is found through a hash table of 4-byte places. The table stays in the cache even
//! if the records do not, so a look-up costs one cache miss, as in a table of records. The pods
//! of a service are in one *run* of places, so `get_services_by_name` reads memory in order and
//! not at random, which at 100,000 services is most of its time. Iterating over all records is
//! one pass over an array.
//!
//! A full run moves to one of twice its room. The old run is kept for the next one of that
//! size. When too many runs are idle, the places are rebuilt. All of this is amortized O(1),
//! like the growth of a hash table.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::hash::RandomState;
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;

pub(crate) struct Services {
    hasher: RandomState,
    index: HashTable<u32>,
    names: HashTable<Name>,
    arena: Arena,
}

struct Service {
    /// A clone of the key of the record, or of an equal one. It saves one pointer dereference.
    key: ServiceKey,
    info: ServiceInfo,
}

struct Name {
    name: Box<str>,
    run: Run,
}

/// Places `start .. start + len` are taken, and places up to `start + room` are reserved.
/// `room` is 0 or a power of two.
#[derive(Clone, Copy, Default)]
struct Run {
    start: u32,
    len: u32,
    room: u32,
}

/// The places, and the idle runs among them.
#[derive(Default)]
struct Arena {
    places: Vec<Option<Service>>,
    /// The starts of idle runs, by log2 of their room.
    idle: Vec<Vec<u32>>,
    /// The number of places in idle runs.
    idle_places: usize,
}

impl Arena {
    #[inline]
    fn get(&self, place: u32) -> Option<&Service> {
        self.places.get(place as usize)?.as_ref()
    }

    #[inline]
    fn get_mut(&mut self, place: u32) -> Option<&mut Service> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    #[inline]
    fn holds(&self, place: u32, key: &str) -> bool {
        self.get(place).is_some_and(|service| &*service.key == key)
    }

    fn hash(&self, place: u32, hasher: &RandomState) -> u64 {
        let service = self.get(place);
        hasher.hash_one(&service.expect("the index names places that are taken").key)
    }

    fn reserve(&mut self, room: u32) -> u32 {
        let idle = self.idle.get_mut(room.trailing_zeros() as usize);
        if let Some(start) = idle.and_then(Vec::pop) {
            self.idle_places -= room as usize;
            return start;
        }
        let start = self.places.len();
        self.extend(room);
        u32::try_from(start).expect("extending checks this")
    }

    fn extend(&mut self, room: u32) {
        let end = self.places.len() + room as usize;
        assert!(
            u32::try_from(end).is_ok(),
            "the places of a store are numbered with 32 bits"
        );
        self.places.resize_with(end, || None);
    }

    fn release(&mut self, run: Run) {
        if run.room > 0 {
            let class = run.room.trailing_zeros() as usize;
            if self.idle.len() <= class {
                self.idle.resize_with(class + 1, Vec::new);
            }
            self.idle[class].push(run.start);
            self.idle_places += run.room as usize;
        }
    }

    /// Returns whether a third of the places is idle, so that a rebuild is worthwhile.
    fn is_wasteful(&self) -> bool {
        self.places.len() > 64 && self.idle_places * 3 > self.places.len()
    }
}

impl Services {
    pub(crate) fn new(hasher: &RandomState) -> Services {
        Services {
            hasher: hasher.clone(),
            index: HashTable::new(),
            names: HashTable::new(),
            arena: Arena::default(),
        }
    }

    #[cfg(test)]
    pub(crate) fn hasher(&self) -> &RandomState {
        &self.hasher
    }

    pub(crate) fn len(&self) -> usize {
        self.index.len()
    }

    #[inline]
    pub(crate) fn get(&self, key: &str) -> Option<&ServiceInfo> {
        self.find(key).map(|(_, service)| &service.info)
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: &str) -> Option<&mut ServiceInfo> {
        let (place, _) = self.find(key)?;
        self.arena.get_mut(place).map(|service| &mut service.info)
    }

    /// Returns the place of a key and its contents, which are read only once.
    #[inline]
    fn find(&self, key: &str) -> Option<(u32, &Service)> {
        let places = &*self.arena.places;
        let mut found = None;
        let place = self.index.find(self.hasher.hash_one(key), |&place| {
            found = places.get(place as usize).and_then(Option::as_ref);
            found.is_some_and(|service| &*service.key == key)
        });
        Some((*place?, found?))
    }

    /// Iterates over all records. O(*n*).
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ServiceInfo> {
        let places = self.arena.places.iter().flatten();
        places.map(|service| &service.info)
    }

    /// Iterates over the names that have pods. O(names).
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|name| &*name.name)
    }

    /// Iterates over the pods of a service. O(*p*).
    pub(crate) fn by_name<'a>(
        &'a self,
        service_name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a> {
        let hash = self.hasher.hash_one(service_name);
        let name = self.names.find(hash, |name| &*name.name == service_name);
        let run = name.map_or_else(Run::default, |name| name.run);
        let start = run.start as usize;
        let places = self.arena.places.get(start..start + run.len as usize);
        let taken = places.unwrap_or_default().iter().flatten();
        taken.map(|service| &service.info)
    }

    /// Inserts a record whose key is absent.
    pub(crate) fn insert(&mut self, info: ServiceInfo) {
        let Services {
            hasher,
            index,
            names,
            arena,
        } = self;
        let service_name = info.service_name();
        let key = info.key().clone();
        let hash = hasher.hash_one(&key);
        let name = names
            .entry(
                hasher.hash_one(service_name),
                |name| &*name.name == service_name,
                |name| hasher.hash_one(&*name.name),
            )
            .or_insert_with(|| Name {
                name: service_name.into(),
                run: Run::default(),
            })
            .into_mut();
        if name.run.len == name.run.room {
            let room = (name.run.room * 2).max(1);
            resize(&mut name.run, room, hasher, index, arena);
        }
        let place = name.run.start + name.run.len;
        name.run.len += 1;
        arena.places[place as usize] = Some(Service { key, info });
        index.insert_unique(hash, place, |&place| arena.hash(place, hasher));
        self.rebuild_if_wasteful();
    }

    pub(crate) fn remove(&mut self, key: &str) -> Option<ServiceInfo> {
        let Services {
            hasher,
            index,
            names,
            arena,
        } = self;
        let entry = index.find_entry(hasher.hash_one(key), |&place| arena.holds(place, key));
        let (place, _) = entry.ok()?.remove();
        let Service { info, .. } = arena.places[place as usize]
            .take()
            .expect("the index names places that are taken");

        let service_name = info.service_name();
        let hash = hasher.hash_one(service_name);
        let Ok(mut name) = names.find_entry(hash, |name| &*name.name == service_name) else {
            unreachable!("a registered pod stands under its name");
        };
        let run = &mut name.get_mut().run;
        run.len -= 1;
        let last = run.start + run.len;
        if place != last {
            relocate(last, place, hasher, index, arena);
        }
        if run.len == 0 {
            arena.release(*run);
            name.remove();
        } else if run.len <= run.room / 4 {
            let room = run.room / 2;
            resize(run, room, hasher, index, arena);
        }
        shrink(index, |&place| arena.hash(place, hasher));
        shrink(names, |name| hasher.hash_one(&*name.name));
        self.rebuild_if_wasteful();
        Some(info)
    }

    fn rebuild_if_wasteful(&mut self) {
        if self.arena.is_wasteful() {
            self.rebuild();
        }
    }

    /// Rebuilds the places without the idle runs. O(*n*).
    ///
    /// A run keeps its room, of which more than a quarter is taken. If the room were reduced to
    /// fit, the next pod would move the run again, and a peer that causes rebuilds could make
    /// every few operations cost O(*n*).
    #[cold]
    fn rebuild(&mut self) {
        let Services {
            hasher,
            index,
            names,
            arena,
        } = self;
        let rooms = names.iter().map(|name| name.run.room);
        let mut fresh = Arena::default();
        fresh
            .places
            .reserve_exact(rooms.map(|room| room as usize).sum());
        index.clear();
        for Name { run, .. } in names.iter_mut() {
            let start = fresh.reserve(run.room);
            for offset in 0..run.len {
                let service = arena.places[(run.start + offset) as usize].take();
                fresh.places[(start + offset) as usize] = service;
                let place = start + offset;
                let hash = fresh.hash(place, hasher);
                index.insert_unique(hash, place, |&place| fresh.hash(place, hasher));
            }
            run.start = start;
        }
        *arena = fresh;
    }
}

/// Moves a run to one with another room, or extends it in place if it is the last.
fn resize(
    run: &mut Run,
    room: u32,
    hasher: &RandomState,
    index: &mut HashTable<u32>,
    arena: &mut Arena,
) {
    let is_last = (run.start + run.room) as usize == arena.places.len();
    if run.room > 0 && room > run.room && is_last {
        arena.extend(room - run.room);
        run.room = room;
        return;
    }
    let old = *run;
    run.start = arena.reserve(room);
    run.room = room;
    for offset in 0..run.len {
        relocate(old.start + offset, run.start + offset, hasher, index, arena);
    }
    arena.release(old);
}

/// Moves a record to a free place.
fn relocate(
    from: u32,
    to: u32,
    hasher: &RandomState,
    index: &mut HashTable<u32>,
    arena: &mut Arena,
) {
    let hash = arena.hash(from, hasher);
    let place = index.find_mut(hash, |&place| place == from);
    *place.expect("a place that is taken stands in the index") = to;
    arena.places[to as usize] = arena.places[from as usize].take();
}

/// Releases memory if a table is less than an eighth full. Keeps room for twice the entries, so
/// that the earlier removals pay for the work.
fn shrink<T>(table: &mut HashTable<T>, hash: impl Fn(&T) -> u64) {
    if table.capacity() > 16 && table.len() < table.capacity() / 8 {
        table.shrink_to(table.len() * 2, hash);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServiceRegistration;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn pod(service: u8, pod: u8) -> ServiceInfo {
        ServiceInfo::new(ServiceRegistration {
            service_name: format!("s{service}"),
            pod_name: pod.to_string(),
            ..Default::default()
        })
        .unwrap()
    }

    impl Services {
        fn check(&self, model: &BTreeSet<(u8, u8)>) {
            assert_eq!(self.len(), model.len());
            assert_eq!(self.iter().count(), model.len());
            for service in 0..8 {
                let keys = |(s, p): &(u8, u8)| format!("s{s}:{p}");
                let expected: BTreeSet<String> = model
                    .iter()
                    .filter(|(s, _)| *s == service)
                    .map(keys)
                    .collect();
                let found: BTreeSet<String> = self
                    .by_name(&format!("s{service}"))
                    .map(|info| info.key().to_string())
                    .collect();
                assert_eq!(found, expected);
                assert!(
                    expected
                        .iter()
                        .all(|key| self.get(key).unwrap().key() == &**key)
                );
            }
            // No two runs share a place, and every place is in a run or idle.
            let mut ranges: Vec<_> = self.names.iter().map(|name| name.run).collect();
            for (class, starts) in self.arena.idle.iter().enumerate() {
                let room = 1 << class;
                ranges.extend(starts.iter().map(|&start| Run {
                    start,
                    len: 0,
                    room,
                }));
            }
            ranges.sort_by_key(|run| run.start);
            let mut end = 0;
            for run in ranges {
                assert_eq!(run.start, end);
                assert!(run.len <= run.room);
                end += run.room;
            }
            assert_eq!(end as usize, self.arena.places.len());
            assert!(!self.arena.is_wasteful());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn runs_never_overlap_and_no_record_is_lost(
            steps in prop::collection::vec((any::<bool>(), 0..8_u8, 0..40_u8), 0..600)
        ) {
            let mut services = Services::new(&RandomState::default());
            let mut model = BTreeSet::new();
            for (add, service, number) in steps {
                let info = pod(service, number);
                let key = info.key().clone();
                if !add {
                    let removed = services.remove(&key).is_some();
                    prop_assert_eq!(removed, model.remove(&(service, number)));
                } else if model.insert((service, number)) {
                    services.insert(info);
                }
            }
            services.check(&model);
        }
    }

    #[test]
    fn places_are_released() {
        let mut services = Services::new(&RandomState::default());
        for number in 0..=255 {
            for service in 0..8 {
                services.insert(pod(service, number));
            }
        }
        for number in 1..=255 {
            for service in 0..8 {
                services.remove(&format!("s{service}:{number}")).unwrap();
            }
        }
        services.check(&(0..8).map(|service| (service, 0)).collect());
        assert!(services.arena.places.len() <= 64);
        assert!(services.index.capacity() <= 64);
    }

    /// A peer that fills a run, so that it moves, and then triggers a rebuild must not get the
    /// run back as full as it was. Otherwise every few operations would move it again.
    #[test]
    fn no_sequence_of_a_few_operations_moves_a_large_run_each_time() {
        let pod = |service: &str, pod: usize| {
            ServiceInfo::new(ServiceRegistration {
                service_name: service.into(),
                pod_name: pod.to_string(),
                ..Default::default()
            })
            .unwrap()
        };
        // The order of the runs depends on the seed.
        for _ in 0..8 {
            let mut services = Services::new(&RandomState::default());
            for number in 0..1024 {
                services.insert(pod("large", number));
            }
            for number in 0..3 {
                services.insert(pod(&format!("other-{number}"), 0));
            }
            let start = |services: &Services| {
                let large = services.names.iter().find(|name| &*name.name == "large");
                large.unwrap().run.start
            };
            let (mut moved, mut stood) = (0, start(&services));
            let mut look = |services: &Services| {
                moved += usize::from(start(services) != stood);
                stood = start(services);
            };
            for _ in 0..100 {
                services.insert(pod("large", 1024));
                look(&services);
                services.remove("large:1024").unwrap();
                for number in 0..4 {
                    services.insert(pod(&format!("small-{number}"), 0));
                }
                for number in 0..4 {
                    services.remove(&format!("small-{number}:0")).unwrap();
                }
                look(&services);
            }
            assert!(
                moved <= 4,
                "moved {moved} times in 100 rounds of 10 operations"
            );
        }
    }
}
