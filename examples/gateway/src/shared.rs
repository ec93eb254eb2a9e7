//! [`Shared`]: what every request can reach.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::body::Body;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use service_registry::Registry;
use service_registry::balance::{Balancer, Ejections};
use service_registry::leases::Leases;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::fleet::Fleet;
use crate::lease_ids::LeaseIds;
use crate::load::Load;
use crate::options::Options;
use crate::store::Store;

/// How many browsers and other readers may follow at once.
const WATCHERS: usize = 64;
/// How many requests may be proxied at once.
const PROXIED: usize = 1_024;
const CONNECT: Duration = Duration::from_secs(1);

pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) registry: Registry<Store>,
    pub(crate) leases: Leases<Store>,
    pub(crate) ids: LeaseIds,
    pub(crate) balancer: Balancer,
    pub(crate) ejections: Ejections,
    pub(crate) load: Load,
    pub(crate) client: Client<HttpConnector, Body>,
    pub(crate) watchers: Arc<Semaphore>,
    pub(crate) proxied: Arc<Semaphore>,
    /// The load of all pods, sent to the page once a second.
    pub(crate) load_updates: watch::Sender<Arc<str>>,
    /// True when the gateway stops.
    pub(crate) stop: watch::Sender<bool>,
    /// Locked while the dump is written.
    pub(crate) dumping: Arc<Mutex<()>>,
    /// Set once the gateway has the address that the fleet calls.
    pub(crate) fleet: OnceLock<Fleet>,
    picks: AtomicU64,
}

impl Shared {
    pub(crate) fn new(options: Options, leases: Leases<Store>) -> Shared {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT));
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        Shared {
            options,
            registry: leases.registry().clone(),
            leases,
            ids: LeaseIds::new(),
            balancer: Balancer::new(),
            // Never more than half of a service.
            ejections: Ejections::new(0.5),
            load: Load::default(),
            client,
            watchers: Arc::new(Semaphore::new(WATCHERS)),
            proxied: Arc::new(Semaphore::new(PROXIED)),
            load_updates: watch::Sender::new("{}".into()),
            stop: watch::Sender::new(false),
            dumping: Arc::default(),
            fleet: OnceLock::new(),
            picks: AtomicU64::new(0),
        }
    }

    /// Another number each time: the balancer mixes it.
    pub(crate) fn random(&self) -> u64 {
        self.picks.fetch_add(1, Relaxed)
    }

    /// How many follow the events.
    pub(crate) fn followers(&self) -> usize {
        WATCHERS - self.watchers.available_permits()
    }
}
