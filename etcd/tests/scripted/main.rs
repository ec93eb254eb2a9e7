//! What real servers do not show, or not when a test wants it: newer versions, messages in an
//! order that is seldom, mistakes.

mod server;

use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::PbWatchResponse;
use service_registry::{RegistryStore, VersionedStore};
use service_registry_etcd::{Replica, State, Why};
use tokio::time::{sleep, timeout};

use server::{PREFIX, Server, Watch, delete, pair, put};

const SOON: Duration = Duration::from_secs(10);

async fn replica(server: &Server) -> (Arc<VersionedStore>, Replica) {
    let store = Arc::new(VersionedStore::new());
    let replica = Replica::builder(server.client().await)
        .prefix(PREFIX)
        .heartbeat(Duration::from_millis(200))
        .patience(Duration::from_millis(300))
        .longest_wait(Duration::from_secs(1))
        .start(store.clone())
        .await
        .unwrap();
    (store, replica)
}

/// With two pods at revision 10, synced.
async fn synced(version: &str) -> (Server, Watch, Arc<VersionedStore>, Replica) {
    let mut server = Server::start(version, 10);
    server.set(|now| now.pairs = vec![pair("1", 2, 3), pair("2", 4, 5)]);
    let (store, replica) = replica(&server).await;
    let watch = server.watch().await;
    assert_eq!(watch.from, 10);
    watch.created().await;
    timeout(SOON, replica.synced()).await.unwrap().unwrap();
    (server, watch, store, replica)
}

async fn reaches(replica: &Replica, revision: u64) {
    let reached = timeout(SOON, replica.wait_for(revision.into()));
    reached
        .await
        .unwrap_or_else(|_| panic!("{revision} is not reached"))
        .unwrap();
}

fn zone(store: &VersionedStore, key: &str) -> String {
    store.get_service(key).unwrap().zone().to_string()
}

/// A progress that comes after its events: from 3.4.25 and 3.5.8 on.
#[tokio::test]
async fn a_barrier_asks_for_progress_where_it_is_trusted() {
    for version in ["3.4.25", "3.5.8", "3.6.0"] {
        let (mut server, mut watch, _store, replica) = synced(version).await;
        let replica = Arc::new(replica);
        // It comes to know of which version the member is.
        watch.asked_for_progress().await;
        watch.send(watch.answer()).await;
        reaches(&replica, 10).await;
        server.set(|now| now.header.revision = 40);
        let waits = tokio::spawn({
            let replica = replica.clone();
            async move { replica.read_barrier().await.unwrap() }
        });
        watch.asked_for_progress().await;
        // A member that is behind, and then is not.
        let mut behind = watch.answer();
        behind.header.as_mut().unwrap().revision = 39;
        watch.send(behind).await;
        sleep(Duration::from_millis(30)).await;
        assert!(!waits.is_finished());
        watch.asked_for_progress().await;
        watch.send(watch.answer()).await;
        assert_eq!(timeout(SOON, waits).await.unwrap().unwrap(), 40.into());
        assert_eq!(server.now.lock().unwrap().puts, 0, "nothing was written");
        // The watch that comes in its place goes on behind that.
        drop(watch);
        assert_eq!(server.watch().await.from, 40);
    }
}

/// Who may only read can have a barrier of such a server at any time: before its version is known,
/// and while the watch is replaced.
#[tokio::test]
async fn a_barrier_writes_nothing_before_it_knows_whom_to_trust() {
    let mut server = Server::start("3.5.8", 10);
    let (_store, replica) = replica(&server).await;
    let replica = Arc::new(replica);
    let barrier = || {
        let replica = replica.clone();
        tokio::spawn(async move { replica.read_barrier().await.unwrap() })
    };
    let waits = barrier();
    let mut watch = server.watch().await;
    watch.created().await;
    assert_eq!(timeout(SOON, waits).await.unwrap().unwrap(), 10.into());
    server.set(|now| now.header.revision = 20);
    let waits = barrier();
    watch.asked_for_progress().await;
    drop(watch);
    let mut watch = server.watch().await;
    watch.created().await;
    let answers = async {
        loop {
            watch.asked_for_progress().await;
            watch.send(watch.answer()).await;
        }
    };
    let reached = tokio::select! {
        reached = timeout(SOON, waits) => reached.unwrap().unwrap(),
        reached = answers => reached,
    };
    assert_eq!(reached, 20.into());
    assert_eq!(server.now.lock().unwrap().puts, 0, "nothing was written");
}

/// Whoever never wants to be asked says so with the longest time there is.
#[tokio::test]
async fn times_may_be_as_long_as_one_likes() {
    let mut server = Server::start("3.5.8", 10);
    let replica = Replica::builder(server.client().await)
        .prefix(PREFIX)
        .heartbeat(Duration::MAX)
        .patience(Duration::MAX)
        .longest_wait(Duration::MAX)
        .start(VersionedStore::new());
    let replica = replica.await.unwrap();
    let watch = server.watch().await;
    watch.created().await;
    timeout(SOON, replica.synced()).await.unwrap().unwrap();
}

