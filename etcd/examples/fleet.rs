//! Three processes that find each other by etcd, and call each other by `tower`: each registers
//! itself, keeps a local copy of who else is there, and balances its calls over it. After a while
//! one of them is killed, and the others turn away from it.
//!
//!     etcd &
//!     cargo run --package service-registry-etcd --example fleet -- 127.0.0.1:2379

use std::collections::BTreeMap;
use std::env;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use service_registry::changes::Selection;
use service_registry::tower::Discovery;
use service_registry::{
    Protocol, Provider, Registry, ServiceRegistration, ServiceStatus, VersionedStore,
};
use service_registry_etcd::etcd_client::Client;
use service_registry_etcd::{Registrar, Replica, connect_options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep, timeout};
use tower::balance::p2c::Balance;
use tower::load::Constant;
use tower::{BoxError, Service, ServiceExt, service_fn};

const TTL: Duration = Duration::from_secs(3);

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let etcd = arguments.first().map_or("127.0.0.1:2379", String::as_str);
    match arguments.get(1) {
        Some(name) => Box::pin(worker(etcd, name)).await,
        None => fleet(etcd).await,
    }
}

/// A process that is killed when this one ends.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn fleet(etcd: &str) -> Result<(), BoxError> {
    let program = env::current_exe()?;
    let start = |name: &str| {
        Command::new(&program)
            .args([etcd, name])
            .spawn()
            .map(Process)
    };
    let workers = [start("one")?, start("two")?, start("three")?];
    sleep(Duration::from_secs(5)).await;
    let [one, two, three] = workers;
    println!(
        "- three is killed; its lease has up to {} s to go",
        TTL.as_secs()
    );
    drop(three);
    sleep(Duration::from_secs(9)).await;
    println!("- and comes back");
    let three = start("three")?;
    sleep(Duration::from_secs(4)).await;
    drop((one, two, three));
    Ok(())
}

async fn worker(etcd: &str, name: &str) -> Result<(), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(answer(listener, name.to_string()));

    // The copy: any store. Whoever asks it waits for nobody.
    let client = Client::connect([etcd], Some(connect_options())).await?;
    let store = Arc::new(VersionedStore::new());
    let replica = Replica::builder(client.clone())
        .prefix("/fleet/")
        .start(store.clone())
        .await?;

    // Register, and see oneself.
    let provider = Provider::new(Protocol::Tcp, address.ip(), address.port());
    let pod = ServiceRegistration::new("workers", name).with_provider(provider);
    let registration = Registrar::new(client)
        .prefix("/fleet/")
        .register(pod, TTL)
        .await?;
    let revision = registration.set_health(ServiceStatus::Healthy).await?;
    replica.wait_for(revision).await?;

    // A balancer over the others.
    let watch = Registry::new(store).watch(Selection::service("workers"))?;
    let own = name.to_string();
    let pods = Discovery::new(watch, move |pod| {
        let address = pod.providers().first()?.socket_addr()?;
        let call = move |()| async move {
            let mut stream = TcpStream::connect(address).await?;
            let mut name = String::new();
            stream.read_to_string(&mut name).await?;
            Ok::<String, std::io::Error>(name)
        };
        (pod.pod_name() != own).then(|| Constant::new(service_fn(call), 0))
    });
    let mut others = Balance::new(pods);
    loop {
        let mut answers: BTreeMap<String, usize> = BTreeMap::new();
        let end = Instant::now() + Duration::from_secs(1);
        while Instant::now() < end {
            let called = timeout(Duration::from_millis(200), async {
                others.ready().await?.call(()).await
            });
            let answer = match called.await {
                Ok(Ok(name)) => name,
                Ok(Err(_)) => "no answer".into(),
                Err(_) => "nobody there".into(),
            };
            *answers.entry(answer).or_default() += 1;
            sleep(Duration::from_millis(20)).await;
        }
        println!("{name:>5} called {answers:?}");
    }
}

/// Says its name to whoever connects.
async fn answer(listener: TcpListener, name: String) {
    while let Ok((mut stream, _)) = listener.accept().await {
        let _ = stream.write_all(name.as_bytes()).await;
    }
}
