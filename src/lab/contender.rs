//! Who is measured.
//!
//! A contender is a [`RegistryStore`] with a name. To add one, implement
//! [`Contender`] for it (in a file of its own in this folder, if the store is
//! not one of the crate's) and name it in [`visit`]; every scenario measures it
//! from then on.
//!
//! Beside the stores of this crate stands what a user would write instead, each
//! over one of the crates that are there for it. They keep the same secondary
//! indexes and use the same hasher. They do not all keep the same promises:
//! [`About::promises`] says which, and `tests/contenders.rs` that it is so.
//!
//! Next to the contenders stand two measures: [`Floor`], what the same work
//! costs without any store around it, and [`Null`], what a scenario costs
//! without any work.

#[macro_use]
pub(in crate::lab) mod outside;

mod dashmap;
mod floor;
mod im;
mod null;
mod papaya;
mod plain;
mod scc;
mod skiplist;

// `self`: some are called like the crate that they use.
pub use self::dashmap::Dash;
pub use self::floor::Floor;
pub use self::im::{Im15, Imbl};
pub use self::null::Null;
pub use self::papaya::Papaya;
pub use self::plain::Plain;
pub use self::scc::Scc;
pub use self::skiplist::Skip;

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
    /// Where it comes from.
    pub kind: Kind,
    /// The crate that it stands for, or is built on, by the name under which the
    /// report has its version; none for the stores that have no such crate.
    pub crate_name: Option<&'static str>,
    /// What it promises; [`Promises::NONE`] for a measure.
    pub promises: Promises,
}

impl About {
    /// Whether it is a store, and not a measure.
    pub fn is_store(&self) -> bool {
        self.kind != Kind::Measure
    }

    /// Whether it is a store of this crate.
    pub fn is_ours(&self) -> bool {
        self.kind == Kind::Ours
    }
}

/// Where a contender comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A store of this crate.
    Ours,
    /// A store that a user would write instead, over another crate.
    Outside,
    /// No store, but what stores are measured by.
    Measure,
}

/// What a store promises to the threads that share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promises {
    /// What a reader does to be let in.
    pub readers: &'static str,
    /// What a writer does.
    pub writers: &'static str,
    /// How the changes of a batch, or of `clear`, become visible.
    pub batch: Batching,
    /// What an answer of several records is.
    pub scan: Scans,
    /// Whether a reader that asks by name, or for the services of a group, finds
    /// a pod exactly when one that asks by key would, at every moment.
    pub indexes_agree: bool,
    /// Whether a registered pod is never missing, by key, by name or in a scan,
    /// while it is replaced or updated and while others come and go.
    pub never_missing: bool,
    /// What an immutable view of everything costs; "no" where there is none.
    /// Of a contender from outside: what it could offer, not what it has.
    pub snapshot: &'static str,
    /// Whether every operation on one key is one step, and seen by all that
    /// start after it has returned.
    pub linearizable: bool,
    /// What else there is to know; empty for nothing.
    pub caveat: &'static str,
}

impl Promises {
    /// Those of a measure.
    pub const NONE: Promises = Promises {
        readers: "none",
        writers: "none",
        batch: Batching::OneByOne,
        scan: Scans::Weak,
        indexes_agree: false,
        never_missing: false,
        snapshot: "no",
        linearizable: false,
        caveat: "not a store",
    };
}

/// How several changes become visible.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Batching {
    /// At once.
    Atomic,
    /// One by one, in their order: a reader can see a part of them.
    OneByOne,
}

impl std::fmt::Display for Batching {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Batching::Atomic => "atomic",
            Batching::OneByOne => "one by one",
        })
    }
}

/// What an answer of several records is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scans {
    /// The state of one moment.
    Consistent,
    /// Each record is one that was current while the scan ran, and what was
    /// there all the time is in it once; together they are of no one moment.
    Weak,
}

impl std::fmt::Display for Scans {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Scans::Consistent => "consistent",
            Scans::Weak => "weakly consistent",
        })
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
    /// A view for a few questions of one thread: the cheapest that it has.
    type Pinned<'a>: RegistryView
    where
        Self: 'a;
    /// A handle of one thread that reads a lot.
    type Reader: Send;

    /// Takes a snapshot.
    fn take(&self) -> Self::Snapshot;

    /// The present state, for a few questions.
    fn pin(&self) -> Self::Pinned<'_>;

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
    #[cfg(feature = "versioned")]
    visitor.snapshots::<crate::VersionedStore>();
    #[cfg(feature = "worker")]
    visitor.shared::<crate::WorkerStore>();

    visitor.shared::<Plain>();
    visitor.shared::<Dash>();
    visitor.shared::<Papaya>();
    visitor.shared::<Scc>();
    visitor.shared::<Skip>();
    visitor.shared::<Im15>();
    visitor.shared::<Imbl>();
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

