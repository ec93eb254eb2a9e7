//! What a store tells the crate `metrics`, and so whatever exports that: Prometheus for one
//! (`examples/metrics.rs`).
//!
//! Commits, watches and sweeps count by themselves. How much there is at the moment, a program
//! tells with [`report`] and [`report_leases`], best before each time that it is asked for its
//! metrics.
//!
//! | name | kind | label | what |
//! | --- | --- | --- | --- |
//! | `service_registry_commits_total` | counter | `store`, its kind | commits that changed something |
//! | `service_registry_commit_seconds` | histogram | `store`, its kind | from asking for the turn until it was given back |
//! | `service_registry_turn_wait_seconds` | histogram | `store`, its kind | until the turn came, whatever became of it; on `WorkerStore` the time in the queue, of every call |
//! | `service_registry_watch_lag_revisions` | histogram | | how many revisions a watch had not shown when it was asked and had something |
//! | `service_registry_states_for_lag_total` | counter | | states that were told since the log did not reach back |
//! | `service_registry_expired_total` | counter | | pods that sweeps of leases have removed |
//! | `service_registry_records` | gauge | `store`, a name | pods that are registered |
//! | `service_registry_subscriptions` | gauge | `store`, a name | subscriptions |
//! | `service_registry_revision` | gauge | `store`, a name | the revision |
//! | `service_registry_watches` | gauge | `store`, a name | `Upkeep::watches` |
//! | `service_registry_log_bytes` | gauge | `store`, a name | `Upkeep::log_bytes` |
//! | `service_registry_old_versions` | gauge | `store`, a name | `Upkeep::old_versions` |
//! | `service_registry_oldest_snapshot_revisions` | gauge | `store`, a name | how many revisions ago `Upkeep::oldest_snapshot` was; 0 where there is none |
//! | `service_registry_leases` | gauge | `store`, a name | `LeaseStats::leases` |
//! | `service_registry_withheld` | gauge | `store`, a name | `LeaseStats::withheld` |
//!
//! A kind is the name that [`StoreKind`](crate::StoreKind) has for it, and `memory`. No label
//! names a pod or a service: however many there are, there are no more series.

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

/// Tells the recorder what the metrics mean. To be called once it is installed.
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
    #[allow(clippy::cast_precision_loss)] // what recorders take
    let value = value as f64;
    gauge!(gauge, "store" => name.to_owned()).set(value);
}

/// Tells how much a store holds and keeps at the moment, under a name for it. O(1), and for a
/// `VersionedStore` a turn of writing and O(snapshots).
///
/// # Errors
///
/// [`Closed`](crate::StoreError::Closed), and what the store answers otherwise.
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

/// Tells how many leases there are, and how many silent pods stay, under a name for their store.
///
/// ```
/// use service_registry::leases::{LeaseOptions, Leases};
/// use service_registry::{MemoryStore, Registry, metrics};
///
/// let leases = Leases::new(Registry::new(MemoryStore::new()), LeaseOptions::default())?;
/// // Where Prometheus asks for metrics, say:
/// metrics::report("pods", leases.registry().store())?;
/// metrics::report_leases("pods", leases.stats());
/// # Ok::<(), service_registry::StoreError>(())
/// ```
pub fn report_leases(name: &str, stats: LeaseStats) {
    set(LEASES, name, stats.leases as u64);
    set(WITHHELD, name, stats.withheld as u64);
}