/// etcd#15220: a progress before its events.
#[tokio::test]
async fn progress_that_runs_ahead_is_not_believed() {
    for version in ["3.4.24", "3.5.7", "unknown"] {
        let (mut server, watch, store, replica) = synced(version).await;
        let replica = Arc::new(replica);
        server.set(|now| now.header.revision = 20);
        watch.send(watch.answer()).await;
        watch.events(vec![put("1", 2, 15)]).await;
        reaches(&replica, 15).await;
        assert_eq!(
            (zone(&store, "web:1"), replica.revision()),
            ("15".into(), 15.into())
        );
        // A barrier writes its marker, at 21, and waits for it.
        let waits = tokio::spawn({
            let replica = replica.clone();
            async move { replica.read_barrier().await.unwrap() }
        });
        while server.now.lock().unwrap().puts == 0 {
            sleep(Duration::from_millis(5)).await;
        }
        watch.send(watch.answer()).await;
        watch.events(vec![put("2", 4, 18)]).await;
        sleep(Duration::from_millis(50)).await;
        assert!(!waits.is_finished());
        let mut marker = put("1", 21, 21);
        marker.kv.as_mut().unwrap().key = b"/pods/%/barrier".into();
        watch.events(vec![marker]).await;
        assert_eq!(timeout(SOON, waits).await.unwrap().unwrap(), 21.into());
        assert_eq!(zone(&store, "web:2"), "18");
        drop(watch);
        assert_eq!(server.watch().await.from, 21);
    }
}

/// Who answers for the version is another member than that of the watch.
#[tokio::test]
async fn the_version_of_another_member_says_nothing() {
    let mut server = Server::start("3.5.8", 10);
    server.set(|now| now.other_member = Some(2));
    let (_, replica) = replica(&server).await;
    let watch = server.watch().await;
    watch.created().await;
    timeout(SOON, replica.synced()).await.unwrap().unwrap();
    sleep(Duration::from_millis(100)).await;
    server.set(|now| now.header.revision = 20);
    watch.send(watch.answer()).await;
    sleep(Duration::from_millis(50)).await;
    assert_eq!(replica.revision(), 10.into());
}

/// etcd#17507: no progress on a quiet watch. It is replaced, and that is all.
#[tokio::test]
async fn a_watch_that_is_silent_is_replaced() {
    let (mut server, mut watch, store, replica) = synced("3.5.10").await;
    let before = store.revision();
    for _ in 0..3 {
        watch.asked_for_progress().await;
        assert!(watch.is_given_up().await);
        watch = server.watch().await;
        let state = replica.state();
        let State::Stale { why, .. } = state else {
            panic!("{state:?}")
        };
        assert_eq!(why, Why::Silent);
        assert_eq!(watch.from, 10);
        watch.created().await;
        timeout(SOON, replica.synced()).await.unwrap().unwrap();
    }
    assert_eq!((replica.stats().lists, store.revision()), (1, before));
    assert_eq!(store.stats().unwrap().services, 2);
}

#[tokio::test]
async fn what_is_half_there_is_not_seen_and_not_kept() {
    let (mut server, watch, store, replica) = synced("3.4.23").await;
    let half = PbWatchResponse {
        fragment: true,
        events: vec![put("1", 2, 11)],
        ..watch.answer()
    };
    watch.send(half).await;
    sleep(Duration::from_millis(30)).await;
    assert_eq!(zone(&store, "web:1"), "3");
    drop(watch);
    server.set(|now| now.pairs = vec![pair("1", 2, 11), pair("2", 4, 11)]);
    server.set(|now| now.header.revision = 11);
    let watch = server.watch().await;
    assert_eq!(watch.from, 10);
    watch.created().await;
    let before = store.revision();
    let half = PbWatchResponse {
        fragment: true,
        events: vec![put("1", 2, 11)],
        ..watch.answer()
    };
    watch.send(half).await;
    watch.events(vec![put("2", 4, 11)]).await;
    reaches(&replica, 11).await;
    assert_eq!(
        (zone(&store, "web:1"), zone(&store, "web:2")),
        ("11".into(), "11".into())
    );
    assert_eq!(store.revision(), before.next());
}

/// etcd#17529 and others: a change that shows to have been skipped.
#[tokio::test]
async fn a_change_that_was_skipped_makes_it_list_again() {
    let (mut server, watch, store, replica) = synced("3.4.23").await;
    server.set(|now| now.pairs = vec![pair("1", 2, 9), pair("3", 8, 12)]);
    server.set(|now| now.header.revision = 12);
    // At 9, and the copy is of 10, and has it from 3.
    watch.events(vec![put("1", 2, 9)]).await;
    let watch = server.watch().await;
    assert_eq!(watch.from, 12);
    watch.created().await;
    reaches(&replica, 12).await;
    assert_eq!(
        (zone(&store, "web:1"), zone(&store, "web:3")),
        ("9".into(), "12".into())
    );
    assert!(!store.contains_service("web:2").unwrap());
    assert_eq!((replica.stats().lists, replica.stats().epoch), (2, 1));
}

