//! Proof that a soak can fail: stores in which one thing is wrong. Each runs until
//! it is noticed.

use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use service_registry::{Batch, MemoryStore, RegistryStore, Result, Revision, ServiceStatus};

use crate::heap::alone;
use crate::support::PATIENCE;
use crate::thirty::{self, Plan};
use crate::{Soaked, still};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    /// One health update of a hundred is not done.
    LosesUpdates,
    /// A commit leaves kilobytes behind until the store is dropped.
    Leaks,
    /// A registration does not end the subscriptions that were there before.
    RemovesNothing,
    /// Every call allocates, so that no block of reads is looked at.
    Allocates,
}

/// A store behind one lock. If `UNTRUE`, it says that its readers never wait.
struct Faulty<const UNTRUE: bool> {
    inner: Mutex<MemoryStore>,
    fault: Fault,
    updates: AtomicUsize,
    leaked: Mutex<Vec<Vec<u8>>>,
}

impl<const UNTRUE: bool> Faulty<UNTRUE> {
    fn new(fault: Fault) -> Self {
        Faulty {
            inner: Mutex::default(),
            fault,
            updates: AtomicUsize::new(0),
            leaked: Mutex::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, MemoryStore> {
        if self.fault == Fault::Allocates {
            drop(black_box(Box::new(0_u8)));
        }
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<const UNTRUE: bool> Soaked for Faulty<UNTRUE> {
    const READERS_NEVER_WAIT: bool = UNTRUE;
}

impl<const UNTRUE: bool> RegistryStore for Faulty<UNTRUE> {
    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<service_registry::HealthUpdate> {
        let number = self.updates.fetch_add(1, SeqCst);
        if self.fault == Fault::LosesUpdates && number % 100 == 99 {
            let before = self.inner().get_service(key)?.status();
            return Ok(service_registry::HealthUpdate::Applied { before });
        }
        self.inner().update_health_status(key, status, checked_at)
    }
    fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
        if self.fault == Fault::RemovesNothing {
            return self.ping();
        }
        self.inner().remove_all_subscriptions(subscriber_key)
    }
    fn commit(&self, batch: Batch) -> Result<Revision> {
        if self.fault == Fault::Leaks {
            let mut leaked = self.leaked.lock().unwrap_or_else(PoisonError::into_inner);
            leaked.push(vec![1; 8 << 10]);
        }
        self.inner().commit(batch)
    }

    forward_required!(self => *self.inner(); except update_health_status, remove_all_subscriptions,
        commit, commit_changes);
}

/// Runs a soak until a check fails, or patience is at an end.
fn is_noticed<const UNTRUE: bool>(make: fn() -> Faulty<UNTRUE>, plan: &Plan) -> bool {
    let end = Instant::now() + PATIENCE;
    while Instant::now() < end {
        if catch_unwind(AssertUnwindSafe(|| thirty::run(make, plan))).is_err() {
            return true;
        }
    }
    false
}

#[test]
fn a_store_without_a_fault_passes() {
    let _alone = alone();
    thirty::run(|| Faulty::<false>::new(Fault::None), &Plan::moment());
}

#[test]
fn a_store_that_loses_updates_is_noticed() {
    let _alone = alone();
    let make = || Faulty::<false>::new(Fault::LosesUpdates);
    assert!(is_noticed(make, &Plan::moment()));
}

#[test]
fn a_store_that_keeps_subscriptions_is_noticed() {
    let _alone = alone();
    let make = || Faulty::<false>::new(Fault::RemovesNothing);
    assert!(is_noticed(make, &Plan::moment()));
}

#[test]
fn a_store_that_leaks_is_noticed() {
    let _alone = alone();
    let make = || Faulty::<false>::new(Fault::Leaks);
    assert!(is_noticed(make, &Plan::of(1)));
}

#[test]
fn a_store_whose_readers_wait_and_that_denies_it_is_noticed() {
    let _alone = alone();
    let make = || Faulty::<true>::new(Fault::None);
    if crate::waits::can_be_counted() {
        assert!(is_noticed(make, &Plan::moment()));
    }
    // With a writer that is stopped it is noticed in any case, and at once.
    let (_, _, rounds) =
        still::stop_everywhere(&make(), Duration::from_millis(200)).expect_err("a lock is noticed");
    assert!(rounds <= 1, "{rounds} rounds of reads went past a lock");
}

/// Its readers wait, and it denies it; but no count shows them waiting.
#[test]
fn a_store_that_allocates_in_every_read_is_noticed() {
    if !crate::waits::can_be_counted() {
        return;
    }
    let _alone = alone();
    let make = || Faulty::<true>::new(Fault::Allocates);
    let run = || thirty::run(make, &Plan::moment());
    let panic = catch_unwind(AssertUnwindSafe(run)).expect_err("it goes unnoticed");
    let told = panic.downcast_ref::<String>().expect("a panic with a text");
    assert!(told.contains(thirty::UNCOUNTED), "{told}");
}
