//! An event loop written by hand: one thread owns a [`MemoryStore`], and the
//! other threads send it closures.
//!
//! Nothing is locked, because nothing is shared. The price is a round trip
//! through a channel for every call, and a queue that all threads share. Write
//! it like this if there is a loop already and the registry is one of several
//! parts of it. If the loop would exist only for the registry, use
//! `WorkerStore`: the same pattern behind the usual interface, with a bounded
//! queue, a `close` that drains it, and a worker that survives a panic.
//!
//! ```console
//! cargo run --example event_loop
//! ```

use std::sync::mpsc::{self, SyncSender};
use std::thread;

use service_registry::{
    MemoryStore, Registry, RegistryStore, Result, ServiceRegistration, ServiceStatus,
};

/// The next step of the loop. A real loop would have other events, too: timers,
/// sockets, a shutdown.
type Event = Box<dyn FnOnce(&Registry<MemoryStore>) + Send>;

/// The capacity of the queue. Senders wait while it is full.
const QUEUE: usize = 64;

/// Runs `question` in the loop and waits for the answer.
fn ask<R: Send + 'static>(
    events: &SyncSender<Event>,
    question: impl FnOnce(&Registry<MemoryStore>) -> R + Send + 'static,
) -> R {
    let (reply, answer) = mpsc::sync_channel(1);
    let event: Event = Box::new(move |registry| {
        // Fails if the caller is gone, and then nobody needs the answer.
        let _ = reply.send(question(registry));
    });
    events
        .send(event)
        .expect("the loop runs for as long as somebody can send to it");
    answer.recv().expect("the loop answers every event")
}

fn main() -> Result<()> {
    let (events, inbox) = mpsc::sync_channel::<Event>(QUEUE);

    // `MemoryStore` is `Send` but not `Sync`: it may move into this thread, and
    // the compiler keeps all other threads out.
    let registry = Registry::new(MemoryStore::new());
    let event_loop = thread::spawn(move || {
        let mut handled = 0_u64;
        // Ends when the last sender has been dropped and the queue is empty.
        for event in inbox {
            event(&registry);
            handled += 1;
        }
        (handled, registry.revision())
    });

    let pods: Vec<_> = (1..=4)
        .map(|pod| {
            let events = events.clone();
            thread::spawn(move || -> Result<()> {
                let pod_name = format!("pod-{pod}");
                let key = format!("user-service:{pod_name}");
                let registered = ask(&events, move |registry| {
                    registry.register(ServiceRegistration {
                        service_name: "user-service".into(),
                        pod_name,
                        subscriptions: vec!["billing".into()],
                        ..Default::default()
                    })
                })?;
                let changed = ask(&events, move |registry| {
                    registry.update_health_status(&key, ServiceStatus::Healthy)
                })?;
                let news = if changed {
                    "is healthy now"
                } else {
                    "as before"
                };
                println!("{} {news}", registered.key());
                Ok(())
            })
        })
        .collect();
    for pod in pods {
        pod.join().expect("no pod panics")?;
    }

    let (pods, listeners, stats) = ask(&events, |registry| -> Result<_> {
        Ok((
            registry.get_services_by_name("user-service")?.len(),
            registry.get_subscribers("billing")?.len(),
            registry.store().stats()?,
        ))
    })?;
    println!("{pods} pods of user-service, {listeners} of them listen to billing");
    println!(
        "the store holds {} pods and {} subscriptions",
        stats.services, stats.subscriptions
    );

    drop(events);
    let (handled, revision) = event_loop.join().expect("the loop does not panic");
    println!("the loop handled {handled} events and ended at revision {revision}");
    println!("the same without the handiwork: `WorkerStore`, feature `worker`");
    Ok(())
}
