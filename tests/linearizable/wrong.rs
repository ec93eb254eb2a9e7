//! Stores that are right for one thread and wrong for several, each in one way.
//! The search has to notice.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, ThreadId};
use std::time::{Duration, SystemTime};

use service_registry::{
    Batch, MemoryStore, RegistryStore, Result, Revision, ServiceInfo, ServiceKey, ServiceStatus,
    StoreError, StoreStats,
};

use crate::support;
use crate::support::subject::{Plain, TestedStore};
use crate::{
    ActionPools, Extras, HISTORIES, Shape, SpinBarrier, check, every_history_has_an_order,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// One lock around everything: nothing to notice.
    None,
    /// A health update reads the record, and writes it back later.
    LostUpdate,
    /// What a thread has read it reads again, until it looks anew.
    StaleRead,
    /// A scan reads one record after the other.
    TornScan,
    /// Subscribers, and then their records.
    TornSubscribers,
    /// The changes of a batch are made one by one.
    TornCommit,
    /// A record is replaced by removing and inserting it.
    GapWhileReplacing,
    /// The status before, and then the new one.
    SwapInTwoSteps,
    /// The record, and then its removal.
    TakeInTwoSteps,
    /// The revision grows before the state changes,
    RevisionAhead,
    /// or after.
    RevisionBehind,
    /// A commit answers with whatever revision it finds afterwards.
    RevisionOfAnother,
    /// The state at the end counts: a write is answered and then forgotten.
    ForgottenWrite,
    /// Whether it is closed a write asks first, and does not ask again.
    ClosesTooEarly,
}

/// A `MemoryStore` behind a mutex, with a fault.
struct Wrong {
    fault: Fault,
    /// Nobody else will look.
    alone: bool,
    inner: Mutex<MemoryStore>,
    /// By how much the revision of `inner` is ahead of what is shown.
    surplus: AtomicU64,
    /// The revision that is shown, where it is kept apart.
    shown: AtomicU64,
    closed: AtomicBool,
    /// What each thread has read, and how often.
    read: Mutex<HashMap<(ThreadId, String), (u32, ServiceInfo)>>,
}

fn wrong(fault: Fault) -> Wrong {
    Wrong {
        fault,
        alone: false,
        inner: Mutex::default(),
        surplus: AtomicU64::new(0),
        shown: AtomicU64::new(0),
        closed: AtomicBool::new(false),
        read: Mutex::default(),
    }
}

impl Wrong {
    /// Another thread may look; with one processor, too.
    fn pause(&self) {
        if !self.alone {
            thread::sleep(Duration::from_micros(20));
        }
    }

    fn inner(&self) -> MutexGuard<'_, MemoryStore> {
        if self.fault == Fault::None {
            // So that it is as often interrupted as the others.
            thread::yield_now();
        }
        self.inner.lock().unwrap()
    }

    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// This thread looks anew.
    fn forget_own(&self) {
        let own = thread::current().id();
        let mut read = self.read.lock().unwrap();
        read.retain(|(thread, _), _| *thread != own);
    }

    /// Writes, with whatever is wrong about each write.
    fn write<R>(&self, write: impl FnOnce(&MemoryStore) -> Result<R>) -> Result<R> {
        match self.fault {
            Fault::StaleRead => {
                self.forget_own();
                write(&self.inner())
            }
            Fault::RevisionAhead => {
                self.shown.fetch_add(1, SeqCst);
                self.pause();
                let inner = self.inner();
                let answer = write(&inner);
                self.shown.fetch_sub(1, SeqCst);
                answer
            }
            Fault::RevisionBehind => {
                let inner = self.inner();
                let answer = write(&inner);
                let revision = inner.revision().as_u64();
                drop(inner);
                self.pause();
                self.shown.fetch_max(revision, SeqCst);
                answer
            }
            Fault::ClosesTooEarly => {
                if self.closed.load(SeqCst) {
                    return Err(StoreError::Closed);
                }
                self.pause();
                write(&self.inner())
            }
            _ => write(&self.inner()),
        }
    }

    /// Makes several commits that show as one, once all is done.
    fn in_steps(&self, steps: Vec<Batch>) {
        let mut commits = 0_u64;
        for step in steps {
            let inner = self.inner();
            let before = inner.revision();
            // Another thread may have made it impossible meanwhile.
            let _ = inner.commit(step);
            commits += u64::from(inner.revision() > before);
            drop(inner);
            self.pause();
        }
        self.surplus.fetch_add(commits.saturating_sub(1), SeqCst);
    }
}

