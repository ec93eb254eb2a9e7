//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::middleware::{from_fn_with_state, map_response};
use axum::routing::{any, get, post, put};

use crate::input::MAX_BODY;
use crate::refusal::Refusal;
use crate::shared::Shared;
use crate::{events, guard, page, pods, proxy, registrations, scrape};

pub(crate) fn routes(shared: Arc<Shared>) -> Router {
    let own = Router::new()
        .route("/", get(page::html))
        .route("/page.css", get(page::css))
        .route("/page.js", get(page::js))
        .route("/icon.svg", get(page::icon))
        .route("/services", get(pods::all).post(registrations::register))
        .route("/services/{name}", get(pods::of_service))
        .route("/services/{name}/{pod}/drain", post(pods::drain))
        .route("/services/{name}/{pod}/kill", post(pods::kill))
        .route(
            "/leases/{id}",
            put(registrations::renew).delete(registrations::revoke),
        )
        .route("/events", get(events::events))
        .route("/metrics", get(scrape::scrape))
        .fallback(async || Refusal::new(StatusCode::NOT_FOUND, "there is nothing under this path"))
        .method_not_allowed_fallback(async || {
            Refusal::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "this path has other methods",
            )
        })
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .layer(map_response(page::with_policy));
    // These have headers of their own, which nothing here overwrites.
    let proxied = Router::new()
        .route("/proxy/{service}", any(proxy::proxy))
        .route("/proxy/{service}/", any(proxy::proxy))
        .route("/proxy/{service}/{*path}", any(proxy::proxy));
    own.merge(proxied)
        .layer(from_fn_with_state(shared.clone(), guard::guard))
        .with_state(shared)
}
