//! Saves, reads, subscribes and counts: the whole interface on one page.
//!
//! ```console
//! cargo run --example basic
//! ```

use std::time::SystemTime;

use service_registry::{
    MemoryStore, Protocol, Provider, RegistryStore, Result, ServiceInfo, ServiceRegistration,
    ServiceStatus,
};

fn main() -> Result<()> {
    let store = MemoryStore::new();

    // A registration is what a pod says about itself. `ServiceInfo::new` validates
    // it, so no store ever holds an invalid record.
    for host in 1..=2 {
        let registration = ServiceRegistration::new("user-service", format!("pod-{host}"))
            .with_provider(Provider::new(Protocol::Http, [10, 0, 0, host], 8080));
        store.save_service(ServiceInfo::new(registration)?)?;
    }

    // The key is `service:pod`.
    store.update_health_status(
        "user-service:pod-1",
        ServiceStatus::Healthy,
        SystemTime::now(),
    )?;
    let pod = store.get_service("user-service:pod-1")?;
    println!("{} is {}", pod.key(), pod.status());

    // The caller owns what it got: later changes of the store do not affect it.
    store.update_health_status(pod.key(), ServiceStatus::Unhealthy, SystemTime::now())?;
    println!("  it was {} when we asked", pod.status());
    // To read one field, nothing needs to be copied.
    let now = store.with_service(pod.key(), ServiceInfo::status)?;
    println!("  it is {now} by now");

    println!("user-service is served by");
    let mut pods = store.get_services_by_name("user-service")?;
    pods.sort_by(|a, b| a.key().cmp(b.key()));
    for pod in &pods {
        for at in pod.providers() {
            println!("  {:<7} {at}", pod.pod_name());
        }
    }

    // A subscriber need not be registered: it may register later.
    store.add_subscription("web:pod-1", "user-service")?;
    store.add_subscription("billing:pod-1", "user-service")?;
    println!("who wants to hear of user-service");
    for subscriber in store.get_subscribers("user-service")? {
        println!("  {subscriber}");
    }

    let stats = store.stats()?;
    println!(
        "{} pods and {} subscriptions at revision {}",
        stats.services,
        stats.subscriptions,
        store.revision()
    );

    // An error shows the input, and what is wrong with it.
    if let Err(error) = store.get_service("user-service:pod-9") {
        println!("refused: {error}");
    }
    if let Err(error) = store.add_subscription("web", "user-service") {
        println!("refused: {error}");
    }
    Ok(())
}
