//! Commits to a store without watches, and reads, for valgrind to count: `.ci/hook` compares
//! their cost with that in a build that reports changes to nobody.
//!
//! ```console
//! cargo build --release --example commits --features thread-safe,evmap,snapshot,versioned
//! valgrind --tool=callgrind --collect-atstart=no --toggle-collect='*counted*' \
//!     target/release/examples/commits thread-safe check
//! ```

use std::time::{Duration, SystemTime};

use service_registry::{
    Batch, EvmapStore, MemoryStore, RegistryStore, Result, ServiceInfo, ServiceRegistration,
    ServiceStatus, SnapshotStore, ThreadSafeMemoryStore, VersionedStore,
};

const PODS: u32 = 1_000;
/// The number of operations on each pod.
const ROUNDS: u32 = 10;

fn key(pod: u32) -> String {
    format!("service-{}:pod-{pod}", pod % 50)
}

fn record(pod: u32, weight: u32) -> Result<ServiceInfo> {
    let name = format!("service-{}", pod % 50);
    let mut registration = ServiceRegistration::new(name, format!("pod-{pod}"));
    registration.weight = weight;
    ServiceInfo::new(registration)
}

/// Runs the part that valgrind counts; it finds this function by its name.
#[inline(never)]
fn counted(commits: &mut dyn FnMut()) {
    commits();
}

fn run<S: RegistryStore>(store: &S, operation: &str) -> Result<()> {
    for pod in 0..PODS {
        store.save_service(record(pod, 1)?)?;
    }
    let keys: Vec<String> = (0..PODS).map(key).collect();
    for round in 1..=ROUNDS {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(round.into());
        let status = [ServiceStatus::Healthy, ServiceStatus::Unhealthy][round as usize % 2];
        let records: Result<Vec<ServiceInfo>> =
            (0..PODS).map(|pod| record(pod, 1 + round)).collect();
        let mut records = records?.into_iter();
        let mut keys = keys.iter();
        // Makes room for the counted operations, and is not counted itself.
        if operation == "insert" {
            keys.clone().try_for_each(|key| store.delete_service(key))?;
        }
        let mut failed = Ok(());
        counted(&mut || {
            failed = match operation {
                "check" => keys.try_for_each(|key| {
                    store
                        .update_health_status(key, ServiceStatus::Healthy, at)
                        .map(drop)
                }),
                "health" => {
                    keys.try_for_each(|key| store.update_health_status(key, status, at).map(drop))
                }
                "batch" => (0..PODS as usize / 10).try_for_each(|_| {
                    let mut batch = Batch::new();
                    for key in keys.by_ref().take(10) {
                        batch.update_health_status(key, ServiceStatus::Healthy, at);
                    }
                    store.commit(batch).map(drop)
                }),
                "get" => keys.try_for_each(|key| store.get_service(key).map(drop)),
                "with" => {
                    keys.try_for_each(|key| store.with_service(key, ServiceInfo::status).map(drop))
                }
                "save" | "insert" => records.try_for_each(|record| store.save_service(record)),
                "delete" => keys.try_for_each(|key| store.delete_service(key)),
                "subscribe" => keys.try_for_each(|key| {
                    store.add_subscription(key, ["even", "odd"][round as usize % 2])?;
                    store.remove_subscription(key, ["even", "odd"][round as usize % 2])
                }),
                _ => panic!("check, health, save, insert, delete, subscribe, batch, get or with"),
            };
        });
        failed?;
        if operation == "delete" {
            (0..PODS).try_for_each(|pod| store.save_service(record(pod, 1)?))?;
        }
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let (store, operation) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    match &*store {
        "memory" => run(&MemoryStore::new(), &operation),
        "thread-safe" => run(&ThreadSafeMemoryStore::new(), &operation),
        "evmap" => run(&EvmapStore::new(), &operation),
        "snapshot" => run(&SnapshotStore::new(), &operation),
        "versioned" => run(&VersionedStore::new(), &operation),
        _ => panic!("memory, thread-safe, evmap, snapshot or versioned"),
    }
}
