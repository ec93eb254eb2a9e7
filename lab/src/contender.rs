//! Who is measured.
//!
//! A contender is a [`Subject`] with a name. On the level of the
//! map stand our stores, by their public interface, beside bare maps; on that of the
//! registry our stores beside what a user would write instead. Everybody has the same
//! hasher and allocator. What they are called and promise stands in `contender/who.json`.

pub mod bare;
pub mod dash_registry;
pub mod evmap;
pub mod floor;
pub mod go;
pub(crate) mod null;
mod ours;
mod telling;

use std::sync::{LazyLock, OnceLock};

use itertools::Itertools as _;
use service_registry::{
    EvmapStore, MemoryStore, SnapshotStore, ThreadSafeMemoryStore, VersionedStore, WorkerStore,
};

use crate::fault::Fault;
use crate::model::{ContenderInfo, Kind, Level};
use crate::scenario::Cell;
use crate::stage::Stage;
use crate::subject::{Pod, Shared, Subject};
use crate::workload;

pub use ours::{Held, Store};

/// A contender: what it is, and how a stage for it is made.
#[derive(Clone, Debug)]
pub struct Contender {
    /// What it is called, and what it promises.
    pub info: ContenderInfo,
    open: workload::Open,
}

impl Contender {
    /// A contender that threads can share.
    pub fn shared<S: Shared>(info: ContenderInfo) -> Contender {
        Contender { info, open: workload::shared::<S> }
    }

    /// A contender of one thread.
    pub fn alone<S: Subject>(info: ContenderInfo) -> Contender {
        Contender { info, open: workload::alone::<S> }
    }

    /// A stage for it: the contender in a cell, filled and warm.
    ///
    /// # Errors
    ///
    /// Where the system has no threads to give, the cell describes what cannot be run, or
    /// the contender answers wrongly.
    pub fn open(&self, cell: &Cell, seed: u64) -> Result<Box<dyn Stage>, Fault> {
        (self.open)(cell, seed).map_err(|fault| fault.at(&self.info.id))
    }
}

/// A contender by its id.
///
/// # Errors
///
/// Where there is none, with the ids that there are.
pub fn find(id: &str) -> Result<&'static Contender, Fault> {
    let found = all().iter().find(|contender| contender.info.id == id);
    found.ok_or_else(|| {
        let ids: Vec<&str> = all().iter().map(|known| &*known.info.id).collect();
        Fault(format!("no contender is called {id:?}; there are {}", ids.join(", ")))
    })
}

/// What a contender from outside the crate is called; more can be filled in.
pub fn info(id: &str, name: &str, about: &str, kind: Kind) -> ContenderInfo {
    ContenderInfo {
        id: id.into(),
        name: name.into(),
        about: about.into(),
        kind,
        crate_name: None,
        promises: None,
    }
}

/// Contenders from outside of this crate, and the level on which they are measured.
static GUESTS: OnceLock<Vec<(Level, Contender)>> = OnceLock::new();

/// Lets contenders from outside take part, each in all scenarios of its level in which stores
/// are shared. The first call counts.
///
/// # Errors
///
/// Where one has the id of somebody who is there already.
pub fn invite(guests: Vec<(Level, Contender)>) -> Result<(), Fault> {
    let known = own().into_iter().map(|known| known.info.id);
    let invited = guests.iter().map(|(_, guest)| guest.info.id.clone());
    if let Some(id) = known.chain(invited).duplicates().next() {
        return Err(Fault(format!("there is a contender {id:?} already")));
    }
    // Whoever calls again finds the first ones.
    let _ = GUESTS.set(guests);
    Ok(())
}

/// Who was invited.
pub fn guests() -> &'static [(Level, Contender)] {
    GUESTS.get().map_or(&[], Vec::as_slice)
}

/// All contenders, in the order of the tables. Nobody is invited any more then.
pub fn all() -> &'static [Contender] {
    static ALL: LazyLock<Vec<Contender>> = LazyLock::new(|| {
        let guests = guests().iter().map(|(_, guest)| guest.clone());
        own().into_iter().chain(guests).collect()
    });
    &ALL
}

/// Those of this program.
fn own() -> Vec<Contender> {
    use telling::Telling;
    use tokio::sync::broadcast::Sender;
    use workload::{alone, shared};
    let subjects: [(&str, workload::Open); 24] = [
        ("memory", alone::<Store<MemoryStore>>),
        ("thread-safe", shared::<Store<ThreadSafeMemoryStore>>),
        ("evmap", shared::<Store<EvmapStore>>),
        ("snapshot", shared::<Store<SnapshotStore>>),
        ("versioned", shared::<Store<VersionedStore>>),
        ("worker", shared::<Store<WorkerStore>>),
        ("go", shared::<go::Go>),
        ("dashmap-registry", shared::<dash_registry::DashRegistry>),
        ("floor", shared::<floor::Floor>),
        ("rwlock", shared::<bare::Locked>),
        ("dashmap", shared::<bare::Dash>),
        ("papaya", shared::<bare::Papaya>),
        ("scc-index", shared::<bare::SccIndex>),
        ("scc-map", shared::<bare::SccMap>),
        ("bare-evmap", shared::<evmap::Evmap>),
        ("skiplist", shared::<bare::Skip>),
        ("imbl", shared::<bare::Persistent>),
        ("concread", shared::<bare::Concread>),
        ("null", shared::<null::Null>),
        ("versioned-1", shared::<Store<VersionedStore, 1>>),
        ("versioned-10k", shared::<Store<VersionedStore, 10_000>>),
        ("broadcast-rwlock", shared::<Telling<bare::Locked, Sender<Pod>>>),
        ("broadcast-dashmap", shared::<Telling<bare::Dash, Sender<Pod>>>),
        ("wakers", shared::<Telling<bare::Locked, telling::Wakers>>),
    ];
    let infos = serde_json::from_str::<Vec<ContenderInfo>>(include_str!("contender/who.json"));
    let infos = infos.expect("a list of contenders").into_iter().zip(subjects);
    let both = infos.map(|(info, (id, open))| {
        assert_eq!(info.id, id, "contender/who.json has the order of the subjects");
        Contender { info, open }
    });
    both.collect()
}
