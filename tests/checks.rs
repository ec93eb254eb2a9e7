//! Health checks: against real servers on loopback on every store, and, with probes that are
//! scripted and a time that stands still, to the nanosecond.

// A build with fewer stores uses less of this file.
#![allow(dead_code, unused_macros)]

#[macro_use]
mod support;

#[path = "checks/scripted.rs"]
mod scripted;
#[path = "checks/servers.rs"]
mod servers;

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::{Duration, SystemTime};

use service_registry::checks::{CheckOptions, Checks, HttpProbe, Probe, TcpProbe};
use service_registry::{
    Protocol, Provider, Registry, RegistryStore, ServiceRegistration, ServiceStatus,
};

use servers::{Answer, Server};

const OPTIONS: CheckOptions = CheckOptions {
    interval: Duration::from_millis(40),
    jitter_percent: 10,
    timeout: Duration::from_millis(400),
    rise: 2,
    fall: 3,
    at_once: 64,
};

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().unwrap()
}

/// Runs checks of the pods of some servers until each has the status that is expected.
fn settle<S>(store: S, probe: impl Probe, servers: &[(&str, &Server, ServiceStatus)])
where
    S: RegistryStore + Send + Sync + 'static,
{
    let registry = Registry::new(Arc::new(store));
    for (pod, server, _) in servers {
        let (host, port) = (server.address.ip(), server.address.port());
        let pod = ServiceRegistration::new("web", *pod).with_provider(Provider::new(
            Protocol::Http,
            host,
            port,
        ));
        registry
            .register(ServiceRegistration {
                health_check_url: format!("http://{}/health?deep=1", server.address),
                ..pod
            })
            .unwrap();
    }
    let runtime = runtime();
    let running = runtime.spawn(Checks::new(registry.clone(), probe, OPTIONS).run());
    for (pod, _, expected) in servers {
        let key = format!("web:{pod}");
        // The watchdog of the test ends it where that never comes.
        while registry.get_service(&key).unwrap().status() != *expected {
            assert!(!running.is_finished());
            thread::sleep(Duration::from_millis(5));
        }
    }
    // And so it stays.
    thread::sleep(Duration::from_millis(200));
    for (pod, _, expected) in servers {
        let found = registry.get_service(&format!("web:{pod}")).unwrap();
        assert_eq!(found.status(), *expected, "{pod}");
        assert!(found.last_health_check().unwrap() <= SystemTime::now());
    }
    // A closed store ends it.
    registry.close().unwrap();
    let ended = runtime.block_on(running).unwrap();
    assert_eq!(ended, Ok(()));
}

fn http_tells_who_is_well<S: RegistryStore + Send + Sync + 'static>(make: fn() -> S) {
    use ServiceStatus::{Healthy, Unhealthy};
    support::within(support::PATIENCE, move || {
        let servers: [(&str, Answer, ServiceStatus); 8] = [
            ("well", servers::well, Healthy),
            ("in pieces", servers::in_pieces, Healthy),
            ("failing", servers::failing, Unhealthy),
            ("redirecting", servers::redirecting, Unhealthy),
            ("closing", servers::closing, Unhealthy),
            ("hanging", servers::hang, Unhealthy),
            ("babbling", servers::babbling, Unhealthy),
            ("slow", servers::slow, Unhealthy),
        ];
        let mut started: Vec<_> = (servers.iter())
            .map(|(pod, answer, expected)| (*pod, Server::start(*answer), *expected))
            .collect();
        started.push(("gone", Server::gone(), Unhealthy));
        let servers: Vec<_> = (started.iter())
            .map(|(pod, server, expected)| (*pod, server, *expected))
            .collect();
        settle(make(), HttpProbe::new(), &servers);
    });
}

fn tcp_tells_who_listens<S: RegistryStore + Send + Sync + 'static>(make: fn() -> S) {
    use ServiceStatus::{Healthy, Unhealthy};
    support::within(support::PATIENCE, move || {
        let (hangs, gone) = (Server::start(servers::hang), Server::gone());
        let servers = [("hanging", &hangs, Healthy), ("gone", &gone, Unhealthy)];
        settle(make(), TcpProbe::new(), &servers);
    });
}

/// Nobody else gets the address while the test lasts, and is found well there.
#[test]
fn an_address_at_which_nobody_listens_stays_so() {
    let gone = Server::gone();
    TcpListener::bind(gone.address).unwrap_err();
    let refused = TcpStream::connect(gone.address).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

macro_rules! suite {
    ($feature:literal $module:ident $kind:ident $store:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            #[test]
            fn http_tells_who_is_well() {
                crate::http_tells_who_is_well(service_registry::$store::new);
            }

            #[test]
            fn tcp_tells_who_listens() {
                crate::tcp_tells_who_listens(service_registry::$store::new);
            }
        }
    };
}

shared_stores!(suite);

/// Thresholds keep a server that is well and not by turns where it was.
#[test]
#[cfg(feature = "thread-safe")]
fn a_server_that_flaps_changes_no_status() {
    support::within(support::PATIENCE, || {
        let server = Server::start(servers::flapping);
        let store = Arc::new(service_registry::ThreadSafeMemoryStore::new());
        let registry = Registry::new(store);
        for status in [ServiceStatus::Healthy, ServiceStatus::Unhealthy] {
            let mut pod = ServiceRegistration::new("web", "1");
            pod.health_check_url = format!("http://{}/health?deep=1", server.address);
            registry.register(pod).unwrap();
            registry.update_health_status("web:1", status).unwrap();
            let runtime = runtime();
            let checks = Checks::new(registry.clone(), HttpProbe::new(), OPTIONS);
            let running = runtime.spawn(checks.run());
            let before = server.connections.load(SeqCst);
            while server.connections.load(SeqCst) < before + 8 {
                let found = registry.get_service("web:1").unwrap();
                assert_eq!(found.status(), status);
                thread::sleep(Duration::from_millis(5));
            }
            running.abort();
        }
    });
}

/// Does not find out before the runtime ends.
#[cfg(feature = "thread-safe")]
struct Waits(Arc<std::sync::atomic::AtomicUsize>);

#[cfg(feature = "thread-safe")]
impl Probe for Waits {
    async fn probe(&self, _: &service_registry::ServiceInfo) -> bool {
        self.0.fetch_add(1, SeqCst);
        std::future::pending().await
    }
}

#[cfg(feature = "thread-safe")]
#[test]
fn a_runtime_that_shuts_down_says_nothing_of_pods() {
    support::within(support::PATIENCE, || {
        let store = Arc::new(service_registry::ThreadSafeMemoryStore::new());
        let registry = Registry::new(store);
        for pod in 0..50 {
            let registration = ServiceRegistration::new("web", pod.to_string());
            registry.register(registration).unwrap();
        }
        let runtime = runtime();
        let asked = Arc::default();
        let options = CheckOptions {
            timeout: Duration::from_secs(3_600),
            fall: 1,
            ..OPTIONS
        };
        let checks = Checks::new(registry.clone(), Waits(Arc::clone(&asked)), options);
        let handle = runtime.handle().clone();
        let driver = thread::spawn(move || handle.block_on(checks.run()));
        while asked.load(SeqCst) < 50 {
            thread::sleep(Duration::from_millis(1));
        }
        runtime.shutdown_background();
        // Timers panic where the runtime has ended.
        assert!(driver.join().is_err());
        for service in registry.get_services_by_name("web").unwrap() {
            assert_eq!(
                service.status(),
                ServiceStatus::Unknown,
                "{}",
                service.key()
            );
        }
    });
}
