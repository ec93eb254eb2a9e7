//! Exports the metrics of a store to Prometheus. Counters and histograms are recorded
//! automatically; gauges are set by `metrics::report` and `metrics::report_leases` before each
//! scrape.
//!
//! ```console
//! cargo run --features metrics,versioned --example metrics
//! ```
//!
//! It prints the response to a scrape. A real program serves that text over HTTP, or lets the
//! exporter serve it (its feature `http-listener`).

use std::error::Error;
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use service_registry::changes::Selection;
use service_registry::leases::{LeaseOptions, Leases};
use service_registry::{Registry, ServiceRegistration, ServiceStatus, VersionedStore, metrics};

fn main() -> Result<(), Box<dyn Error>> {
    let times = [1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1.0];
    let revisions = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &times)?
        .set_buckets_for_metric(Matcher::Suffix("_lag_revisions".into()), &revisions)?
        .install_recorder()?;
    metrics::describe();

    let leases = Leases::new(
        Registry::new(VersionedStore::new()),
        LeaseOptions::default(),
    )?;
    let registry = leases.registry();
    let mut watch = registry.watch(Selection::service("checkout"))?;
    let begun = registry.store().snapshot();
    for pod in 0..100 {
        let pod = format!("pod-{pod}");
        let registration = ServiceRegistration::new("checkout", &*pod);
        let _kept = leases.register(registration, Duration::from_secs(30))?;
        registry.update_health_status(&format!("checkout:{pod}"), ServiceStatus::Healthy)?;
    }
    watch.recv()?;

    // A handler of `/metrics` does this.
    metrics::report("pods", registry.store())?;
    metrics::report_leases("pods", leases.stats());
    print!("{}", prometheus.render());
    drop(begun);
    Ok(())
}
