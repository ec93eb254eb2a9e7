//! What must hold whatever the protocol is.

use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use service_registry::ServiceStatus;

use crate::fleet::{Fleet, NAME, Protocol, Server};
use crate::load::Load;

/// Longer than any scenario takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than any request takes that is answered.
const LONG: Duration = Duration::from_secs(20);

const PODS: [&str; 4] = ["a", "b", "c", "d"];

/// Each pod drains, ends, and comes back elsewhere as a new incarnation.
pub(crate) async fn a_rollout_under_load_fails_no_request<P: Protocol>() {
    let mut fleet = Fleet::of::<P>(&PODS).await;
    let load = Load::begin(&P::balance(&fleet, LONG));
    load.answers(100).await;
    for pod in PODS {
        fleet.report(pod, ServiceStatus::Draining);
        fleet.drained(pod).await;
        let before = fleet.pods[pod].requests();
        assert!(before > 0, "{pod} had no part in the load");
        let old = fleet.start::<P>(pod).await.unwrap();
        load.answers(50).await;
        assert_eq!(old.requests(), before, "{pod} was called when it was out");
        drop(old);
        load.answers(50).await;
    }
    let outcome = load.end().await;
    assert_eq!(outcome.failed, [""; 0], "of {}", outcome.answered);
    for pod in PODS {
        assert!(fleet.pods[pod].requests() > 0, "the new {pod} got nothing");
    }
}

pub(crate) async fn a_killed_pod_fails_what_it_had_and_nothing_after_the_event<P: Protocol>() {
    let mut fleet = Fleet::of::<P>(&PODS).await;
    let load = Load::begin(&P::balance(&fleet, LONG));
    load.answers(100).await;
    let killed = fleet.pods.remove("b").unwrap();
    let (address, counts) = (killed.address, killed.counts.clone());
    load.may_fail(Some(address));
    drop(killed);
    load.answers(100).await;
    // Somebody finds out. What went there before that fails; a client retries it.
    fleet.registry.unregister(NAME, "b").unwrap();
    fleet.gone("b").await;
    load.may_fail(None);
    // Whoever is at the address now hears nothing of it.
    let other = Server::start_again::<P>(address).await;
    load.answers(200).await;
    let outcome = load.end().await;
    assert_eq!(outcome.failed, [""; 0], "of {}", outcome.answered);
    assert!(outcome.excused > 0, "nothing was lost when it was killed");
    assert!(counts.requests.load(SeqCst) > 0);
    let seen = (other.requests(), other.counts.connections.load(SeqCst));
    assert_eq!(seen, (0, 0), "requests and connections after the event");
}

pub(crate) async fn a_draining_pod_gets_nothing_new<P: Protocol>() {
    let fleet = Fleet::of::<P>(&PODS).await;
    let load = Load::begin(&P::balance(&fleet, LONG));
    load.answers(100).await;
    fleet.report("c", ServiceStatus::Draining);
    fleet.drained("c").await;
    let before = fleet.pods["c"].requests();
    assert!(before > 0);
    load.answers(200).await;
    assert_eq!(fleet.pods["c"].requests(), before);
    // It has changed its mind.
    fleet.report("c", ServiceStatus::Healthy);
    load.answers(200).await;
    assert!(fleet.pods["c"].requests() > before);
    let outcome = load.end().await;
    assert_eq!(outcome.failed, [""; 0], "of {}", outcome.answered);
}

/// A registration that replaces another at another address: the old one is not called once
/// more, as `p2c` would if it were told of the new one only.
pub(crate) async fn a_pod_that_moves_is_left_at_once<P: Protocol>() {
    let mut fleet = Fleet::of::<P>(&["a", "b"]).await;
    let call = P::balance(&fleet, LONG);
    for _ in 0..20 {
        // Whichever is not called last stays at hand.
        for _ in 0..4 {
            call().await.unwrap();
        }
        let old = fleet.start::<P>("a").await.unwrap();
        fleet.forwarded::<P>("a").await;
        let before = old.requests();
        for _ in 0..4 {
            call().await.unwrap();
        }
        assert_eq!(old.requests(), before, "it went to the old address");
    }
}

pub(crate) async fn an_empty_name_answers_within_the_time_of_the_caller<P: Protocol>() {
    let mut fleet = Fleet::new();
    let call = P::balance(&fleet, Duration::from_secs(1));
    let begun = Instant::now();
    let answers = [call(), call(), call()];
    for answer in futures_util::future::join_all(answers).await {
        let error = answer.unwrap_err();
        assert!(error.contains("Elapsed"), "{error}");
    }
    assert!(begun.elapsed() < Duration::from_secs(10));
    fleet.start::<P>("a").await;
    call().await.unwrap();
    // What was given up was not sent.
    assert_eq!(fleet.pods["a"].requests(), 1);
}

pub(crate) async fn who_waits_for_the_first_pod_gets_it<P: Protocol>() {
    let mut fleet = Fleet::new();
    let call = P::balance(&fleet, LONG);
    let waiting = tokio::spawn(call());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    fleet.start::<P>("a").await;
    waiting.await.unwrap().unwrap();
}

pub(crate) async fn health_checks_cost_no_connection<P: Protocol>() {
    let fleet = Fleet::of::<P>(&PODS).await;
    let load = Load::begin(&P::balance(&fleet, LONG));
    load.answers(200).await;
    let made = fleet.discovered.made.load(SeqCst);
    let connections = || {
        let counts = PODS.map(|pod| fleet.pods[pod].counts.connections.load(SeqCst));
        counts.iter().sum::<usize>()
    };
    let most = PODS.len() * P::CONNECTIONS;
    for _ in 0..100 {
        for pod in PODS {
            // A newer time, a check that found out nothing, and a check that did.
            fleet.report(pod, ServiceStatus::Healthy);
            fleet.report(pod, ServiceStatus::Unknown);
        }
        load.answers(5).await;
        for pod in PODS {
            fleet.report(pod, ServiceStatus::Healthy);
        }
        load.answers(5).await;
    }
    let outcome = load.end().await;
    assert_eq!(outcome.failed, [""; 0], "of {}", outcome.answered);
    assert_eq!(fleet.discovered.made.load(SeqCst), made);
    assert!(connections() <= most, "{} connections", connections());
}

/// Its process ends and begins again at the same address, and nobody tells the registry.
pub(crate) async fn an_endpoint_that_failed_comes_back<P: Protocol>() {
    let mut fleet = Fleet::of::<P>(&["a", "b"]).await;
    let load = Load::begin(&P::balance(&fleet, LONG));
    load.answers(50).await;
    let made = fleet.discovered.made.load(SeqCst);
    let killed = fleet.pods.remove("a").unwrap();
    let address = killed.address;
    load.may_fail(Some(address));
    drop(killed);
    load.answers(50).await;
    let again = Server::start_again::<P>(address).await;
    while again.requests() < 20 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    load.may_fail(None);
    load.answers(50).await;
    let outcome = load.end().await;
    assert_eq!(outcome.failed, [""; 0], "of {}", outcome.answered);
    assert!(outcome.excused > 0, "nothing was lost when it was killed");
    assert_eq!(fleet.discovered.made.load(SeqCst), made);
}

pub(crate) async fn a_closed_store_leaves_the_balancer_its_pods<P: Protocol>() {
    let fleet = Fleet::of::<P>(&PODS).await;
    let load = Load::begin(&P::balance(&fleet, LONG));
    load.answers(100).await;
    fleet.registry.close().unwrap();
    load.answers(200).await;
    let outcome = load.end().await;
    assert_eq!(outcome.failed, [""; 0], "of {}", outcome.answered);
}
