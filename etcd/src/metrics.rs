//! Exports the state of a replica to the crate `metrics`. The metrics of its store are described at
//! [`service_registry::metrics`](https://docs.rs/service-registry). Call [`report`] before each
//! scrape.
//!
//! All metrics are gauges with the label `copy`, whose value is a name that you choose.
//!
//! | name | what |
//! | --- | --- |
//! | `service_registry_etcd_synced` | 1 while the copy is synced, and 0 otherwise |
//! | `service_registry_etcd_stale_seconds` | seconds since the watch's last sign of life; 0 while the copy is synced, and before the first sync |
//! | `service_registry_etcd_revision` | the revision of etcd up to which everything is in the store |
//! | `service_registry_etcd_epoch` | [`Stats::epoch`](crate::Stats::epoch); the metrics below have the other fields of [`Stats`](crate::Stats) |
//! | `service_registry_etcd_lists` | |
//! | `service_registry_etcd_watches` | |
//! | `service_registry_etcd_commits` | |
//! | `service_registry_etcd_skipped` | |
//! | `service_registry_etcd_set_aside` | |

use ::metrics::{Unit, describe_gauge, gauge};

use crate::{Replica, State};

const SYNCED: &str = "service_registry_etcd_synced";
const STALE: &str = "service_registry_etcd_stale_seconds";
const REVISION: &str = "service_registry_etcd_revision";
const EPOCH: &str = "service_registry_etcd_epoch";
const LISTS: &str = "service_registry_etcd_lists";
const WATCHES: &str = "service_registry_etcd_watches";
const COMMITS: &str = "service_registry_etcd_commits";
const SKIPPED: &str = "service_registry_etcd_skipped";
const SET_ASIDE: &str = "service_registry_etcd_set_aside";

/// Registers the descriptions of the metrics. Call it once, after the recorder is installed.
pub fn describe() {
    describe_gauge!(SYNCED, "Whether the copy is synced.");
    describe_gauge!(STALE, Unit::Seconds, "Since the watch's last sign of life.");
    describe_gauge!(REVISION, "Revision of etcd that is in the store.");
    describe_gauge!(EPOCH, "Histories of etcd that there have been.");
    describe_gauge!(LISTS, "Lists that were brought into the store.");
    describe_gauge!(WATCHES, "Watches that began.");
    describe_gauge!(COMMITS, "Commits of lists and watches.");
    describe_gauge!(SKIPPED, "Changes of keys that are another source's.");
    describe_gauge!(SET_ASIDE, "Keys that cannot be read.");
}

/// Reports the current state of a copy under the label `name`. O(1).
#[allow(clippy::cast_precision_loss)] // what recorders take
pub fn report(name: &str, replica: &Replica) {
    let set = |gauge: &'static str, value: f64| gauge!(gauge, "copy" => name.to_owned()).set(value);
    let done = replica.stats();
    let state = replica.state();
    set(SYNCED, f64::from(u8::from(state.is_synced())));
    set(
        STALE,
        match state {
            State::Stale { since, .. } => since.elapsed().as_secs_f64(),
            State::Never | State::Synced { .. } => 0.0,
        },
    );
    set(REVISION, replica.revision().get() as f64);
    set(EPOCH, done.epoch as f64);
    set(LISTS, done.lists as f64);
    set(WATCHES, done.watches as f64);
    set(COMMITS, done.commits as f64);
    set(SKIPPED, done.skipped as f64);
    set(SET_ASIDE, done.set_aside as f64);
}
