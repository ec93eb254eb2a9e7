//! What a replica does where nothing goes wrong.

use std::time::Duration;

use service_registry::changes::{Event, Selection};
use service_registry::{RegistryStore, ServiceStatus, VersionedStore};
use service_registry_etcd::etcd_client::{Client, DeleteOptions, Txn, TxnOp};
use service_registry_etcd::{Replica, State, connect_options, values};
use tokio::time::{sleep, timeout};

use crate::server::{Cluster, Version};
use crate::support::{PREFIX, builder, converges, copy_has, pair, pod, prefix, replica};

async fn a_copy_follows(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let mut kv = client.kv_client();
    for at in 0..1_000 {
        let (key, value) = pair(&pod("web", &at.to_string(), "a"));
        kv.put(key, value, None).await.unwrap();
    }
    let (store, replica) = replica(etcd.client().await).await;
    let revision = replica.synced().await.unwrap();
    assert_eq!(store.stats().unwrap().services, 1_000);
    assert_eq!(store.revision(), 1.into(), "one commit");
    assert!(matches!(replica.state(), State::Synced { .. }));

    // Several keys of one transaction are one commit.
    let mut watch = store.watch(Selection::All).unwrap();
    assert!(matches!(watch.recv_commit().unwrap(), Event::State { .. }));
    let ops: Vec<TxnOp> = (0..100)
        .map(|at| match (at, pair(&pod("web", &at.to_string(), "b"))) {
            (50.., (key, _)) => TxnOp::delete(key, None),
            (_, (key, value)) => TxnOp::put(key, value, None),
        })
        .collect();
    let answer = kv.txn(Txn::new().and_then(ops)).await.unwrap();
    let written = u64::try_from(answer.header().unwrap().revision()).unwrap();
    assert!(written > revision.get());
    replica.wait_for(written.into()).await.unwrap();
    let Event::Changes { changes, .. } = watch.recv_commit().unwrap() else {
        panic!("no changes")
    };
    assert_eq!(changes.len(), 100);
    assert!(watch.try_recv_commit().unwrap().is_none());
    converges(&*store, &client, Duration::ZERO).await;

    // An incarnation is of a key that was created.
    let incarnation = || store.get_service("web:1").unwrap().incarnation();
    let first = incarnation();
    let (key, value) = pair(&pod("web", "1", "c"));
    kv.put(key.clone(), value.clone(), None).await.unwrap();
    replica.read_barrier().await.unwrap();
    assert_eq!(
        (incarnation(), store.get_service("web:1").unwrap().zone()),
        (first, "c")
    );
    kv.delete(key.clone(), None).await.unwrap();
    kv.put(key, value, None).await.unwrap();
    replica.read_barrier().await.unwrap();
    assert!(incarnation() > first);

    kv.delete(PREFIX, Some(DeleteOptions::new().with_prefix()))
        .await
        .unwrap();
    replica.read_barrier().await.unwrap();
    assert_eq!(store.stats().unwrap().services, 0);
    let stats = replica.stats();
    assert_eq!((stats.lists, stats.watches, stats.epoch), (1, 1, 1));
}

