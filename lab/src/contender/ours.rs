//! The stores of this crate, and any other `RegistryStore`, through their public interface.

use std::any::Any;
use std::future::poll_fn;
use std::task::{Context, Waker};
use std::time::{Duration, Instant, SystemTime};

use service_registry::changes::{Event, Selection, Watch};
use service_registry::{
    Batch, EvmapStore, MemoryStore, RegistryStore, RegistryView, ServiceInfo, ServiceStatus,
    SnapshotStore, ThreadSafeMemoryStore, VersionedStore, WorkerStore,
};

use crate::fleet::register;
use crate::subject::{FollowFuture, Handle, NewPod, Subject};

/// The number of pods that one commit registers when a store is filled.
const BATCH: usize = 4_096;

/// A store that can be measured: operations that not every store has.
pub trait MeasuredStore: RegistryStore + Default + 'static {
    /// Takes a snapshot, looks up the pods with these keys in it, and drops it. Returns how many
    /// were found.
    fn view<'k>(&self, keys: impl Iterator<Item = &'k str>) -> usize {
        let _ = keys;
        usize::MAX
    }

    /// Takes a snapshot before and after `change`. Returns how long it takes to find the
    /// differences, and their number; `None` if the store has no snapshots.
    fn differences(&self, change: &mut dyn FnMut()) -> Option<(Duration, usize)> {
        let _ = change;
        None
    }

    /// Keeps the present state: by default, clones of all records.
    fn hold(&self) -> Box<dyn Any> {
        Box::new(self.get_all_services())
    }
}

impl MeasuredStore for MemoryStore {}
impl MeasuredStore for ThreadSafeMemoryStore {}
impl MeasuredStore for EvmapStore {}
impl MeasuredStore for WorkerStore {}

/// Implements [`MeasuredStore`] for stores with snapshots.
macro_rules! measured_by_snapshot {
    ($($store:ty),*) => {$(
        impl MeasuredStore for $store {
            fn view<'k>(&self, keys: impl Iterator<Item = &'k str>) -> usize {
                let view = self.snapshot();
                keys.filter(|key| view.get(key).is_some()).count()
            }

            fn differences(&self, change: &mut dyn FnMut()) -> Option<(Duration, usize)> {
                let before = self.snapshot();
                change();
                let after = self.snapshot();
                let began = Instant::now();
                let differences = after.changes_since(&before).ok()?;
                Some((began.elapsed(), differences.len()))
            }

            fn hold(&self) -> Box<dyn Any> {
                Box::new(self.snapshot())
            }
        }
    )*};
}

measured_by_snapshot!(SnapshotStore, VersionedStore);

/// A store as a subject, with this many watches that sleep and never receive an event.
pub struct StoreSubject<S, const WATCHES: usize = 0>(S, #[allow(dead_code)] Vec<Watch>);

/// Begins a watch of a name that no pod has.
fn asleep(store: &impl RegistryStore, number: usize) -> Watch {
    let watch = store.watch(Selection::service(format!("nobody-{number}")));
    let mut watch = watch.expect("an open store");
    assert!(matches!(watch.try_recv(), Ok(Some(Event::State { .. }))));
    let event = watch.poll_recv(&mut Context::from_waker(Waker::noop()));
    assert!(event.is_pending(), "told of nothing");
    watch
}

impl<S: MeasuredStore, const WATCHES: usize> Subject for StoreSubject<S, WATCHES> {
    type Handle<'a> = &'a StoreSubject<S, WATCHES>;

    fn create(_: u64) -> StoreSubject<S, WATCHES> {
        let store = S::default();
        let watches = (0..WATCHES).map(|number| asleep(&store, number)).collect();
        StoreSubject(store, watches)
    }

    fn handle(&self) -> &StoreSubject<S, WATCHES> {
        self
    }

    fn fill(&mut self, pods: &mut dyn Iterator<Item = ServiceInfo>) {
        loop {
            let mut batch = Batch::with_capacity(2 * BATCH);
            for pod in (&mut *pods).take(BATCH) {
                register(&mut batch, pod);
            }
            if batch.is_empty() {
                return;
            }
            // An error shows later, when pods are missing.
            let _ = self.0.commit(batch);
        }
    }

    fn follow(&self, name: &str, mut on_change: Box<dyn FnMut() + Send>) -> Option<FollowFuture> {
        let mut watch = self.0.watch(Selection::service(name)).ok()?;
        // The first event is the state.
        watch.try_recv().ok()?;
        Some(Box::pin(async move {
            while let Ok(event) = poll_fn(|context| watch.poll_recv(context)).await {
                if let Event::Changes { changes, .. } = event {
                    for _ in &*changes {
                        on_change();
                    }
                }
            }
        }))
    }

    fn differences(&self, change: &mut dyn FnMut()) -> Option<(Duration, usize)> {
        self.0.differences(change)
    }
}

impl<S: MeasuredStore, const WATCHES: usize> Handle for &StoreSubject<S, WATCHES> {
    #[inline]
    fn with(&mut self, key: &str) -> Option<ServiceStatus> {
        self.0.with_service(key, ServiceInfo::status).ok()
    }

    #[inline]
    fn get(&mut self, key: &str) -> bool {
        self.0.get_service(key).is_ok()
    }

    #[inline]
    fn miss(&mut self, key: &str) -> bool {
        matches!(self.0.find_service(key), Ok(None))
    }

    #[inline]
    fn checked_at(&mut self, key: &str) -> Option<SystemTime> {
        self.0.with_service(key, ServiceInfo::last_health_check).ok()?
    }

    #[inline]
    fn update(&mut self, key: &str, status: ServiceStatus, at: SystemTime) -> bool {
        self.0.update_health_status(key, status, at).is_ok()
    }

    #[inline]
    fn insert(&mut self, pod: &NewPod) -> bool {
        self.0.save_service(pod.info.clone()).is_ok()
    }

    #[inline]
    fn remove(&mut self, key: &str) -> bool {
        self.0.delete_service(key).is_ok()
    }

    fn pods(&mut self) -> usize {
        self.0.stats().map_or(usize::MAX, |stats| stats.services)
    }

    #[inline]
    fn replace(&mut self, info: ServiceInfo) -> bool {
        self.0.save_service(info).is_ok()
    }

    fn by_name(&mut self, name: &str) -> usize {
        self.0.get_services_by_name(name).map_or(usize::MAX, |pods| pods.len())
    }

    fn subscribers(&mut self, group: &str) -> usize {
        self.0.get_subscribers(group).map_or(usize::MAX, |keys| keys.len())
    }

    fn subscribe(&mut self, subscriber: &str, group: &str) -> bool {
        self.0.add_subscription(subscriber, group).is_ok()
    }

    fn unsubscribe(&mut self, subscriber: &str, group: &str) -> bool {
        self.0.remove_subscription(subscriber, group).is_ok()
    }

    fn scan(&mut self) -> usize {
        self.0.get_all_services().map_or(usize::MAX, |pods| pods.len())
    }

    fn view<'k>(&mut self, keys: impl Iterator<Item = &'k str>) -> usize {
        self.0.view(keys)
    }

    fn commit(&mut self, batch: Batch) -> bool {
        self.0.commit(batch).is_ok()
    }

    fn hold(&mut self) -> Box<dyn Any> {
        self.0.hold()
    }
}
