//! A gateway in this process, a client of it, and pods.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use service_registry::checks::CheckOptions;
use service_registry::leases::LeaseOptions;
use service_registry::{ServiceStatus, StoreError};
use service_registry_gateway::{Gateway, Options, Tuning};

/// Nothing happens by itself: a test says when leases end, and who is healthy.
pub(crate) fn still() -> Options {
    let never = Duration::from_secs(100_000);
    Options {
        tuning: Tuning {
            checks: CheckOptions {
                interval: never,
                ..CheckOptions::default()
            },
            leases: LeaseOptions {
                hold: Duration::ZERO,
                ..LeaseOptions::default()
            },
            sweep: never,
            ejected: never,
            ..Tuning::default()
        },
        ..Options::default()
    }
}

pub(crate) async fn start(options: Options) -> (Gateway, Api) {
    let gateway = Gateway::start(options).await.unwrap();
    let api = Api::new(gateway.address());
    (gateway, api)
}

#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    client: Client<HttpConnector, Body>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

impl Api {
    pub(crate) fn new(address: SocketAddr) -> Api {
        Api {
            address,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let (head, body) = self.client.request(request).await.unwrap().into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Answer {
            status: head.status,
            headers: head.headers,
            body: String::from_utf8(body.into()).unwrap(),
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], Body::empty()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let headers = [("content-type", "application/json")];
        self.send(Method::POST, path, &headers, body.to_string())
            .await
    }

    pub(crate) async fn put(&self, path: &str) -> Answer {
        self.send(Method::PUT, path, &[], Body::empty()).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[], Body::empty()).await
    }

    /// Registers a pod with these fields, and answers with the path of its lease.
    pub(crate) async fn register(&self, pod: Value) -> String {
        let answer = self
            .post("/services", &json!({"ttl_seconds": 30, "pod": pod}))
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.body);
        answer.header("location").unwrap().into()
    }

    /// What is told of each pod of a service, by the name of the pod.
    pub(crate) async fn statuses(&self, service: &str) -> Vec<(String, String)> {
        let answer = self.get(&format!("/services/{service}")).await;
        if answer.status == StatusCode::NOT_FOUND {
            return Vec::new();
        }
        let told = answer.json();
        let pods = told["pods"].as_array().unwrap().iter();
        pods.map(|pod| {
            ["pod", "status"]
                .map(|field| pod[field].as_str().unwrap().to_owned())
                .into()
        })
        .collect()
    }
}

/// A health check says that these are well.
pub(crate) fn heal(gateway: &Gateway, keys: &[&str]) {
    for key in keys {
        let registry = gateway.leases().registry();
        registry
            .update_health_status(key, ServiceStatus::Healthy)
            .unwrap_or_else(|error: StoreError| panic!("{error}"));
    }
}

/// Asks until it is so, for as long as even a busy machine takes.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(120), asking).await;
    waited.unwrap_or_else(|_| panic!("never: {what}"));
}