/// etcd#20221.
#[tokio::test]
async fn the_past_changes_nothing() {
    let (_server, watch, store, replica) = synced("3.5.8").await;
    let before = store.revision();
    let past = vec![
        put("1", 2, 2),
        put("1", 2, 3),
        put("7", 4, 4),
        put("2", 4, 5),
        delete("7", 6),
    ];
    watch.events(past).await;
    watch.events(vec![put("1", 2, 11)]).await;
    reaches(&replica, 11).await;
    assert_eq!(
        (replica.stats().lists, store.revision()),
        (1, before.next())
    );
}

/// nacos#4470, shenyu#6526.
#[tokio::test]
async fn a_list_that_is_empty_by_mistake_takes_nothing_away() {
    for (mistakes, left) in [(1, 2), (2, 0)] {
        let (mut server, watch, store, replica) = synced("3.5.8").await;
        server.set(|now| {
            now.empty_lists = mistakes;
            now.header.revision = 20;
        });
        let compacted = PbWatchResponse {
            canceled: true,
            compact_revision: 15,
            ..watch.answer()
        };
        watch.send(compacted).await;
        let watch = server.watch().await;
        watch.created().await;
        reaches(&replica, 20).await;
        assert_eq!(store.stats().unwrap().services, left);
        timeout(SOON, replica.synced()).await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn what_makes_no_sense_ends_the_watch_and_not_the_replica() {
    let (mut server, mut watch, store, replica) = synced("3.5.8").await;
    let mut unknown = put("1", 2, 11);
    unknown.r#type = 7;
    let mut of_no_key = put("1", 2, 11);
    of_no_key.kv = None;
    let elsewhere = {
        let mut event = put("1", 2, 11);
        event.kv.as_mut().unwrap().key = b"/other/1".into();
        event
    };
    for event in [unknown, of_no_key, elsewhere] {
        watch.events(vec![event]).await;
        watch = server.watch().await;
        watch.created().await;
    }
    let no_header = PbWatchResponse {
        header: None,
        ..watch.answer()
    };
    watch.send(no_header).await;
    watch = server.watch().await;
    watch.created().await;
    let canceled = PbWatchResponse {
        canceled: true,
        cancel_reason: "etcdserver: no leader".into(),
        ..watch.answer()
    };
    watch.send(canceled).await;
    watch = server.watch().await;
    let State::Stale { why, .. } = replica.state() else {
        panic!("not stale")
    };
    assert_eq!(why, Why::Canceled("etcdserver: no leader".into()));
    watch.created().await;
    server.set(|now| now.header.revision = 11);
    watch.events(vec![put("1", 2, 11)]).await;
    reaches(&replica, 11).await;
    assert_eq!(store.stats().unwrap().services, 2);
    assert_eq!(replica.stats().epoch, 1);
}

/// Connections that are taken and cut are no progress: the waits grow.
#[tokio::test]
async fn a_watch_that_always_ends_is_not_begun_in_a_loop() {
    let (mut server, watch, _, replica) = synced("3.5.8").await;
    drop(watch);
    let count = server.count_watches(Duration::from_secs(3)).await;
    assert!(
        (3..=14).contains(&count),
        "{count} watches in three seconds"
    );
    assert_eq!(replica.stats().lists, 1);
}

#[tokio::test]
async fn another_cluster_is_another_epoch() {
    let (mut server, watch, store, replica) = synced("3.5.8").await;
    let incarnation = |key| store.get_service(key).unwrap().incarnation();
    let before = (incarnation("web:1"), incarnation("web:2"));
    server.set(|now| {
        now.header.cluster_id = 8;
        now.header.revision = 50;
        now.pairs = vec![pair("1", 2, 3), pair("2", 4, 6)];
    });
    watch.send(watch.answer()).await;
    let watch = server.watch().await;
    assert_eq!(watch.from, 50);
    watch.created().await;
    reaches(&replica, 50).await;
    assert_eq!(replica.stats().epoch, 2);
    assert_eq!(incarnation("web:1"), before.0, "it is the same in both");
    assert!(incarnation("web:2") > before.1);
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn metrics_tell_how_a_copy_stands() {
    use service_registry_etcd::metrics::{describe, report};
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let (mut server, watch, _store, replica) = synced("3.5.8").await;
    let told = |value: &str| {
        ::metrics::with_local_recorder(&recorder, || {
            describe();
            report("pods", &replica);
        });
        let page = recorder.handle().render();
        assert!(page.contains(value), "no {value} in {page}");
    };
    told("service_registry_etcd_synced{copy=\"pods\"} 1");
    told("service_registry_etcd_revision{copy=\"pods\"} 10");
    told("service_registry_etcd_stale_seconds{copy=\"pods\"} 0");
    drop(watch);
    let watch = server.watch().await;
    told("service_registry_etcd_synced{copy=\"pods\"} 0");
    watch.created().await;
    timeout(SOON, replica.synced()).await.unwrap().unwrap();
    told("service_registry_etcd_watches{copy=\"pods\"} 2");
    told("service_registry_etcd_lists{copy=\"pods\"} 1");
}
