//! The same small program for every [`DefaultStore`].
//!
//! It uses only what every store promises, so it compiles with any combination of
//! the `default-*` features; `.ci/run` checks that. If the name of a store is
//! given, it fails if the build has selected another one.
//!
//! ```console
//! cargo run --features default-snapshot --example default_store -- SnapshotStore
//! ```

use std::process::ExitCode;
use std::thread;

use service_registry::{
    DefaultStore, Registry, RegistryStore, Result, ServiceRegistration, ServiceStatus,
};

/// Registers a pod on one thread and reads it on another. Every store can be sent
/// to another thread; not all of them can be shared.
fn round_trip() -> Result<()> {
    let registry = Registry::new(DefaultStore::new());
    registry.register(ServiceRegistration {
        service_name: "user-service".into(),
        pod_name: "pod-1".into(),
        subscriptions: vec!["billing".into()],
        ..Default::default()
    })?;
    let elsewhere = thread::spawn(move || -> Result<()> {
        assert!(registry.update_health_status("user-service:pod-1", ServiceStatus::Healthy)?);
        let pods = registry.get_services_by_name("user-service")?;
        assert_eq!(pods.len(), 1);
        assert_eq!(pods[0].status(), ServiceStatus::Healthy);
        assert_eq!(registry.get_subscribers("billing")?, ["user-service:pod-1"]);

        let left = registry.unregister("user-service", "pod-1")?;
        assert_eq!(left.as_ref(), pods.first());
        assert_eq!(registry.stats()?, DefaultStore::default().stats()?);
        registry.store().close()
    });
    elsewhere.join().expect("no assertion failed")
}

fn main() -> Result<ExitCode> {
    let path = std::any::type_name::<DefaultStore>();
    let chosen = path.rsplit("::").next().unwrap_or(path);
    if let Some(expected) = std::env::args().nth(1)
        && expected != chosen
    {
        eprintln!("this build should choose {expected}, and it chose {chosen}");
        return Ok(ExitCode::FAILURE);
    }
    round_trip()?;
    println!("DefaultStore is {chosen}");
    Ok(ExitCode::SUCCESS)
}
