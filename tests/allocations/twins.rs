//! Proof that the tests of `allocations.rs` can fail.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::time::SystemTime;

use service_registry::{Change, Result, Revision, delegate_store};

use super::*;

/// Leaves an empty list behind for every group that it has ever heard of,
/// and copies registrations.
#[derive(Default)]
struct Careless {
    inner: MemoryStore,
    groups: Mutex<HashSet<String>>,
}

impl RegistryStore for Careless {
    delegate_store!(self => self.inner; except update_health_status, add_subscription, commit);

    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<service_registry::HealthUpdate> {
        let known = self.inner.get_service(key)?;
        let copy = ServiceInfo::new(known.registration().clone())?;
        self.inner
            .save_service(copy.with_health(status, checked_at)?)?;
        let before = known.status();
        Ok(service_registry::HealthUpdate::Applied { before })
    }
    fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        self.groups.lock().unwrap().insert(service_group.into());
        self.inner.add_subscription(subscriber_key, service_group)
    }
    fn commit(&self, batch: Batch) -> Result<Revision> {
        for change in batch.changes() {
            if let Change::AddSubscription { service_group, .. } = change {
                let group = service_group.to_string();
                self.groups.lock().unwrap().insert(group);
            }
        }
        self.inner.commit(batch)
    }
}

/// A store that is still there when nobody has it any more. Its address is
/// kept, so that a sanitizer does not call it a leak.
fn never_dropped() -> &'static Careless {
    static KEPT: Mutex<Vec<usize>> = Mutex::new(Vec::new());
    let store = &*Box::leak(Box::<Careless>::default());
    KEPT.lock()
        .unwrap()
        .push(std::ptr::from_ref(store).expose_provenance());
    store
}

type Test = fn(fn() -> Careless);

#[test]
fn a_careless_store_is_noticed() {
    let tests: [Test; 9] = [
        updates_allocate_nothing,
        updates_copy_no_registration,
        unregistering_leaves_nothing,
        removing_one_by_one_leaves_nothing,
        clear_leaves_nothing,
        a_batch_that_removes_all_leaves_nothing,
        turnover_leaves_nothing,
        closing_gives_everything_back,
        |_| dropping_gives_everything_back(never_dropped),
    ];
    for (n, test) in tests.into_iter().enumerate() {
        let noticed = catch_unwind(AssertUnwindSafe(|| test(Careless::default)));
        assert!(noticed.is_err(), "test {n} did not notice");
    }
}
