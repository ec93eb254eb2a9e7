//! Measures what it costs a `VersionedStore` that other threads have read it once and still
//! exist.
//!
//! ```sh
//! cargo run --release --features versioned --example idle_threads
//! ```
//!
//! One record; the best of nine runs of 20,000 reads, and of 2,000 updates. Borrows, does not
//! clone.

use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use service_registry::{
    RegistryStore, ServiceInfo, ServiceRegistration, ServiceStatus, StoreError, VersionedStore,
};

const KEY: &str = "a:1";

/// Returns the nanoseconds of a call in the best run.
fn best(calls: u32, mut call: impl FnMut()) -> f64 {
    let times = (0..9).map(|_| {
        let start = Instant::now();
        (0..calls).for_each(|_| call());
        start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
    });
    times.fold(f64::INFINITY, f64::min)
}

fn main() -> Result<(), StoreError> {
    let store = VersionedStore::new();
    store.save_service(ServiceInfo::new(ServiceRegistration {
        service_name: "a".into(),
        pod_name: "1".into(),
        ..ServiceRegistration::default()
    })?)?;
    let mut moment = SystemTime::UNIX_EPOCH;
    for idle in [0, 100, 1_000, 10_000] {
        let (have_read, end) = (Barrier::new(idle + 1), Barrier::new(idle + 1));
        thread::scope(|threads| {
            for _ in 0..idle {
                let thread = thread::Builder::new().stack_size(64 * 1024);
                let started = thread.spawn_scoped(threads, || {
                    store.with_service(KEY, |_| ()).expect("it is registered");
                    have_read.wait();
                    end.wait();
                });
                started.expect("the system has room for another thread");
            }
            have_read.wait();
            let read = best(20_000, || {
                store.with_service(KEY, |_| ()).expect("it is registered");
            });
            let update = best(2_000, || {
                moment += Duration::from_nanos(1);
                let done = store.update_health_status(KEY, ServiceStatus::Healthy, moment);
                done.expect("it is registered");
            });
            println!(
                "{idle} threads that read once: a read {read:.0} ns, an update {update:.0} ns"
            );
            end.wait();
        });
    }
    Ok(())
}
