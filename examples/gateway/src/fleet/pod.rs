//! [`Pod`]: a server on loopback that registers itself and sends heartbeats.

use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use service_registry::{Protocol, Provider, ServiceRegistration};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Running;
use super::client::Client;
use crate::serve::serve;

const TTL: u64 = 6;
const HEARTBEAT: Duration = Duration::from_secs(TTL / 3);

/// What becomes of a pod.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Serve,
    /// It is replaced, and then ends.
    Leave,
    /// It has ended, and nobody was told.
    Die,
}

/// What others do to a pod.
pub(super) struct Control {
    order: watch::Sender<Order>,
    pub(super) is_ill: AtomicBool,
    pub(super) is_slow: AtomicBool,
}

impl Control {
    pub(super) fn leave(&self) {
        let is_serving = |order: &mut Order| {
            let serves = *order == Order::Serve;
            if serves {
                *order = Order::Leave;
            }
            serves
        };
        self.order.send_if_modified(is_serving);
    }

    pub(super) fn die(&self) {
        self.order.send_replace(Order::Die);
    }
}

/// The server goes when this is dropped.
pub(super) struct Pod {
    registration: ServiceRegistration,
    client: Client,
    running: Running,
    control: Arc<Control>,
    lease: watch::Receiver<String>,
    _server: JoinSet<()>,
}

impl Pod {
    /// Starts a server and registers it, as soon as the gateway takes it.
    pub(super) async fn start(
        client: Client,
        running: Running,
        mut registration: ServiceRegistration,
    ) -> io::Result<Pod> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        registration.providers = vec![Provider::from((Protocol::Http, address))];
        registration.health_check_url = format!("http://{address}/_healthz");
        let control = Arc::new(Control {
            order: watch::Sender::new(Order::Serve),
            is_ill: AtomicBool::new(false),
            is_slow: AtomicBool::new(false),
        });
        let mut tasks = JoinSet::new();
        tasks.spawn(answer(
            listener,
            client.clone(),
            registration.clone(),
            control.clone(),
        ));

        let first = loop {
            match client.register(&registration, TTL).await {
                Some(lease) => break lease,
                None => sleep(HEARTBEAT).await,
            }
        };
        let (lease, known) = watch::channel(first);
        let beats = heartbeats(client.clone(), registration.clone(), lease, control.clone());
        tasks.spawn(beats);
        let pod = Pod {
            registration,
            client,
            running,
            control,
            lease: known,
            _server: tasks,
        };
        pod.running.lock().insert(pod.key(), pod.control.clone());
        Ok(pod)
    }

    fn key(&self) -> String {
        format!(
            "{}:{}",
            self.registration.service_name, self.registration.pod_name
        )
    }

    /// Waits until it is to end.
    pub(super) async fn ended(&self) -> Order {
        let mut order = self.control.order.subscribe();
        let ended = order.wait_for(|order| *order != Order::Serve).await;
        ended.map_or(Order::Die, |order| *order)
    }

    /// Ends well: takes nothing new, finishes what it has, and unregisters.
    pub(super) async fn retire(self) {
        let ServiceRegistration {
            service_name,
            pod_name,
            ..
        } = &self.registration;
        self.client.drain(service_name, pod_name).await;
        sleep(Duration::from_secs(4)).await;
        let lease = self.lease.borrow().clone();
        self.client.leave(&lease).await;
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        self.running.lock().remove(&self.key());
    }
}

/// Renews the lease. Who has lost it registers again; who is draining is to leave.
async fn heartbeats(
    client: Client,
    registration: ServiceRegistration,
    lease: watch::Sender<String>,
    control: Arc<Control>,
) {
    loop {
        sleep(HEARTBEAT).await;
        let known = lease.borrow().clone();
        match client.renew(&known).await {
            Some((StatusCode::GONE, _)) => {
                if let Some(new) = client.register(&registration, TTL).await {
                    lease.send_replace(new);
                }
            }
            Some((_, status)) if status == "draining" => control.leave(),
            _ => {}
        }
    }
}

async fn answer(
    listener: TcpListener,
    client: Client,
    registration: ServiceRegistration,
    control: Arc<Control>,
) {
    let registration = Arc::new(registration);
    let never = watch::Sender::new(false);
    serve(listener, never.subscribe(), |_| {
        let (client, registration, control) =
            (client.clone(), registration.clone(), control.clone());
        service_fn(move |request: Request<Incoming>| {
            let (client, registration, control) =
                (client.clone(), registration.clone(), control.clone());
            async move {
                let status = if request.uri().path() == "/_healthz" {
                    let is_ill = control.is_ill.load(Relaxed);
                    if is_ill {
                        StatusCode::SERVICE_UNAVAILABLE
                    } else {
                        StatusCode::OK
                    }
                } else {
                    work(&client, &registration.subscriptions, &control).await
                };
                let body = format!("{} {status}\n", registration.pod_name);
                let mut response = Response::new(Body::from(body));
                *response.status_mut() = status;
                Ok::<_, Infallible>(response)
            }
        })
    })
    .await;
}

/// Takes a while, and calls some of what it needs.
async fn work(client: &Client, needs: &[String], control: &Control) -> StatusCode {
    let slowness = if control.is_slow.load(Relaxed) {
        40.0
    } else {
        1.0
    };
    let milliseconds = slowness * 3.0 / (1.05 - fastrand::f64());
    sleep(Duration::from_secs_f64(milliseconds / 1e3)).await;
    for need in needs {
        if fastrand::bool() && !client.call(need).await {
            return StatusCode::BAD_GATEWAY;
        }
    }
    StatusCode::OK
}
