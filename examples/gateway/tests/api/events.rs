//! The events: a state, then changes.

use axum::body::Body;
use axum::http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use service_registry::ServiceRegistration;
use service_registry::changes::{Cursor, Selection};
use tokio::net::TcpSocket;

use super::support::{Api, heal, start, still};

/// What a browser makes of a stream.
struct Events {
    body: Incoming,
    text: String,
}

#[derive(Debug)]
struct Event {
    name: String,
    id: String,
    data: Value,
}

impl Events {
    async fn open(api: &Api, last: Option<&str>) -> Events {
        let mut request = Request::get("/events").header("host", api.address.to_string());
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        // A small one, which is soon full.
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(16 << 10).unwrap();
        let stream = socket.connect(api.address).await.unwrap();
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        let request = request.body(Body::empty()).unwrap();
        let answer = sender.send_request(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        Events {
            body: answer.into_body(),
            text: String::new(),
        }
    }

    /// The next event but loads, and `None` at the end.
    async fn next(&mut self) -> Option<Event> {
        let mut scanned = 0;
        loop {
            while let Some(end) = self.text[scanned..].find("\n\n") {
                let event: String = self.text.drain(..scanned + end + 2).collect();
                scanned = 0;
                let field = |name: &str| {
                    let mut lines = event.lines();
                    let found = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    found.unwrap_or_default().to_owned()
                };
                let name = field("event");
                if name == "state" || name == "changes" {
                    let (id, data) = (field("id"), serde_json::from_str(&field("data")).unwrap());
                    return Some(Event { name, id, data });
                }
            }
            scanned = self.text.len().saturating_sub(1);
            let frame = self.body.frame().await?.ok()?;
            // Texts are ASCII here.
            self.text
                .push_str(std::str::from_utf8(frame.data_ref()?).unwrap());
        }
    }
}

#[tokio::test]
async fn first_the_state_and_then_changes() {
    let (gateway, api) = start(still()).await;
    api.register(json!({"service_name": "cart", "pod_name": "one", "subscriptions": ["redis"]}))
        .await;
    let mut events = Events::open(&api, None).await;
    let state = events.next().await.unwrap();
    assert_eq!(
        (&*state.name, &state.data["reason"]),
        ("state", &json!("begin"))
    );
    assert_eq!(state.data["pods"][0]["pod"], "one");
    assert_eq!(
        state.data["subscriptions"],
        json!([{"subscriber": "cart:one", "group": "redis"}])
    );

    heal(&gateway, &["cart:one"]);
    let event = events.next().await.unwrap();
    let change = &event.data["changes"][0];
    assert_eq!(
        (&*event.name, &change["kind"]),
        ("changes", &json!("changed"))
    );
    assert_eq!(
        (&change["before"], &change["pod"]["status"]),
        (&json!("unknown"), &json!("healthy"))
    );

    let lease = api
        .register(json!({"service_name": "cart", "pod_name": "two"}))
        .await;
    assert_eq!(
        events.next().await.unwrap().data["changes"][0]["kind"],
        "added"
    );
    api.delete(&lease).await;
    let change = &events.next().await.unwrap().data["changes"][0];
    assert_eq!(
        (&change["kind"], &change["cause"]),
        (&json!("removed"), &json!("deleted"))
    );
}

#[tokio::test]
async fn who_comes_back_goes_on_and_who_cannot_begins_anew() {
    let (_gateway, api) = start(still()).await;
    api.register(json!({"service_name": "cart", "pod_name": "one"}))
        .await;
    let mut events = Events::open(&api, None).await;
    let last = events.next().await.unwrap().id;
    drop(events);
    api.register(json!({"service_name": "cart", "pod_name": "two"}))
        .await;

    let mut again = Events::open(&api, Some(&last)).await;
    let event = again.next().await.unwrap();
    assert_eq!(
        (&*event.name, &event.data["changes"][0]["pod"]["pod"]),
        ("changes", &json!("two"))
    );
    for other in ["0000000000000000-1", "not a cursor", ""] {
        let mut anew = Events::open(&api, Some(other)).await;
        assert_eq!(anew.next().await.unwrap().name, "state", "{other}");
    }
}

/// The reader does not read until more has been written than the sockets and the log hold.
#[tokio::test]
async fn who_falls_behind_is_told_the_state() {
    const PODS: usize = 3_000;
    let (gateway, api) = start(still()).await;
    let mut events = Events::open(&api, None).await;
    let begin = events.next().await.unwrap();
    let cursor: Cursor = begin.id.parse().unwrap();
    let registry = gateway.leases().registry();
    // What is there already fills the sockets; what is replaced, the log.
    for pod in (0..PODS).chain((0..PODS).map(|_| 0)) {
        let pod = ServiceRegistration::new("cart", pod.to_string())
            .with_metadata("text", "x".repeat(4_000));
        registry.register(pod).unwrap();
        // The gateway is on this thread, too.
        tokio::task::yield_now().await;
    }
    let mut behind = registry.watch_from(Selection::All, cursor).unwrap();
    let told = format!("{:?}", behind.recv().unwrap());
    assert!(
        told.contains("Lagged"),
        "the log is shorter than what was written"
    );
    loop {
        let event = events.next().await.unwrap();
        if event.name == "state" {
            assert_eq!(event.data["reason"], "lagged");
            assert_eq!(event.data["pods"].as_array().unwrap().len(), PODS);
            break;
        }
    }
}

#[tokio::test]
async fn only_so_many_follow_and_all_end_when_the_gateway_stops() {
    let (gateway, api) = start(still()).await;
    let mut all = Vec::new();
    for _ in 0..64 {
        all.push(Events::open(&api, None).await);
    }
    let refused = api.get("/events").await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        refused.json()["error"]
            .as_str()
            .unwrap()
            .contains("following")
    );
    gateway.stop().await.unwrap();
    for mut events in all {
        assert_eq!(
            events.next().await.map(|event| event.name).as_deref(),
            Some("state")
        );
        assert!(events.next().await.is_none());
    }
}
