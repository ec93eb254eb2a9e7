//! A gateway that resolves names while the fleet changes under it.
//!
//! The fleet is Google's Online Boutique: its services with their ports, and a
//! subscription for each edge of its call graph (`online-boutique.json`). Eight
//! threads serve page views: each resolves the frontend and, down the call
//! graph, everything that it needs. Meanwhile one thread checks the health of
//! all pods, another rolls out one version after the other, and a third watches
//! the registry and tells the subscribers whose health has changed.
//!
//! Every page view checks what the registry promises. The program fails when
//!
//! - a name has fewer pods than the rolling update leaves it, or more,
//! - a pod is seen without one of its subscriptions,
//! - a subscriber is seen that is not registered,
//! - a reader sees time run backwards,
//! - or a change of health is not told, or told twice (unless the notifier was too slow, and
//!   has told all of them to look).
//!
//! ```console
//! cargo run --release --features snapshot,serde --example gateway
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use service_registry::changes::{Difference, Event, Reason, Selection, Watch};
use service_registry::{
    Registry, RegistryView, Revision, ServiceInfo, ServiceRegistration, ServiceStatus, Snapshot,
    SnapshotReader, SnapshotStore, StoreError,
};

const FLEET: &str = include_str!("online-boutique.json");
const READERS: usize = 8;
const RUN: Duration = Duration::from_secs(2);

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How many pods each service is meant to have.
type Replicas = BTreeMap<String, usize>;

fn main() -> Outcome<()> {
    let fleet: Vec<ServiceRegistration> = serde_json::from_str(FLEET)?;
    let mut replicas = Replicas::new();
    for pod in &fleet {
        *replicas.entry(pod.service_name.clone()).or_default() += 1;
    }

    let registry = Registry::new(SnapshotStore::new());
    for pod in fleet {
        registry.register(pod)?;
    }
    let at_first = registry.stats()?;
    println!(
        "Online Boutique: {} pods of {} services, {} subscriptions",
        at_first.services,
        replicas.len(),
        at_first.subscriptions
    );

    let stop = AtomicBool::new(false);
    let (registry, replicas, stop) = (&registry, &replicas, &stop);
    let watch = registry.watch(Selection::All)?;
    let (views, health, rollout, told) = thread::scope(|scope| -> Outcome<_> {
        let notifier = scope.spawn(|| notify(registry, watch));
        let open = Open(registry);
        let readers: Vec<_> = (0..READERS)
            .map(|first| {
                // A reader belongs to its thread: it remembers the last
                // snapshot, so that a read costs little more than the lookup.
                let reader = registry.store().reader();
                scope.spawn(move || serve(reader, first, replicas, stop))
            })
            .collect();
        let health = scope.spawn(|| check_health(registry, stop));
        let rollout = scope.spawn(|| roll_out(registry, replicas, stop));

        thread::sleep(RUN);
        stop.store(true, Relaxed);

        let mut views = Views::default();
        for reader in readers {
            views.add(reader.join().expect("a reader does not panic")?);
        }
        let health = health.join().expect("the health checker does not panic")?;
        let rollout = rollout.join().expect("the rollout does not panic")?;
        let now = registry.stats()?;
        if now != at_first {
            return Err(format!("the fleet changed its size: {at_first:?}, then {now:?}").into());
        }
        drop(open);
        let told = notifier.join().expect("the notifier does not panic")?;
        Ok((views, health, rollout, told))
    })?;

    let changes = health.changes + rollout.changes;
    if told.changes != changes && !told.fell_behind {
        return Err(format!("{} changes of health were told, of {changes}", told.changes).into());
    }

    println!(
        "{RUN:?} with {READERS} readers, a health checker and a rollout:\n\n\
         {:>10}  page views, each in one snapshot\n\
         {:>10}  names resolved, {} of them with no healthy pod\n\
         {:>10}  revisions, {} of them seen by a reader\n\
         {:>10}  health checks, {} of them changed a status\n\
         {:>10}  pods replaced, one by one\n\
         {:>10}  changes of health told",
        views.pages,
        views.lookups,
        views.without_health,
        registry.revision(),
        views.revisions.len(),
        health.checks,
        health.changes,
        rollout.replaced,
        told.changes,
    );
    println!("\nnotified of a change:");
    for (service, times) in &told.subscribers {
        println!("{times:>10}  {service}");
    }
    println!("\nno name was ever empty, and no pod without its subscriptions");
    Ok(())
}

