//! What cannot be undercut: the bare minimum of an operation beside the store that
//! is measured against it. `docs/design.md` reads its limits off this.
//!
//! - *read*: a bare hash map; the same between two atomic additions, which is what
//!   any lock that counts its readers does; the same inside `std::sync::RwLock`;
//!   `ThreadSafeMemoryStore`. Between two additions and a fence, which is what
//!   left-right does; an evmap with one handle for everything; `EvmapStore`.
//! - *by name*: a bare hash map from a name to a list of its records, which are
//!   cloned; `MemoryStore`; `SnapshotStore`.

use std::collections::HashMap;
use std::hint::black_box;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release, SeqCst};
use std::sync::atomic::fence;
use std::sync::atomic::{AtomicU32, AtomicUsize};
use std::sync::{Arc, RwLock};

use criterion::{Criterion, criterion_group, criterion_main};
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use service_registry::{
    EvmapStore, MemoryStore, RegistryStore, ServiceInfo, ServiceKey, ServiceRegistration,
    SnapshotStore, ThreadSafeMemoryStore,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Hasher = foldhash::fast::RandomState;
type Bare<K, V> = hashbrown::HashMap<K, V, Hasher>;

/// So many that a branch predictor cannot learn their order.
const PROBES: usize = 1 << 16;

fn pods(services: usize) -> Vec<ServiceInfo> {
    let pod = |number: usize| {
        ServiceInfo::new(ServiceRegistration {
            service_name: format!("service-{:05}", number / 10),
            pod_name: format!("pod-{}", number % 10),
            health_check_url: "http://10.0.0.1:8080/health".into(),
            ..Default::default()
        })
    };
    let mut numbers: Vec<usize> = (0..services).collect();
    numbers.shuffle(&mut SmallRng::seed_from_u64(2));
    let pods = numbers.into_iter().map(pod);
    pods.collect::<Result<_, _>>().expect("the names are fine")
}

type Writer = evmap::handles::WriteHandle<Arc<str>, u8, (), Hasher>;
type Reader = evmap::handles::ReadHandle<Arc<str>, u8, (), Hasher>;

#[allow(unsafe_code)]
fn bare_evmap() -> (Writer, Reader) {
    // SAFETY: the hasher is a seed that never changes, and texts and numbers
    // compare and hash the same each time.
    unsafe {
        evmap::Options::default()
            .with_hasher(Hasher::default())
            .assert_stable()
    }
}

/// Calls an operation with one probe after the other.
fn measure(
    c: &mut Criterion,
    group: &str,
    id: &str,
    probes: &[String],
    mut call: impl FnMut(&str),
) {
    let mut at = 0;
    c.benchmark_group(group).bench_function(id, |b| {
        b.iter(|| {
            at = (at + 1) % probes.len();
            call(&probes[at]);
        });
    });
}

fn limits(c: &mut Criterion) {
    for services in [1_000, 100_000] {
        let pods = pods(services);
        let (memory, locked, evmap, snapshot) = (
            MemoryStore::new(),
            ThreadSafeMemoryStore::new(),
            EvmapStore::new(),
            SnapshotStore::new(),
        );
        let stores: [&dyn RegistryStore; 4] = [&memory, &locked, &evmap, &snapshot];
        let mut by_key: Bare<ServiceKey, ServiceInfo> = Bare::default();
        let mut by_name: HashMap<String, Vec<ServiceInfo>, Hasher> = HashMap::default();
        for pod in &pods {
            for store in stores {
                store.save_service(pod.clone()).expect("it is open");
            }
            by_key.insert(pod.key().clone(), pod.clone());
            let name = pod.service_name().to_owned();
            by_name.entry(name).or_default().push(pod.clone());
        }
        let (mut writer, handle) = bare_evmap();
        for pod in &pods {
            writer.insert(pod.key().as_str().into(), pod.status() as u8);
        }
        writer.publish();
        let mut rng = SmallRng::seed_from_u64(1);
        let mut pick = || &pods[rng.random_range(0..services)];
        let keys: Vec<String> = (0..PROBES).map(|_| pick().key().to_string()).collect();
        let names: Vec<String> = (0..PROBES).map(|_| pick().service_name().into()).collect();

        let group = &format!("read/{services}");
        measure(c, group, "bare", &keys, |key| {
            black_box(by_key[key].status());
        });
        let readers = AtomicU32::new(0);
        measure(c, group, "between two additions", &keys, |key| {
            readers.fetch_add(1, Acquire);
            black_box(by_key[key].status());
            readers.fetch_sub(1, Release);
        });
        let epoch = AtomicUsize::new(0);
        measure(
            c,
            group,
            "between two additions and a fence",
            &keys,
            |key| {
                epoch.fetch_add(1, AcqRel);
                fence(SeqCst);
                black_box(by_key[key].status());
                epoch.fetch_add(1, AcqRel);
            },
        );
        measure(c, group, "evmap", &keys, |key| {
            let guard = handle.enter().expect("it was published");
            black_box(guard.get_one(key));
        });
        measure(c, group, "EvmapStore", &keys, |key| {
            let read = evmap.with_service(key, |pod| black_box(pod.status()));
            assert!(read.is_ok());
        });
        let by_key = RwLock::new(by_key);
        measure(c, group, "RwLock", &keys, |key| {
            black_box(by_key.read().expect("nobody panics")[key].status());
        });
        measure(c, group, "ThreadSafeMemoryStore", &keys, |key| {
            let read = locked.with_service(key, |pod| black_box(pod.status()));
            assert!(read.is_ok());
        });

        let group = &format!("by name/{services}");
        measure(c, group, "bare", &names, |name| {
            black_box(by_name[name].clone());
        });
        measure(c, group, "MemoryStore", &names, |name| {
            black_box(memory.get_services_by_name(name).expect("it is open"));
        });
        measure(c, group, "SnapshotStore", &names, |name| {
            black_box(snapshot.get_services_by_name(name).expect("it is open"));
        });
    }
}

criterion_group!(benches, limits);
criterion_main!(benches);
