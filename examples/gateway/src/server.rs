//! [`Gateway`]: everything together, from start to stop.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::ConnectInfo;
use hyper_util::service::TowerToHyperService;
use service_registry::checks::Checks;
use service_registry::leases::{Leases, Sweeping};
use service_registry::{Registry, VersionedStore};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::fleet::Fleet;
use crate::options::Options;
use crate::probe::PodProbe;
use crate::serve::serve;
use crate::shared::Shared;
use crate::store::Store;
use crate::{dump, routes, sample, scrape};

const PORT: u16 = 7070;
/// How long requests that are under way may take when it stops.
const GRACE: Duration = Duration::from_secs(2);

/// A gateway that runs. Dropping it ends it at once.
pub struct Gateway {
    shared: Arc<Shared>,
    address: SocketAddr,
    server: JoinSet<()>,
    /// What runs beside the server, until this is dropped.
    _tasks: JoinSet<()>,
    _sweeping: Sweeping,
}

impl Gateway {
    /// Restores, listens and begins to serve.
    ///
    /// # Errors
    ///
    /// Where the dump is refused, or the address cannot be had; the text says which.
    pub async fn start(options: Options) -> Result<Gateway, String> {
        scrape::recorder()?;
        let message = |error: &dyn std::fmt::Display| error.to_string();
        let registry = Registry::new(Arc::new(VersionedStore::new()));
        let leases =
            Leases::new(registry, options.tuning.leases).map_err(|error| message(&error))?;
        dump::restore(&options, &leases)?;
        let listener = listen(options.listen).await?;
        let address = listener.local_addr().map_err(|error| message(&error))?;
        let shared = Arc::new(Shared::new(options, leases));
        let tuning = &shared.options.tuning;

        let mut tasks = JoinSet::new();
        let checks = Checks::new(shared.registry.clone(), PodProbe, tuning.checks);
        tasks.spawn(async {
            // It ends with the store.
            let _ = checks.run().await;
        });
        tasks.spawn(sample::sample(shared.clone()));
        tasks.spawn(scrape::upkeep());
        if shared.options.dump.is_some() {
            tasks.spawn(dump::save_periodically(shared.clone()));
        }
        let mut server = JoinSet::new();
        let (routes, stop) = (routes::routes(shared.clone()), shared.stop.subscribe());
        server.spawn(serve(listener, stop, move |peer| {
            let routes = routes.clone().layer(Extension(ConnectInfo(peer)));
            TowerToHyperService::new(routes)
        }));
        if !shared.options.no_fleet {
            let _ = shared.fleet.set(Fleet::start(address));
        }
        Ok(Gateway {
            _sweeping: shared.leases.spawn(tuning.sweep),
            shared,
            address,
            server,
            _tasks: tasks,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The leases and the registry.
    pub fn leases(&self) -> &Leases<Store> {
        &self.shared.leases
    }

    /// Takes no more requests, waits a moment for those under way, and writes the dump.
    ///
    /// # Errors
    ///
    /// Where the dump cannot be written.
    pub async fn stop(mut self) -> Result<(), String> {
        self.shared.stop.send_replace(true);
        // Who has not ended by then is cut off.
        let _ = timeout(GRACE, self.server.join_next()).await;
        self.server.shutdown().await;
        dump::save(&self.shared, None).await?;
        let _ = self.shared.registry.close();
        Ok(())
    }
}

/// The address that was asked for, or the usual one, or any.
async fn listen(asked: Option<SocketAddr>) -> Result<TcpListener, String> {
    let usual = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
    let first = asked.unwrap_or(usual);
    let listener = match TcpListener::bind(first).await {
        Err(_) if asked.is_none() => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await,
        listener => listener,
    };
    listener.map_err(|error| format!("cannot listen on {first}: {error}"))
}
