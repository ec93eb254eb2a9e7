//! `/proxy/{service}/...`: a request, passed on to one of the pods of the service.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use percent_encoding::percent_decode_str;
use service_registry::balance::Pods;
use service_registry::{RegistryView, ServiceInfo, ServiceKey, VersionedSnapshot};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Sleep, sleep, timeout};

use crate::load::InFlight;
use crate::probe::http_address;
use crate::refusal::Refusal;
use crate::shared::Shared;

/// A request is kept to be sent again, so it must not be longer.
const MAX_BODY: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(10);
/// How many pods are tried.
const TRIES: usize = 3;
/// What is put into `Via`.
const NAME: &str = "1.1 service-registry-gateway";

/// Those of one connection, and not of what goes over it (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
];

pub(crate) async fn proxy(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    request: Request,
) -> Response {
    let begun = Instant::now();
    let answer = forward(&shared, peer, request).await;
    let response = answer.unwrap_or_else(IntoResponse::into_response);
    let class = match response.status().as_u16() / 100 {
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        5 => "5xx",
        _ => "other",
    };
    metrics::counter!("gateway_proxied_total", "status" => class).increment(1);
    metrics::histogram!("gateway_proxied_seconds").record(begun.elapsed());
    response
}

async fn forward(
    shared: &Arc<Shared>,
    peer: SocketAddr,
    request: Request,
) -> Result<Response, Refusal> {
    let (service, path) = target(request.uri())?;
    let permit = shared.proxied.clone().try_acquire_owned();
    let permit = permit.map_err(|_| Refusal::full("too many requests are under way", 1))?;
    let (mut head, body) = request.into_parts();
    let via = head.headers.get_all(header::VIA);
    let via = via.iter().filter_map(|via| via.to_str().ok());
    if via
        .flat_map(|via| via.split(','))
        .any(|via| via.trim() == NAME)
    {
        let error = "the request has come through this gateway already";
        return Err(Refusal::new(StatusCode::LOOP_DETECTED, error).at(service));
    }
    let body = whole(body).await?;
    drop_hop_by_hop(&mut head.headers);
    forward_headers(&mut head.headers, peer);

    let mut tried: Vec<ServiceKey> = Vec::new();
    let mut late = false;
    while tried.len() < TRIES {
        let Some((pod, address)) = pick(shared, &service, &tried) else {
            break;
        };
        let mut request = Request::new(Body::from(body.clone()));
        *request.method_mut() = head.method.clone();
        *request.headers_mut() = head.headers.clone();
        let uri = format!("http://{address}{path}").parse::<Uri>();
        *request.uri_mut() =
            uri.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error).at("path"))?;

        let flight = shared.load.begin(&pod);
        let answer = timeout(shared.options.tuning.answer, shared.client.request(request)).await;
        let (is_connected, failure) = match answer {
            // Nobody asked for another protocol: that is no answer.
            Ok(Ok(answer)) if answer.status() == StatusCode::SWITCHING_PROTOCOLS => {
                (true, "closed")
            }
            Ok(Ok(answer)) => return Ok(forward_answer(answer, &pod, flight, permit)),
            Ok(Err(error)) => (!error.is_connect(), "closed"),
            Err(_) => (true, "late"),
        };
        metrics::counter!("gateway_failed_calls_total", "how" => failure).increment(1);
        eject(shared, &pod);
        tried.push(pod.key().clone());
        late = failure == "late";
        // What has been sent may have been done: only what may be done twice is sent again.
        if is_connected && (late || !is_idempotent(&head.method)) {
            break;
        }
    }
    Err(no_pod_answered(shared, service, tried.len(), late))
}

/// The name of the service, and the path and query behind it as they came.
fn target(uri: &Uri) -> Result<(String, String), Refusal> {
    let path = uri.path().strip_prefix("/proxy/").unwrap_or_default();
    let (service, rest) = path.split_once('/').unwrap_or((path, ""));
    let service = percent_decode_str(service).decode_utf8();
    let service =
        service.map_err(|error| Refusal::new(StatusCode::BAD_REQUEST, error).at("path"))?;
    let query = uri.query().map(|query| format!("?{query}"));
    Ok((
        service.into(),
        format!("/{rest}{}", query.unwrap_or_default()),
    ))
}

async fn whole(body: Body) -> Result<Bytes, Refusal> {
    let late = |_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time");
    let body = timeout(PATIENCE, to_bytes(body, MAX_BODY))
        .await
        .map_err(late)?;
    body.map_err(|_| {
        let error = format!("the body is longer than {MAX_BODY} bytes, or was cut short");
        Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error).at("body")
    })
}

