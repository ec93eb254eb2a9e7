//! Requests that are passed on.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use service_registry::ServiceStatus;
use service_registry_gateway::{Gateway, Options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{AbortHandle, JoinSet};

use super::support::{Api, heal, start, still, until};

/// A server that answers so, for as long as the test takes.
async fn serve<A, F>(answer: A) -> SocketAddr
where
    A: Fn(Request) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer);
    tokio::spawn(async { axum::serve(listener, router).await });
    address
}

/// A server that answers at once, until it is aborted.
async fn well_for_now() -> (SocketAddr, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(async || "well\n");
    let server = tokio::spawn(async { axum::serve(listener, router).await });
    (address, server.abort_handle())
}

/// A server that answers at once.
async fn well() -> SocketAddr {
    serve(async |_| "well\n".into_response()).await
}

/// Where nobody listens.
async fn dead() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
}

/// A server that reads a request and hangs up, and how many there were.
async fn hangs_up() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if stream
                .read(&mut [0; 4_096])
                .await
                .is_ok_and(|read| read > 0)
            {
                counted.fetch_add(1, Relaxed);
            }
        }
    });
    (address, requests)
}

/// Registers a healthy pod of the service `cart`.
async fn join(gateway: &Gateway, api: &Api, pod: &str, address: SocketAddr) {
    let provider =
        json!({"protocol": "http", "host": address.ip().to_string(), "port": address.port()});
    api.register(json!({"service_name": "cart", "pod_name": pod, "providers": [provider]}))
        .await;
    heal(gateway, &[&format!("cart:{pod}")]);
}

/// Who answers, how often.
async fn ask(api: &Api, times: usize) -> BTreeMap<String, usize> {
    let mut answers = BTreeMap::new();
    for _ in 0..times {
        let answer = api.get("/proxy/cart/").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        *answers
            .entry(answer.header("x-served-by").unwrap().into())
            .or_default() += 1;
    }
    answers
}

