//! What `WorkerStore` owes besides the contract: its thread.

#![cfg(all(feature = "worker", target_os = "linux"))]

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use service_registry::{RegistryStore, WorkerStore};

/// How many threads of this process are workers.
fn workers() -> usize {
    let threads = fs::read_dir("/proc/self/task").unwrap();
    threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok())
        // The system keeps 15 characters of a name.
        .filter(|name| "service-registry".starts_with(name.trim_end()))
        .count()
}

/// One test for all, because it counts the threads of the process.
#[test]
fn a_worker_lives_as_long_as_its_store_is_open() {
    let stores: Vec<WorkerStore> = (0..20).map(|_| WorkerStore::new()).collect();
    for store in &stores {
        store.ping().unwrap();
    }
    assert_eq!(workers(), 20);

    let (closed, dropped) = stores.split_at(10);
    for store in closed {
        // `close` waits for the worker to have ended, whoever calls it.
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| store.close().unwrap());
            }
        });
    }
    gone_down_to(10);
    assert_eq!(dropped.len(), 10);
    drop(stores);
    gone_down_to(0);
}

/// The system may list a thread for a moment after it has been joined.
fn gone_down_to(n: usize) {
    let patience = Instant::now() + Duration::from_secs(10);
    while workers() > n && Instant::now() < patience {
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(workers(), n);
}
