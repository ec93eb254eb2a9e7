//! The table of `SnapshotStore` against imbl's hash map, over the same records:
//! reading a key in an immutable view, and replacing a record in a clone.
//!
//! Both are measured without the pointer that publishes a state. A write goes
//! through the store on one side, and so pays for its lock and its pointer, and
//! through the bare map on the other.

use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use im::shared_ptr::DefaultSharedPtr;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use service_registry::{
    RegistryStore, RegistryView, ServiceInfo, ServiceKey, ServiceRegistration, ServiceStatus,
    SnapshotStore,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type ImHashMap =
    im::GenericHashMap<ServiceKey, ServiceInfo, foldhash::fast::RandomState, DefaultSharedPtr>;

/// So many that a branch predictor cannot learn their order.
const PROBES: usize = 1 << 16;

fn pods(services: usize) -> Vec<ServiceInfo> {
    (0..services)
        .map(|pod| {
            ServiceInfo::new(ServiceRegistration {
                service_name: format!("service-{:05}", pod / 10),
                pod_name: format!("pod-{}", pod % 10),
                ..Default::default()
            })
            .expect("the names are well formed")
        })
        .collect()
}

fn compare(c: &mut Criterion) {
    for services in [1_000, 100_000] {
        let pods = pods(services);
        let store = SnapshotStore::new();
        let mut map = ImHashMap::default();
        for pod in &pods {
            store.save_service(pod.clone()).expect("it is open");
            map.insert(pod.key().clone(), pod.clone());
        }
        let mut rng = SmallRng::seed_from_u64(1);
        let probes: Vec<String> = (0..PROBES)
            .map(|_| pods[rng.random_range(0..services)].key().to_string())
            .collect();
        let mut at = 0;
        let mut probe = || {
            at = (at + 1) % PROBES;
            &*probes[at]
        };
        let snapshot = store.snapshot();

        let mut group = c.benchmark_group(format!("get/{services}"));
        group.bench_function("trie", |b| {
            b.iter(|| black_box(snapshot.get(probe()).expect("it is there").status()));
        });
        group.bench_function("imbl", |b| {
            b.iter(|| black_box(map.get(probe()).expect("it is there").status()));
        });
        group.finish();
        drop(snapshot);

        let mut now = SystemTime::now();
        let mut tick = || {
            now += Duration::from_nanos(1);
            now
        };
        let mut group = c.benchmark_group(format!("update/{services}"));
        group.bench_function("trie", |b| {
            b.iter_batched(
                &mut tick,
                |now| store.update_health_status(probe(), ServiceStatus::Healthy, now),
                BatchSize::SmallInput,
            );
        });
        group.bench_function("imbl", |b| {
            b.iter_batched(
                &mut tick,
                |now| {
                    let mut next = map.clone();
                    let known = next.get_mut(probe()).expect("it is there");
                    *known = known.with_health(ServiceStatus::Healthy, now).unwrap();
                    map = next;
                },
                BatchSize::SmallInput,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, compare);
criterion_main!(benches);
