//! Reports stores, watches and leases to the crate `metrics`, and through it to any exporter, such
//! as Prometheus (`examples/metrics.rs`).
//!
//! Commits, watches and sweeps record their metrics themselves. The gauges are set by [`report`]
//! and [`report_leases`]: call them before each scrape.
//!
//! | name | kind | label | meaning |
//! | --- | --- | --- | --- |
//! | `service_registry_commits_total` | counter | `store`, its kind | commits that changed something |
//! | `service_registry_commit_seconds` | histogram | `store`, its kind | time from asking for the writers' turn until it is given back |
//! | `service_registry_turn_wait_seconds` | histogram | `store`, its kind | time until the turn came, also of commits that failed; on `WorkerStore` the time in the queue, of every call |
//! | `service_registry_watch_lag_revisions` | histogram | | revisions that a watch had not shown yet when it was asked and had something to show |
//! | `service_registry_states_for_lag_total` | counter | | states that watches got because the log did not reach back far enough |
//! | `service_registry_expired_total` | counter | | pods that sweeps of leases removed |
//! | `service_registry_records` | gauge | `store`, a name | registered pods |
//! | `service_registry_subscriptions` | gauge | `store`, a name | subscriptions |
//! | `service_registry_revision` | gauge | `store`, a name | the revision |
//! | `service_registry_watches` | gauge | `store`, a name | `Upkeep::watches` |
//! | `service_registry_log_bytes` | gauge | `store`, a name | `Upkeep::log_bytes` |
//! | `service_registry_old_versions` | gauge | `store`, a name | `Upkeep::old_versions` |
//! | `service_registry_oldest_snapshot_revisions` | gauge | `store`, a name | age of `Upkeep::oldest_snapshot` in revisions; 0 if there is none |
//! | `service_registry_leases` | gauge | `store`, a name | `LeaseStats::leases` |
//! | `service_registry_withheld` | gauge | `store`, a name | `LeaseStats::withheld` |
//!
//! A store's kind is its name in [`StoreKind`](crate::StoreKind), or `memory`. No label names a
//! pod or a service, so the number of series does not grow with them.
//!
//! Two problems are not visible in any gauge. The snapshots of `SnapshotStore` are counted pointers
//! in no list, so the age of snapshots and the memory that they keep are known only for
//! `VersionedStore`. And the lag is recorded when a watch is polled, so a watch that hangs records
//! none: its owner can compare `watch.revision()` with `store.revision()`.
//! (`service_registry_log_bytes` does not show it either: the log grows up to its bound anyway.)
//! When the watch is polled again, `service_registry_states_for_lag_total` counts that it had
//! fallen behind the log.

use ::metrics::{Unit, describe_counter, describe_gauge, describe_histogram, gauge};

use crate::leases::LeaseStats;
use crate::model::error::Result;
use crate::observe::{
    COMMIT_SECONDS, COMMITS, EXPIRED, STATES_FOR_LAG, TURN_WAIT_SECONDS, WATCH_LAG_REVISIONS,
};
use crate::store::RegistryStore;

const RECORDS: &str = "service_registry_records";
const SUBSCRIPTIONS: &str = "service_registry_subscriptions";
const REVISION: &str = "service_registry_revision";
const WATCHES: &str = "service_registry_watches";
const LOG_BYTES: &str = "service_registry_log_bytes";
const OLD_VERSIONS: &str = "service_registry_old_versions";
const OLDEST_SNAPSHOT: &str = "service_registry_oldest_snapshot_revisions";
const LEASES: &str = "service_registry_leases";
const WITHHELD: &str = "service_registry_withheld";

/// Registers the descriptions of the metrics. Call it after installing the recorder.
pub fn describe() {
    describe_counter!(COMMITS, "Commits that changed something.");
    describe_histogram!(COMMIT_SECONDS, Unit::Seconds, "Time of a commit.");
    describe_histogram!(TURN_WAIT_SECONDS, Unit::Seconds, "Wait for the turn.");
    describe_histogram!(
        WATCH_LAG_REVISIONS,
        "Revisions that a watch had not shown when it took an event."
    );
    describe_counter!(
        STATES_FOR_LAG,
        "States told to watches that had fallen behind the log."
    );
    describe_counter!(EXPIRED, "Pods that sweeps of leases have removed.");
    describe_gauge!(RECORDS, "Pods that are registered.");
    describe_gauge!(SUBSCRIPTIONS, "Subscriptions.");
    describe_gauge!(REVISION, "Number of the present state.");
    describe_gauge!(WATCHES, "Watches.");
    describe_gauge!(LOG_BYTES, Unit::Bytes, "Bytes that the log keeps.");
    describe_gauge!(OLD_VERSIONS, "Replaced versions that have not been freed.");
    describe_gauge!(
        OLDEST_SNAPSHOT,
        "Revisions since the oldest snapshot was taken."
    );
    describe_gauge!(LEASES, "Leases that have not ended.");
    describe_gauge!(WITHHELD, "Silent pods that the last sweep let stay.");
}

fn set(gauge: &'static str, name: &str, value: u64) {
    #[allow(clippy::cast_precision_loss)] // recorders take `f64`
    let value = value as f64;
    gauge!(gauge, "store" => name.to_owned()).set(value);
}

/// Sets the gauges of a store, under a name for it. O(1); for a `VersionedStore`, a turn of writing
/// and O(snapshots).
///
/// # Errors
///
/// [`Closed`](crate::StoreError::Closed), and any other error of the store.
pub fn report(name: &str, store: &(impl RegistryStore + ?Sized)) -> Result<()> {
    let stats = store.stats()?;
    let upkeep = store.upkeep()?;
    let revision = store.revision().as_u64();
    let oldest = upkeep.oldest_snapshot.map_or(revision, u64::from);
    set(RECORDS, name, stats.services as u64);
    set(SUBSCRIPTIONS, name, stats.subscriptions as u64);
    set(REVISION, name, revision);
    set(WATCHES, name, upkeep.watches as u64);
    set(LOG_BYTES, name, upkeep.log_bytes as u64);
    set(OLD_VERSIONS, name, upkeep.old_versions as u64);
    set(OLDEST_SNAPSHOT, name, revision.saturating_sub(oldest));
    Ok(())
}

/// Sets the gauges of leases, under the name of their store.
///
/// ```
/// use service_registry::leases::{LeaseOptions, Leases};
/// use service_registry::{MemoryStore, Registry, metrics};
///
/// let leases = Leases::new(Registry::new(MemoryStore::new()), LeaseOptions::default())?;
/// // For example, before each scrape by Prometheus:
/// metrics::report("pods", leases.registry().store())?;
/// metrics::report_leases("pods", leases.stats());
/// # Ok::<(), service_registry::StoreError>(())
/// ```
pub fn report_leases(name: &str, stats: LeaseStats) {
    set(LEASES, name, stats.leases as u64);
    set(WITHHELD, name, stats.withheld as u64);
}