/// What readers have seen.
#[derive(Default)]
struct Views {
    pages: u64,
    lookups: u64,
    without_health: u64,
    revisions: BTreeSet<Revision>,
}

impl Views {
    fn add(&mut self, other: Views) {
        self.pages += other.pages;
        self.lookups += other.lookups;
        self.without_health += other.without_health;
        self.revisions.extend(other.revisions);
    }
}

/// Serves page views until it is told to stop.
fn serve(
    mut reader: SnapshotReader,
    first: usize,
    replicas: &Replicas,
    stop: &AtomicBool,
) -> Outcome<Views> {
    let mut seen = Views::default();
    let mut last = Revision::ZERO;
    let mut turn = first;
    while !stop.load(Relaxed) {
        // One view for the whole page: what its parts are told agrees.
        let view = reader.view();
        if view.revision() < last {
            return Err(format!("revision {} after {last}", view.revision()).into());
        }
        last = view.revision();
        seen.revisions.insert(last);

        let mut needed = vec!["frontend"];
        while let Some(service) = needed.pop() {
            let pod = resolve(view, service, turn, replicas[service])?;
            seen.lookups += 1;
            seen.without_health += u64::from(pod.status() != ServiceStatus::Healthy);
            needed.extend(pod.subscriptions().iter().map(String::as_str));
            turn = turn.wrapping_add(1);
        }
        seen.pages += 1;
    }
    Ok(seen)
}

/// The pod whose turn it is, a healthy one if there is one, after a look at
/// everything that the registry promises of it.
fn resolve<'a>(
    view: &'a Snapshot,
    service: &str,
    turn: usize,
    replicas: usize,
) -> Outcome<&'a ServiceInfo> {
    let at = view.revision();
    let count = view.services_by_name(service).count();
    // A rolling update brings the new pod before it takes the old one away.
    if count < replicas || count > replicas + 1 {
        return Err(format!("revision {at}: {service} has {count} pods, not {replicas}").into());
    }
    for pod in view.services_by_name(service) {
        let hears = |group: &str| view.subscribers(group).any(|key| key == pod.key());
        if let Some(group) = pod.subscriptions().iter().find(|group| !hears(group)) {
            return Err(format!("revision {at}: {} does not hear of {group}", pod.key()).into());
        }
    }
    if let Some(gone) = view
        .subscribers(service)
        .find(|key| view.get(key).is_none())
    {
        return Err(format!("revision {at}: {gone} has left, and still hears of {service}").into());
    }

    let healthy = || {
        view.services_by_name(service)
            .filter(|pod| pod.status() == ServiceStatus::Healthy)
    };
    let pod = match healthy().count() {
        // Where all fail, the checks are as likely to be wrong as the pods.
        0 => view.services_by_name(service).nth(turn % count),
        some => healthy().nth(turn % some),
    };
    Ok(pod.ok_or("a snapshot does not change between two looks at it")?)
}

/// What the health checker did.
#[derive(Default)]
struct Health {
    checks: u64,
    changes: u64,
}