impl RegistryStore for Wrong {
    fn save_service(&self, service: ServiceInfo) -> Result<()> {
        match self.fault {
            Fault::GapWhileReplacing => {
                let known = self.inner().get_service(service.key());
                match known {
                    Ok(known) if known != service => {
                        let (mut remove, mut insert) = (Batch::new(), Batch::new());
                        remove.delete_service(service.key());
                        insert.save_service(service);
                        self.in_steps(vec![remove, insert]);
                        Ok(())
                    }
                    _ => self.inner().save_service(service),
                }
            }
            Fault::ForgottenWrite => {
                let key = service.key().clone();
                let inner = self.inner();
                let before = inner.get_service(&key).ok();
                inner.save_service(service.clone())?;
                drop(inner);
                self.pause();
                let inner = self.inner();
                // Where another wrote meanwhile, it puts back what was before that.
                if let (Some(before), Ok(now)) = (before, inner.get_service(&key))
                    && now != service
                {
                    inner.save_service(before)?;
                }
                Ok(())
            }
            _ => self.write(|inner| inner.save_service(service)),
        }
    }

    fn get_service(&self, key: &str) -> Result<ServiceInfo> {
        if self.has(Fault::StaleRead) {
            let own = (thread::current().id(), key.to_string());
            let mut read = self.read.lock().unwrap();
            if let Some((reads, known)) = read.get_mut(&own)
                && *reads < 3
            {
                *reads += 1;
                return Ok(known.clone());
            }
            let found = self.inner().get_service(key)?;
            read.insert(own, (0, found.clone()));
            return Ok(found);
        }
        self.inner().get_service(key)
    }

    fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>> {
        self.inner().get_services_by_name(service_name)
    }

    fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
        if self.has(Fault::TornScan) {
            let keys = self.inner().get_all_services()?;
            let one_by_one = keys.iter().filter_map(|info| {
                self.pause();
                self.inner().get_service(info.key()).ok()
            });
            return Ok(one_by_one.collect());
        }
        self.inner().get_all_services()
    }

    fn delete_service(&self, key: &str) -> Result<()> {
        self.write(|inner| inner.delete_service(key))
    }

    fn update_health_status(
        &self,
        key: &str,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<service_registry::HealthUpdate> {
        if self.has(Fault::LostUpdate) {
            let known = self.inner().get_service(key)?;
            self.pause();
            let before = known.status();
            if known.last_health_check() > Some(checked_at) {
                return Ok(service_registry::HealthUpdate::Late { current: before });
            }
            let updated = known.with_health(status, checked_at)?;
            self.inner().save_service(updated)?;
            return Ok(service_registry::HealthUpdate::Applied { before });
        }
        if self.has(Fault::SwapInTwoSteps) {
            let before = self.inner().get_service(key)?.status();
            self.pause();
            let update = self.write(|inner| inner.update_health_status(key, status, checked_at))?;
            return Ok(match update {
                service_registry::HealthUpdate::Applied { .. } => {
                    service_registry::HealthUpdate::Applied { before }
                }
                late => late,
            });
        }
        self.write(|inner| inner.update_health_status(key, status, checked_at))
    }

    fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        self.write(|inner| inner.add_subscription(subscriber_key, service_group))
    }

    fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
        self.write(|inner| inner.remove_subscription(subscriber_key, service_group))
    }

    fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
        self.write(|inner| inner.remove_all_subscriptions(subscriber_key))
    }

    fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
        self.inner().get_subscribers(service_group)
    }

    fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>> {
        if self.has(Fault::TornSubscribers) {
            let subscribers = self.inner().get_subscribers(service_group)?;
            self.pause();
            let inner = self.inner();
            let found = subscribers
                .iter()
                .filter_map(|key| inner.get_service(key).ok());
            return Ok(found.collect());
        }
        self.inner().get_subscriber_services(service_group)
    }

    fn commit(&self, batch: Batch) -> Result<Revision> {
        match self.fault {
            Fault::TornCommit => {
                let mut refused = batch.clone();
                refused.delete_service("nobody:has-this-key");
                let refused = self.inner().commit(refused);
                match refused {
                    Err(StoreError::BatchRejected { index, .. }) if index == batch.len() => {}
                    other => return other,
                }
                let steps = batch.into_iter();
                self.in_steps(steps.map(|change| [change].into_iter().collect()).collect());
                Ok(self.revision())
            }
            Fault::RevisionOfAnother => {
                self.inner().commit(batch)?;
                self.pause();
                Ok(self.inner().revision())
            }
            _ => {
                let revision = self.write(|inner| inner.commit(batch))?.as_u64();
                Ok(revision.wrapping_sub(self.surplus.load(SeqCst)).into())
            }
        }
    }

    fn revision(&self) -> Revision {
        let inner = self.inner().revision().as_u64();
        let shown = self.shown.load(SeqCst);
        Revision::from(match self.fault {
            Fault::RevisionAhead => inner + shown,
            Fault::RevisionBehind => shown,
            Fault::ClosesTooEarly if self.closed.load(SeqCst) => shown,
            _ => inner.wrapping_sub(self.surplus.load(SeqCst)),
        })
    }

    fn take_service(&self, key: &str) -> Result<ServiceInfo> {
        if self.has(Fault::TakeInTwoSteps) {
            let taken = self.inner().get_service(key)?;
            self.pause();
            // Whether it is still there, this store does not ask.
            let _ = self.inner().take_service(key);
            return Ok(taken);
        }
        self.write(|inner| inner.take_service(key))
    }

    fn clear(&self) -> Result<()> {
        self.write(MemoryStore::clear)
    }

    fn stats(&self) -> Result<StoreStats> {
        self.inner().stats()
    }

    fn ping(&self) -> Result<()> {
        self.inner().ping()
    }

    fn visit_view(&self, visit: &mut dyn FnMut(&dyn service_registry::DynView)) -> Result<()> {
        self.inner().visit_view(visit)
    }

    fn close(&self) -> Result<()> {
        self.forget_own();
        if self.has(Fault::ClosesTooEarly) {
            // The last revision is noted too early.
            if !self.closed.load(SeqCst) {
                self.shown.store(self.inner().revision().as_u64(), SeqCst);
                self.closed.store(true, SeqCst);
            }
            self.pause();
        }
        self.inner().close()
    }
}