async fn hard_values(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let mut kv = client.kv_client();
    let mut large = pod("web", "large", "a");
    let mut registration = large.registration().clone();
    for at in 0..256 {
        registration = registration.with_metadata(format!("{at}"), "x".repeat(4_000));
    }
    registration.health_check_url = "h".repeat(8_000);
    large = service_registry::ServiceInfo::new(registration).unwrap();
    let (key, value) = pair(&large);
    assert!(value.len() > 1_000_000, "{}", value.len());
    kv.put(key, value, None).await.unwrap();
    let names = [
        ("a/b", "c%d"),
        ("ü", "名 前"),
        ("%2F", "%"),
        ("web", "a:b/c"),
    ];
    for (service, name) in names {
        let (key, value) = pair(&pod(service, name, ""));
        kv.put(key, value, None).await.unwrap();
    }
    let bad = |rest: &str| [PREFIX.as_bytes(), rest.as_bytes()].concat();
    kv.put(bad("web/no-json"), "hunter2", None).await.unwrap();
    kv.put(bad("web/newer"), r#"{"version": 2}"#, None)
        .await
        .unwrap();
    kv.put(bad("a/b/c"), "{}", None).await.unwrap();
    kv.put([PREFIX.as_bytes(), b"\xff\xfe/1"].concat(), "{}", None)
        .await
        .unwrap();
    // 1.4 MB that are no pod.
    kv.put(bad("web/huge"), vec![b'['; 1_400_000], None)
        .await
        .unwrap();
    // Of others: `/pods` is the beginning of both.
    kv.put("/pods2/web/1", "{}", None).await.unwrap();

    let (store, replica) = replica(etcd.client().await).await;
    replica.synced().await.unwrap();
    assert_eq!(copy_has(&*store).len(), 5);
    assert_eq!(
        store.get_service("web:large").unwrap().metadata().len(),
        256
    );
    assert_eq!(replica.set_aside(100).len(), 5);
    assert!(!format!("{:?}", replica.set_aside(100)).contains("hunter2"));
    for (service, name) in names {
        assert!(
            store
                .contains_service(&format!("{service}:{name}"))
                .unwrap()
        );
    }
    // The same in a watch, with 1.3 MB in one transaction.
    let mut puts = Vec::new();
    for at in 0..4 {
        let mut registration = pod("big", &at.to_string(), "").registration().clone();
        for at in 0..80 {
            registration = registration.with_metadata(format!("{at}"), "x".repeat(4_000));
        }
        let (key, value) = pair(&service_registry::ServiceInfo::new(registration).unwrap());
        puts.push(TxnOp::put(key, value, None));
    }
    puts.push(TxnOp::put(
        bad("web/no-json"),
        values::encode(&pod("web", "no-json", "")),
        None,
    ));
    puts.push(TxnOp::delete(bad("a/b/c"), None));
    let before = store.revision();
    kv.txn(Txn::new().and_then(puts)).await.unwrap();
    replica.read_barrier().await.unwrap();
    assert!(store.revision() == before.next());
    assert_eq!(store.get_services_by_name("big").unwrap().len(), 4);
    assert_eq!(replica.set_aside(100).len(), 3);
    converges(&*store, &client, Duration::ZERO).await;
}

/// A replica that is idle, and a list that is empty in truth.
async fn empty_and_quiet(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let (store, replica) = replica(etcd.client().await).await;
    replica.synced().await.unwrap();
    // Quiet for six heartbeats: synced all the time, by one watch.
    let synced = replica.state();
    let other = timeout(Duration::from_secs(3), replica.state_other_than(&synced));
    if let Ok(other) = other.await {
        assert!(other.unwrap().is_synced(), "{:?}", replica.state());
    }
    assert_eq!(replica.stats().watches, 1);
    // etcd goes on elsewhere.
    for _ in 0..10 {
        client
            .kv_client()
            .put("/elsewhere", "", None)
            .await
            .unwrap();
    }
    let until = timeout(Duration::from_secs(5), replica.read_barrier());
    until
        .await
        .expect("the barrier holds on a quiet watch")
        .unwrap();
    let (key, value) = pair(&pod("web", "1", ""));
    client.kv_client().put(key, value, None).await.unwrap();
    replica.read_barrier().await.unwrap();
    assert!(store.contains_service("web:1").unwrap());
}

/// etcd cuts off who asks too often whether the connection lives (`too_many_pings`).
async fn a_quiet_watch_is_not_cut_off(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = Client::connect(etcd.endpoints(), Some(connect_options()));
    let replica = Replica::builder(client.await.unwrap())
        .prefix(PREFIX)
        .heartbeat(Duration::from_secs(60))
        .start(VersionedStore::new())
        .await
        .unwrap();
    replica.synced().await.unwrap();
    sleep(Duration::from_secs(30)).await;
    assert_eq!(replica.stats().watches, 1);
}

/// Records of others, and what is seen here.
async fn beside_others(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let (_, replica_of_nothing) = replica(etcd.client().await).await;
    let (store, replica) = replica(etcd.client().await).await;
    replica.synced().await.unwrap();
    let of_file = pod("web", "1", "file").with_source("file").unwrap();
    store.save_service(of_file.clone()).unwrap();
    for name in ["1", "2"] {
        let (key, value) = pair(&pod("web", name, "etcd"));
        client.kv_client().put(key, value, None).await.unwrap();
    }
    replica.read_barrier().await.unwrap();
    assert_eq!(store.get_service("web:1").unwrap(), of_file);
    assert_eq!(replica.stats().skipped, 1);
    let now = std::time::SystemTime::now();
    store
        .update_health_status("web:2", ServiceStatus::Unhealthy, now)
        .unwrap();
    let (key, value) = pair(&pod("web", "2", "other"));
    client.kv_client().put(key, value, None).await.unwrap();
    replica.read_barrier().await.unwrap();
    let two = store.get_service("web:2").unwrap();
    assert_eq!(
        (two.zone(), two.status()),
        ("other", ServiceStatus::Unhealthy)
    );
    client
        .kv_client()
        .delete(prefix().key(of_file.key()), None)
        .await
        .unwrap();
    replica.read_barrier().await.unwrap();
    assert_eq!(store.get_service("web:1").unwrap(), of_file);
    drop(replica_of_nothing);

    // A store that is closed ends the replica, and whoever waits is told.
    store.close().unwrap();
    let (key, value) = pair(&pod("web", "3", ""));
    client.kv_client().put(key, value, None).await.unwrap();
    let ended = timeout(Duration::from_secs(5), replica.wait_for(u64::MAX.into()));
    let ended = ended.await.unwrap().unwrap_err();
    assert!(ended.to_string().contains("store"), "{ended}");
    let shown = format!("{:?} {:?}", builder(client.clone()), replica);
    assert!(shown.contains("/pods/"), "{shown}");
}

on_both!(
    a_copy_follows,
    a_quiet_watch_is_not_cut_off,
    hard_values,
    empty_and_quiet,
    beside_others,
);
