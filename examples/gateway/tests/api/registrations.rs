//! Pods come, stay and go.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;

use super::support::{heal, start, still};

#[tokio::test]
async fn a_pod_registers_stays_and_leaves() {
    let (_gateway, api) = start(still()).await;
    let lease = api
        .register(json!({"service_name": "cart", "pod_name": "a/b", "zone": "eu-1a"}))
        .await;
    let listed = api.get("/services").await.json();
    assert_eq!(
        listed["services"],
        json!([{"name": "cart", "pods": 1, "healthy": 0, "subscribers": 0}])
    );
    let beat = api.put(&lease).await;
    assert_eq!(beat.status, StatusCode::OK);
    assert_eq!(
        beat.json(),
        json!({"key": "cart:a/b", "status": "unknown", "ttl_seconds": 30})
    );

    assert_eq!(api.delete(&lease).await.status, StatusCode::NO_CONTENT);
    for answer in [api.put(&lease).await, api.delete(&lease).await] {
        assert_eq!(answer.status, StatusCode::GONE, "{}", answer.body);
        assert_eq!(answer.json()["where"], "lease");
    }
    assert_eq!(
        api.get("/services/cart").await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn who_is_silent_expires_and_who_is_not_stays() {
    let (gateway, api) = start(still()).await;
    let mut leases = Vec::new();
    for pod in ["one", "two"] {
        leases.push(
            api.register(json!({"service_name": "cart", "pod_name": pod}))
                .await,
        );
    }
    let registered = Instant::now();
    assert_eq!(api.put(&leases[0]).await.status, StatusCode::OK);
    let ttl = Duration::from_secs(30);
    let almost = registered + Duration::from_secs(25);
    assert!(gateway.leases().sweep(almost).unwrap().expired.is_empty());
    let sweep = gateway.leases().sweep(registered + ttl).unwrap();
    assert_eq!(sweep.expired.len(), 1);
    assert_eq!(sweep.expired[0].key(), "cart:two");
    assert_eq!(api.put(&leases[1]).await.status, StatusCode::GONE);
    assert_eq!(api.put(&leases[0]).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_lease_is_lost_to_the_pod_that_registers_anew() {
    let (_gateway, api) = start(still()).await;
    let pod = json!({"service_name": "cart", "pod_name": "one"});
    let (old, new) = (api.register(pod.clone()).await, api.register(pod).await);
    assert_ne!(old, new);
    assert_eq!(api.put(&old).await.status, StatusCode::GONE);
    assert_eq!(api.delete(&old).await.status, StatusCode::GONE);
    assert_eq!(api.put(&new).await.status, StatusCode::OK);
}

#[tokio::test]
async fn an_id_that_was_made_up_is_no_lease() {
    let (_gateway, api) = start(still()).await;
    let lease = api
        .register(json!({"service_name": "cart", "pod_name": "one"}))
        .await;
    let (incarnation, _) = lease
        .strip_prefix("/leases/")
        .unwrap()
        .split_once('-')
        .unwrap();
    for id in [incarnation, "1", "x", "-", "99-0000000000000000", "%00"] {
        let made_up = api.put(&format!("/leases/{id}")).await;
        assert_eq!(made_up.status, StatusCode::GONE, "{id}");
    }
    let made_up = api
        .delete(&format!("/leases/{incarnation}-0000000000000000"))
        .await;
    assert_eq!(made_up.status, StatusCode::GONE);
    assert_eq!(api.put(&lease).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_flood_is_held_to_the_limit() {
    let options = service_registry_gateway::Options {
        limit: 10,
        ..still()
    };
    let (gateway, api) = start(options).await;
    let mut flood = tokio::task::JoinSet::new();
    for pod in 0..50 {
        let api = api.clone();
        flood.spawn(async move {
            let pod = json!({"service_name": "cart", "pod_name": pod.to_string()});
            let answer = api
                .post("/services", &json!({"ttl_seconds": 30, "pod": pod}))
                .await;
            if answer.status == StatusCode::SERVICE_UNAVAILABLE {
                assert!(
                    answer.json()["error"]
                        .as_str()
                        .unwrap()
                        .starts_with("10 pods are registered")
                );
                assert!(answer.header("retry-after").is_some());
            }
            answer.status
        });
    }
    let answers = flood.join_all().await;
    let of = |status| answers.iter().filter(|answer| **answer == status).count();
    assert_eq!(
        (of(StatusCode::CREATED), of(StatusCode::SERVICE_UNAVAILABLE)),
        (10, 40)
    );
    assert_eq!(gateway.leases().registry().stats().unwrap().services, 10);

    // Who is there may register anew, and one that leaves makes room.
    let pods = api.statuses("cart").await;
    let lease = api
        .register(json!({"service_name": "cart", "pod_name": pods[0].0}))
        .await;
    assert_eq!(api.delete(&lease).await.status, StatusCode::NO_CONTENT);
    api.register(json!({"service_name": "another", "pod_name": "one"}))
        .await;
}

#[tokio::test]
async fn pods_are_drained_and_killed() {
    let (gateway, api) = start(still()).await;
    let lease = api
        .register(json!({"service_name": "a b", "pod_name": "ü/1"}))
        .await;
    heal(&gateway, &["a b:ü/1"]);
    let drained = api
        .post("/services/a%20b/%C3%BC%2F1/drain", &json!({}))
        .await;
    assert_eq!(
        (drained.status, drained.json()["status"].as_str()),
        (StatusCode::OK, Some("draining"))
    );
    assert_eq!(api.put(&lease).await.json()["status"], "draining");

    let killed = api
        .post("/services/a%20b/%C3%BC%2F1/kill", &json!({}))
        .await;
    assert_eq!(killed.json()["killed"], "the registration");
    assert_eq!(api.put(&lease).await.status, StatusCode::GONE);
    for what in ["drain", "kill"] {
        let nobody = api
            .post(&format!("/services/a%20b/1/{what}"), &json!({}))
            .await;
        assert_eq!(nobody.status, StatusCode::NOT_FOUND, "{}", nobody.body);
    }
}
