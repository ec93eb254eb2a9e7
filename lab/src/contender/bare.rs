//! Bare maps from a key to a [`Pod`](crate::subject::Pod): the level of the map.
//!
//! Each is used in the way that is the best for it.

mod dashmap;
mod floor;
mod papaya;

use foldhash::fast::FixedState;

use super::{Contender, info};
use crate::model::Kind;

/// The hasher of them all, with the seed of the run.
type Hasher = FixedState;

fn outside(id: &str, about: &str, crate_name: &str) -> crate::model::ContenderInfo {
    crate::model::ContenderInfo {
        crate_name: Some(crate_name.into()),
        ..info(id, id, about, Kind::Outside)
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
            "a bare hashbrown::HashMap, without any synchronisation",
            "hashbrown",
        )
    };
    vec![
        Contender::shared::<floor::Floor>(floor),
        Contender::shared::<dashmap::Dash>(outside(
            "dashmap",
            "shards, each a hash map behind a lock",
            "dashmap",
        )),
        Contender::shared::<papaya::Papaya>(outside(
            "papaya",
            "a hash map without locks",
            "papaya",
        )),
    ]
}
