//! The contenders.
//!
//! A contender is a [`Subject`] with a name. On the level of the map, our stores run through their
//! public interface beside bare maps; on that of the registry, beside what a user would write
//! instead. All have the same hasher and allocator. Their names and promises are in
//! `contender/who.json`.

pub mod bare;
pub mod dash_registry;
pub mod evmap;
pub mod floor;
pub mod go;
mod notifying;
pub(crate) mod null;
mod ours;

use std::sync::{LazyLock, OnceLock};

use itertools::Itertools as _;
use service_registry::{
    EvmapStore, MemoryStore, SnapshotStore, ThreadSafeMemoryStore, VersionedStore, WorkerStore,
};

use crate::fault::Fault;
use crate::model::{ContenderInfo, ContenderKind, Level};
use crate::scenario::Cell;
use crate::stage::Stage;
use crate::subject::{Pod, SharedSubject, Subject};
use crate::workload;

pub use ours::{MeasuredStore, StoreSubject};

/// A contender: its description, and how to create a stage for it.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Its name and its promises.
    pub info: ContenderInfo,
    open: workload::OpenStage,
}

impl Contender {
    /// Creates a contender that threads can share.
    pub fn shared<S: SharedSubject>(info: ContenderInfo) -> Contender {
        Contender { info, open: workload::shared::<S> }
    }

    /// Creates a contender for one thread.
    pub fn alone<S: Subject>(info: ContenderInfo) -> Contender {
        Contender { info, open: workload::alone::<S> }
    }

    /// Creates its stage: the contender in a cell, filled and warm.
    ///
    /// # Errors
    ///
    /// Returns an error if the system can start no more threads, the cell describes something that
    /// cannot run, or the contender answers wrongly.
    pub fn open(&self, cell: &Cell, seed: u64) -> Result<Box<dyn Stage>, Fault> {
        (self.open)(cell, seed).map_err(|fault| fault.at(&self.info.id))
    }
}

/// Finds a contender by its id.
///
/// # Errors
///
/// Returns an error with all known ids if there is none.
pub fn find(id: &str) -> Result<&'static Contender, Fault> {
    let found = all().iter().find(|contender| contender.info.id == id);
    found.ok_or_else(|| {
        let ids: Vec<&str> = all().iter().map(|known| &*known.info.id).collect();
        Fault(format!("no contender is called {id:?}; there are {}", ids.join(", ")))
    })
}

/// Describes a contender from outside the crate; the caller can fill in more.
pub fn info(id: &str, name: &str, about: &str, kind: ContenderKind) -> ContenderInfo {
    ContenderInfo {
        id: id.into(),
        name: name.into(),
        about: about.into(),
        kind,
        crate_name: None,
        promises: None,
    }
}

/// Contenders from outside this crate, and the level of each.
static GUESTS: OnceLock<Vec<(Level, Contender)>> = OnceLock::new();

/// Adds contenders from outside, each to all scenarios of its level in which stores are shared.
/// Only the first call has an effect.
///
/// # Errors
///
/// Returns an error if an id is already taken.
pub fn invite(guests: Vec<(Level, Contender)>) -> Result<(), Fault> {
    let known = own().into_iter().map(|known| known.info.id);
    let invited = guests.iter().map(|(_, guest)| guest.info.id.clone());
    if let Some(id) = known.chain(invited).duplicates().next() {
        return Err(Fault(format!("there is a contender {id:?} already")));
    }
    // A second call finds the first contenders.
    let _ = GUESTS.set(guests);
    Ok(())
}

/// Returns the added contenders.
pub fn guests() -> &'static [(Level, Contender)] {
    GUESTS.get().map_or(&[], Vec::as_slice)
}

/// Returns all contenders, in the order of the tables. After this, no more can be added.
pub fn all() -> &'static [Contender] {
    static ALL: LazyLock<Vec<Contender>> = LazyLock::new(|| {
        let guests = guests().iter().map(|(_, guest)| guest.clone());
        own().into_iter().chain(guests).collect()
    });
    &ALL
}

/// The contenders of this program.
fn own() -> Vec<Contender> {
    use notifying::NotifyingMap;
    use tokio::sync::broadcast::Sender;
    use workload::{alone, shared};
    let subjects: [(&str, workload::OpenStage); 24] = [
        ("memory", alone::<StoreSubject<MemoryStore>>),
        ("thread-safe", shared::<StoreSubject<ThreadSafeMemoryStore>>),
        ("evmap", shared::<StoreSubject<EvmapStore>>),
        ("snapshot", shared::<StoreSubject<SnapshotStore>>),
        ("versioned", shared::<StoreSubject<VersionedStore>>),
        ("worker", shared::<StoreSubject<WorkerStore>>),
        ("go", shared::<go::GoRegistry>),
        ("dashmap-registry", shared::<dash_registry::DashRegistry>),
        ("floor", shared::<floor::Floor>),
        ("rwlock", shared::<bare::LockedMap>),
        ("dashmap", shared::<bare::Dash>),
        ("papaya", shared::<bare::Papaya>),
        ("scc-index", shared::<bare::SccIndex>),
        ("scc-map", shared::<bare::SccMap>),
        ("bare-evmap", shared::<evmap::Evmap>),
        ("skiplist", shared::<bare::SkipListMap>),
        ("imbl", shared::<bare::PersistentMap>),
        ("concread", shared::<bare::Concread>),
        ("null", shared::<null::Null>),
        ("versioned-1", shared::<StoreSubject<VersionedStore, 1>>),
        ("versioned-10k", shared::<StoreSubject<VersionedStore, 10_000>>),
        ("broadcast-rwlock", shared::<NotifyingMap<bare::LockedMap, Sender<Pod>>>),
        ("broadcast-dashmap", shared::<NotifyingMap<bare::Dash, Sender<Pod>>>),
        ("wakers", shared::<NotifyingMap<bare::LockedMap, notifying::Wakers>>),
    ];
    let infos = serde_json::from_str::<Vec<ContenderInfo>>(include_str!("contender/who.json"));
    let infos = infos.expect("a list of contenders").into_iter().zip(subjects);
    let both = infos.map(|(info, (id, open))| {
        assert_eq!(info.id, id, "contender/who.json has the order of the subjects");
        Contender { info, open }
    });
    both.collect()
}
