//! Measures a million leases: renewing one, and sweeps with few leases due.
//!
//! ```console
//! cargo run --release --example leases
//! ```

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use service_registry::leases::{Lease, LeaseOptions, Leases};
use service_registry::{
    Batch, DefaultStore, Registry, Result, ServiceInfo, ServiceRegistration, StoreError,
};

const PODS: u64 = 1_000_000;
const TTL: Duration = Duration::from_secs(30);
/// One of this many leases ends with the first TTL; all others are renewed.
const ENDING: u64 = 1_000;

fn timed<R>(label: &str, count: u64, work: impl FnOnce() -> Result<R>) -> Result<R> {
    let begun = Instant::now();
    let answer = work()?;
    let took = begun.elapsed();
    let each = took.as_nanos() / u128::from(count);
    println!("{label:<44} {took:>9.1?}  {each:>7} ns each");
    Ok(answer)
}

fn main() -> Result<()> {
    // A clock of the program's own: time passes when `passed` is stored.
    let (begin, passed) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let clock = {
        let passed = passed.clone();
        move || begin + Duration::from_secs(passed.load(Relaxed))
    };
    let registry = Registry::new(DefaultStore::new());
    let leases = Leases::with_clock(registry, LeaseOptions::default(), clock.clone())?;

    let mut batch = Batch::with_capacity(1_000_000);
    for pod in 0..PODS {
        let registration =
            ServiceRegistration::new(format!("service-{}", pod % 5_000), pod.to_string());
        batch.register_service(ServiceInfo::new(registration)?);
    }
    timed("registering a million pods, one commit", PODS, || {
        leases.registry().commit(batch)
    })?;
    let pods = leases.registry().get_all_services()?;
    let grant = |(n, pod)| {
        let ends = n % ENDING == 0;
        leases.grant(pod, if ends { TTL } else { 2 * TTL })
    };
    let kept: Vec<Lease> = timed("granting a lease to each", PODS, || {
        (0..).zip(&pods).map(grant).collect()
    })?;
    drop(pods);
    timed("the first sweep, which looks at everything", PODS, || {
        leases.sweep(clock())
    })?;
    timed("a sweep where nothing is due", 1, || leases.sweep(clock()))?;

    passed.store(TTL.as_secs() - 1, Relaxed);
    let renew = |lease: &Lease| black_box(leases.renew(lease)).map_err(StoreError::failed);
    timed("renewing those that stay", PODS - PODS / ENDING, || {
        let mut staying = kept.iter().filter(|lease| lease.ttl() > TTL);
        staying.try_for_each(renew)
    })?;
    let system = Leases::new(Registry::new(DefaultStore::new()), LeaseOptions::default())?;
    let one = system.register(ServiceRegistration::new("web", "1"), TTL)?;
    timed("renewing one again and again, system's clock", PODS, || {
        let mut renewals = (0..PODS).map(|_| black_box(system.renew(&one)));
        renewals
            .all(|renewed| renewed.is_ok())
            .then_some(())
            .ok_or(StoreError::Closed)
    })?;

    passed.store(TTL.as_secs(), Relaxed);
    let due = PODS / ENDING;
    let sweep = timed("a sweep where a thousand expire", due, || {
        leases.sweep(clock())
    })?;
    assert_eq!(sweep.expired.len() as u64, due);
    passed.store(2 * TTL.as_secs(), Relaxed);
    let sweep = timed("a sweep that finds all others renewed", PODS - due, || {
        leases.sweep(clock())
    })?;
    assert!(sweep.expired.is_empty() && sweep.withheld.is_empty());
    passed.store(4 * TTL.as_secs(), Relaxed);
    let sweep = timed("a sweep that withholds everything", PODS - due, || {
        leases.sweep(clock())
    })?;
    println!(
        "{:?}; the next sweep in {:?}",
        leases.stats(),
        sweep.next.map(|next| next - clock())
    );
    Ok(())
}
