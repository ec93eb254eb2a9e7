//! A registry in tests: a new store for each test, or one store and `clear`
//! between them.
//!
//! `cargo run --example testing` runs the cases one by one and reports them;
//! `cargo test --example testing` runs the same as tests.

use service_registry::{
    MemoryStore, Registry, RegistryStore, Result, ServiceInfo, ServiceRegistration, ServiceStatus,
    StoreError,
};

/// A program under test: picks where to send a request, and takes any store, so
/// that a test can use the smallest one.
fn pick<S: RegistryStore>(registry: &Registry<S>, service: &str) -> Result<Option<ServiceInfo>> {
    let pods = registry.get_services_by_name(service)?;
    Ok(pods
        .into_iter()
        .filter(|pod| pod.status() == ServiceStatus::Healthy)
        .min_by(|a, b| a.key().cmp(b.key())))
}

/// A new store costs nothing, not even an allocation. With one for each test,
/// tests can run in parallel, and none sees what another left behind.
fn fresh() -> Registry<MemoryStore> {
    Registry::new(MemoryStore::new())
}

fn pod(service: &str, pod: &str) -> ServiceRegistration {
    ServiceRegistration {
        service_name: service.into(),
        pod_name: pod.into(),
        ..Default::default()
    }
}

fn nobody_is_picked_where_nobody_is_registered() -> Result<()> {
    assert_eq!(pick(&fresh(), "user-service")?, None);
    Ok(())
}

fn a_pod_is_not_picked_before_its_first_health_check() -> Result<()> {
    let registry = fresh();
    let new = registry.register(pod("user-service", "pod-1"))?;
    assert_eq!(pick(&registry, "user-service")?, None);

    registry.update_health_status(new.key(), ServiceStatus::Healthy)?;
    let picked = pick(&registry, "user-service")?.expect("one pod is healthy");
    assert_eq!(picked.key(), new.key());
    Ok(())
}

/// One store for a table of cases, with `clear` between them: for tests that
/// cannot replace the store because the program under test holds it.
fn an_unhealthy_pod_is_never_picked() -> Result<()> {
    use ServiceStatus::{Healthy, Unhealthy, Unknown};
    let registry = fresh();
    let cases = [
        ([Healthy, Healthy], Some("pod-0")),
        ([Unhealthy, Healthy], Some("pod-1")),
        ([Unknown, Healthy], Some("pod-1")),
        ([Unhealthy, Unknown], None),
    ];
    for (statuses, expected) in cases {
        registry.store().clear()?;
        for (number, status) in statuses.into_iter().enumerate() {
            let new = registry.register(pod("user-service", &format!("pod-{number}")))?;
            registry.update_health_status(new.key(), status)?;
        }
        let picked = pick(&registry, "user-service")?;
        assert_eq!(picked.as_ref().map(ServiceInfo::pod_name), expected);
    }
    // `clear` empties the store but keeps the revision: revisions never go
    // back.
    let before = registry.revision();
    registry.store().clear()?;
    assert_eq!(registry.stats()?.services, 0);
    assert_eq!(registry.revision(), before.next());
    Ok(())
}

/// Errors can be tested, too: a closed store refuses every operation.
fn a_closed_store_is_an_error_and_not_an_empty_answer() -> Result<()> {
    let registry = fresh();
    registry.store().close()?;
    assert_eq!(pick(&registry, "user-service"), Err(StoreError::Closed));
    Ok(())
}

macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        fn main() -> Result<()> {
            $(
                $case()?;
                println!("ok: {}", stringify!($case).replace('_', " "));
            )+
            Ok(())
        }

        #[cfg(test)]
        mod tests {
            $(
                #[test]
                fn $case() {
                    super::$case().unwrap();
                }
            )+
        }
    };
}

cases!(
    nobody_is_picked_where_nobody_is_registered,
    a_pod_is_not_picked_before_its_first_health_check,
    an_unhealthy_pod_is_never_picked,
    a_closed_store_is_an_error_and_not_an_empty_answer,
);
