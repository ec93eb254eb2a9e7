//! Bare maps from a key to a [`Pod`](crate::subject::Pod): the level of the map.
//!
//! Each is used in the way that is the best for it.

pub mod concread;
pub mod dashmap;
pub mod evmap;
pub mod floor;
pub mod papaya;
pub mod persistent;
pub mod rwlock;
pub mod scc_index;
pub mod scc_map;
pub mod skiplist;

use foldhash::fast::FixedState;

use super::{Contender, info};
use crate::model::Kind;

/// The hasher of them all, with the seed of the run.
type Hasher = FixedState;

fn outside(id: &str, name: &str, about: &str, crate_name: &str) -> crate::model::ContenderInfo {
    crate::model::ContenderInfo {
        crate_name: Some(crate_name.into()),
        ..info(id, name, about, Kind::Outside)
    }
}

/// A map that every thread uses by a plain reference.
macro_rules! by_reference {
    ($map:ident, $create:expr) => {
        impl crate::subject::Subject for $map {
            type Hand<'a> = &'a $map;

            fn create(seed: u64) -> $map {
                let create: fn(Hasher) -> $map = $create;
                create(Hasher::with_seed(seed))
            }

            fn alone(&mut self) -> &$map {
                self
            }
        }

        impl crate::subject::Shared for $map {
            fn hand(&self) -> &$map {
                self
            }
        }
    };
}
use by_reference;

/// All of them.
pub(super) fn all() -> Vec<Contender> {
    let floor = crate::model::ContenderInfo {
        kind: Kind::Measure,
        ..outside(
            "floor",
            "floor",
            "a bare hashbrown::HashMap, without any synchronisation",
            "hashbrown",
        )
    };
    vec![
        Contender::shared::<floor::Floor>(floor),
        Contender::shared::<rwlock::Locked>(outside(
            "rwlock",
            "RwLock<HashMap>",
            "a hash map behind a reader-writer lock",
            "hashbrown",
        )),
        Contender::shared::<dashmap::Dash>(outside(
            "dashmap",
            "dashmap",
            "shards, each a hash map behind a reader-writer lock",
            "dashmap",
        )),
        Contender::shared::<papaya::Papaya>(outside(
            "papaya",
            "papaya",
            "a hash map without locks",
            "papaya",
        )),
        Contender::shared::<scc_index::SccIndex>(outside(
            "scc-index",
            "scc::HashIndex",
            "a hash map whose readers take no lock",
            "scc",
        )),
        Contender::shared::<scc_map::SccMap>(outside(
            "scc-map",
            "scc::HashMap",
            "a hash map with a lock for each bucket",
            "scc",
        )),
        Contender::shared::<evmap::Evmap>(outside(
            "bare-evmap",
            "evmap",
            "two maps, one of which is read while the other is written",
            "evmap",
        )),
        Contender::shared::<skiplist::Skip>(outside(
            "skiplist",
            "crossbeam-skiplist",
            "an ordered map without locks",
            "crossbeam-skiplist",
        )),
        Contender::shared::<persistent::Persistent>(outside(
            "imbl",
            "ArcSwap<imbl>",
            "a persistent hash map behind an atomic pointer",
            "imbl",
        )),
        Contender::shared::<concread::Concread>(outside(
            "concread",
            "concread",
            "a tree of buckets with transactions",
            "concread",
        )),
    ]
}
