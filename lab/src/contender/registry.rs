//! What a user would write instead of one of our stores: the level of the registry.

pub mod dashmap;
pub mod go;

use super::{Contender, info};
use crate::model::{ContenderInfo, Kind, Promises};

/// All of them.
pub(super) fn all() -> Vec<Contender> {
    let go = ContenderInfo {
        crate_name: Some("hashbrown".into()),
        promises: Some(Promises {
            readers: "shared lock".into(),
            writers: "exclusive lock".into(),
            batch: "atomic".into(),
            scan: "consistent".into(),
            indexes_agree: true,
            never_missing: true,
            snapshot: "no".into(),
            linearizable: true,
            caveat: "by name it looks through everything, under the lock; a call from inside a \
                     read can deadlock"
                .into(),
        }),
        ..info(
            "go",
            "Go design",
            "one lock, one map, lists of subscribers, no index of names",
            Kind::Outside,
        )
    };
    let dashmap = ContenderInfo {
        crate_name: Some("dashmap".into()),
        promises: Some(Promises {
            readers: "shared lock of a shard".into(),
            writers: "exclusive lock of a shard".into(),
            batch: "one by one".into(),
            scan: "weakly consistent".into(),
            indexes_agree: true,
            never_missing: true,
            snapshot: "no".into(),
            linearizable: true,
            caveat: "a call from inside a read can deadlock".into(),
        }),
        ..info(
            "dashmap-registry",
            "dashmap registry",
            "four DashMaps: records, pods of names, subscribers of groups, groups of subscribers",
            Kind::Outside,
        )
    };
    vec![Contender::shared::<go::Go>(go), Contender::shared::<dashmap::DashRegistry>(dashmap)]
}
