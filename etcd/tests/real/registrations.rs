//! Registered means registered.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use service_registry::{Protocol, Provider, RegistryStore, ServiceRegistration, ServiceStatus};
use service_registry_etcd::etcd_client::{AlarmAction, AlarmType, Client};
use service_registry_etcd::{Error, Registrar, RegistrationState};
use tokio::time::{Instant, sleep, timeout};

use crate::proxy::{Mode, Proxy};
use crate::server::{Cluster, Version, connect};
use crate::support::{PREFIX, copy_has, etcd_has, replica};

const TTL: Duration = Duration::from_secs(3);

fn web(pod: &str) -> ServiceRegistration {
    let provider = Provider::new(Protocol::Http, [127, 0, 0, 1], 8080);
    ServiceRegistration::new("web", pod).with_provider(provider)
}

fn registrar(client: Client) -> Registrar {
    Registrar::new(client).prefix(PREFIX)
}

async fn until(what: &str, within: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + within;
    while !holds().await {
        assert!(Instant::now() < end, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn a_pod_comes_says_how_it_is_and_goes(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let (other_store, other) = replica(etcd.client().await).await;
    let (store, replica) = replica(etcd.client().await).await;
    let registrar = registrar(client.clone()).naming("grpc/");
    let one = registrar.register(web("1"), TTL).await.unwrap();
    // Read your writes.
    replica.wait_for(one.revision()).await.unwrap();
    let pod = store.get_service("web:1").unwrap();
    assert_eq!(
        (pod.status(), pod.source()),
        (ServiceStatus::Unknown, Some("etcd"))
    );
    let name = || async { client.kv_client().get("grpc/web/1", None).await.unwrap() };
    assert!(name().await.kvs().is_empty(), "only healthy ones are named");

    let before = SystemTime::now();
    let revision = one.set_health(ServiceStatus::Healthy).await.unwrap();
    replica.wait_for(revision).await.unwrap();
    let healthy = store.get_service("web:1").unwrap();
    assert_eq!(healthy.status(), ServiceStatus::Healthy);
    assert_eq!(healthy.incarnation(), pod.incarnation());
    assert!(healthy.last_health_check().unwrap() >= before);
    let named = name().await;
    let value = named.kvs()[0].value_str().unwrap();
    assert_eq!(value, r#"{"Op":0,"Addr":"127.0.0.1:8080","Metadata":{}}"#);
    one.set_health(ServiceStatus::Draining).await.unwrap();
    assert!(name().await.kvs().is_empty());

    // It stays for longer than it lives by itself.
    sleep(2 * TTL).await;
    assert!(matches!(one.state(), RegistrationState::Registered(_)));
    assert_eq!(etcd_has(&client).await.len(), 1);
    let revision = one.deregister().await.unwrap();
    for (store, replica) in [(store, replica), (other_store, other)] {
        replica.wait_for(revision).await.unwrap();
        assert!(!store.contains_service("web:1").unwrap());
    }
    assert!(
        client
            .lease_client()
            .leases()
            .await
            .unwrap()
            .leases()
            .is_empty()
    );
}

async fn who_is_gone_is_gone_within_its_time_to_live(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let one = registrar(client.clone())
        .register(web("1"), TTL)
        .await
        .unwrap();
    sleep(TTL).await;
    drop(one);
    let began = Instant::now();
    // etcd looks at leases each half second.
    until("it is gone", TTL + Duration::from_secs(2), async || {
        etcd_has(&client).await.is_empty()
    })
    .await;
    assert!(began.elapsed() > TTL / 3);
}

/// registry-etcd#11: a lease that is lost is taken anew.
async fn a_lease_that_is_lost_is_taken_anew(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let proxy = Proxy::to(etcd.members[0].port).await;
    let (store, replica) = replica(etcd.client().await).await;
    let one = registrar(connect(&[proxy.endpoint()]).await)
        .register(web("1"), TTL)
        .await
        .unwrap();
    one.set_health(ServiceStatus::Healthy).await.unwrap();
    replica.read_barrier().await.unwrap();
    let first = store.get_service("web:1").unwrap();
    let state = one.state();

    // By somebody else.
    let lease = client.lease_client().leases().await.unwrap().leases()[0].id();
    client.lease_client().revoke(lease).await.unwrap();
    assert!(etcd_has(&client).await.is_empty());
    let state = timeout(2 * TTL, one.state_other_than(state)).await.unwrap();
    let state = match state {
        RegistrationState::Lost => one.state_other_than(state).await,
        state => state,
    };
    let RegistrationState::Registered(revision) = state else {
        panic!("{state:?}")
    };
    replica.wait_for(revision).await.unwrap();
    let second = store.get_service("web:1").unwrap();
    assert_eq!(second, first, "it says the same");
    assert!(
        second.incarnation() > first.incarnation(),
        "and is another one"
    );

    // By a connection that was away for longer.
    proxy.mode(Mode::Stall);
    until("it has expired", 3 * TTL, async || {
        etcd_has(&client).await.is_empty()
    })
    .await;
    until("it is known", 2 * TTL, async || {
        one.state() == RegistrationState::Lost
    })
    .await;
    assert_eq!(one.revision().get(), 0);
    proxy.mode(Mode::Pass);
    until("it is back", 3 * TTL, async || {
        etcd_has(&client).await.len() == 1
    })
    .await;
    until("it is known", TTL, async || one.revision().get() > 0).await;

    // The key alone.
    client
        .kv_client()
        .delete("/pods/web/1", None)
        .await
        .unwrap();
    until("it is back", 2 * TTL, async || {
        etcd_has(&client).await.len() == 1
    })
    .await;

    // Health that is reported just then brings it back, too.
    let lease = client.lease_client().leases().await.unwrap().leases()[0].id();
    client.lease_client().revoke(lease).await.unwrap();
    let revision = one.set_health(ServiceStatus::Unhealthy).await.unwrap();
    replica.wait_for(revision).await.unwrap();
    assert_eq!(
        store.get_service("web:1").unwrap().status(),
        ServiceStatus::Unhealthy
    );
}

async fn an_older_incarnation_changes_nothing_of_its_successors(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let proxy = Proxy::to(etcd.members[0].port).await;
    let (store, replica) = replica(etcd.client().await).await;
    let old = registrar(connect(&[proxy.endpoint()]).await);
    let old_one = old.register(web("1").with_zone("old"), TTL).await.unwrap();
    let old_two = old.register(web("2").with_zone("old"), TTL).await.unwrap();
    // The process is paused, and others come in its place: of one after its time, of the other
    // before.
    proxy.mode(Mode::Stall);
    let new = registrar(client.clone());
    let new_one = new.register(web("1").with_zone("new"), TTL).await.unwrap();
    replica.wait_for(new_one.revision()).await.unwrap();
    assert_eq!(store.get_service("web:1").unwrap().zone(), "new");
    until("the other has expired", 3 * TTL, async || {
        etcd_has(&client).await.len() == 1
    })
    .await;
    let new_two = new.register(web("2").with_zone("new"), TTL).await.unwrap();
    let there = etcd_has(&client).await;
    let wrote = client
        .kv_client()
        .get("/pods/web/1", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .revision();

    // It wakes.
    proxy.mode(Mode::Pass);
    let refused = old_one.set_health(ServiceStatus::Unhealthy).await;
    assert!(matches!(refused, Err(Error::Superseded)), "{refused:?}");
    for old in [&old_one, &old_two] {
        until("it knows", 3 * TTL, async || {
            old.state() == RegistrationState::Superseded
        })
        .await;
    }
    let refused = old_two.deregister().await;
    assert!(matches!(refused, Err(Error::Superseded)), "{refused:?}");
    drop(old_one);
    sleep(TTL).await;
    assert_eq!(etcd_has(&client).await, there);
    assert_eq!(copy_has(&*store), there);
    let now = client
        .kv_client()
        .get("/pods/web/1", None)
        .await
        .unwrap()
        .header()
        .unwrap()
        .revision();
    assert_eq!(now, wrote, "nothing was written");
    for new in [new_one, new_two] {
        assert!(matches!(new.state(), RegistrationState::Registered(_)));
        new.deregister().await.unwrap();
    }
}

/// Names etcd to a process that a test starts of itself, to be paused.
const PAUSED: &str = "SERVICE_REGISTRY_ETCD_PAUSED";

/// A process, killed when dropped.
struct Process(Child);

impl Process {
    fn signal(&self, signal: Signal) {
        let id = i32::try_from(self.0.id()).unwrap();
        kill(Pid::from_raw(id), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What such a process does: it writes all the time, so that it is paused in the midst of that,
/// until it is told that it is over.
async fn writes_until_superseded(etcd: String) {
    let old = registrar(connect(&[etcd]).await);
    let old = old.register(web("1").with_zone("old"), TTL).await.unwrap();
    let refused = loop {
        match old.set_health(ServiceStatus::Healthy).await {
            Ok(_) => sleep(Duration::from_millis(1)).await,
            Err(refused) => break refused,
        }
    };
    assert!(matches!(refused, Error::Superseded), "{refused:?}");
    assert_eq!(old.state(), RegistrationState::Superseded);
    let refused = old.deregister().await;
    assert!(matches!(refused, Err(Error::Superseded)), "{refused:?}");
}

/// The same with a process that is really paused, before another one comes in its place: until its
/// lease has expired, and not so long.
async fn a_process_that_was_paused_changes_nothing(version: Version) {
    if let Ok(etcd) = std::env::var(PAUSED) {
        return writes_until_superseded(etcd).await;
    }
    let module = match version {
        Version::Old => "v3_4",
        Version::New => "v3_5",
    };
    let test = format!("registrations::{module}::a_process_that_was_paused_changes_nothing");
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let revision = async || {
        let answer = client.kv_client().get("x", None).await.unwrap();
        answer.header().unwrap().revision()
    };
    for expires in [false, true] {
        let mut old = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", &test])
            .env(PAUSED, &etcd.endpoints()[0])
            .stdout(Stdio::null())
            .spawn()
            .map(Process)
            .unwrap();
        until("it writes", Duration::from_secs(20), async || {
            let there = etcd_has(&client).await;
            there
                .values()
                .any(|pod| pod.status() == ServiceStatus::Healthy)
        })
        .await;
        old.signal(Signal::SIGSTOP);
        if expires {
            // Within its time to live; etcd looks each half second.
            until("it has expired", TTL + Duration::from_secs(2), async || {
                etcd_has(&client).await.is_empty()
            })
            .await;
        }
        let new = registrar(client.clone())
            .register(web("1").with_zone("new"), TTL)
            .await
            .unwrap();
        let (there, wrote) = (etcd_has(&client).await, revision().await);
        assert_eq!(there["web:1"].zone(), "new");
        old.signal(Signal::SIGCONT);
        until("it knows, and ends", Duration::from_secs(20), async || {
            let ended = old.0.try_wait().unwrap();
            ended.is_some_and(|ended| {
                assert!(ended.success(), "{ended}");
                true
            })
        })
        .await;
        sleep(TTL).await;
        assert_eq!(etcd_has(&client).await, there);
        assert_eq!(revision().await, wrote, "nothing was written");
        assert!(matches!(new.state(), RegistrationState::Registered(_)));
        new.deregister().await.unwrap();
    }
}

/// An etcd that is full takes no health and renews leases: the pod stays, while its health waits.
async fn health_that_waits_is_in_nobodys_way(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let proxy = Proxy::to(etcd.members[0].port).await;
    let one = registrar(connect(&[proxy.endpoint()]).await)
        .register(web("1"), TTL)
        .await
        .unwrap();
    let alarm = async |action| {
        let mut maintenance = client.maintenance_client();
        maintenance
            .alarm(action, AlarmType::Nospace, None)
            .await
            .unwrap();
    };
    alarm(AlarmAction::Activate).await;
    let reports = one.set_health(ServiceStatus::Healthy);
    let waits = timeout(3 * TTL, reports).await;
    assert!(waits.is_err(), "it is full: {waits:?}");
    assert_eq!(etcd_has(&client).await.len(), 1);
    assert!(matches!(one.state(), RegistrationState::Registered(_)));
    alarm(AlarmAction::Deactivate).await;
    one.set_health(ServiceStatus::Healthy).await.unwrap();

    // Nor does it hide that the lease is lost.
    proxy.mode(Mode::Stall);
    let reports = one.set_health(ServiceStatus::Unhealthy);
    let knows = until("it is known", 3 * TTL, async || {
        one.state() == RegistrationState::Lost
    });
    tokio::select! {
        told = reports => panic!("{told:?}"),
        () = knows => {}
    }
}

/// What etcd never takes is an error, and is not tried for ever.
async fn a_time_to_live_that_is_too_long_is_refused(version: Version) {
    let etcd = Cluster::one(version).await;
    let registrar = registrar(etcd.client().await);
    for ttl in [Duration::from_secs(10_000_000_000), Duration::MAX] {
        let registers = timeout(Duration::from_secs(5), registrar.register(web("1"), ttl));
        let refused = registers.await.expect("it ends");
        assert!(matches!(refused, Err(Error::Etcd(_))), "{refused:?}");
    }
}

/// Answers that are lost, connections that are cut in the midst of whatever.
async fn cut_connections_do_no_harm(version: Version) {
    let etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let proxy = Proxy::to(etcd.members[0].port).await;
    let registrar =
        registrar(connect(&[proxy.endpoint()]).await).patience(Duration::from_millis(500));
    let ends = tokio::sync::oneshot::channel::<()>();
    let (end, mut ended) = ends;
    let vandal = tokio::spawn(async move {
        let mut at = 0;
        while ended.try_recv().is_err() {
            sleep(Duration::from_millis(15 + at % 60)).await;
            at += 17;
            match at % 3 {
                0 => proxy.half_close(),
                1 => proxy.mode(Mode::Delay(Duration::from_millis(at % 13))),
                _ => proxy.cut(),
            }
        }
        proxy.mode(Mode::Pass);
        proxy.cut();
        proxy
    });
    for round in 0..10 {
        let pod = registrar.register(web(&round.to_string()), TTL);
        let pod = timeout(Duration::from_secs(20), pod)
            .await
            .unwrap()
            .unwrap();
        let health = pod.set_health(ServiceStatus::Healthy);
        timeout(Duration::from_secs(20), health)
            .await
            .unwrap()
            .unwrap();
        let there = etcd_has(&client).await;
        assert_eq!(there[&**pod.key()].status(), ServiceStatus::Healthy);
        let gone = timeout(Duration::from_secs(20), pod.deregister())
            .await
            .unwrap();
        // The answer to the first attempt may have been lost.
        assert!(matches!(gone, Ok(_) | Err(Error::Superseded)), "{gone:?}");
        assert!(etcd_has(&client).await.is_empty());
    }
    end.send(()).unwrap();
    drop(vandal.await.unwrap());
}

/// Of an older backup, where neither the key is there nor the lease; and of one where both are.
async fn who_is_registered_survives_a_restore(version: Version) {
    let mut etcd = Cluster::one(version).await;
    let client = etcd.client().await;
    let registrar = registrar(client.clone());
    let ttl = 2 * TTL;
    let before = registrar.register(web("before"), ttl).await.unwrap();
    etcd.kill(0);
    etcd.back_up();
    etcd.launch(0);
    etcd.ready().await;
    let after = registrar.register(web("after"), ttl).await.unwrap();
    etcd.kill(0);
    etcd.restore();
    etcd.launch(0);
    etcd.ready().await;
    until("both are there", 3 * ttl, async || {
        etcd_has(&client).await.len() == 2
    })
    .await;
    sleep(2 * ttl).await;
    assert_eq!(etcd_has(&client).await.len(), 2);
    for pod in [before, after] {
        pod.deregister().await.unwrap();
    }
    assert!(etcd_has(&client).await.is_empty());
}

/// Keep-alives end with a leader (etcd#15922).
async fn pods_outlive_changes_of_the_leader(version: Version) {
    let etcd = Cluster::start(version, 3, &[]).await;
    let client = etcd.client().await;
    let registrar = registrar(client.clone());
    let mut pods = Vec::new();
    for at in 0..5 {
        pods.push(registrar.register(web(&at.to_string()), TTL).await.unwrap());
    }
    let end = Instant::now() + 5 * TTL;
    let mut changes = 0;
    while Instant::now() < end {
        let leader = client.maintenance_client().status().await.unwrap().leader();
        let members = client.cluster_client().member_list().await.unwrap();
        let other = members
            .members()
            .iter()
            .find(|member| member.id() != leader)
            .unwrap()
            .id();
        for endpoint in etcd.endpoints() {
            let mut to = connect(&[endpoint]).await.maintenance_client();
            let moved = timeout(Duration::from_secs(2), to.move_leader(other)).await;
            changes += usize::from(matches!(moved, Ok(Ok(_))));
        }
        sleep(TTL / 2).await;
        assert_eq!(etcd_has(&client).await.len(), 5);
    }
    assert!(changes >= 5, "{changes} changes");
    // And the loss of one.
    let leader = client.maintenance_client().status().await.unwrap().leader();
    let mut stopped = 0;
    for (at, endpoint) in etcd.endpoints().into_iter().enumerate() {
        let status = connect(&[endpoint])
            .await
            .maintenance_client()
            .status()
            .await
            .unwrap();
        if status.header().unwrap().member_id() == leader {
            stopped = at;
        }
    }
    etcd.stop(stopped);
    let mut rest = etcd.endpoints();
    rest.remove(stopped);
    let rest = connect(&rest).await;
    // A member that is stopped takes requests, and does not answer: a pod may go, and is back.
    let mut missing = 0;
    for _ in 0..40 {
        sleep(4 * TTL / 40).await;
        missing += 5 - etcd_has(&rest).await.len();
    }
    assert!(missing < 20, "{missing} of 200 times a pod was missing");
    until("all are there", 2 * TTL, async || {
        etcd_has(&rest).await.len() == 5
    })
    .await;
    eprintln!("{changes} changes of the leader, {missing} of 200 times a pod was missing");
    // Gone within a time to live, and one for each change of the leader.
    drop(pods);
    until(
        "they are gone",
        2 * TTL + Duration::from_secs(2),
        async || etcd_has(&rest).await.is_empty(),
    )
    .await;
    etcd.go_on(stopped);
}

on_both!(
    pods_outlive_changes_of_the_leader,
    who_is_registered_survives_a_restore,
    a_pod_comes_says_how_it_is_and_goes,
    who_is_gone_is_gone_within_its_time_to_live,
    a_lease_that_is_lost_is_taken_anew,
    an_older_incarnation_changes_nothing_of_its_successors,
    a_process_that_was_paused_changes_nothing,
    health_that_waits_is_in_nobodys_way,
    a_time_to_live_that_is_too_long_is_refused,
    cut_connections_do_no_harm,
);
