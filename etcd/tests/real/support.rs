//! What the tests have in common.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use service_registry::{RegistryStore, ServiceInfo, ServiceRegistration, VersionedStore};
use service_registry_etcd::etcd_client::{Client, GetOptions};
use service_registry_etcd::keys::Prefix;
use service_registry_etcd::{Builder, Replica, values};
use tokio::time::{Instant, sleep};

pub(crate) const PREFIX: &str = "/pods/";

pub(crate) fn prefix() -> Prefix {
    Prefix::new(PREFIX).unwrap()
}

pub(crate) fn pod(service: &str, pod: &str, zone: &str) -> ServiceInfo {
    let registration = ServiceRegistration::new(service, pod).with_zone(zone);
    let info = ServiceInfo::new(registration).unwrap();
    info.with_registered_at(std::time::UNIX_EPOCH).unwrap()
}

/// What to write for a pod.
pub(crate) fn pair(info: &ServiceInfo) -> (String, Vec<u8>) {
    (prefix().key(info.key()), values::encode(info))
}

/// With short times.
pub(crate) fn builder(client: Client) -> Builder {
    Replica::builder(client)
        .prefix(PREFIX)
        .heartbeat(Duration::from_millis(500))
        .patience(Duration::from_secs(1))
        .longest_wait(Duration::from_millis(500))
}

pub(crate) async fn replica(client: Client) -> (Arc<VersionedStore>, Replica) {
    let store = Arc::new(VersionedStore::new());
    let replica = builder(client).start(store.clone()).await.unwrap();
    (store, replica)
}

pub(crate) type Pods = BTreeMap<String, ServiceInfo>;

/// What etcd has, as another client lists it.
pub(crate) async fn etcd_has(client: &Client) -> Pods {
    let answer = loop {
        let options = GetOptions::new().with_prefix();
        if let Ok(answer) = client.kv_client().get(PREFIX, Some(options)).await {
            break answer;
        }
        sleep(Duration::from_millis(20)).await;
    };
    let mut pods = Pods::new();
    for kv in answer.kvs() {
        // The tests' own reading: the key is that of the pod that the value names.
        let Ok(info) = serde_json::from_slice::<ServiceInfo>(kv.value()) else {
            continue;
        };
        if prefix().key(info.key()).as_bytes() == kv.key() {
            pods.insert(info.key().to_string(), info.with_source("etcd").unwrap());
        }
    }
    pods
}

pub(crate) fn copy_has(store: &impl RegistryStore) -> Pods {
    let pods = store.get_all_services().unwrap().into_iter();
    pods.map(|pod| (pod.key().to_string(), pod)).collect()
}

/// Waits until the copy is what etcd has.
pub(crate) async fn converges(store: &impl RegistryStore, client: &Client, within: Duration) {
    let end = Instant::now() + within;
    loop {
        let etcd = etcd_has(client).await;
        let copy = copy_has(store);
        if etcd == copy {
            return;
        }
        assert!(
            Instant::now() < end,
            "etcd has {:?}, the copy {:?}",
            etcd.keys(),
            copy.keys()
        );
        sleep(Duration::from_millis(5)).await;
    }
}

/// `SplitMix64`.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// Of `SEED` in the environment, or another one each time; it says which.
    pub(crate) fn new() -> Dice {
        let seed = std::env::var("SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one(0)
        });
        eprintln!("SEED={seed}");
        Dice(seed)
    }

    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }
}
