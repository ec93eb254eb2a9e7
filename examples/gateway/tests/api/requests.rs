//! What is refused, and what is said of it.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::support::{Api, start, still};

async fn post(api: &Api, kind: &str, body: impl Into<Body>) -> (u16, Value) {
    let headers = [("content-type", kind)];
    let answer = api.send(Method::POST, "/services", &headers, body).await;
    (answer.status.as_u16(), answer.json())
}

#[tokio::test]
#[allow(clippy::too_many_lines)] // a table
async fn a_bad_registration_is_told_what_is_wrong_and_where() {
    let (gateway, api) = start(still()).await;
    let with = |pod: Value| json!({"ttl_seconds": 30, "pod": pod}).to_string();
    let good = json!({"service_name": "cart", "pod_name": "one"});
    let named = |name: &str| with(json!({"service_name": name, "pod_name": "one"}));
    let pod = |field: &str, value: Value| {
        let mut pod = good.clone();
        pod[field] = value;
        with(pod)
    };
    let provider = json!([{"protocol": "http", "host": "10.0.0.7", "port": 80}]);
    let elsewhere = json!({"service_name": "cart", "pod_name": "one", "providers": provider,
        "health_check_url": "http://169.254.169.254/"});
    let cases: Vec<(String, u16, &str, &str)> = vec![
        (String::new(), 400, "body", "EOF"),
        ("{".into(), 400, "body", "line 1 column 1"),
        ("[]".into(), 422, "body", "expected"),
        (
            "{\"ttl_seconds\":30,\"pod\":{}} x".into(),
            400,
            "body",
            "trailing",
        ),
        (
            format!("{{\"pod\":{{\"x\":{}", "[".repeat(10_000)),
            400,
            "body",
            "pod.x: EOF",
        ),
        (
            json!({"pod": good}).to_string(),
            422,
            "body",
            "missing field `ttl_seconds`",
        ),
        (
            json!({"ttl_seconds": 30}).to_string(),
            422,
            "body",
            "missing field `pod`",
        ),
        (
            json!({"ttl_seconds": "30", "pod": good}).to_string(),
            422,
            "body",
            "ttl_seconds: invalid type",
        ),
        (
            json!({"ttl_seconds": -1, "pod": good}).to_string(),
            422,
            "body",
            "ttl_seconds: invalid value",
        ),
        (
            json!({"ttl_seconds": 0, "pod": good}).to_string(),
            422,
            "ttl_seconds",
            "1 to 3600",
        ),
        (
            json!({"ttl_seconds": 3601, "pod": good}).to_string(),
            422,
            "ttl_seconds",
            "1 to 3600",
        ),
        (
            json!({"ttl_seconds": 30, "pod": good, "extra": 1}).to_string(),
            422,
            "body",
            "unknown field `extra`",
        ),
        (
            pod("weight", json!(-1)),
            422,
            "body",
            "pod.weight: invalid value",
        ),
        (
            pod(
                "providers",
                json!([{"protocol": "http", "host": "10.0.0.7", "port": 65_536}]),
            ),
            422,
            "body",
            "pod.providers[0].port",
        ),
        (
            pod(
                "providers",
                json!([{"protocol": "http", "host": "10.0.0.700", "port": 1}]),
            ),
            422,
            "body",
            "pod.providers[0].host",
        ),
        (named(""), 422, "pod.service_name", "empty"),
        (named("a:b"), 422, "pod.service_name", ":"),
        (named("a\u{0}"), 422, "pod.service_name", "control"),
        (named(" a"), 422, "pod.service_name", "space"),
        (named(&"x".repeat(1_025)), 422, "pod.service_name", "1024"),
        (
            pod("subscriptions", json!(["ok", ""])),
            422,
            "pod.subscriptions[1]",
            "empty",
        ),
        (
            pod("health_check_url", json!("http://127.0.0.1:1/")),
            422,
            "pod.health_check_url",
            "one of the providers",
        ),
        (
            with(elsewhere),
            422,
            "pod.health_check_url",
            "one of the providers",
        ),
        (named(&"x".repeat(20_000)), 413, "body", "16384"),
    ];
    for (body, status, place, says) in cases {
        let shown: String = body.chars().take(100).collect();
        let (found, told) = post(&api, "application/json", body).await;
        let error = told["error"].as_str().unwrap();
        assert_eq!(
            (found, told["where"].as_str()),
            (status, Some(place)),
            "{shown}: {error}"
        );
        assert!(
            error.contains(says) && error.len() < 400,
            "{shown}: {error}"
        );
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        let (status, told) = post(&api, kind, with(good.clone())).await;
        assert_eq!(
            (status, told["where"].as_str()),
            (415, Some("content-type"))
        );
    }
    assert_eq!(gateway.leases().registry().stats().unwrap().services, 0);
}