#[tokio::test]
async fn all_healthy_pods_get_requests_and_others_none() {
    let (gateway, api) = start(still()).await;
    for pod in ["1", "2", "3", "4", "5"] {
        join(&gateway, &api, pod, well().await).await;
    }
    api.post("/services/cart/4/drain", &json!({})).await;
    let registry = gateway.leases().registry();
    registry
        .update_health_status("cart:5", ServiceStatus::Unhealthy)
        .unwrap();
    let answers = ask(&api, 90).await;
    assert_eq!(
        answers.keys().collect::<Vec<_>>(),
        ["cart:1", "cart:2", "cart:3"]
    );
    assert!(answers.values().all(|count| *count >= 10), "{answers:?}");

    for pod in ["1", "2", "3"] {
        api.post(&format!("/services/cart/{pod}/drain"), &json!({}))
            .await;
    }
    let nobody = api.get("/proxy/cart/").await;
    assert_eq!(nobody.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(
        nobody.json(),
        json!({"error": "no pod of this service is healthy", "where": "cart"})
    );
}

#[tokio::test]
async fn a_name_is_known_where_somebody_is_or_listens() {
    let (_gateway, api) = start(still()).await;
    assert_eq!(api.get("/proxy/cart/").await.status, StatusCode::NOT_FOUND);
    api.register(json!({"service_name": "web", "pod_name": "1", "subscriptions": ["cart"]}))
        .await;
    assert_eq!(
        api.get("/proxy/cart/").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(
        api.get("/proxy/web").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(api.get("/proxy/%FF/").await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn the_less_busy_pod_gets_the_request() {
    let (gateway, api) = start(still()).await;
    let (came, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (came.clone(), go.clone());
    let slow = serve(move |_| {
        let (tell, wait) = (tell.clone(), wait.clone());
        async move {
            tell.notify_one();
            wait.notified().await;
            "late\n".into_response()
        }
    })
    .await;
    join(&gateway, &api, "slow", slow).await;
    let held = {
        let api = api.clone();
        tokio::spawn(async move { api.get("/proxy/cart/").await })
    };
    came.notified().await;
    join(&gateway, &api, "quick", well().await).await;
    assert_eq!(
        ask(&api, 20).await,
        BTreeMap::from([("cart:quick".into(), 20)])
    );
    let told = api.get("/services/cart").await.json();
    assert_eq!(
        (&told["pods"][0]["in_flight"], &told["pods"][1]["in_flight"]),
        (&json!(0), &json!(1))
    );
    go.notify_one();
    assert_eq!(held.await.unwrap().body, "late\n");
}

#[tokio::test]
async fn another_pod_is_called_where_one_is_dead_and_that_is_left_out() {
    let (gateway, api) = start(still()).await;
    join(&gateway, &api, "dead", dead().await).await;
    join(&gateway, &api, "well", well().await).await;
    assert_eq!(
        ask(&api, 20).await,
        BTreeMap::from([("cart:well".into(), 20)])
    );
    let told = api.get("/services/cart").await.json();
    assert_eq!(
        (&told["pods"][0]["pod"], &told["pods"][0]["ejected"]),
        (&json!("dead"), &json!(true))
    );

    // The last one is never left out, and all are dead.
    let (gateway, api) = start(still()).await;
    for pod in ["1", "2", "3", "4"] {
        join(&gateway, &api, pod, dead().await).await;
    }
    let failed = api.get("/proxy/cart/").await;
    assert_eq!(failed.status, StatusCode::BAD_GATEWAY);
    assert!(
        failed.json()["error"]
            .as_str()
            .unwrap()
            .starts_with("3 of its pods were called")
    );
}

#[tokio::test]
async fn what_was_sent_is_sent_again_only_if_it_may_be_done_twice() {
    let (gateway, api) = start(still()).await;
    let (address, requests) = hangs_up().await;
    join(&gateway, &api, "hangs up", address).await;
    let answer = api.send(Method::POST, "/proxy/cart/", &[], "order").await;
    assert_eq!(
        (answer.status, requests.load(Relaxed)),
        (StatusCode::BAD_GATEWAY, 1)
    );
    join(&gateway, &api, "well", well().await).await;
    assert_eq!(
        ask(&api, 20).await,
        BTreeMap::from([("cart:well".into(), 20)])
    );
    assert!(
        requests.load(Relaxed) <= 2,
        "it is left out after the first one"
    );

    // Nothing has been sent to who does not listen.
    let (gateway, api) = start(still()).await;
    join(&gateway, &api, "dead", dead().await).await;
    join(&gateway, &api, "well", well().await).await;
    for _ in 0..10 {
        let answer = api.send(Method::POST, "/proxy/cart/", &[], "order").await;
        assert_eq!(answer.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_request_and_its_answer_are_passed_on_without_what_is_of_the_connection() {
    let (gateway, api) = start(still()).await;
    let echo = serve(async |request: Request| {
        let (head, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1_000).await.unwrap();
        let headers: BTreeMap<&str, &str> = head
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
            .collect();
        let told = json!({
            "method": head.method.as_str(), "target": head.uri.to_string(),
            "headers": headers, "body": String::from_utf8_lossy(&body),
        });
        let headers = [
            ("connection", "x-private"),
            ("x-private", "1"),
            ("x-public", "1"),
            ("content-security-policy", "default-src *"),
        ];
        (StatusCode::IM_A_TEAPOT, headers, told.to_string()).into_response()
    })
    .await;
    join(&gateway, &api, "1", echo).await;
    let headers = [
        ("connection", "x-mine"),
        ("x-mine", "1"),
        ("te", "trailers"),
        ("proxy-authorization", "secret"),
        ("x-kept", "1"),
        ("x-forwarded-for", "10.1.1.1"),
    ];
    let path = "/proxy/cart/a%2Fb/../c//d?x=%20&y#z";
    let answer = api.send(Method::PUT, path, &headers, "body").await;
    assert_eq!(answer.status, StatusCode::IM_A_TEAPOT);
    assert_eq!(
        (answer.header("x-public"), answer.header("x-private")),
        (Some("1"), None)
    );
    assert_eq!(answer.header("content-security-policy"), Some("sandbox"));
    let told = answer.json();
    assert_eq!(
        (&told["method"], &told["body"]),
        (&json!("PUT"), &json!("body"))
    );
    assert_eq!(told["target"], "/a%2Fb/../c//d?x=%20&y");
    let of = |name: &str| told["headers"].get(name).and_then(Value::as_str);
    for gone in ["connection", "x-mine", "te", "proxy-authorization"] {
        assert_eq!(of(gone), None, "{gone}");
    }
    assert_eq!(
        (of("x-kept"), of("host")),
        (Some("1"), Some(&*echo.to_string()))
    );
    assert_eq!(of("x-forwarded-host"), Some(&*api.address.to_string()));
    assert_eq!(of("content-length"), Some("4"));
    assert!(of("via").unwrap().contains("service-registry-gateway"));
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_not_waited_for() {
    let mut options = still();
    options.tuning.answer = Duration::from_millis(200);
    let (gateway, api) = start(options).await;
    let silent = serve(|_| std::future::pending()).await;
    join(&gateway, &api, "silent", silent).await;
    let late = api.get("/proxy/cart/").await;
    assert_eq!(late.status, StatusCode::GATEWAY_TIMEOUT, "{}", late.body);
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused() {
    let (gateway, api) = start(still()).await;
    join(&gateway, &api, "1", well().await).await;
    let answer = api
        .send(Method::PUT, "/proxy/cart/", &[], vec![0; (1 << 20) + 1])
        .await;
    assert_eq!(
        (answer.status, &answer.json()["where"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!("body"))
    );
    let answer = api
        .send(Method::PUT, "/proxy/cart/", &[], vec![0; 1 << 20])
        .await;
    assert_eq!(answer.status, StatusCode::OK);
}

#[tokio::test]
async fn a_pod_that_is_the_gateway_itself_makes_no_circle() {
    let (gateway, api) = start(still()).await;
    join(&gateway, &api, "itself", api.address).await;
    let answer = api.get("/proxy/cart/proxy/cart/").await;
    assert_eq!(answer.status, StatusCode::LOOP_DETECTED, "{}", answer.body);
}

/// All pods are replaced: a new one comes, an old one drains, finishes, leaves and ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_under_load_loses_no_request() {
    let (gateway, api) = start(still()).await;
    let mut old = Vec::new();
    for pod in ["old-1", "old-2", "old-3"] {
        let (address, server) = well_for_now().await;
        join(&gateway, &api, pod, address).await;
        old.push((pod, server));
    }
    let stop = Arc::new(AtomicBool::new(false));
    // How many answers each caller has had.
    let answers: Arc<[AtomicUsize; 4]> = Arc::default();
    let mut callers = JoinSet::new();
    for (caller, method) in [Method::GET, Method::POST, Method::GET, Method::POST]
        .into_iter()
        .enumerate()
    {
        let (api, stop, answers) = (api.clone(), stop.clone(), answers.clone());
        callers.spawn(async move {
            while !stop.load(Relaxed) {
                let answer = api
                    .send(method.clone(), "/proxy/cart/", &[], Body::empty())
                    .await;
                assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
                answers[caller].fetch_add(1, Relaxed);
            }
        });
    }
    // Each caller has begun a request since, and had its answer.
    let all_have_asked = async || {
        let counts = || answers.each_ref().map(|count| count.load(Relaxed));
        let before = counts();
        until("all have asked", async || {
            std::iter::zip(before, counts()).all(|(before, now)| now >= before + 2)
        })
        .await;
    };
    for (number, (pod, server)) in old.into_iter().enumerate() {
        all_have_asked().await;
        join(&gateway, &api, &format!("new-{number}"), well().await).await;
        all_have_asked().await;
        api.post(&format!("/services/cart/{pod}/drain"), &json!({}))
            .await;
        // Who was called before has answered.
        all_have_asked().await;
        server.abort();
        api.post(&format!("/services/cart/{pod}/kill"), &json!({}))
            .await;
    }
    all_have_asked().await;
    stop.store(true, Relaxed);
    callers.join_all().await;
    let served = ask(&api, 50).await;
    assert!(
        served.keys().all(|pod| pod.starts_with("cart:new-")),
        "{served:?}"
    );
}

/// Answers that begin and do not go on end with an error, and count as under way until then.
#[tokio::test]
async fn an_answer_counts_until_it_is_over() {
    let (gateway, api) = start(Options {
        limit: 5,
        ..still()
    })
    .await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    join(&gateway, &api, "1", listener.local_addr().unwrap()).await;
    let go = Arc::new(Notify::new());
    let wait = go.clone();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        assert!(stream.read(&mut [0; 4_096]).await.unwrap() > 0);
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nbe")
            .await
            .unwrap();
        wait.notified().await;
        stream.write_all(b"gin").await.unwrap();
    });
    let asked = {
        let api = api.clone();
        tokio::spawn(async move {
            api.send(Method::GET, "/proxy/cart/", &[], Body::empty())
                .await
        })
    };
    let in_flight = async || api.get("/services/cart").await.json()["pods"][0]["in_flight"].clone();
    until("it is under way", async || in_flight().await == 1).await;
    go.notify_one();
    assert_eq!(asked.await.unwrap().body, "begin");
    until("it is over", async || in_flight().await == 0).await;
}

/// Who asks for much and reads nothing is cut off, and does not count any more.
#[tokio::test]
async fn who_reads_nothing_does_not_stay() {
    let (gateway, api) = start(still()).await;
    let much = serve(async |_| vec![b'x'; 64 << 20].into_response()).await;
    join(&gateway, &api, "1", much).await;
    let mut idler = TcpStream::connect(gateway.address()).await.unwrap();
    let ask = format!(
        "GET /proxy/cart/ HTTP/1.1\r\nhost: {}\r\n\r\n",
        gateway.address()
    );
    idler.write_all(ask.as_bytes()).await.unwrap();
    let in_flight = async || api.get("/services/cart").await.json()["pods"][0]["in_flight"].clone();
    until("it is under way", async || in_flight().await == 1).await;
    until("it is over", async || in_flight().await == 0).await;
    let mut got = Vec::new();
    let _ = idler.read_to_end(&mut got).await;
    assert!(got.len() < 64 << 20, "{} bytes", got.len());
}

/// An answer with two lengths has none, and one with another protocol is no answer.
#[tokio::test]
async fn answers_that_lie_are_not_passed_on_as_they_are() {
    for (head, status, body) in [
        (
            "200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n2\r\nab\r\n0\r\n\r\n",
            200,
            "ab",
        ),
        (
            "101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
            502,
            "",
        ),
    ] {
        let (gateway, api) = start(still()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        join(&gateway, &api, "1", listener.local_addr().unwrap()).await;
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4_096]).await.unwrap() > 0);
            let answer = format!("HTTP/1.1 {head}");
            stream.write_all(answer.as_bytes()).await.unwrap();
        });
        let answer = api.get("/proxy/cart/").await;
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(answer.body.contains(body), "{}", answer.body);
    }
}
