//! [`keep_running`]: one of the pods that a service is meant to have, and its successors.

use std::time::Duration;

use service_registry::ServiceRegistration;
use tokio::time::sleep;

use super::Running;
use super::client::Client;
use super::pod::{Order, Pod};

/// How long it takes until a dead pod is noticed.
const UNTIL_NOTICED: Duration = Duration::from_secs(14);
/// How long a new pod has until the old one goes.
const WARM: Duration = Duration::from_secs(3);

/// Runs a pod, and starts another one when it ends: the new one starts before the old one leaves.
pub(super) async fn keep_running(client: Client, running: Running, template: ServiceRegistration) {
    let number = template
        .pod_name
        .rsplit('-')
        .next()
        .unwrap_or_default()
        .to_owned();
    let start = async |version: u32| {
        let mut next = template.clone();
        next.pod_name = format!("v{version}-{number}");
        next.metadata.insert("version".into(), version.to_string());
        loop {
            match Pod::start(client.clone(), running.clone(), next.clone()).await {
                Ok(pod) => return pod,
                // No port is free, say.
                Err(_) => sleep(WARM).await,
            }
        }
    };
    let mut version = 1;
    let mut pod = start(version).await;
    loop {
        let order = pod.ended().await;
        version += 1;
        if order == Order::Die {
            drop(pod);
            sleep(UNTIL_NOTICED).await;
            pod = start(version).await;
        } else {
            let next = start(version).await;
            sleep(WARM).await;
            pod.retire().await;
            pod = next;
        }
    }
}