/// Few, so that a store that is noticed soon is done soon.
const AT_ONCE: usize = 20;

/// A wrong store may be lucky; so it goes on until it is noticed, far longer than
/// any took.
fn notices<S: TestedStore + 'static>(
    fault: impl fmt::Debug + Send + 'static,
    shape: Shape,
    extras: Extras,
    make: impl Fn() -> S + Send + 'static,
) {
    support::within(4 * support::PATIENCE, move || {
        let mut pools = ActionPools::new(&[shape], extras);
        let mut recorded = 0;
        for _ in 0..2_000 {
            match check(&make, &mut pools, AT_ONCE) {
                Ok(counts) => recorded += counts[0].1.histories,
                Err(history) => {
                    println!(
                        "{fault:?}: noticed after {recorded} histories and up to {AT_ONCE} more"
                    );
                    assert!(history.contains("no order explains this"), "{history}");
                    return;
                }
            }
        }
        panic!("{fault:?} was not noticed in {recorded} histories");
    });
}

macro_rules! noticed {
    ($($test:ident: $fault:ident by $($shape:ident)+;)+) => {
        $(
            #[test]
            fn $test() {
                let make = || Plain(wrong(Fault::$fault));
                $(notices(Fault::$fault, Shape::$shape, Extras::Nothing, make);)+
            }
        )+

        /// What is noticed is the other threads: alone, each store is right.
        #[test]
        fn a_wrong_store_is_right_for_one_thread() {
            support::within(support::PATIENCE, || {
                $(alone(Fault::$fault, Extras::Nothing, || {
                    let mut store = wrong(Fault::$fault);
                    store.alone = true;
                    Plain(store)
                });)+
            });
        }
    };
}

noticed! {
    a_lost_update_is_noticed: LostUpdate by OneKey;
    a_stale_read_is_noticed: StaleRead by OneKey;
    a_torn_scan_is_noticed: TornScan by BatchesAndScans;
    a_torn_answer_about_subscribers_is_noticed: TornSubscribers by Registrations;
    a_torn_commit_is_noticed: TornCommit by Mixed BatchesAndScans Registrations;
    a_gap_while_replacing_is_noticed: GapWhileReplacing by OneKey;
    a_swap_in_two_steps_is_noticed: SwapInTwoSteps by OneKey;
    a_take_in_two_steps_is_noticed: TakeInTwoSteps by OneKey Registrations;
    a_revision_ahead_of_its_state_is_noticed: RevisionAhead by OneKey Subscriptions;
    a_revision_behind_its_state_is_noticed: RevisionBehind by OneKey Subscriptions;
    a_revision_of_another_commit_is_noticed: RevisionOfAnother by BatchesAndScans;
    a_forgotten_write_is_noticed: ForgottenWrite by OneKey;
    a_write_beside_close_that_is_lost_is_noticed: ClosesTooEarly by Closing;
}

