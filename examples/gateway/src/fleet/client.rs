//! [`Client`]: what a pod asks of the gateway, over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use http_body_util::BodyExt;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use service_registry::ServiceRegistration;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Client {
    gateway: SocketAddr,
    http: hyper_util::client::legacy::Client<HttpConnector, Body>,
}

impl Client {
    pub(super) fn new(gateway: SocketAddr) -> Client {
        let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
        Client { gateway, http }
    }

    /// The id of the lease, or `None` where it was refused.
    pub(super) async fn register(&self, pod: &ServiceRegistration, ttl: u64) -> Option<String> {
        let request_body = json!({"ttl_seconds": ttl, "pod": pod});
        let (status, answer) = self
            .send(Method::POST, "/services", Some(&request_body))
            .await?;
        let lease = answer["lease"].as_str().map(Into::into);
        lease.filter(|_| status == StatusCode::CREATED)
    }

    /// The status of the answer, and that of the pod.
    pub(super) async fn renew(&self, lease: &str) -> Option<(StatusCode, String)> {
        let (status, answer) = self
            .send(Method::PUT, &format!("/leases/{lease}"), None)
            .await?;
        Some((status, answer["status"].as_str().unwrap_or_default().into()))
    }

    pub(super) async fn leave(&self, lease: &str) {
        self.send(Method::DELETE, &format!("/leases/{lease}"), None)
            .await;
    }

    pub(super) async fn drain(&self, service: &str, pod: &str) {
        let [service, pod] = [service, pod].map(|name| utf8_percent_encode(name, NON_ALPHANUMERIC));
        let path = format!("/services/{service}/{pod}/drain");
        self.send(Method::POST, &path, None).await;
    }

    /// Calls a service, by whichever of its pods; answers whether it answered well.
    pub(super) async fn call(&self, service: &str) -> bool {
        let service = utf8_percent_encode(service, NON_ALPHANUMERIC);
        let answer = self
            .send(Method::GET, &format!("/proxy/{service}/"), None)
            .await;
        answer.is_some_and(|(status, _)| status.is_success())
    }

    /// `None` where there is no answer.
    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Option<(StatusCode, Value)> {
        let request = Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.gateway))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.map_or_else(Body::empty, |body| Body::from(body.to_string())))
            .ok()?;
        let answer = async {
            let answer = self.http.request(request).await.ok()?;
            let status = answer.status();
            let body = answer.into_body().collect().await.ok()?.to_bytes();
            Some((status, serde_json::from_slice(&body).unwrap_or_default()))
        };
        timeout(PATIENCE, answer).await.ok()?
    }
}
