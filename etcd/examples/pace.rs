//! How a copy keeps pace, beside bare `etcd-client` in the same run. Of an etcd that has nothing to
//! lose, on loopback:
//!
//!     cargo run --release --package service-registry-etcd --example pace -- 127.0.0.1:2379
//!
//! All of it takes two minutes; `latency`, `idle`, `list`, `read`, `follow` behind the address
//! choose.

use std::env;
use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use service_registry::changes::{Difference, Event, Selection};
use service_registry::{
    Batch, OnForeign, RegistryStore, ServiceInfo, ServiceKey, ServiceRegistration, VersionedStore,
};
use service_registry_etcd::etcd_client::{
    Client, DeleteOptions, Error, GetOptions, Txn, TxnOp, WatchOptions,
};
use service_registry_etcd::keys::Prefix;
use service_registry_etcd::{Replica, connect_options, values};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

const KEYS: usize = 100_000;
const PREFIX: &str = "/pace/";

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = env::args().skip(1);
    let etcd = arguments.next().unwrap_or_else(|| "127.0.0.1:2379".into());
    let parts: Vec<String> = arguments.collect();
    let wants = |part: &str| parts.is_empty() || parts.iter().any(|one| one == part);
    let client = connect(&etcd).await?;
    clear(&client).await?;
    if wants("latency") {
        Box::pin(latency(&etcd)).await?;
    }
    if wants("idle") {
        idle(&etcd, 100).await?;
    }
    fill(&client).await?;
    if wants("list") {
        Box::pin(listing(&etcd)).await?;
    }
    if wants("idle") {
        idle(&etcd, KEYS).await?;
    }
    if wants("read") {
        Box::pin(reads(&etcd)).await?;
    }
    if wants("follow") {
        Box::pin(following(&etcd)).await?;
    }
    clear(&client).await
}

async fn connect(etcd: &str) -> Result<Client, Error> {
    Client::connect([etcd], Some(connect_options())).await
}

fn pod(at: usize, zone: &str) -> ServiceInfo {
    let registration =
        ServiceRegistration::new(format!("service-{}", at / 10), format!("pod-{at}"))
            .with_zone(zone)
            .with_metadata("version", "1.4.2")
            .with_metadata("team", "payments");
    ServiceInfo::new(registration).expect("it is a pod")
}

fn pair(info: &ServiceInfo) -> (String, Vec<u8>) {
    let prefix = Prefix::new(PREFIX).expect("it is a prefix");
    (prefix.key(info.key()), values::encode(info))
}

async fn clear(client: &Client) -> Result<(), Failure> {
    let all = DeleteOptions::new().with_prefix();
    client.kv_client().delete(PREFIX, Some(all)).await?;
    Ok(())
}

async fn fill(client: &Client) -> Result<(), Failure> {
    let mut kv = client.kv_client();
    for first in (0..KEYS).step_by(100) {
        let ops: Vec<TxnOp> = (first..first + 100)
            .map(|at| pair(&pod(at, "")))
            .map(|(key, value)| TxnOp::put(key, value, None))
            .collect();
        kv.txn(Txn::new().and_then(ops)).await?;
    }
    Ok(())
}

async fn copy(etcd: &str) -> Result<(Arc<VersionedStore>, Replica), Failure> {
    let store = Arc::new(VersionedStore::new());
    let builder = Replica::builder(connect(etcd).await?).prefix(PREFIX);
    let replica = builder.start(store.clone()).await?;
    replica.synced().await?;
    Ok((store, replica))
}