/// Checks all pods, over and over. Every seventh check finds its pod ill.
fn check_health(registry: &Registry<SnapshotStore>, stop: &AtomicBool) -> Outcome<Health> {
    let mut health = Health::default();
    while !stop.load(Relaxed) {
        for pod in registry.get_all_services()? {
            health.checks += 1;
            let status = match health.checks % 7 {
                0 => ServiceStatus::Unhealthy,
                _ => ServiceStatus::Healthy,
            };
            match registry.update_health_status(pod.key(), status) {
                Ok(true) => health.changes += 1,
                // Replaced since the list was made.
                Ok(false) | Err(StoreError::NotFound(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(health)
}

/// Closes the registry when it goes, whatever happens: that ends its watches.
struct Open<'r>(&'r Registry<SnapshotStore>);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        let _ = self.0.close();
    }
}

/// What the notifier did.
#[derive(Default)]
struct Told {
    changes: u64,
    /// How often the pods of a service were told of a change.
    subscribers: BTreeMap<String, u64>,
    /// Whether it was too slow once, and was given the whole state in place of the changes.
    fell_behind: bool,
}

impl Told {
    fn tell(&mut self, registry: &Registry<SnapshotStore>, pod: &ServiceInfo) {
        // Here a gateway would call `notification_url`.
        for subscriber in registry.store().snapshot().subscribers(pod.service_name()) {
            let name = subscriber.service_name().to_owned();
            *self.subscribers.entry(name).or_default() += 1;
        }
    }
}

/// Tells subscribers whose health has changed, until the registry is closed.
fn notify(registry: &Registry<SnapshotStore>, mut watch: Watch) -> Outcome<Told> {
    let mut told = Told::default();
    loop {
        let changes = match watch.recv_commit() {
            Ok(Event::Changes { changes, .. }) => changes,
            // It was too slow, and does not know which pods have changed: it tells of all.
            Ok(Event::State {
                reason: Reason::Lagged,
                services,
                ..
            }) => {
                told.fell_behind = true;
                for pod in &services {
                    told.tell(registry, pod);
                }
                continue;
            }
            Ok(_) => continue,
            Err(StoreError::Closed) => return Ok(told),
            Err(error) => return Err(error.into()),
        };
        for change in changes {
            if let Difference::Changed { before, after, .. } = change
                && before.status() != after.status()
            {
                told.changes += 1;
                told.tell(registry, &after);
            }
        }
    }
}

/// What the rollout did.
#[derive(Default)]
struct Rollout {
    replaced: u64,
    changes: u64,
}

/// Replaces pod after pod by one of the next version.
fn roll_out(
    registry: &Registry<SnapshotStore>,
    replicas: &Replicas,
    stop: &AtomicBool,
) -> Outcome<Rollout> {
    let mut done = Rollout::default();
    for version in (2..=u8::MAX).cycle() {
        for service in replicas.keys() {
            for (number, old) in registry.get_services_by_name(service)?.iter().enumerate() {
                if stop.load(Relaxed) {
                    return Ok(done);
                }
                let new = registry.register(next_version(old, version, number))?;
                let is_new = registry.update_health_status(new.key(), ServiceStatus::Healthy)?;
                done.changes += u64::from(is_new);
                registry
                    .unregister(old.service_name(), old.pod_name())?
                    .ok_or("nobody else takes pods away")?;
                done.replaced += 1;
                thread::sleep(Duration::from_micros(500));
            }
        }
    }
    Ok(done)
}

/// The registration of a pod's successor: another name, and another address.
fn next_version(old: &ServiceInfo, version: u8, number: usize) -> ServiceRegistration {
    let mut new = old.registration().clone();
    new.pod_name = format!("v{version}-{number}");
    for provider in &mut new.providers {
        let Some(IpAddr::V4(before)) = provider.host.ip() else {
            continue;
        };
        let [a, b, _, host] = before.octets();
        provider.host = Ipv4Addr::new(a, b, version, host).into();
        let (before, now) = (before.to_string(), provider.host.to_string());
        new.health_check_url = new.health_check_url.replace(&before, &now);
        new.notification_url = new.notification_url.replace(&before, &now);
    }
    new
}
