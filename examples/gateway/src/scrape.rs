//! `GET /metrics`, for Prometheus.

use std::sync::{Arc, OnceLock};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use metrics::{describe_counter, describe_gauge, describe_histogram, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::refusal::Refusal;
use crate::shared::Shared;

/// There is one recorder in a process, whatever number of gateways.
pub(crate) fn recorder() -> Result<&'static PrometheusHandle, String> {
    static RECORDER: OnceLock<Result<PrometheusHandle, String>> = OnceLock::new();
    let installed = RECORDER.get_or_init(|| install().map_err(|error| error.to_string()));
    installed.as_ref().map_err(Clone::clone)
}

fn install() -> Result<PrometheusHandle, metrics_exporter_prometheus::BuildError> {
    let times = [
        1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0,
    ];
    let revisions = [1.0, 10.0, 100.0, 1_000.0, 10_000.0];
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &times)?
        .set_buckets_for_metric(Matcher::Suffix("_lag_revisions".into()), &revisions)?
        .install_recorder()?;
    service_registry::metrics::describe();
    describe_counter!(
        "gateway_registrations_total",
        "Registrations that were taken."
    );
    describe_counter!(
        "gateway_proxied_total",
        "Requests to services, by the class of their answer."
    );
    describe_histogram!(
        "gateway_proxied_seconds",
        "Until an answer of a service began."
    );
    describe_counter!(
        "gateway_failed_calls_total",
        "Calls of a pod without an answer."
    );
    describe_counter!(
        "gateway_ejections_total",
        "Pods that were left out for a while."
    );
    describe_gauge!("gateway_leases", "Leases that have not ended.");
    describe_gauge!(
        "gateway_leases_withheld",
        "Pods that are overdue and stay for now."
    );
    describe_gauge!("gateway_followers", "Readers of the events.");
    Ok(handle)
}

pub(crate) async fn scrape(
    State(shared): State<Arc<Shared>>,
) -> Result<impl IntoResponse, Refusal> {
    service_registry::metrics::report("gateway", shared.registry.store())?;
    let leases = shared.leases.stats();
    #[allow(clippy::cast_precision_loss)] // what recorders take
    for (name, count) in [
        ("gateway_leases", leases.leases),
        ("gateway_leases_withheld", leases.withheld),
        ("gateway_followers", shared.followers()),
    ] {
        gauge!(name).set(count as f64);
    }
    let text = recorder().map(PrometheusHandle::render).unwrap_or_default();
    Ok((
        [(
            header::CONTENT_TYPE,
            "text/plain; version=0.0.4; charset=utf-8",
        )],
        text,
    ))
}

/// Sorts what histograms have taken in, which the exporter asks for.
pub(crate) async fn upkeep() {
    loop {
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
        if let Ok(recorder) = recorder() {
            recorder.run_upkeep();
        }
    }
}
