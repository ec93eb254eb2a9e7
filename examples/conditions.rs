//! Writes that hold only if nothing has come between: one pod is drained, one that was not seen
//! for long is taken out, and a list from elsewhere takes the place of the one before.
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

/// Removes a pod that was last seen before `time`. Answers whether it did.
fn expire(registry: &Registry<MemoryStore>, key: &str, time: SystemTime) -> Result<bool> {
    // Each look that fails had another commit within a microsecond or two.
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
    // It is there still; the next sweep finds it.
    Ok(false)
}

fn main() -> Result<()> {
    let registry = Registry::new(MemoryStore::new());
    for pod in ["pod-1", "pod-2"] {
        registry.register(ServiceRegistration::new("checkout", pod))?;
    }

    // Who read a record, and changes it on the strength of that, says which one it was.
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

    // Both were seen just now.
    let long_ago = SystemTime::now() - Duration::from_secs(30);
    assert!(!expire(&registry, "checkout:pod-2", long_ago)?);
    let ahead = SystemTime::now() + Duration::from_secs(30);
    assert!(expire(&registry, "checkout:pod-2", ahead)?);

    // The pods that another registry lists: it owns them, and a newer list replaces all of them.
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