fn drop_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = (headers.get_all(header::CONNECTION).iter())
        .filter_map(|names| names.to_str().ok())
        .flat_map(|names| names.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

fn forward_headers(headers: &mut HeaderMap, peer: SocketAddr) {
    // Of the pod's host, and of the body that is kept: both are set when it is sent.
    headers.remove(header::CONTENT_LENGTH);
    if let Some(host) = headers.remove(header::HOST) {
        headers.insert("x-forwarded-host", host);
    }
    if let Ok(peer) = HeaderValue::from_str(&peer.ip().to_string()) {
        headers.append("x-forwarded-for", peer);
    }
    headers.append(header::VIA, HeaderValue::from_static(NAME));
}

/// The less busy of two healthy pods that have not been tried.
fn pick(shared: &Shared, service: &str, tried: &[ServiceKey]) -> Option<(ServiceInfo, SocketAddr)> {
    let view = shared.registry.store().snapshot();
    let pods = UntriedPods {
        view: &view,
        service,
        tried,
    };
    let candidates = shared
        .balancer
        .among(pods)
        .sparing(&shared.ejections, Instant::now());
    let pod = candidates.two_choices(shared.random(), |pod| shared.load.of(pod.key()).0)?;
    Some((pod.clone(), http_address(pod)?))
}

#[derive(Clone, Copy)]
struct UntriedPods<'p> {
    view: &'p VersionedSnapshot,
    service: &'p str,
    tried: &'p [ServiceKey],
}

impl<'p> Pods<'p> for UntriedPods<'p> {
    fn pods(self) -> impl Iterator<Item = &'p ServiceInfo> {
        let pods = self.view.services_by_name(self.service);
        pods.filter(move |pod| http_address(pod).is_some() && !self.tried.contains(pod.key()))
    }
}

/// Leaves a pod out for a while, unless too many are.
fn eject(shared: &Shared, pod: &ServiceInfo) {
    let view = shared.registry.store().snapshot();
    let pods = (&view, pod.service_name());
    let time = shared.options.tuning.ejected;
    if shared.ejections.eject(pod, pods, Instant::now(), time) {
        metrics::counter!("gateway_ejections_total").increment(1);
    }
}

fn is_idempotent(method: &Method) -> bool {
    method.is_safe() || *method == Method::PUT || *method == Method::DELETE
}

fn no_pod_answered(shared: &Shared, service: String, tried: usize, late: bool) -> Refusal {
    let view = shared.registry.store().snapshot();
    let is_known = view.services_by_name(&service).next().is_some()
        || view.subscribers(&service).next().is_some();
    match tried {
        0 if is_known => Refusal::full("no pod of this service is healthy", 1),
        0 => Refusal::new(StatusCode::NOT_FOUND, "nobody knows this service"),
        _ if late => Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            "the pod did not answer in time",
        ),
        _ => {
            let error = format!("{tried} of its pods were called, and did not answer");
            Refusal::new(StatusCode::BAD_GATEWAY, error)
        }
    }
    .at(service)
}

/// The answer of a pod. A browser must not take it for a page of the gateway's own: it is shown
/// without scripts, and as another origin.
fn forward_answer(
    answer: Response<Incoming>,
    pod: &ServiceInfo,
    flight: InFlight,
    permit: OwnedSemaphorePermit,
) -> Response {
    let (mut head, body) = answer.into_parts();
    // A length that is not to be believed (RFC 9112, 6.3).
    let lengths = head.headers.get_all(header::CONTENT_LENGTH).iter().count();
    if lengths > 1 || head.headers.contains_key(header::TRANSFER_ENCODING) {
        head.headers.remove(header::CONTENT_LENGTH);
    }
    drop_hop_by_hop(&mut head.headers);
    let set = [
        (
            "content-security-policy",
            HeaderValue::from_static("sandbox"),
        ),
        (
            "x-content-type-options",
            HeaderValue::from_static("nosniff"),
        ),
        ("via", HeaderValue::from_static(NAME)),
    ];
    for (name, value) in set {
        head.headers.insert(name, value);
    }
    if let Ok(key) = HeaderValue::from_bytes(pod.key().as_bytes()) {
        head.headers.insert("x-served-by", key);
    }
    let body = ProxiedBody {
        body,
        idle: Box::pin(sleep(PATIENCE)),
        _under_way: (flight, permit),
    };
    Response::from_parts(head, Body::new(body))
}

/// The body of an answer, which counts as under way until it is over.
struct ProxiedBody {
    body: Incoming,
    idle: Pin<Box<Sleep>>,
    _under_way: (InFlight, OwnedSemaphorePermit),
}

impl HttpBody for ProxiedBody {
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            self.idle
                .as_mut()
                .reset(tokio::time::Instant::now() + PATIENCE);
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        match self.idle.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err("the pod does not go on".into()))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
