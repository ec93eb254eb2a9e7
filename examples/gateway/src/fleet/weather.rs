//! What happens to the fleet: visitors, rollouts, pods that are ill or slow.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Running;
use super::client::Client;
use super::pod::Control;

/// Visitors of the shop who wait for an answer, at most.
const WAITING: usize = 64;

/// Calls the frontend, more often at some times than at others.
pub(super) async fn visitors(client: Client) {
    let begun = Instant::now();
    let mut visits = JoinSet::new();
    loop {
        let wave = 1.0 + 0.5 * (begun.elapsed().as_secs_f64() / 15.0).sin();
        let pause = 0.2 * fastrand::f64() / wave;
        sleep(Duration::from_secs_f64(pause)).await;
        while visits.try_join_next().is_some() {}
        if visits.len() >= WAITING {
            visits.join_next().await;
        }
        let client = client.clone();
        visits.spawn(async move { client.call("frontend").await });
    }
}

/// Now and then a pod is replaced by a newer one, or fails its health checks, or is slow.
pub(super) async fn random_failures(running: Running) {
    loop {
        sleep(Duration::from_secs_f64(4.0 + 6.0 * fastrand::f64())).await;
        let Some(control) = random_pod(&running) else {
            continue;
        };
        let (flag, seconds) = match fastrand::u8(0..4) {
            0 => (&control.is_ill, 5),
            1 => (&control.is_slow, 8),
            _ => {
                control.leave();
                continue;
            }
        };
        flag.store(true, Relaxed);
        sleep(Duration::from_secs(seconds)).await;
        flag.store(false, Relaxed);
    }
}

fn random_pod(running: &Running) -> Option<Arc<Control>> {
    let running = running.lock();
    fastrand::choice(running.values()).cloned()
}