#[tokio::test]
async fn what_is_not_there_is_said_in_json() {
    let (_gateway, api) = start(still()).await;
    for (path, status) in [
        ("/nothing", 404),
        ("/services/none", 404),
        ("/services/", 404),
        ("/services/%FF", 400),
        ("/leases", 404),
        ("/leases/1", 405),
        ("/proxy/%FF/", 400),
        ("/proxy/", 404),
    ] {
        let answer = api.get(path).await;
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(
            answer.json()["error"].is_string(),
            "{path}: {}",
            answer.body
        );
    }
    let answer = api
        .send(Method::DELETE, "/services", &[], Body::empty())
        .await;
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer.json()["error"].is_string());
}

#[tokio::test]
async fn pages_of_others_change_nothing() {
    let (_gateway, api) = start(still()).await;
    api.register(json!({"service_name": "cart", "pod_name": "one"}))
        .await;
    let own = format!("http://{}", api.address);
    let kill = async |name, value| {
        let path = "/services/cart/one/drain";
        api.send(Method::POST, path, &[(name, value)], Body::empty())
            .await
    };
    for (name, value) in [
        ("origin", "http://evil.example"),
        ("origin", "null"),
        ("origin", "http://127.0.0.1:1"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
    ] {
        let answer = kill(name, value).await;
        assert_eq!(
            (answer.status, answer.json()["where"].as_str()),
            (StatusCode::FORBIDDEN, Some(name))
        );
    }
    // A name of others that leads here.
    let answer = kill("host", "evil.example").await;
    assert_eq!(answer.status, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(api.statuses("cart").await[0].1, "unknown");
    // Through the proxy, too.
    let headers = [("origin", "http://evil.example")];
    let answer = api
        .send(Method::POST, "/proxy/cart/", &headers, Body::empty())
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    // Nobody else may read.
    let headers = [("origin", "http://evil.example")];
    let answer = api
        .send(Method::GET, "/services", &headers, Body::empty())
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(
        answer.header("cross-origin-resource-policy"),
        Some("same-origin")
    );
    let answer = api
        .send(Method::OPTIONS, "/services", &headers, Body::empty())
        .await;
    assert_eq!(answer.header("access-control-allow-origin"), None);

    assert_eq!(kill("origin", &own).await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_page_has_a_policy() {
    let (_gateway, api) = start(still()).await;
    for (path, kind) in [
        ("/", "text/html"),
        ("/page.css", "text/css"),
        ("/page.js", "text/javascript"),
        ("/icon.svg", "image/svg+xml"),
    ] {
        let answer = api.get(path).await;
        assert!(answer.header("content-type").unwrap().starts_with(kind));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"));
        assert!(answer.body.len() > 100);
        for elsewhere in [
            "https://",
            "http://",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
        ] {
            let body = answer.body.replace("http://www.w3.org/2000/svg", "");
            assert!(!body.contains(elsewhere), "{path} has {elsewhere}");
        }
    }
}

#[tokio::test]
async fn metrics_are_texts_for_prometheus() {
    let (_gateway, api) = start(still()).await;
    api.register(json!({"service_name": "cart", "pod_name": "one"}))
        .await;
    api.get("/proxy/cart/").await;
    let text = api.get("/metrics").await.body;
    for name in [
        "service_registry_records{store=\"gateway\"}",
        "gateway_leases ",
        "gateway_registrations_total ",
        "gateway_proxied_total{status=\"5xx\"}",
        "service_registry_commits_total",
    ] {
        assert!(text.contains(name), "{name}: {text}");
    }
    assert!(!text.contains("cart"), "no label names a service or a pod");
}
