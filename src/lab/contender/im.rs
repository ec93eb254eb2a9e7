//! [`Im15`] and [`Imbl`]: persistent maps behind an atomic pointer, the way
//! their user would write it.
//!
//! `imbl` is the maintained fork of `im`, and one store is written for both.
//! `im` 15 is archived, with open advisories of unsound code (RUSTSEC-2026-0248,
//! RUSTSEC-2023-0126, and RUSTSEC-2026-0255 in its `sized-chunks`). It is here
//! to be measured, and for nothing else.

use super::{Batching, Promises, Scans};

/// A state is immutable, so all of it is of one moment; `SnapshotStore` promises
/// the same.
const PROMISES: Promises = Promises {
    readers: "lock-free",
    writers: "one at a time, copy-on-write",
    batch: Batching::Atomic,
    scan: Scans::Consistent,
    indexes_agree: true,
    never_missing: true,
    snapshot: "O(1)",
    linearizable: true,
    caveat: "look-ups take O(log n)",
};

/// The types of `im` 15.
mod im_15 {
    use crate::hash::RandomState;

    pub(super) type HashMap<K, V> = im15::HashMap<K, V, RandomState>;
    pub(super) use im15::{OrdMap, OrdSet};
}

/// The types of `imbl`.
mod imbl {
    use crate::hash::RandomState;
    use im::shared_ptr::DefaultSharedPtr;

    pub(super) type HashMap<K, V> = im::GenericHashMap<K, V, RandomState, DefaultSharedPtr>;
    pub(super) use im::{OrdMap, OrdSet};
}

