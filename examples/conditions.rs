//! Writes that hold only if nothing has come between: who was not seen for long is taken out, one
//! pod is drained, and a list from elsewhere takes the place of the one before.
//!
//! ```console
//! cargo run --example conditions
//! ```

use std::time::{Duration, SystemTime};

use service_registry::changes::Difference;
use service_registry::{
    Batch, Cause, Expected, MemoryStore, OnForeign, Registry, RegistryStore, RegistryView, Result,
    ServiceInfo, ServiceRegistration, ServiceStatus, StoreError,
};

/// Takes out all who were last seen before `time`, and nobody who has just been seen.
fn expire(registry: &Registry<MemoryStore>, time: SystemTime) -> Result<Vec<Difference>> {
    loop {
        // Who is late, and the revision at which that holds.
        let batch = registry.store().with_view(|view| {
            let mut batch = Batch::new();
            batch.require_unchanged_since(view.revision());
            let seen = |pod: &ServiceInfo| pod.last_health_check().unwrap_or(pod.registered_at());
            for pod in view.services().filter(|pod| seen(pod) < time) {
                batch.remove_if(pod.key(), Expected::Present, Cause::Expired);
            }
            batch
        })?;
        match registry.commit_changes(batch) {
            Ok((_, removed)) => return Ok(removed),
            // Somebody was seen meanwhile: look again.
            Err(StoreError::BatchRejected { source, .. })
                if matches!(*source, StoreError::Conflict(_)) => {}
            Err(error) => return Err(error),
        }
    }
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

    let removed = expire(&registry, SystemTime::now() - Duration::from_secs(30))?;
    println!("{} expired", removed.len());
    assert!(removed.is_empty(), "both were registered just now");

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
    assert_eq!(registry.get_services_by_name("checkout")?.len(), 2);
    Ok(())
}
