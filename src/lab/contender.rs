//! Who is measured.
//!
//! A contender is a [`RegistryStore`] with a name. To add one, implement
//! [`Contender`] for it (in a file of its own in this folder, if the store is
//! not one of the crate's) and name it in [`visit`]; every scenario measures it
//! from then on.
//!
//! Next to the contenders stand two measures: [`Floor`], what the same work
//! costs without any store around it, and [`Null`], what a scenario costs
//! without any work.

mod floor;
mod null;

pub use floor::Floor;
pub use null::Null;

use crate::{MemoryStore, RegistryStore, RegistryView, Result, ServiceInfo};

/// What a contender is called, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct About {
    /// The name in tables and rows.
    pub name: &'static str,
    /// The name on the command line, and where room is short.
    pub id: &'static str,
    /// One line.
    pub about: &'static str,
    /// Whether it works with a thread of its own, next to those of its callers.
    pub own_thread: bool,
}

impl About {
    /// Whether it is a store, and not a measure.
    pub fn is_store(&self) -> bool {
        *self != Floor::ABOUT && *self != Null::ABOUT
    }
}

/// A store that is measured.
pub trait Contender: RegistryStore + Default + 'static {
    /// What it is called, and what it is.
    const ABOUT: About;
}

/// A store that is measured and hands out snapshots.
pub trait SnapshotContender: Contender + Send + Sync {
    /// An immutable view.
    type Snapshot: RegistryView;
    /// A handle of one thread that reads a lot.
    type Reader: Send;

    /// Takes a snapshot.
    fn take(&self) -> Self::Snapshot;

    /// Opens a handle.
    fn open_reader(&self) -> Self::Reader;

    /// Reads through a handle.
    ///
    /// # Errors
    ///
    /// As [`with_service`](RegistryStore::with_service).
    fn read<R>(
        reader: &mut Self::Reader,
        key: &str,
        read: impl FnOnce(&ServiceInfo) -> R,
    ) -> Result<R>;
}

/// What a scenario does with each contender. A kind that it does not tell apart
/// is measured as the kind before it.
pub trait Visitor {
    /// A store of one thread.
    fn local<C: Contender>(&mut self);

    /// A store that threads share.
    fn shared<C: Contender + Send + Sync>(&mut self) {
        self.local::<C>();
    }

    /// A store that hands out snapshots.
    fn snapshots<C: SnapshotContender>(&mut self) {
        self.shared::<C>();
    }
}

/// Shows all contenders to a visitor, in the order of the tables.
pub fn visit(visitor: &mut impl Visitor) {
    visitor.local::<MemoryStore>();
    #[cfg(feature = "thread-safe")]
    visitor.shared::<crate::ThreadSafeMemoryStore>();
    #[cfg(feature = "evmap")]
    visitor.shared::<crate::EvmapStore>();
    #[cfg(feature = "snapshot")]
    visitor.snapshots::<crate::SnapshotStore>();
    #[cfg(feature = "worker")]
    visitor.shared::<crate::WorkerStore>();
}

/// Shows one contender to a visitor; answers whether there is one with this id.
pub fn visit_one(id: &str, visitor: &mut impl Visitor) -> bool {
    struct Only<'a, V> {
        id: &'a str,
        visitor: &'a mut V,
        found: bool,
    }
    impl<V> Only<'_, V> {
        fn meets<C: Contender>(&mut self) -> bool {
            let met = C::ABOUT.id == self.id;
            self.found |= met;
            met
        }
    }
    impl<V: Visitor> Visitor for Only<'_, V> {
        fn local<C: Contender>(&mut self) {
            if self.meets::<C>() {
                self.visitor.local::<C>();
            }
        }
        fn shared<C: Contender + Send + Sync>(&mut self) {
            if self.meets::<C>() {
                self.visitor.shared::<C>();
            }
        }
        fn snapshots<C: SnapshotContender>(&mut self) {
            if self.meets::<C>() {
                self.visitor.snapshots::<C>();
            }
        }
    }
    let mut only = Only {
        id,
        visitor,
        found: false,
    };
    visit(&mut only);
    only.found
}

/// The contenders that threads can share, in the order of the tables.
pub fn shared() -> Vec<About> {
    struct Names(Vec<About>);
    impl Visitor for Names {
        fn local<C: Contender>(&mut self) {}
        fn shared<C: Contender + Send + Sync>(&mut self) {
            self.0.push(C::ABOUT);
        }
    }
    let mut names = Names(Vec::new());
    visit(&mut names);
    names.0
}

/// All contenders and measures, in the order of the tables.
pub fn all() -> Vec<About> {
    struct Names(Vec<About>);
    impl Visitor for Names {
        fn local<C: Contender>(&mut self) {
            self.0.push(C::ABOUT);
        }
    }
    let mut names = Names(vec![Floor::ABOUT, Null::ABOUT]);
    visit(&mut names);
    names.0
}

impl Contender for MemoryStore {
    const ABOUT: About = About {
        name: "MemoryStore",
        id: "memory",
        about: "hash tables for one thread, no synchronisation",
        own_thread: false,
    };
}

#[cfg(feature = "thread-safe")]
impl Contender for crate::ThreadSafeMemoryStore {
    const ABOUT: About = About {
        name: "ThreadSafeMemoryStore",
        id: "thread-safe",
        about: "the same tables behind a reader-writer lock",
        own_thread: false,
    };
}

#[cfg(feature = "evmap")]
impl Contender for crate::EvmapStore {
    const ABOUT: About = About {
        name: "EvmapStore",
        id: "evmap",
        about: "two maps, one of which is read while the other is written",
        own_thread: false,
    };
}

#[cfg(feature = "worker")]
impl Contender for crate::WorkerStore {
    const ABOUT: About = About {
        name: "WorkerStore",
        id: "worker",
        about: "a MemoryStore owned by a thread of its own, asked by message",
        own_thread: true,
    };
}

#[cfg(feature = "snapshot")]
mod snapshot {
    use super::{About, Contender, Result, ServiceInfo, SnapshotContender};
    use crate::{Snapshot, SnapshotReader, SnapshotStore};

    impl Contender for SnapshotStore {
        const ABOUT: About = About {
            name: "SnapshotStore",
            id: "snapshot",
            about: "persistent maps behind an atomic pointer, lock-free readers",
            own_thread: false,
        };
    }

    impl SnapshotContender for SnapshotStore {
        type Snapshot = Snapshot;
        type Reader = SnapshotReader;

        #[inline]
        fn take(&self) -> Snapshot {
            self.snapshot()
        }

        fn open_reader(&self) -> SnapshotReader {
            self.reader()
        }

        #[inline]
        fn read<R>(
            reader: &mut SnapshotReader,
            key: &str,
            read: impl FnOnce(&ServiceInfo) -> R,
        ) -> Result<R> {
            reader.with_service(key, read)
        }
    }
}
