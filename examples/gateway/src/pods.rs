//! What there is, and what is done to a pod: drained, or killed.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};
use service_registry::{RegistryView, ServiceKey, ServiceStatus};

use crate::input::PathParams;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::show;

/// Each service: how many pods, how many of them are healthy, who listens to it.
pub(crate) async fn all(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let view = shared.registry.store().snapshot();
    let mut services: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
    for pod in view.services() {
        let counts = services.entry(pod.service_name()).or_default();
        counts[0] += 1;
        counts[1] += usize::from(pod.status() == ServiceStatus::Healthy);
    }
    let services: Vec<_> = (services.into_iter())
        .map(|(name, [pods, healthy])| {
            let subscribers = view.subscribers(name).count();
            json!({"name": name, "pods": pods, "healthy": healthy, "subscribers": subscribers})
        })
        .collect();
    Json(json!({"revision": view.revision().as_u64(), "services": services}))
}

/// The pods of a service.
pub(crate) async fn of_service(
    State(shared): State<Arc<Shared>>,
    PathParams(name): PathParams<String>,
) -> Result<Json<Value>, Refusal> {
    let view = shared.registry.store().snapshot();
    let mut pods: Vec<_> = view.services_by_name(&name).collect();
    if pods.is_empty() {
        let error = "no pod of this service is registered";
        return Err(Refusal::new(StatusCode::NOT_FOUND, error).at(name));
    }
    pods.sort_unstable_by_key(|pod| pod.pod_name());
    let pods: Vec<_> = pods.iter().map(|pod| show::in_full(&shared, pod)).collect();
    let revision = view.revision().as_u64();
    Ok(Json(
        json!({"revision": revision, "name": name, "pods": pods}),
    ))
}

/// The pod finishes what it has, and gets nothing new.
pub(crate) async fn drain(
    State(shared): State<Arc<Shared>>,
    PathParams((service, pod)): PathParams<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let key = ServiceKey::new(&service, &pod)?;
    let status = ServiceStatus::Draining;
    shared.registry.update_health_status(&key, status)?;
    Ok(Json(json!({"key": key, "status": status.as_str()})))
}

/// A simulated pod stops to answer and to send heartbeats: what finds out is up to the health checks
/// and the lease. One that is not simulated cannot be stopped from here, and is unregistered.
pub(crate) async fn kill(
    State(shared): State<Arc<Shared>>,
    PathParams((service, pod)): PathParams<(String, String)>,
) -> Result<Json<Value>, Refusal> {
    let key = ServiceKey::new(&service, &pod)?;
    if shared.fleet.get().is_some_and(|fleet| fleet.kill(&key)) {
        return Ok(Json(json!({"key": key, "killed": "the simulated server"})));
    }
    let removed = match shared.leases.find(&key) {
        Some(lease) => shared.leases.revoke(lease)?,
        None => shared.registry.unregister(&service, &pod)?,
    };
    match removed {
        Some(_) => Ok(Json(json!({"key": key, "killed": "the registration"}))),
        None => Err(
            Refusal::new(StatusCode::NOT_FOUND, "no such pod is registered").at(key.to_string()),
        ),
    }
}
