//! What stores and watches tell the crate `tracing`.

#![cfg(not(shuttle))]

#[macro_use]
mod support;

use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use service_registry::changes::{LogOptions, Selection};
use service_registry::leases::{LeaseOptions, Leases};
use service_registry::{MemoryStore, Registry, RegistryStore, ServiceRegistration};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps each event as a line.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Times differ.
        match field.name() {
            "waited" | "took" => write!(self.0, " {field}"),
            _ => write!(self.0, " {field}={value:?}"),
        }
        .unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "service_registry"
    }
    fn event(&self, event: &Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        unreachable!("nobody may be inside a span while a store has its turn")
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn told(work: impl FnOnce()) -> Vec<String> {
    let lines = Lines::default();
    tracing::subscriber::with_default(lines.clone(), work);
    std::mem::take(&mut *lines.0.lock().unwrap())
}

fn commits_are_told(store: impl RegistryStore, kind: &str) {
    let registry = Registry::new(store);
    let told = told(|| {
        registry
            .register(ServiceRegistration::new("db", "pod-1"))
            .unwrap();
        registry.unregister("db", "pod-1").unwrap();
        registry.unregister("db", "pod-1").unwrap();
    });
    let line =
        |revision| format!("TRACE message=commit store=\"{kind}\" revision={revision} waited took");
    assert_eq!(told, [line(1), line(2)]);
}

#[test]
fn commits_of_a_store_are_told() {
    commits_are_told(MemoryStore::new(), "memory");
    macro_rules! told {
        ($feature:literal $module:ident $kind:ident $store:ident) => {
            #[cfg(feature = $feature)]
            commits_are_told(service_registry::$store::new(), $feature);
        };
    }
    shared_stores!(told);
}

#[test]
fn a_watch_that_fell_behind_is_told() {
    let options = LogOptions {
        bytes: 4_000,
        ..LogOptions::default()
    };
    let registry = Registry::new(MemoryStore::with_log(options));
    let mut watch = registry.watch(Selection::service("db")).unwrap();
    watch.recv().unwrap();
    for _ in 0..100 {
        let registration = ServiceRegistration::new("db", "pod-1");
        registry.register(registration).unwrap();
    }
    let told = told(|| drop(watch.recv().unwrap()));
    let line = "DEBUG message=a watch fell behind the log selection=Service(\"db\") shown=0 \
                revision=100";
    assert_eq!(told, [line]);
}

#[test]
fn a_sweep_that_expires_or_withholds_is_told() {
    let begin = Instant::now();
    let leases = Leases::with_clock(
        Registry::new(MemoryStore::new()),
        LeaseOptions::default(),
        move || begin,
    );
    let (leases, ttl) = (leases.unwrap(), Duration::from_secs(30));
    for (pod, ttl) in [("1", ttl), ("2", 2 * ttl), ("3", 2 * ttl)] {
        let registration = ServiceRegistration::new("db", pod);
        let _kept = leases.register(registration, ttl).unwrap();
    }
    let told = told(|| {
        leases.sweep(begin).unwrap();
        leases.sweep(begin + ttl).unwrap();
        leases.sweep(begin + 2 * ttl).unwrap();
    });
    let of_sweeps = told.iter().filter(|line| line.starts_with("DEBUG"));
    assert_eq!(
        of_sweeps.collect::<Vec<_>>(),
        [
            "DEBUG message=a sweep of leases expired=1 withheld=0",
            "DEBUG message=a sweep of leases expired=0 withheld=2",
        ]
    );
}