/// Everything that any shape does, by one thread.
fn alone<S: TestedStore>(fault: impl fmt::Debug, extras: Extras, make: impl Fn() -> S) {
    let mut pools = ActionPools::new(&crate::SHAPES, extras);
    for n in 0..100 {
        let mut run = crate::HistoryRun::new(make(), &mut pools, n);
        let scripts = std::mem::take(&mut run.scripts);
        run.scripts = vec![scripts.concat()];
        run.barrier = SpinBarrier::of(1);
        let history = run.run_thread(0).into_iter();
        let history: Vec<_> = history.map(|event| event.map(S::learn)).collect();
        let after = crate::FinalState::of(run.subject.store());
        let before = crate::SpecState::new(run.before);
        if let Err(history) = crate::explain_store(&before, &history, &after) {
            panic!("{fault:?}: {history}");
        }
    }
}

#[test]
fn one_lock_around_everything_has_an_order() {
    let make = || Plain(wrong(Fault::None));
    every_history_has_an_order("one lock", Extras::Nothing, HISTORIES / 4, make);
}

/// Watches of a store that are wrong, each in one way.
mod watches {
    use crate::support;
    use crate::support::faulty_log::{Fault, faulty_log_store};
    use crate::support::subject::Watched;
    use crate::{Extras, HISTORIES, Shape};

    fn notices(fault: Fault, shape: Shape) {
        super::notices(fault, shape, Extras::Watches, move || {
            Watched(faulty_log_store(fault))
        });
    }

    #[test]
    fn a_commit_that_is_told_before_it_can_be_read_is_noticed() {
        notices(Fault::TellsTooSoon, Shape::OneKey);
        notices(Fault::TellsTooSoon, Shape::Subscriptions);
    }

    #[test]
    fn commits_that_are_told_out_of_order_are_noticed() {
        notices(Fault::TellsAfterItsTurn, Shape::OneKey);
        notices(Fault::TellsAfterItsTurn, Shape::BatchesAndScans);
    }

    #[test]
    fn a_commit_that_is_told_late_is_noticed() {
        notices(Fault::TellsLate, Shape::Mixed);
    }

    #[test]
    fn a_gap_where_a_watch_begins_is_noticed() {
        notices(Fault::AsksBeforeItsTurn, Shape::OneKey);
    }

    #[test]
    fn a_store_that_tells_wrongly_is_right_for_one_thread() {
        support::within(support::PATIENCE, || {
            for fault in [
                Fault::TellsTooSoon,
                Fault::TellsAfterItsTurn,
                Fault::AsksBeforeItsTurn,
            ] {
                super::alone(fault, Extras::Watches, || Watched(faulty_log_store(fault)));
            }
        });
    }

    #[test]
    fn a_store_that_tells_in_its_turn_has_an_order() {
        let make = || Watched(faulty_log_store(Fault::None));
        let extras = Extras::Watches;
        crate::every_history_has_an_order("tells in its turn", extras, HISTORIES / 4, make);
    }
}

/// Views of a store that are wrong, each in one way.
#[cfg(feature = "snapshot")]
mod views {
    use crate::support::subject::Viewed;
    use crate::support::twin::{Fault, twin};
    use crate::{Extras, HISTORIES, Shape};

    fn notices(fault: Fault, shape: Shape) {
        super::notices(fault, shape, Extras::Views, move || Viewed(twin(fault)));
    }

    #[test]
    fn a_snapshot_of_two_moments_is_noticed() {
        notices(Fault::TwoMoments, Shape::Registrations);
    }

    #[test]
    fn a_reader_that_is_late_is_noticed() {
        notices(Fault::LateReader, Shape::OneKey);
        notices(Fault::LateReader, Shape::Subscriptions);
    }

    #[test]
    fn a_view_under_the_revision_of_a_later_one_is_noticed() {
        notices(Fault::LateRevision, Shape::OneKey);
    }

    #[test]
    fn a_store_with_right_views_has_an_order() {
        let make = || Viewed(twin(Fault::None));
        crate::every_history_has_an_order("right views", Extras::Views, HISTORIES / 4, make);
    }
}
