//! The maps of a registry, and its other data in the engine.

use std::hash::BuildHasher;
use std::sync::Arc;

use versioned_map::raw::{self, Map, Owner};

use super::lists::{Members, Pod, Subscribers, Subscriptions};
use crate::changes::{Log, LogOptions};
use crate::model::key::ServiceKey;
use crate::model::record::ServiceInfo;
use crate::store::StoreStats;

pub(super) type Engine = raw::Engine<Registry>;
pub(super) type Turn<'e> = raw::Turn<'e, Registry>;
pub(super) type Pinned<'e> = raw::Pinned<'e, Registry>;
pub(super) type ReclaimAfterView<'e> = raw::ReclaimAfterView<'e, Registry>;
pub(super) type Registered = raw::Registered<Registry>;
pub(super) type Cleared = raw::Cleared<Registry>;

/// The services by key.
// SAFETY: `new` creates all four maps in this order, and engines of a `Registry` are created
// only there.
pub(super) const SERVICES: Map<str, ServiceInfo> = unsafe { Map::numbered(0) };
/// The pods by service name.
// SAFETY: as above.
pub(super) const NAMES: Map<str, Members> = unsafe { Map::numbered(1) };
/// The subscribers by group.
// SAFETY: as above.
pub(super) const GROUPS: Map<str, Subscribers> = unsafe { Map::numbered(2) };
/// The counts of the registry, under a single key.
// SAFETY: as above.
pub(super) const STATS: Map<(), StoreStats> = unsafe { Map::numbered(3) };

/// The hash of the key of `STATS`.
pub(super) const OF_STATS: u64 = 0;

/// The shared data of a registry in its engine.
pub(super) struct Registry {
    pub(super) log: Log,
}

/// The data of the writer in the engine.
#[derive(Default)]
pub(super) struct WriterState {
    pub(super) stats: StoreStats,
    /// Whether `stats` differs from the published counts.
    pub(super) counted: bool,
    pub(super) subscriptions: Subscriptions,
}

impl Owner for Registry {
    type WriterState = WriterState;

    fn other_items(state: &WriterState) -> usize {
        state.stats.subscriptions
    }
}

/// Creates the tables of an empty registry.
pub(super) fn new(options: LogOptions) -> Arc<Engine> {
    let mut engine = Engine::new(Registry {
        log: Log::new(options),
    });
    let numbers = [
        engine.add::<str, ServiceInfo>(),
        engine.add::<str, Members>(),
        engine.add::<str, Subscribers>(),
        engine.add::<(), StoreStats>(),
    ];
    assert_eq!(numbers, [0, 1, 2, 3]);
    Arc::new(engine)
}

/// A state of a registry as a reader sees it.
pub(super) trait State {
    fn engine(&self) -> &Arc<Engine>;
    fn service(&self, key: &str) -> Option<&ServiceInfo>;
    fn services(&self) -> impl Iterator<Item = &ServiceInfo>;
    fn names(&self) -> impl Iterator<Item = &str>;
    fn groups(&self) -> impl Iterator<Item = &str>;
    fn members(&self, name: &str) -> Option<&Members>;
    fn pod(&self, pod: Pod) -> &ServiceInfo;
    fn group(&self, group: &str) -> Option<&Subscribers>;
    fn stats(&self) -> StoreStats;

    /// Iterates over the subscribers of a group with the numbers of their subscriptions.
    fn subscribers<'a>(
        &'a self,
        group: &str,
    ) -> impl Iterator<Item = (u64, &'a ServiceKey)> + use<'a, Self> {
        let subscribers = self.group(group);
        subscribers.into_iter().flat_map(Subscribers::numbered)
    }

    fn services_by_name<'a>(
        &'a self,
        name: &str,
    ) -> impl Iterator<Item = &'a ServiceInfo> + use<'a, Self> {
        let pods = self.members(name).into_iter().flat_map(Members::iter);
        pods.map(|pod| self.pod(pod))
    }

    fn is_of_the_store_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(self.engine(), other.engine())
    }
}

macro_rules! impl_state {
    ($state:ty) => {
        impl State for $state {
            #[inline]
            fn engine(&self) -> &Arc<Engine> {
                self.engine()
            }
            // Called on two paths, so it would not be inlined otherwise.
            #[allow(clippy::inline_always)]
            #[inline(always)]
            fn service(&self, key: &str) -> Option<&ServiceInfo> {
                let hash = self.hasher().hash_one(key);
                self.get(SERVICES, hash, key)
            }
            fn services(&self) -> impl Iterator<Item = &ServiceInfo> {
                self.iter(SERVICES).map(|(_, service)| service)
            }
            fn names(&self) -> impl Iterator<Item = &str> {
                self.iter(NAMES).map(|(name, _)| name)
            }
            fn groups(&self) -> impl Iterator<Item = &str> {
                self.iter(GROUPS).map(|(group, _)| group)
            }
            fn members(&self, name: &str) -> Option<&Members> {
                let hash = self.hasher().hash_one(name);
                self.get(NAMES, hash, name)
            }
            #[inline]
            fn pod(&self, pod: Pod) -> &ServiceInfo {
                // SAFETY: the pod is in a visible list, and every pod in it is registered at
                // the same revision.
                let service = unsafe { self.at_cell(pod) };
                service.expect("a pod that stands under its name is registered")
            }
            fn group(&self, group: &str) -> Option<&Subscribers> {
                let hash = self.hasher().hash_one(group);
                self.get(GROUPS, hash, group)
            }
            fn stats(&self) -> StoreStats {
                let stats = self.get(STATS, OF_STATS, &());
                stats.copied().unwrap_or_default()
            }
        }
    };
}

impl_state!(Pinned<'_>);
impl_state!(Registered);
