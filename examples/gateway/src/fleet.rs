//! [`Fleet`]: Google's Online Boutique, simulated. Its pods are real servers on loopback, which
//! know nothing of the gateway but its address and its interface.

mod client;
mod pod;
mod replica;
mod weather;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use service_registry::ServiceRegistration;
use tokio::task::JoinSet;

use client::Client;
use pod::Control;

/// The services, and a subscription for each edge of the call graph.
const BOUTIQUE: &str = include_str!("../../online-boutique.json");
const ZONES: [&str; 3] = ["eu-1a", "eu-1b", "eu-1c"];

/// The pods that run, by key.
#[derive(Clone, Default)]
struct Running(Arc<Mutex<HashMap<String, Arc<Control>>>>);

impl Running {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Control>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// It ends when this is dropped.
pub(crate) struct Fleet {
    running: Running,
    _tasks: JoinSet<()>,
}

impl Fleet {
    /// Starts a fleet that registers at the gateway under this address.
    pub(crate) fn start(gateway: SocketAddr) -> Fleet {
        let templates: Vec<ServiceRegistration> =
            serde_json::from_str(BOUTIQUE).expect("the file that was compiled in reads well");
        let (client, running) = (Client::new(gateway), Running::default());
        let mut tasks = JoinSet::new();
        for (number, mut template) in templates.into_iter().enumerate() {
            template.zone = ZONES[number % ZONES.len()].into();
            tasks.spawn(replica::keep_running(
                client.clone(),
                running.clone(),
                template,
            ));
        }
        tasks.spawn(weather::visitors(client));
        tasks.spawn(weather::random_failures(running.clone()));
        Fleet {
            running,
            _tasks: tasks,
        }
    }

    /// Stops the server of a pod, which tells nobody; answers whether it is one of these.
    pub(crate) fn kill(&self, key: &str) -> bool {
        let control = self.running.lock().remove(key);
        control.is_some_and(|control| {
            control.die();
            true
        })
    }
}
