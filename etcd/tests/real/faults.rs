//! One fault each.

use std::sync::Arc;
use std::time::Duration;

use service_registry::{RegistryStore, ServiceInfo, ServiceRegistration, VersionedStore};
use service_registry_etcd::etcd_client::{Client, CompactionOptions, Txn, TxnOp};
use service_registry_etcd::{Error, State, Why};
use tokio::time::{Instant, sleep, timeout};

use crate::proxy::{Mode, Proxy};
use crate::server::{Cluster, Version, connect, connect_patiently};
use crate::support::{builder, converges, copy_has, pair, pod, replica};

const SOON: Duration = Duration::from_secs(20);

async fn put(client: &Client, name: &str, zone: &str) -> u64 {
    let (key, value) = pair(&pod("web", name, zone));
    let answer = client.kv_client().put(key, value, None).await.unwrap();
    u64::try_from(answer.header().unwrap().revision()).unwrap()
}

async fn compact(client: &Client) {
    let mut kv = client.kv_client();
    let now = kv
        .get("x", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .revision();
    let physical = Some(CompactionOptions::new().with_physical());
    kv.compact(now, physical).await.unwrap();
}

/// While it is away it serves what it had, says so in time, and goes on where it was.
async fn served_meanwhile(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let proxy = Proxy::to(etcd.members[0].port).await;
    put(&client, "1", "a").await;
    let (store, replica) = replica(connect(&[proxy.endpoint()]).await).await;
    replica.synced().await.unwrap();
    for (mode, within) in [
        (Mode::Refuse, Duration::from_millis(500)),
        // A heartbeat and a patience.
        (Mode::Stall, Duration::from_millis(1_500)),
    ] {
        let began = Instant::now();
        proxy.mode(mode);
        if mode == Mode::Refuse {
            proxy.cut();
        }
        let before = replica.stats();
        let stale = timeout(SOON, async {
            let mut state = replica.state();
            while state.is_synced() {
                state = replica.state_other_than(&state).await.unwrap();
            }
            state
        });
        let State::Stale { since, why, .. } = stale.await.unwrap() else {
            panic!("not stale")
        };
        assert!(matches!(why, Why::Silent | Why::Disconnected(_)), "{why}");
        let took = began.elapsed();
        assert!(
            took < within + Duration::from_millis(500),
            "{mode:?}: {took:?}"
        );
        assert!(since.elapsed() + Duration::from_millis(600) >= took);
        let revision = put(&client, "1", &format!("{mode:?}")).await;
        let waits = timeout(
            Duration::from_millis(300),
            replica.wait_for(revision.into()),
        );
        assert!(waits.await.is_err(), "it cannot know");
        assert_eq!(copy_has(&*store).len(), 1, "served meanwhile");
        assert_eq!(replica.stats().lists, before.lists);
        proxy.mode(Mode::Pass);
        timeout(SOON, replica.wait_for(revision.into()))
            .await
            .unwrap()
            .unwrap();
        timeout(SOON, replica.synced()).await.unwrap().unwrap();
        converges(&*store, &client, Duration::ZERO).await;
        assert_eq!(replica.stats().lists, 1, "it went on where it was");
    }
}

/// A compaction while it is away: a list, as a difference, and the old state until then.
async fn compacted_while_away(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let proxy = Proxy::to(etcd.members[0].port).await;
    for at in 0..50 {
        put(&client, &at.to_string(), "a").await;
    }
    let (store, replica) = replica(connect(&[proxy.endpoint()]).await).await;
    replica.synced().await.unwrap();
    let kept = store.get_service("web:1").unwrap().revision();
    proxy.mode(Mode::Refuse);
    proxy.cut();
    client
        .kv_client()
        .delete("/pods/web/0", None)
        .await
        .unwrap();
    put(&client, "2", "b").await;
    let (key, value) = pair(&pod("web", "3", "a"));
    client.kv_client().delete(key.clone(), None).await.unwrap();
    client.kv_client().put(key, value, None).await.unwrap();
    compact(&client).await;
    put(&client, "4", "b").await;
    let incarnation = |name: &str| store.get_service(name).unwrap().incarnation();
    let before = (store.revision(), incarnation("web:2"), incarnation("web:3"));
    assert_eq!(copy_has(&*store).len(), 50);
    proxy.mode(Mode::Pass);
    timeout(SOON, replica.read_barrier())
        .await
        .unwrap()
        .unwrap();
    converges(&*store, &client, Duration::ZERO).await;
    assert_eq!(replica.stats().lists, 2);
    assert_eq!(store.revision(), before.0.next(), "one commit");
    assert_eq!(
        store.get_service("web:1").unwrap().revision(),
        kept,
        "not touched"
    );
    assert_eq!(incarnation("web:2"), before.1, "changed, not created");
    assert!(
        incarnation("web:3") > before.2,
        "created anew, with the same value"
    );
    assert_eq!(replica.stats().epoch, 1);
}

/// A deletion at the very revision of the compaction (etcd#19179, PR 19251), and one of an
/// unknown key.
async fn a_delete_at_the_revision_of_a_compaction(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let proxy = Proxy::to(etcd.members[0].port).await;
    put(&client, "1", "a").await;
    put(&client, "2", "a").await;
    let (store, replica) = replica(connect(&[proxy.endpoint()]).await).await;
    replica.synced().await.unwrap();
    proxy.mode(Mode::Refuse);
    proxy.cut();
    // The next revision behind what is applied.
    client
        .kv_client()
        .delete("/pods/web/1", None)
        .await
        .unwrap();
    compact(&client).await;
    put(&client, "3", "a").await;
    put(&client, "4", "a").await;
    client
        .kv_client()
        .delete("/pods/web/4", None)
        .await
        .unwrap();
    proxy.mode(Mode::Pass);
    timeout(SOON, replica.read_barrier())
        .await
        .unwrap()
        .unwrap();
    converges(&*store, &client, Duration::ZERO).await;
    assert!(!store.contains_service("web:1").unwrap());
}

/// More than an answer takes, of several revisions: it comes in fragments.
async fn fragments_are_joined(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let proxy = Proxy::to(etcd.members[0].port).await;
    let (store, replica) = replica(connect(&[proxy.endpoint()]).await).await;
    replica.synced().await.unwrap();
    proxy.mode(Mode::Refuse);
    proxy.cut();
    for round in 0..8 {
        let ops: Vec<TxnOp> = (0..8)
            .map(|at| {
                let info = pod("big", &at.to_string(), &round.to_string());
                let mut registration = info.registration().clone();
                for at in 0..30 {
                    registration = registration.with_metadata(at.to_string(), "x".repeat(4_000));
                }
                let info = ServiceInfo::new(registration).unwrap();
                let (key, value) = pair(&info);
                TxnOp::put(key, value, None)
            })
            .collect();
        client
            .kv_client()
            .txn(Txn::new().and_then(ops))
            .await
            .unwrap();
    }
    let before = (store.revision(), replica.stats().commits);
    // Cut in the midst, again and again.
    proxy.mode(Mode::Delay(Duration::from_millis(3)));
    for _ in 0..6 {
        sleep(Duration::from_millis(120)).await;
        proxy.cut();
        let zones: Vec<String> = store
            .get_services_by_name("big")
            .unwrap()
            .iter()
            .map(|pod| pod.zone().to_string())
            .collect();
        assert!(
            zones.windows(2).all(|two| two[0] == two[1]),
            "torn: {zones:?}"
        );
        assert!(zones.is_empty() || zones.len() == 8);
    }
    proxy.mode(Mode::Pass);
    timeout(SOON, replica.read_barrier())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(replica.stats().lists, 1);
    assert_eq!(
        replica.stats().commits,
        before.1 + 8,
        "one for each revision, none twice"
    );
    assert_eq!(store.get_services_by_name("big").unwrap()[0].zone(), "7");
}

/// A watch that is slow while etcd is compacted. These servers may skip events then without a word
/// (etcd#17529), where a stream has several watches and its queue is full; a replica has a stream
/// for its watch, and is told.
async fn events_skipped_behind_a_compaction(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let proxy = Proxy::to(etcd.members[0].port).await;
    for at in 0..20 {
        put(&client, &at.to_string(), "first").await;
    }
    let store = Arc::new(VersionedStore::new());
    // So patient that it does not replace the watch.
    let replica = builder(connect_patiently(&proxy.endpoint()).await)
        .heartbeat(Duration::from_secs(60))
        .start(store.clone())
        .await
        .unwrap();
    replica.synced().await.unwrap();
    proxy.mode(Mode::Stall);
    // More than fits between the two: queues, buffers, windows.
    let padding = "x".repeat(4_000);
    for round in 0..60 {
        let ops: Vec<TxnOp> = (0..20)
            .map(|at| {
                let info = pod("web", &at.to_string(), &round.to_string());
                let mut registration = info.registration().clone();
                for at in 0..15 {
                    registration = registration.with_metadata(at.to_string(), padding.as_str());
                }
                let info = ServiceInfo::new(registration).unwrap();
                let (key, value) = pair(&info);
                TxnOp::put(key, value, None)
            })
            .collect();
        client
            .kv_client()
            .txn(Txn::new().and_then(ops))
            .await
            .unwrap();
        // Answers fill the queue of the watch by their number, too.
        for at in 0..5 {
            put(&client, &at.to_string(), &format!("{round} {at}")).await;
        }
        if round % 20 == 19 {
            compact(&client).await;
        }
    }
    client
        .kv_client()
        .delete("/pods/web/19", None)
        .await
        .unwrap();
    compact(&client).await;
    put(&client, "18", "last").await;
    compact(&client).await;
    proxy.mode(Mode::Pass);
    sleep(Duration::from_secs(2)).await;
    // Whatever was skipped shows with the next change of its key.
    for at in 0..20 {
        put(&client, &at.to_string(), "then").await;
    }
    converges(&*store, &client, SOON).await;
    let stats = replica.stats();
    let was_told = stats.lists >= 2 && stats.watches >= 2;
    assert!(was_told, "it was behind a compaction: {stats:?}");
}

/// A page that does not come in time is asked for in smaller ones.
async fn a_slow_connection_lists_in_smaller_pages(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let proxy = Proxy::to(etcd.members[0].port).await;
    for at in 0..400 {
        let registration = ServiceRegistration::new("web", format!("{at}"))
            .with_metadata("large", "x".repeat(4_000));
        let (key, value) = pair(&ServiceInfo::new(registration).unwrap());
        client.kv_client().put(key, value, None).await.unwrap();
    }
    // 16 KiB each time: 800 a second.
    proxy.mode(Mode::Delay(Duration::from_millis(20)));
    let (store, replica) = replica(connect(&[proxy.endpoint()]).await).await;
    timeout(Duration::from_secs(40), replica.synced())
        .await
        .expect("it is listed in the end")
        .unwrap();
    assert_eq!(store.stats().unwrap().services, 400);
}

/// A member that is stopped takes connections and says nothing (etcd#8980).
async fn a_stopped_member(version: Version) {
    let etcd = Cluster::start(version, 3, &[]).await;
    let client = etcd.client().await;
    put(&client, "1", "a").await;
    let (store, replica) = replica(etcd.client().await).await;
    replica.synced().await.unwrap();
    for at in 0..3 {
        etcd.stop(at);
        let others: Vec<String> = (0..3)
            .filter(|other| *other != at)
            .map(|at| etcd.endpoints()[at].clone())
            .collect();
        let client = connect(&others).await;
        // A pod for each round: a write that was given up may still be done, in a later one.
        let zone = at.to_string();
        let (key, value) = pair(&pod("web", &zone, &zone));
        // A leader may have to be found.
        let mut kv = client.kv_client();
        let revision = loop {
            let wrote = timeout(
                Duration::from_secs(3),
                kv.put(key.clone(), value.clone(), None),
            );
            if let Ok(Ok(wrote)) = wrote.await {
                break u64::try_from(wrote.header().unwrap().revision()).unwrap();
            }
        };
        timeout(SOON, replica.wait_for(revision.into()))
            .await
            .expect("it goes on elsewhere")
            .unwrap();
        timeout(SOON, replica.read_barrier())
            .await
            .expect("and reads what was written")
            .unwrap();
        let written = store.get_service(&format!("web:{at}")).unwrap();
        assert_eq!(written.zone(), zone);
        etcd.go_on(at);
    }
    assert_eq!(replica.stats().epoch, 1);
}

/// Read your writes across members, while the leader changes.
async fn barriers_while_the_leader_changes(version: Version) {
    let etcd = Cluster::start(version, 3, &[]).await;
    let client = etcd.client().await;
    let mut replicas = Vec::new();
    for at in 0..3 {
        let endpoints = etcd.endpoints();
        let (store, replica) = replica(connect(&endpoints[at..=at]).await).await;
        replica.synced().await.unwrap();
        replicas.push((store, replica));
    }
    for round in 0..30 {
        if round % 6 == 0 {
            let leader = client.maintenance_client().status().await.unwrap().leader();
            let members = client.cluster_client().member_list().await.unwrap();
            let other = members
                .members()
                .iter()
                .find(|member| member.id() != leader)
                .unwrap()
                .id();
            for endpoint in etcd.endpoints() {
                let to = connect(&[endpoint]).await;
                let _ = timeout(
                    Duration::from_secs(2),
                    to.maintenance_client().move_leader(other),
                )
                .await;
            }
        }
        let zone = round.to_string();
        let (key, value) = pair(&pod("web", "1", &zone));
        let mut kv = client.kv_client();
        while !matches!(
            timeout(
                Duration::from_secs(2),
                kv.put(key.clone(), value.clone(), None)
            )
            .await,
            Ok(Ok(_))
        ) {}
        for (store, replica) in &replicas {
            timeout(SOON, replica.read_barrier())
                .await
                .unwrap()
                .unwrap();
            assert_eq!(store.get_service("web:1").unwrap().zone(), zone);
        }
    }
}

/// Killed, and started again.
async fn killed_and_restarted(version: Version) {
    let mut etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    put(&client, "1", "a").await;
    let (store, replica) = replica(etcd.client().await).await;
    replica.synced().await.unwrap();
    etcd.kill(0);
    sleep(Duration::from_millis(1_500)).await;
    assert!(!replica.state().is_synced());
    assert!(store.contains_service("web:1").unwrap());
    etcd.launch(0);
    etcd.ready().await;
    let revision = put(&client, "2", "a").await;
    timeout(SOON, replica.wait_for(revision.into()))
        .await
        .unwrap()
        .unwrap();
    converges(&*store, &client, Duration::ZERO).await;
    assert_eq!((replica.stats().lists, replica.stats().epoch), (1, 1));
}

/// An older backup: revisions go back, and what was is not.
async fn restored_from_an_older_backup(version: Version) {
    let mut etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    put(&client, "1", "a").await;
    put(&client, "2", "a").await;
    let (store, replica) = replica(etcd.client().await).await;
    replica.synced().await.unwrap();
    etcd.kill(0);
    etcd.back_up();
    etcd.launch(0);
    etcd.ready().await;
    let mut last = 0;
    for at in 0..30 {
        last = put(&client, &format!("later-{at}"), "a").await;
    }
    client
        .kv_client()
        .delete("/pods/web/2", None)
        .await
        .unwrap();
    timeout(SOON, replica.wait_for(last.into()))
        .await
        .unwrap()
        .unwrap();
    let waits = timeout(SOON, replica.wait_for((last + 1_000).into()));
    let restores = async {
        etcd.kill(0);
        etcd.restore();
        etcd.launch(0);
        etcd.ready().await;
    };
    let (told, ()) = tokio::join!(waits, restores);
    let told = told.unwrap();
    assert!(matches!(told, Err(Error::OtherEtcd)), "{told:?}");
    converges(&*store, &client, SOON).await;
    assert!(
        store.contains_service("web:2").unwrap(),
        "what was lost is as it was"
    );
    assert_eq!(replica.stats().epoch, 2);
    let revision = put(&client, "3", "a").await;
    assert!(revision < last);
    timeout(SOON, replica.wait_for(revision.into()))
        .await
        .unwrap()
        .unwrap();
    assert!(store.contains_service("web:3").unwrap());
}

/// An older backup that has come further than the copy, before that came back: neither the
/// cluster's id, nor the term, nor the revision tells.
async fn restored_and_gone_further(version: Version) {
    let mut etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let proxy = Proxy::to(etcd.members[0].port).await;
    put(&client, "1", "a").await;
    put(&client, "2", "a").await;
    etcd.kill(0);
    etcd.back_up();
    etcd.launch(0);
    etcd.ready().await;
    let (store, replica) = replica(connect(&[proxy.endpoint()]).await).await;
    for at in 0..10 {
        put(&client, &format!("lost-{at}"), "a").await;
    }
    client
        .kv_client()
        .delete("/pods/web/2", None)
        .await
        .unwrap();
    timeout(SOON, replica.read_barrier())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(store.stats().unwrap().services, 11);
    let last = replica.revision().get();
    proxy.mode(Mode::Refuse);
    proxy.cut();
    etcd.kill(0);
    etcd.restore();
    etcd.launch(0);
    etcd.ready().await;
    let mut now = 0;
    for at in 0..20 {
        now = put(&client, &format!("new-{at}"), "a").await;
    }
    assert!(now > last);
    // It waits before the replica comes back.
    let waits = timeout(SOON, replica.wait_for(now.into()));
    let (told, ()) = tokio::join!(waits, async { proxy.mode(Mode::Pass) });
    assert!(matches!(told.unwrap(), Err(Error::OtherEtcd)));
    converges(&*store, &client, SOON).await;
    assert_eq!(store.stats().unwrap().services, 22);
    assert_eq!(replica.stats().epoch, 2);
}

on_both!(
    restored_and_gone_further,
    served_meanwhile,
    compacted_while_away,
    a_delete_at_the_revision_of_a_compaction,
    fragments_are_joined,
    a_slow_connection_lists_in_smaller_pages,
    events_skipped_behind_a_compaction,
    a_stopped_member,
    barriers_while_the_leader_changes,
    killed_and_restarted,
    restored_from_an_older_backup,
);