/// What a store tells of, as zone and time; by a thread, as a user would wait for it.
fn told(store: &VersionedStore) -> Result<mpsc::UnboundedReceiver<(String, Instant)>, Failure> {
    let mut watch = store.watch(Selection::All)?;
    watch.recv()?;
    let (sender, receiver) = mpsc::unbounded_channel();
    thread::spawn(move || {
        while let Ok(event) = watch.recv_commit() {
            let now = Instant::now();
            let Event::Changes { changes, .. } = event else {
                continue;
            };
            for change in changes {
                if let Difference::Added(info) | Difference::Changed { after: info, .. } = change
                    && sender.send((info.zone().to_string(), now)).is_err()
                {
                    return;
                }
            }
        }
    });
    Ok(receiver)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn ratio(one: Duration, two: Duration) -> f64 {
    one.as_secs_f64() / two.as_secs_f64()
}

/// From a put to its appearance, in a bare watch and in that of the copy.
async fn latency(etcd: &str) -> Result<(), Failure> {
    let options = WatchOptions::new().with_prefix();
    let mut bare = connect(etcd)
        .await?
        .watch_client()
        .watch(PREFIX, Some(options))
        .await?;
    bare.message().await?;
    let (sender, mut of_bare) = mpsc::unbounded_channel();
    let follows = tokio::spawn(async move {
        while let Ok(Some(answer)) = bare.message().await {
            let now = Instant::now();
            for event in answer.events() {
                // A bare watch decodes, too.
                let value = event.kv().map_or(&[][..], |kv| kv.value());
                let key = ServiceKey::new("service-0", "pod-0").expect("it is a key");
                if let Ok(info) = values::decode(&key, value) {
                    let _ = sender.send((info.zone().to_string(), now));
                }
            }
        }
    });
    let (store, replica) = copy(etcd).await?;
    let mut of_copy = told(&store)?;
    let mut kv = connect(etcd).await?.kv_client();
    let (mut bares, mut copies) = (Vec::new(), Vec::new());
    for at in 0..1_000 {
        let zone = at.to_string();
        let (key, value) = pair(&pod(0, &zone));
        let began = Instant::now();
        kv.put(key, value, None).await?;
        let bare = of_bare.recv().await.ok_or("the watch ended")?;
        let copy = of_copy.recv().await.ok_or("the copy ended")?;
        assert_eq!((&bare.0, &copy.0), (&zone, &zone));
        bares.push(bare.1 - began);
        copies.push(copy.1 - began);
    }
    follows.abort();
    drop(replica);
    let (bare, copy) = (median(bares), median(copies));
    println!(
        "from a put to its appearance: bare {bare:?}, copy {copy:?}: {:.2}",
        ratio(copy, bare)
    );
    Ok(())
}

/// All keys in the store, and bare: listed and decoded.
async fn listing(etcd: &str) -> Result<(), Failure> {
    let prefix = Prefix::new(PREFIX)?;
    let (mut bares, mut copies) = (Vec::new(), Vec::new());
    for _ in 0..7 {
        let client = connect(etcd).await?;
        let mut kv = client.kv_client().max_decoding_message_size(usize::MAX);
        let began = Instant::now();
        let options = GetOptions::new().with_prefix();
        let answer = kv.get(prefix.as_str(), Some(options)).await?;
        let pods: Vec<ServiceInfo> = answer
            .kvs()
            .iter()
            .filter_map(|kv| serde_json::from_slice(kv.value()).ok())
            .collect();
        bares.push(began.elapsed());
        assert_eq!(pods.len(), KEYS);
        drop((answer, pods));

        let began = Instant::now();
        let (store, replica) = copy(etcd).await?;
        copies.push(began.elapsed());
        assert_eq!(store.stats()?.services, KEYS);
        drop((store, replica));
    }
    let (bare, copy) = (median(bares), median(copies));
    println!(
        "{KEYS} keys listed and decoded: bare {bare:?}, in the store {copy:?}: {:.2}",
        ratio(copy, bare)
    );
    Ok(())
}

/// What of a processor this process uses, in hundredths of a second.
fn processor_time() -> Option<u64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

/// What an idle copy uses.
async fn idle(etcd: &str, keys: usize) -> Result<(), Failure> {
    let client = connect(etcd).await?;
    if keys < KEYS {
        for at in 0..keys {
            let (key, value) = pair(&pod(at, ""));
            client.kv_client().put(key, value, None).await?;
        }
    }
    let (store, replica) = copy(etcd).await?;
    assert_eq!(store.stats()?.services, keys);
    sleep(Duration::from_secs(2)).await;
    let before = processor_time();
    sleep(Duration::from_secs(10)).await;
    let used = processor_time()
        .zip(before)
        .map_or(0, |(after, before)| after - before);
    drop(replica);
    println!("idle for 10 s with {keys} keys: {used} hundredths of a second of processor time");
    Ok(())
}

/// One look-up after the other, in the copy and in a store of the same records.
async fn reads(etcd: &str) -> Result<(), Failure> {
    let (copy, replica) = copy(etcd).await?;
    let alone = VersionedStore::new();
    // In the same order, since it matters where records lie.
    let mut all = copy.get_all_services()?;
    all.sort_by_key(|info| pair(info).0);
    alone.commit(
        Batch::new()
            .replace_source("etcd", all, OnForeign::Skip)
            .take(),
    )?;
    let keys: Vec<String> = (0..KEYS).map(|at| pod(at, "").key().to_string()).collect();
    let time = |store: &VersionedStore| -> Result<Duration, Failure> {
        let began = Instant::now();
        for at in 0..KEYS {
            store.with_service(&keys[at * 7_919 % KEYS], |pod| {
                std::hint::black_box(pod.status())
            })?;
        }
        Ok(began.elapsed() / u32::try_from(KEYS)?)
    };
    let (mut copies, mut alones) = (Vec::new(), Vec::new());
    for _ in 0..31 {
        copies.push(time(&copy)?);
        alones.push(time(&alone)?);
    }
    drop(replica);
    let (copy, alone) = (median(copies), median(alones));
    println!(
        "a read: alone {alone:?}, of the copy {copy:?}: {:.2}",
        ratio(copy, alone)
    );
    Ok(())
}

/// 5,000 changes a second.
async fn following(etcd: &str) -> Result<(), Failure> {
    const SECONDS: u64 = 20;
    const WRITERS: u64 = 50;
    let (store, replica) = copy(etcd).await?;
    let mut told = told(&store)?;
    let origin = Instant::now();
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let mut kv = connect(etcd).await?.kv_client();
        writers.push(tokio::spawn(async move {
            let mut written = 0_u64;
            let pause = Duration::from_millis(10);
            while origin.elapsed() < Duration::from_secs(SECONDS) {
                let due = origin + pause * u32::try_from(written).unwrap_or(u32::MAX);
                sleep(due.saturating_duration_since(Instant::now())).await;
                let at = usize::try_from(writer * 1_000 + written % 1_000).unwrap_or(0);
                let zone = origin.elapsed().as_micros().to_string();
                let (key, value) = pair(&pod(at, &zone));
                kv.put(key, value, None).await?;
                written += 1;
            }
            Ok::<u64, Error>(written)
        }));
    }
    let mut lags: Vec<Vec<Duration>> = vec![Vec::new(); usize::try_from(SECONDS)? + 2];
    while let Ok(Some((zone, seen))) = timeout(Duration::from_secs(3), told.recv()).await {
        let put = Duration::from_micros(zone.parse()?);
        let second = usize::try_from(put.as_secs())?;
        lags[second].push((seen - origin).saturating_sub(put));
    }
    let mut written = 0;
    for writer in writers {
        written += writer.await??;
    }
    drop(replica);
    let medians: Vec<Duration> = lags
        .into_iter()
        .filter(|lag| lag.len() > 100)
        .map(median)
        .collect();
    println!(
        "{} changes a second: from the put on, median of the first seconds {:?}, of the last {:?}",
        written / SECONDS,
        &medians[1..4],
        &medians[medians.len() - 4..medians.len() - 1]
    );
    Ok(())
}
