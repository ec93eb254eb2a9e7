//! Conditional writes: drains a pod that has not changed, removes a pod that was not seen for
//! long, and replaces a list of pods from another source.
//!
//! ```console
//! cargo run --example conditions
//! ```

use std::time::{Duration, SystemTime};

use service_registry::changes::Difference;
use service_registry::{
    Batch, Cause, Expected, MemoryStore, OnForeign, Registry, RegistryStore, RegistryView, Result,
    ServiceRegistration, ServiceStatus, StoreError,
};

/// Removes a pod that was last seen before `time`. Returns whether it was removed.
fn expire(registry: &Registry<MemoryStore>, key: &str, time: SystemTime) -> Result<bool> {
    // A retry is only needed if another commit comes within a microsecond or two.
    for _ in 0..100 {
        let looked_at = registry.store().with_view(|view| {
            let pod = view.get(key)?;
            let seen = pod.last_health_check().unwrap_or(pod.registered_at());
            (seen < time).then(|| view.revision())
        })?;
        let Some(revision) = looked_at else {
            return Ok(false);
        };
        let mut batch = Batch::new();
        batch
            .require_unchanged_since(revision)
            .remove_if(key, Expected::Present, Cause::Expired);
        match registry.commit(batch) {
            Err(StoreError::BatchRejected { source, .. })
                if matches!(*source, StoreError::Conflict(_)) => {}
            done => return done.map(|_| true),
        }
    }
    // The pod is still there; the next sweep finds it.
    Ok(false)
}

fn main() -> Result<()> {
    let registry = Registry::new(MemoryStore::new());
    for pod in ["pod-1", "pod-2"] {
        registry.register(ServiceRegistration::new("checkout", pod))?;
    }

    // A write that depends on an earlier read names the revision that was read.
    let read = registry.get_service("checkout:pod-1")?;
    registry.update_health_status("checkout:pod-1", ServiceStatus::Unhealthy)?;
    let mut drain = Batch::new();
    let (expected, now) = (Expected::Revision(read.revision()), SystemTime::now());
    drain.require(read.key(), expected).update_health_status(
        read.key(),
        ServiceStatus::Draining,
        now,
    );
    match registry.commit(drain) {
        Ok(_) => unreachable!("the record has changed since it was read"),
        Err(error) => println!("refused: {error}"),
    }

    // Both pods were seen just now.
    let long_ago = SystemTime::now() - Duration::from_secs(30);
    assert!(!expire(&registry, "checkout:pod-2", long_ago)?);
    let ahead = SystemTime::now() + Duration::from_secs(30);
    assert!(expire(&registry, "checkout:pod-2", ahead)?);

    // The pods that another registry lists. That registry owns them, and each newer list
    // replaces all of them.
    let of_zone = |pods: &[&str]| {
        let registrations = pods
            .iter()
            .map(|pod| ServiceRegistration::new("payment", *pod));
        registry.replace_source("zone-b", registrations.collect::<Vec<_>>(), OnForeign::Skip)
    };
    of_zone(&["pod-1", "pod-2"])?;
    for change in of_zone(&["pod-2", "pod-3"])? {
        match change {
            Difference::Added(pod) => println!("+ {}", pod.key()),
            Difference::Removed { last, cause, .. } => println!("- {}, {cause}", last.key()),
            other => println!("~ {other:?}"),
        }
    }
    assert_eq!(registry.get_services_by_name("payment")?.len(), 2);
    assert_eq!(registry.get_services_by_name("checkout")?.len(), 1);
    Ok(())
}
