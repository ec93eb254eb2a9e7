//! Follows the pods of a service from another thread: the state first, then every change.
//!
//! ```console
//! cargo run --example watch --features versioned
//! ```

use std::collections::BTreeMap;
use std::thread;

use service_registry::changes::{Difference, Event, Selection};
use service_registry::{
    Registry, Result, ServiceInfo, ServiceRegistration, ServiceStatus, StoreError, VersionedStore,
};

/// The gateway's copy of the service's pods.
#[derive(Default)]
struct Table(BTreeMap<String, ServiceInfo>);

impl Table {
    fn follow(&mut self, event: Event) {
        match event {
            // The first event, and later ones if this thread falls far behind.
            Event::State {
                revision, services, ..
            } => {
                println!("{} pods at revision {revision}", services.len());
                let pods = services.into_iter();
                self.0 = pods.map(|pod| (pod.key().to_string(), pod)).collect();
            }
            Event::Changes { changes, .. } => {
                for change in changes {
                    self.apply(change);
                }
            }
            _ => {}
        }
    }

    fn apply(&mut self, change: Difference) {
        match change {
            Difference::Added(pod) => {
                println!("+ {} is {}", pod.key(), pod.status());
                self.0.insert(pod.key().to_string(), pod);
            }
            Difference::Changed { before, after, .. } => {
                println!(
                    "~ {} was {}, is {}",
                    after.key(),
                    before.status(),
                    after.status()
                );
                self.0.insert(after.key().to_string(), after);
            }
            Difference::Removed { last, cause, .. } => {
                println!("- {}, {cause}", last.key());
                self.0.remove(&**last.key());
            }
            // This example ignores subscriptions.
            _ => {}
        }
    }
}

fn main() -> Result<()> {
    let registry = Registry::new(VersionedStore::new());
    registry.register(ServiceRegistration::new("checkout", "pod-1"))?;

    let mut watch = registry.watch(Selection::service("checkout"))?;
    let mut table = Table::default();
    table.follow(watch.recv()?);
    let gateway = thread::spawn(move || -> Result<Table> {
        loop {
            // `recv_commit` returns each commit separately; `recv` would fold them into
            // one event.
            match watch.recv_commit() {
                Ok(event) => table.follow(event),
                // The store is closed, and all events have been received.
                Err(StoreError::Closed) => return Ok(table),
                Err(error) => return Err(error),
            }
        }
    });

    registry.register(ServiceRegistration::new("checkout", "pod-2"))?;
    registry.register(ServiceRegistration::new("payment", "pod-1"))?;
    registry.update_health_status("checkout:pod-2", ServiceStatus::Healthy)?;
    registry.unregister("checkout", "pod-1")?;
    registry.unregister("checkout", "pod-2")?;

    registry.close()?;
    let table = gateway.join().expect("it follows to the end")?;
    assert!(table.0.is_empty());
    Ok(())
}