/// What every store of this crate promises: the contract of [`RegistryStore`].
const OURS: Promises = Promises {
    readers: "",
    writers: "",
    batch: Batching::Atomic,
    scan: Scans::Consistent,
    indexes_agree: true,
    never_missing: true,
    snapshot: "no",
    linearizable: true,
    caveat: "",
};

impl Contender for MemoryStore {
    const ABOUT: About = About {
        name: "MemoryStore",
        id: "memory",
        about: "hash tables for one thread, no synchronisation",
        own_thread: false,
        kind: Kind::Ours,
        crate_name: None,
        promises: Promises {
            readers: "plain",
            writers: "plain",
            caveat: "one thread only: the compiler keeps a second one out",
            ..OURS
        },
    };
}

#[cfg(feature = "thread-safe")]
impl Contender for crate::ThreadSafeMemoryStore {
    const ABOUT: About = About {
        name: "ThreadSafeMemoryStore",
        id: "thread-safe",
        about: "the same tables behind a reader-writer lock",
        own_thread: false,
        kind: Kind::Ours,
        crate_name: None,
        promises: Promises {
            readers: "shared lock",
            writers: "exclusive lock",
            caveat: "a long read, a scan as well, keeps writers waiting; any call from inside a read closure but `revision` is refused",
            ..OURS
        },
    };
}

#[cfg(feature = "evmap")]
impl Contender for crate::EvmapStore {
    const ABOUT: About = About {
        name: "EvmapStore",
        id: "evmap",
        about: "two maps, one of which is read while the other is written",
        own_thread: false,
        kind: Kind::Ours,
        crate_name: Some("evmap"),
        promises: Promises {
            readers: "wait-free",
            writers: "one at a time, published to both of two maps",
            caveat: "a reader that stays inside holds up the second commit from then; a write from inside a read closure is refused; two maps of memory, which never shrink",
            ..OURS
        },
    };
}

#[cfg(feature = "worker")]
impl Contender for crate::WorkerStore {
    const ABOUT: About = About {
        name: "WorkerStore",
        id: "worker",
        about: "a MemoryStore owned by a thread of its own, asked by message",
        own_thread: true,
        kind: Kind::Ours,
        crate_name: Some("crossbeam-channel"),
        promises: Promises {
            readers: "message round trip",
            writers: "event queue, one worker that owns a MemoryStore",
            caveat: "a scan holds up everybody behind it in the queue",
            ..OURS
        },
    };
}

#[cfg(feature = "snapshot")]
mod snapshot {
    use super::{About, Contender, Kind, OURS, Promises, Result, ServiceInfo, SnapshotContender};
    use crate::{Snapshot, SnapshotReader, SnapshotStore};

    impl Contender for SnapshotStore {
        const ABOUT: About = About {
            name: "SnapshotStore",
            id: "snapshot",
            about: "persistent maps behind an atomic pointer, lock-free readers",
            own_thread: false,
            kind: Kind::Ours,
            crate_name: Some("imbl"),
            promises: Promises {
                readers: "lock-free",
                writers: "one at a time, copy-on-write",
                snapshot: "O(1), Send + Sync + 'static",
                caveat: "look-ups take O(log n); a view that is kept keeps what was replaced since",
                ..OURS
            },
        };
    }

    impl SnapshotContender for SnapshotStore {
        type Snapshot = Snapshot;
        type Pinned<'a> = Snapshot;
        type Reader = SnapshotReader;

        #[inline]
        fn take(&self) -> Snapshot {
            self.snapshot()
        }

        #[inline]
        fn pin(&self) -> Snapshot {
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

#[cfg(feature = "versioned")]
mod versioned {
    use super::{About, Contender, Kind, OURS, Promises, Result, ServiceInfo, SnapshotContender};
    use crate::{VersionedReader, VersionedSnapshot, VersionedStore, VersionedView};

    impl Contender for VersionedStore {
        const ABOUT: About = About {
            name: "VersionedStore",
            id: "versioned",
            about: "hash tables of versions, read at one revision under an epoch",
            own_thread: false,
            kind: Kind::Ours,
            crate_name: Some("crossbeam-epoch"),
            promises: Promises {
                readers: "lock-free",
                writers: "one at a time, a new version of what changes",
                snapshot: "O(1), Send + Sync + 'static",
                caveat: "a thread that stays inside a read keeps all that is replaced meanwhile; freed is a few hundred commits later",
                ..OURS
            },
        };
    }

    impl SnapshotContender for VersionedStore {
        type Snapshot = VersionedSnapshot;
        type Pinned<'a> = VersionedView<'a>;
        type Reader = VersionedReader;

        #[inline]
        fn take(&self) -> VersionedSnapshot {
            self.snapshot()
        }

        #[inline]
        fn pin(&self) -> VersionedView<'_> {
            self.pinned()
        }

        fn open_reader(&self) -> VersionedReader {
            self.reader()
        }

        #[inline]
        fn read<R>(
            reader: &mut VersionedReader,
            key: &str,
            read: impl FnOnce(&ServiceInfo) -> R,
        ) -> Result<R> {
            reader.with_service(key, read)
        }
    }
}
