//! Selects a store: [`DefaultStore`] at build time, [`StoreKind`] at run time.

use std::fmt;
use std::str::FromStr;

use crate::model::error::{InvalidInput, Problem, Result, StoreError};
use crate::store::RegistryStore;

macro_rules! default_store {
    ($feature:literal: $($rest:tt)+) => {
        default_store! { feature = $feature: $($rest)+ }
    };
    ($selected:meta: $store:ident, $($feature:literal: $stronger:ident,)*) => {
        /// The store that the Cargo feature `default-memory`, `default-worker`,
        /// `default-thread-safe`, `default-evmap`, `default-snapshot` or `default-versioned`
        /// selects.
        ///
        /// If crates of one build select different ones, the store with the stronger
        /// promises wins, in that order, so that a program that compiled before still
        /// compiles. Without any of these features it is
        /// [`MemoryStore`](crate::MemoryStore).
        #[cfg(all($selected, not(any($(feature = $feature),*))))]
        pub type DefaultStore = crate::$store;

        default_store! { $($feature: $stronger,)* }
    };
    () => {};
}

// From the weakest promises to the strongest. Each alias gives way to every stronger one, so
// exactly one remains: features are additive.
default_store! {
    all(): MemoryStore,
    "default-worker": WorkerStore,
    "default-thread-safe": ThreadSafeMemoryStore,
    "default-evmap": EvmapStore,
    "default-snapshot": SnapshotStore,
    "default-versioned": VersionedStore,
}

macro_rules! store_kinds {
    ($($(#[$doc:meta])* $kind:ident, $name:literal, $feature:literal, $store:ident;)+) => {
        /// The stores that threads can share, by name, for command lines and configuration
        /// files.
        ///
        /// There is a variant for each such store that is compiled in.
        /// [`MemoryStore`](crate::MemoryStore) is not among them, because threads cannot
        /// share it.
        ///
        #[cfg_attr(feature = "thread-safe", doc = "```")]
        #[cfg_attr(not(feature = "thread-safe"), doc = "```ignore")]
        /// use service_registry::{Registry, RegistryStore, StoreKind};
        ///
        /// let kind: StoreKind = "thread-safe".parse()?;
        /// let registry = Registry::new(kind.open());
        /// assert_eq!(registry.stats()?.services, 0);
        ///
        /// let refused = "redis".parse::<StoreKind>().unwrap_err();
        /// assert!(refused.to_string().contains("thread-safe"));
        /// # Ok::<(), service_registry::StoreError>(())
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum StoreKind {
            $(
                $(#[$doc])*
                #[cfg(feature = $feature)]
                $kind,
            )+
        }

        impl StoreKind {
            /// Every store that is compiled in.
            pub const ALL: &'static [StoreKind] = &[
                $(#[cfg(feature = $feature)] StoreKind::$kind,)+
            ];

            /// Returns the name that [`FromStr`] reads: `thread-safe`, ...
            pub const fn name(self) -> &'static str {
                match self {
                    $(#[cfg(feature = $feature)] StoreKind::$kind => $name,)+
                }
            }

            /// Creates an empty store of this kind.
            pub fn open(self) -> Box<dyn RegistryStore + Send + Sync> {
                match self {
                    $(#[cfg(feature = $feature)] StoreKind::$kind => {
                        Box::new(crate::$store::new())
                    })+
                }
            }
        }

        impl FromStr for StoreKind {
            type Err = StoreError;

            fn from_str(name: &str) -> Result<StoreKind> {
                let problem = match name {
                    $(
                        #[cfg(feature = $feature)]
                        $name => return Ok(StoreKind::$kind),
                        #[cfg(not(feature = $feature))]
                        $name => Problem::Unavailable {
                            because: concat!("build with the feature `", $feature, "`"),
                        },
                    )+
                    "memory" => Problem::Unavailable {
                        because: "threads cannot share it; use `MemoryStore::new()` on one thread",
                    },
                    _ => Problem::Unknown {
                        expected: concat!("one of" $(, " `", $name, "`")+),
                    },
                };
                Err(InvalidInput::new("store", name, problem).into())
            }
        }
    };
}

store_kinds! {
    /// [`WorkerStore`](crate::WorkerStore)
    Worker, "worker", "worker", WorkerStore;
    /// [`ThreadSafeMemoryStore`](crate::ThreadSafeMemoryStore)
    ThreadSafe, "thread-safe", "thread-safe", ThreadSafeMemoryStore;
    /// [`EvmapStore`](crate::EvmapStore)
    Evmap, "evmap", "evmap", EvmapStore;
    /// [`SnapshotStore`](crate::SnapshotStore)
    Snapshot, "snapshot", "snapshot", SnapshotStore;
    /// [`VersionedStore`](crate::VersionedStore)
    Versioned, "versioned", "versioned", VersionedStore;
}

impl fmt::Display for StoreKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_reads_back_from_its_name_and_opens() {
        for kind in StoreKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(*kind));
            kind.open().ping().unwrap();
        }
    }

    #[test]
    fn an_unavailable_kind_of_store_says_why() {
        let error = "memory".parse::<StoreKind>().unwrap_err().to_string();
        assert!(error.contains("threads cannot share it"), "{error}");
        let error = "Snapshot ".parse::<StoreKind>().unwrap_err().to_string();
        assert!(error.contains("`snapshot`"), "{error}");
    }
}
