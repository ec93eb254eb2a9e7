//! The registry over a restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use serde_json::json;
use service_registry_gateway::{Gateway, Options};

use super::support::{heal, start, still, until};

/// A folder of its own for each test.
fn file(test: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(test);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder.join("registry.dump")
}

fn kept_in(file: &Path) -> Options {
    Options {
        dump: Some(file.to_owned()),
        ..still()
    }
}

#[tokio::test]
async fn a_restart_restores_what_was_there() {
    let file = file("a_restart");
    let (gateway, api) = start(kept_in(&file)).await;
    let pod = json!({"service_name": "cart", "pod_name": "one", "subscriptions": ["redis"]});
    let lease = api.register(pod.clone()).await;
    api.register(json!({"service_name": "cart", "pod_name": "two"}))
        .await;
    heal(&gateway, &["cart:one", "cart:two"]);
    api.post("/services/cart/two/drain", &json!({})).await;
    gateway.stop().await.unwrap();

    let (gateway, api) = start(kept_in(&file)).await;
    let expected = [("one", "healthy"), ("two", "draining")];
    assert_eq!(
        api.statuses("cart").await,
        expected.map(|(pod, status)| (pod.into(), status.into()))
    );
    assert_eq!(
        gateway
            .leases()
            .registry()
            .get_subscribers("redis")
            .unwrap(),
        ["cart:one"]
    );
    // Leases are of one process: a pod registers again, or goes.
    assert_eq!(api.put(&lease).await.status, StatusCode::GONE);
    let lease = api.register(pod).await;
    let sweep = gateway
        .leases()
        .sweep(Instant::now() + Duration::from_secs(29))
        .unwrap();
    assert!(sweep.expired.is_empty());
    assert_eq!(api.put(&lease).await.status, StatusCode::OK);
    let later = Instant::now() + gateway.leases().find("cart:two").unwrap().ttl();
    assert!(
        gateway
            .leases()
            .sweep(later)
            .unwrap()
            .expired
            .iter()
            .any(|pod| pod.key() == "cart:two")
    );
}

#[tokio::test]
async fn a_file_that_is_damaged_is_refused_and_left_alone() {
    let file = file("damaged");
    let (gateway, api) = start(kept_in(&file)).await;
    api.register(json!({"service_name": "cart", "pod_name": "one"}))
        .await;
    gateway.stop().await.unwrap();
    let damaged = fs::read_to_string(&file).unwrap().replace("cart", "card");
    fs::write(&file, &damaged).unwrap();
    let Err(error) = Gateway::start(kept_in(&file)).await else {
        panic!("it was restored");
    };
    assert!(error.contains("registry.dump: line 3: "), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), damaged);
}

#[tokio::test]
async fn the_file_is_kept_up_to_date_meanwhile() {
    let file = file("meanwhile");
    let options = Options {
        dump_every: Duration::from_millis(10),
        ..kept_in(&file)
    };
    let (gateway, api) = start(options).await;
    for pod in ["one", "two"] {
        api.register(json!({"service_name": "cart", "pod_name": pod}))
            .await;
        let wanted = format!("\"pod_name\":\"{pod}\"");
        until("the pod is in the file", async || {
            fs::read_to_string(&file).is_ok_and(|text| text.contains(&wanted))
        })
        .await;
    }
    drop(gateway);
}
