//! `POST /services`, and what a pod does with its lease.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use service_registry::ServiceRegistration;
use service_registry::leases::Lease;

use crate::input::{Input, PathParams};
use crate::probe::is_own_url;
use crate::refusal::Refusal;
use crate::shared::Shared;

const LONGEST_TTL: u64 = 3_600;

/// What a pod sends that wants to be registered.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RegistrationRequest {
    ttl_seconds: u64,
    pod: ServiceRegistration,
}

/// Registers a pod, or registers it anew, with a lease.
pub(crate) async fn register(
    State(shared): State<Arc<Shared>>,
    Input(RegistrationRequest { ttl_seconds, pod }): Input<RegistrationRequest>,
) -> Result<impl IntoResponse, Refusal> {
    if !(1..=LONGEST_TTL).contains(&ttl_seconds) {
        let error = format!("ttl_seconds must be 1 to {LONGEST_TTL}");
        return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error).at("ttl_seconds"));
    }
    if !is_own_url(&pod) {
        let error = "health_check_url must be empty, or `http://` with the address and the port of \
                     one of the providers";
        let refusal = Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error);
        return Err(refusal.at("pod.health_check_url"));
    }
    // One after the other, so that no two take the last place.
    let mut locked = shared.ids.lock();
    let limit = shared.options.limit;
    let key = format!("{}:{}", pod.service_name, pod.pod_name);
    let is_there = || shared.registry.contains_service(&key).unwrap_or(false);
    if shared.registry.stats()?.services >= limit && !is_there() {
        let error = format!("{limit} pods are registered, and no more are taken (`--limit`)");
        return Err(Refusal::full(error, 5));
    }
    let ttl = Duration::from_secs(ttl_seconds);
    let lease = shared.leases.register(pod, ttl);
    let lease = lease.map_err(|error| Refusal::from(error).inside("pod"))?;
    let id = locked.insert(lease, &shared.leases);
    drop(locked);
    metrics::counter!("gateway_registrations_total").increment(1);

    let place = [(header::LOCATION, format!("/leases/{id}"))];
    let answer = json!({"key": key, "lease": id, "ttl_seconds": ttl_seconds});
    Ok((StatusCode::CREATED, place, Json(answer)))
}

/// A heartbeat. It tells the pod its status, so that one that is to be drained hears of it.
pub(crate) async fn renew(
    State(shared): State<Arc<Shared>>,
    PathParams(id): PathParams<String>,
) -> Result<Json<Value>, Refusal> {
    let lease = find(&shared, &id)?;
    shared.leases.renew(&lease).map_err(|_| lost())?;
    let pod = shared
        .registry
        .find_service(lease.key())?
        .ok_or_else(lost)?;
    if pod.incarnation() != lease.incarnation() {
        return Err(lost());
    }
    Ok(Json(json!({
        "key": pod.key(),
        "status": pod.status().as_str(),
        "ttl_seconds": lease.ttl().as_secs(),
    })))
}

/// Unregisters the pod, if it is still the one that the lease is of.
pub(crate) async fn revoke(
    State(shared): State<Arc<Shared>>,
    PathParams(id): PathParams<String>,
) -> Result<StatusCode, Refusal> {
    let lease = find(&shared, &id)?;
    match shared.leases.revoke(lease)? {
        Some(_) => Ok(StatusCode::NO_CONTENT),
        None => Err(lost()),
    }
}

fn find(shared: &Shared, id: &str) -> Result<Lease, Refusal> {
    shared.ids.find(id).ok_or_else(lost)
}

fn lost() -> Refusal {
    let error = "this lease has ended, or the pod was removed or registered anew: register again";
    Refusal::new(StatusCode::GONE, error).at("lease")
}
