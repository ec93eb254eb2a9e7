//! A registry, its pods with real servers, and what a balancer was told of them.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{Stream, StreamExt};
use service_registry::changes::Selection;
use service_registry::tower::Discovery;
use service_registry::{
    Protocol as Wire, Provider, Registry, ServiceInfo, ServiceKey, ServiceRegistration,
    ServiceStatus, VersionedStore,
};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tower::discover::Change;

/// The name that all pods here serve.
pub(crate) const NAME: &str = "checkout";

/// One request through the balancer; fails with what went wrong.
pub(crate) type Call = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// What the scenarios run over.
pub(crate) trait Protocol {
    /// Whether a task hands changes on to the balancer, which otherwise asks when it is called.
    const FORWARDS: bool;

    /// The most connections that it opens to one pod under this load.
    const CONNECTIONS: usize;

    /// Serves until it is dropped.
    fn serve(listener: TcpListener, server: Arc<Counts>) -> impl Future<Output = ()> + Send;

    /// A balancer over the pods of the fleet, behind a time-out.
    fn balance(fleet: &Fleet, timeout: Duration) -> Call;
}

/// What a server counts.
#[derive(Default)]
pub(crate) struct Counts {
    /// Connections.
    pub(crate) connections: AtomicUsize,
    pub(crate) requests: AtomicUsize,
    pub(crate) under_way: AtomicUsize,
}

impl Counts {
    /// What a server does with a request: it counts, and takes a while.
    pub(crate) async fn request(&self) {
        self.requests.fetch_add(1, SeqCst);
        self.under_way.fetch_add(1, SeqCst);
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.under_way.fetch_sub(1, SeqCst);
    }
}

/// A server of one pod.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) counts: Arc<Counts>,
    runtime: Option<Runtime>,
}

impl Server {
    pub(crate) async fn start<P: Protocol>(address: Option<SocketAddr>) -> Server {
        let address = address.unwrap_or(([127, 0, 0, 1], 0).into());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let counts = Arc::new(Counts::default());
        let counting = counts.clone();
        let (bound, listening) = tokio::sync::oneshot::channel();
        runtime.spawn(async move {
            let listener = TcpListener::bind(address).await.unwrap();
            bound.send(listener.local_addr().unwrap()).unwrap();
            P::serve(listener, counting).await;
        });
        Server {
            address: listening.await.unwrap(),
            counts,
            runtime: Some(runtime),
        }
    }

    /// A server at the address of one that was killed, as soon as that is free.
    pub(crate) async fn start_again<P: Protocol>(address: SocketAddr) -> Server {
        while TcpListener::bind(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Server::start::<P>(Some(address)).await
    }

    pub(crate) fn requests(&self) -> usize {
        self.counts.requests.load(SeqCst)
    }
}

/// Cuts its connections, as the end of a process does.
impl Drop for Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// What the balancer was told.
#[derive(Default)]
pub(crate) struct DiscoveredPods {
    pods: Mutex<HashMap<ServiceKey, SocketAddr>>,
    /// How often a service was made.
    pub(crate) made: AtomicUsize,
}

impl DiscoveredPods {
    fn address(&self, key: &ServiceKey) -> Option<SocketAddr> {
        self.pods.lock().unwrap().get(key).copied()
    }
}

/// See above.
pub(crate) struct Fleet {
    pub(crate) registry: Registry<Arc<VersionedStore>>,
    pub(crate) discovered: Arc<DiscoveredPods>,
    pub(crate) pods: HashMap<&'static str, Server>,
}

impl Fleet {
    pub(crate) fn new() -> Fleet {
        Fleet {
            registry: Registry::new(Arc::default()),
            discovered: Arc::default(),
            pods: HashMap::new(),
        }
    }

    /// A fleet of these pods, all of them healthy.
    pub(crate) async fn of<P: Protocol>(pods: &[&'static str]) -> Fleet {
        let mut fleet = Fleet::new();
        for pod in pods {
            fleet.start::<P>(pod).await;
        }
        fleet
    }

    /// Starts a server for a pod, registers it, and finds it healthy. Answers with the server
    /// that it had before.
    pub(crate) async fn start<P: Protocol>(&mut self, pod: &'static str) -> Option<Server> {
        let server = Server::start::<P>(None).await;
        let address = server.address;
        let provider = Provider::new(Wire::Http, address.ip(), address.port());
        let registration = ServiceRegistration::new(NAME, pod).with_provider(provider);
        self.registry.register(registration).unwrap();
        self.report(pod, ServiceStatus::Healthy);
        self.pods.insert(pod, server)
    }

    pub(crate) fn report(&self, pod: &str, status: ServiceStatus) {
        let key = key(pod);
        self.registry.update_health_status(&key, status).unwrap();
    }

    /// The changes for a balancer, which are noted in `discovered`. `make` makes the service of a pod.
    pub(crate) fn discover<S: Send + 'static>(
        &self,
        mut make: impl FnMut(&ServiceKey, SocketAddr) -> S + Send + 'static,
    ) -> impl Stream<Item = service_registry::Result<Change<ServiceKey, S>>> + Send + Unpin + 'static
    {
        let watch = self.registry.watch(Selection::service(NAME)).unwrap();
        let discovered = self.discovered.clone();
        let noting = discovered.clone();
        let pods = Discovery::new(watch, move |pod: &ServiceInfo| {
            let address = pod.providers().first()?.socket_addr()?;
            discovered.made.fetch_add(1, SeqCst);
            let mut pods = discovered.pods.lock().unwrap();
            pods.insert(pod.key().clone(), address);
            Some(make(pod.key(), address))
        });
        pods.inspect(move |change| {
            if let Ok(Change::Remove(key)) = change {
                noting.pods.lock().unwrap().remove(key);
            }
        })
    }

    /// Waits until the balancer has been told that a pod is out, and what it had sent there
    /// before has arrived. There has to be a load that asks.
    pub(crate) async fn gone(&self, pod: &str) {
        let key = key(pod);
        while self.discovered.address(&key).is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }

    /// Waits until whoever forwards changes has heard where a pod is.
    pub(crate) async fn forwarded<P: Protocol>(&self, pod: &str) {
        let address = Some(self.pods[pod].address);
        while P::FORWARDS && self.discovered.address(&key(pod)) != address {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    /// As [`gone`](Self::gone), and until the pod has answered what it had.
    pub(crate) async fn drained(&self, pod: &str) {
        self.gone(pod).await;
        while self.pods[pod].counts.under_way.load(SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

pub(crate) fn key(pod: &str) -> ServiceKey {
    ServiceKey::new(NAME, pod).unwrap()
}
