//! The simulated fleet, which does what it does over HTTP only.

use axum::http::StatusCode;
use serde_json::json;
use service_registry_gateway::{Options, Tuning};

use super::support::{start, still, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_pod_is_found_out_by_checks_and_then_by_its_lease() {
    let options = Options {
        no_fleet: false,
        tuning: Tuning::default(),
        ..still()
    };
    let (gateway, api) = start(options).await;
    until("the whole shop is healthy", async || {
        let services = api.get("/services").await.json();
        let services = services["services"].as_array().unwrap();
        services.len() == 11
            && services
                .iter()
                .all(|service| service["healthy"].as_u64() >= Some(2))
    })
    .await;
    until("somebody buys", async || {
        let pods = api.get("/services/redis-cart").await.json();
        pods["pods"]
            .as_array()
            .unwrap()
            .iter()
            .any(|pod| pod["per_second"].as_u64() > Some(0))
    })
    .await;
    assert_eq!(api.get("/proxy/frontend/").await.status, StatusCode::OK);

    let pods = api.statuses("emailservice").await;
    let (killed, _) = pods.iter().find(|(_, status)| status == "healthy").unwrap();
    let answer = api
        .post(&format!("/services/emailservice/{killed}/kill"), &json!({}))
        .await;
    assert_eq!(answer.json()["killed"], "the simulated server");
    let status = async || {
        let pods = api.statuses("emailservice").await;
        pods.into_iter()
            .find(|(pod, _)| pod == killed)
            .map(|(_, status)| status)
    };
    until("checks find it", async || {
        status().await.as_deref() != Some("healthy")
    })
    .await;
    until("its lease ends", async || status().await.is_none()).await;
    until("another one comes in its place", async || {
        let pods = api.statuses("emailservice").await;
        pods.iter()
            .filter(|(_, status)| status == "healthy")
            .count()
            >= 3
    })
    .await;
    gateway.stop().await.unwrap();
}