/// Writes a store over the types of one of the two crates.
macro_rules! persistent_store {
    ($(#[$doc:meta])* $store:ident $module:ident $types:ident $about:expr) => {
        pub use $module::$store;

        mod $module {
            use std::sync::{Mutex, PoisonError};

            use arc_swap::ArcSwap;

            use super::super::outside::prelude::*;
            use super::PROMISES;
            use super::$types::{HashMap, OrdMap, OrdSet};

            $(#[$doc])*
            ///
            /// Readers load the pointer. A writer takes the lock, clones the
            /// state, which shares everything, changes the clone and swings the
            /// pointer.
            #[derive(Default)]
            pub struct $store {
                state: ArcSwap<State>,
                writer: Mutex<()>,
            }

            #[derive(Clone, Default)]
            pub(in super::super) struct State {
                services: HashMap<ServiceKey, ServiceInfo>,
                names: HashMap<Arc<str>, OrdSet<ServiceKey>>,
                groups: HashMap<Arc<str>, OrdMap<u64, ServiceKey>>,
                subscribers: HashMap<ServiceKey, OrdMap<Arc<str>, u64>>,
                /// The number of the next subscription; numbers only grow.
                next: u64,
                subscriptions: usize,
                revision: Revision,
                closed: bool,
            }

            impl Contender for $store {
                const ABOUT: About = $about;
            }

            impl Outside for $store {
                type View = State;
                type Turn<'a> = State;

                #[inline]
                fn read<R>(&self, read: impl FnOnce(&State) -> R) -> Result<R> {
                    let state = self.state.load();
                    if state.closed {
                        return Err(StoreError::Closed);
                    }
                    Ok(read(&state))
                }

                fn write<R>(
                    &self,
                    write: impl FnOnce(&mut State) -> Result<(R, bool)>,
                ) -> Result<(R, Revision)> {
                    let _turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
                    let mut next = State::clone(&self.state.load());
                    if next.closed {
                        return Err(StoreError::Closed);
                    }
                    let (answer, changed) = write(&mut next)?;
                    let mut revision = next.revision;
                    if changed {
                        revision = revision.next();
                        next.revision = revision;
                        self.state.store(Arc::new(next));
                    }
                    Ok((answer, revision))
                }

                fn current_revision(&self) -> Revision {
                    self.state.load().revision
                }

                fn shut(&self) {
                    let _turn = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
                    let closed = State {
                        revision: self.state.load().revision,
                        closed: true,
                        ..State::default()
                    };
                    self.state.store(Arc::new(closed));
                }
            }

            impl_outside!($store);

            impl Reads for State {
                #[inline]
                fn visit<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Option<R> {
                    self.services.get(key).map(read)
                }

                fn named(&self, service_name: &str) -> Vec<ServiceInfo> {
                    let pods = self.names.get(service_name).into_iter().flatten();
                    let found = pods.filter_map(|key| self.services.get(key));
                    found.cloned().collect()
                }

                fn all(&self) -> Vec<ServiceInfo> {
                    self.services.values().cloned().collect()
                }

                fn subscribers(&self, service_group: &str) -> Vec<ServiceKey> {
                    let group = self.groups.get(service_group).into_iter();
                    group.flat_map(OrdMap::values).cloned().collect()
                }

                fn subscriber_services(&self, service_group: &str) -> Vec<ServiceInfo> {
                    let group = self.groups.get(service_group).into_iter();
                    let keys = group.flat_map(OrdMap::values);
                    let found = keys.filter_map(|key| self.services.get(key));
                    found.cloned().collect()
                }

                fn stats(&self) -> StoreStats {
                    StoreStats::new(self.services.len(), self.subscriptions)
                }
            }

            impl State {
                fn leave(&mut self, service_group: &str, number: u64) {
                    if let Some(group) = self.groups.get_mut(service_group) {
                        group.remove(&number);
                        if group.is_empty() {
                            self.groups.remove(service_group);
                        }
                        self.subscriptions -= 1;
                    }
                }
            }

            impl Writes for State {
                fn is_registered(&self, key: &str) -> bool {
                    self.services.contains_key(key)
                }

                fn save(&mut self, service: ServiceInfo) -> bool {
                    // Asked first: reaching for an entry copies its path.
                    match self.services.get(&**service.key()) {
                        Some(known) if *known == service => return false,
                        Some(_) => {}
                        None => {
                            let name = service.service_name();
                            let pods = match self.names.get_mut(name) {
                                Some(pods) => pods,
                                None => self.names.entry(name.into()).or_default(),
                            };
                            pods.insert(service.key().clone());
                        }
                    }
                    self.services.insert(service.key().clone(), service);
                    true
                }

                fn delete(&mut self, key: &str) -> Option<ServiceInfo> {
                    self.services.get(key)?;
                    let deleted = self.services.remove(key)?;
                    let name = deleted.service_name();
                    if let Some(pods) = self.names.get_mut(name) {
                        pods.remove(key);
                        if pods.is_empty() {
                            self.names.remove(name);
                        }
                    }
                    Some(deleted)
                }

                fn set_health(
                    &mut self,
                    key: &str,
                    status: ServiceStatus,
                    checked_at: SystemTime,
                ) -> Option<(ServiceStatus, bool)> {
                    let known = self.services.get(key)?;
                    let before = known.status();
                    let changed = super::super::outside::set_health(&mut known.clone(), status, checked_at);
                    if changed {
                        let known = self.services.get_mut(key)?;
                        super::super::outside::set_health(known, status, checked_at);
                    }
                    Some((before, changed))
                }

                fn subscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
                    let known = self.subscribers.get_key_value(subscriber_key);
                    let key = match known {
                        Some((_, groups)) if groups.contains_key(service_group) => return false,
                        Some((key, _)) => key.clone(),
                        None => super::super::outside::checked(subscriber_key),
                    };
                    let known = self.groups.get_key_value(service_group);
                    let group = known.map_or_else(|| service_group.into(), |(group, _)| group.clone());
                    let number = self.next;
                    self.next += 1;
                    self.subscriptions += 1;
                    let members = self.groups.entry(Arc::clone(&group)).or_default();
                    members.insert(number, key.clone());
                    self.subscribers.entry(key).or_default().insert(group, number);
                    true
                }

                fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
                    let known = self.subscribers.get(subscriber_key);
                    if !known.is_some_and(|groups| groups.contains_key(service_group)) {
                        return false;
                    }
                    let Some(groups) = self.subscribers.get_mut(subscriber_key) else {
                        return false;
                    };
                    let number = groups.remove(service_group);
                    if groups.is_empty() {
                        self.subscribers.remove(subscriber_key);
                    }
                    if let Some(number) = number {
                        self.leave(service_group, number);
                    }
                    true
                }

                fn unsubscribe_all(&mut self, subscriber_key: &str) -> bool {
                    if !self.subscribers.contains_key(subscriber_key) {
                        return false;
                    }
                    let groups = self.subscribers.remove(subscriber_key);
                    for (group, number) in groups.iter().flatten() {
                        self.leave(group, *number);
                    }
                    true
                }

                fn clear(&mut self) -> bool {
                    let held = self.stats() != StoreStats::default();
                    *self = State {
                        next: self.next,
                        revision: self.revision,
                        ..State::default()
                    };
                    held
                }
            }
        }
    };
}

persistent_store! {
    /// `im` 15 behind an `ArcSwap`.
    Im15 by_im_15 im_15
    About {
        name: "im 15",
        id: "im",
        about: "im, archived with open advisories, behind ArcSwap: copy-on-write",
        own_thread: false,
        kind: Kind::Outside,
        crate_name: Some("im"),
        promises: Promises {
            caveat: "look-ups take O(log n); archived, with open soundness advisories",
            ..PROMISES
        },
    }
}

persistent_store! {
    /// `imbl` behind an `ArcSwap`.
    Imbl by_imbl imbl
    About {
        name: "imbl",
        id: "imbl",
        about: "imbl, the maintained fork of im, behind ArcSwap: copy-on-write",
        own_thread: false,
        kind: Kind::Outside,
        crate_name: Some("imbl"),
        promises: PROMISES,
    }
}
