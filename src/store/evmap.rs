//! [`EvmapStore`], with two maps: readers read one while a writer changes the other.
//!
//! `evmap` keeps every entry in two hash maps over shared values (*left-right*). Readers read
//! one of them. The writer applies its operations to the other, swaps a pointer, waits until
//! the last reader has left the old map, and applies the operations there too. A read is two
//! atomic additions to a counter of the reader and a look-up in a plain hash map.
//!
//! # One map, three indexes
//!
//! All data of the readers is in one map, so one publication makes a commit visible in all
//! indexes. The keys of the indexes cannot collide:
//!
//! | index | key | values |
//! | --- | --- | --- |
//! | services | `service:pod` | the record |
//! | names | `:service` | the keys of its pods |
//! | groups | `::group` | numbered subscribers |
//!
//! A service key does not begin with `:`, and a service name contains none. Only writers use
//! the fourth index, the groups of a subscriber. It is part of the writer's own [`Tables`], in
//! which changes are made first: they know what is registered, and number the subscriptions.
//!
//! The loom `models` below run the store including `left-right`.

use std::fmt;
use std::sync::{Arc, PoisonError};

use super::methods::prelude::*;
use super::tables::Tables;
use super::write::{Before, ClearTables};
use crate::changes::OwnLog;
use crate::hash::RandomState;
use crate::observe::TurnTimer;
use crate::sync::atomic::AtomicU64;
use crate::sync::atomic::Ordering::{Acquire, Release};
use crate::sync::{Mutex, MutexGuard};
use handles::Handles;
use map::{Index, Meta, Value, View, WriteHandle};

mod handles;
mod map;

/// A store with two maps: wait-free readers at the speed of a hash map.
///
/// Readers never wait, no matter what writers do. The only exception is the first read of each
/// thread, which may create a handle (see below). Writers pay for this: each change is applied
/// twice, and a commit waits for every reader that has been inside a read since before the
/// previous commit. The memory contains both maps and a third set of tables for writers, over
/// shared records. What a commit or `clear` replaces or removes stays in the map that readers
/// may still use. The next commit or `close` frees it. The maps keep the largest size that they
/// have had until the store is closed, because evmap cannot shrink them.
///
/// # Costs
///
/// The costs are those of [`RegistryStore`], with three exceptions:
///
/// - Finding all services takes O(*n* + groups), since the indexes share one map.
/// - The subscribers of a group take O(*s* log *s*), since evmap keeps no order.
/// - After many removals, scans still cost as much as for the largest size of the maps.
///
/// # Consistency
///
/// Linearizable. A commit becomes visible in all indexes at once, when the pointer is swapped.
/// Every read is answered from one state.
///
/// # Inside a read closure
///
/// While the closure of [`with_service`](RegistryStore::with_service) or
/// [`with_view`](RegistryStore::with_view) runs, its thread holds a guard on the map that it
/// reads. The next commit goes to the other map and succeeds. **The commit after that waits
/// until the closure returns**, and so does every later writer and every thread that reads this
/// store for the first time. Keep the closure short. Never wait in it for another thread that
/// does one of these: it would wait forever. The guard never leaves the closure.
///
/// A read inside the closure works. After another thread has begun to close the store, it
/// returns [`Closed`](StoreError::Closed), while the closure keeps its record. A write would
/// wait for itself and returns [`Reentrant`](StoreError::Reentrant). A closure that panics
/// releases its guard.
///
/// *Two* stores can deadlock like two locks: a thread inside a read of one store writes to the
/// other, or reads it for the first time, while another thread does the same in reverse, and
/// writers of both stores are waiting.
///
/// ```
/// use service_registry::{EvmapStore, RegistryStore, StoreError};
/// # use service_registry::{ServiceInfo, ServiceRegistration};
///
/// let store = EvmapStore::new();
/// # store.save_service(ServiceInfo::new(ServiceRegistration {
/// #     service_name: "user-service".into(),
/// #     pod_name: "pod-1".into(),
/// #     ..Default::default()
/// # })?)?;
/// let (nested_read, nested_write) = store.with_service("user-service:pod-1", |_| {
///     (store.stats(), store.clear())
/// })?;
/// assert_eq!(nested_read?.services, 1);
/// assert_eq!(nested_write, Err(StoreError::Reentrant));
/// # Ok::<(), StoreError>(())
/// ```
pub struct EvmapStore {
    log: OwnLog,
    handles: Handles,
    /// The writing side, until the store is closed. Reads never take this lock, because a
    /// writer that holds it may be waiting for that reader.
    writer: Mutex<Option<Writer>>,
    /// The last revision of a closed store.
    last: AtomicU64,
}

/// The tables in which changes are made, and the map to which they are copied.
struct Writer {
    tables: Tables,
    map: WriteHandle,
}

impl EvmapStore {
    /// Creates an empty store.
    pub fn new() -> EvmapStore {
        EvmapStore::with_log(LogOptions::default())
    }

    /// Creates an empty store whose log has these options.
    pub fn with_log(options: LogOptions) -> EvmapStore {
        let (map, seed) = map::new(&RandomState::default());
        let tables = Tables::default();
        EvmapStore {
            log: OwnLog::new(options),
            handles: Handles::new(seed),
            writer: Mutex::new(Some(Writer { tables, map })),
            last: AtomicU64::new(0),
        }
    }

    /// Returns an error inside a read of this store.
    fn check_not_reentrant(&self) -> Result<()> {
        match self.handles.thread_handle() {
            Some(own) => own.check_not_reentrant(),
            None => Ok(()),
        }
    }

    fn write<R, A>(
        &self,
        with_changes: bool,
        write: impl FnOnce(&mut RecordingTables<'_, Writer>) -> Result<R>,
        finish: impl FnOnce(CommitOutcome<R>) -> A,
    ) -> Result<A> {
        self.check_not_reentrant()?;
        let mut timer = TurnTimer::start(Some("evmap"));
        let lock = self.lock();
        timer.begin();
        match ChangeRecorder::new(&*self.log, with_changes) {
            None => self
                .write_in(timer, lock, &mut NoRecorder, write)
                .map(finish),
            Some(mut recorder) => {
                out_of_line(move || self.write_in(timer, lock, &mut recorder, write).map(finish))
            }
        }
    }

    // A separate function for `NoRecorder`, from which the compiler removes all reporting.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    #[allow(clippy::unused_self)] // as the others
    fn write_in<R>(
        &self,
        mut timer: TurnTimer,
        mut lock: MutexGuard<'_, Option<Writer>>,
        recorder: &mut impl RecordChanges,
        write: impl FnOnce(&mut RecordingTables<'_, Writer>) -> Result<R>,
    ) -> Result<CommitOutcome<R>> {
        let writer = lock.as_mut().ok_or(StoreError::Closed)?;
        let before = writer.current();
        let answer = recorder.record_writes(writer, write)?;
        let revision = writer.settle();
        let revisions = (before, revision);
        let aftermath =
            recorder.append_to_log(revisions, |log, changes| log.append_net(revision, changes));
        drop(lock);
        timer.finish(before, revision);
        drop(aftermath);
        Ok(CommitOutcome {
            answer,
            revision,
            changes: recorder.take_changes(),
        })
    }

    fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch> {
        let read = self.handles.state_reader();
        self.log.watch(selection, from, Arc::new(read), || {
            self.check_not_reentrant()?;
            let writer = self.lock();
            Ok(writer.as_ref().ok_or(StoreError::Closed)?.current())
        })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Writer>> {
        // No code of a caller runs under this lock.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[allow(clippy::unnecessary_wraps)] // the form that the methods ask for
    fn own_upkeep(&self) -> Result<Upkeep> {
        Ok(self.log.upkeep())
    }

    fn current_revision(&self) -> Revision {
        let answer = self.read(|view| Ok(view.revision()));
        // Acquire: pairs with the Release store in `close_tables`, which comes before the map
        // is dropped.
        answer.unwrap_or_else(|_| self.last.load(Acquire).into())
    }

    fn close_tables(&self) -> Result<()> {
        self.check_not_reentrant()?;
        let mut writer = self.lock();
        if let Some(open) = &*writer {
            // Release: pairs with the Acquire load in `current_revision`. A reader that finds
            // the map gone must find this revision. It cannot read it under the lock, which is
            // held until that reader has left.
            self.last.store(open.tables.revision().as_u64(), Release);
            // Dropping the writer drops the maps after all readers have left.
            *writer = None;
        }
        drop(writer);
        drop(self.log.close());
        Ok(())
    }
}

impl ReadTables for EvmapStore {
    type View<'s> = View<'s>;

    #[inline]
    fn read<R>(&self, read: impl FnOnce(&Self::View<'_>) -> Result<R>) -> Result<R> {
        self.handles.read(read)
    }
}

impl_registry_store!(EvmapStore);

impl Default for EvmapStore {
    fn default() -> EvmapStore {
        EvmapStore::new()
    }
}

impl fmt::Debug for EvmapStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        super::debug_store("EvmapStore", self, f)
    }
}

impl Writer {
    /// Copies the record under a key to the map.
    fn copy(&mut self, key: &str) {
        if let Some(service) = self.tables.record(key) {
            let service = Value::Service(service.clone());
            self.map.update(Index::Services.text(key), service);
        }
    }

    /// Removes an ended subscription from the map.
    fn remove_subscriber(&mut self, service_group: &str, number: u64, subscriber: ServiceKey) {
        self.tables.dirty = true;
        let group = Index::Groups.text(service_group);
        if self.tables.subscribers(service_group).next().is_none() {
            self.map.remove_entry(group);
        } else {
            self.map
                .remove_value(group, Value::Subscriber(number, subscriber));
        }
    }
}

impl WriteTables for Writer {
    fn record(&self, key: &str) -> Option<&ServiceInfo> {
        self.tables.record(key)
    }

    fn each_record(&self, visit: impl FnMut(&ServiceInfo)) {
        self.tables.each_record(visit);
    }

    fn each_subscription(&self, visit: impl FnMut(&ServiceKey, &Arc<str>)) {
        self.tables.each_subscription(visit);
    }

    fn current(&self) -> Revision {
        self.tables.current()
    }

    fn put_record(&mut self, service: ServiceInfo, how: Put) -> Result<Before> {
        let key = service.key().clone();
        let before = self.tables.put_record(service, how)?;
        if matches!(before, Before::Same) {
            return Ok(before);
        }
        if matches!(before, Before::Absent) {
            let name = Index::Names.text(key.service_name());
            self.map.insert(name, Value::Pod(key.clone()));
        }
        self.copy(&key);
        Ok(before)
    }

    fn delete(&mut self, key: &str) -> Option<ServiceInfo> {
        let removed = self.tables.delete(key)?;
        self.map.remove_entry(Index::Services.text(key));
        let name = removed.service_name();
        let text = Index::Names.text(name);
        if self.tables.services_by_name(name).next().is_none() {
            self.map.remove_entry(text);
        } else {
            let key = removed.key().clone();
            self.map.remove_value(text, Value::Pod(key));
        }
        Some(removed)
    }

    fn set_health(
        &mut self,
        key: &str,
        status: ServiceStatus,
        checked_at: Moment,
        see: impl FnOnce(&ServiceInfo),
    ) -> Option<HealthUpdate> {
        let mut is_replaced = false;
        let update = self.tables.set_health(key, status, checked_at, |known| {
            is_replaced = true;
            see(known);
        });
        if is_replaced {
            self.copy(key);
        }
        update
    }

    fn subscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let added = self.tables.subscriptions.add(subscriber_key, service_group);
        let Some((number, subscriber)) = added else {
            return false;
        };
        self.tables.dirty = true;
        let group = Index::Groups.text(service_group);
        self.map
            .insert(group, Value::Subscriber(number, subscriber));
        true
    }

    fn unsubscribe(&mut self, subscriber_key: &str, service_group: &str) -> bool {
        let subscriptions = &mut self.tables.subscriptions;
        let removed = subscriptions.remove(subscriber_key, service_group);
        let Some((number, subscriber)) = removed else {
            return false;
        };
        self.remove_subscriber(service_group, number, subscriber);
        true
    }

    fn unsubscribe_all(&mut self, subscriber_key: &str) -> Vec<Arc<str>> {
        let ended: Vec<_> = self
            .tables
            .subscriptions
            .remove_all(subscriber_key)
            .collect();
        let remove_subscriber = |(group, number, subscriber): (Arc<str>, _, _)| {
            self.remove_subscriber(&group, number, subscriber);
            group
        };
        ended.into_iter().map(remove_subscriber).collect()
    }

    fn settle(&mut self) -> Revision {
        let before = self.tables.revision();
        let revision = self.tables.settle();
        if revision != before {
            self.map.set_meta(Meta {
                revision,
                stats: self.tables.stats(),
            });
            self.map.publish();
        }
        revision
    }
}

impl ClearTables for Writer {
    fn clear(&mut self) -> impl Sized + use<> {
        if self.tables.stats() != StoreStats::default() {
            self.map.purge();
        }
        self.tables.clear()
    }
}

#[cfg(all(test, loom))]
mod models {
    //! The models of all stores, run over `left-right` itself, which loom can see into, and
    //! broken twins of the publication of a commit and of the creation of a handle.
    //!
    //! loom models the fence between a reader's arrival and its load of the pointer only as an
    //! acquire fence (the `left-right` documentation says so). In a model a writer may
    //! therefore miss a reader that it cannot miss in reality. This does harm from the second
    //! publication beside a read on, which writes to the map of that reader. Even an empty
    //! publication before a commit makes loom see a part of the commit. The models of reads
    //! therefore have one publication beside the reader, and do not close the store beside a
    //! reader, which would drop its map.
    //! (`a_stalled_reader_may_ask_anything_while_the_store_is_closed` in `tests/evmap.rs` tests
    //! this with real threads.)

    use super::*;
    use crate::model::change::Change;
    use crate::store::models::watched::log_and_publish;
    use crate::store::models::{Calls, Subject, everything, subscription};
    use loom::thread;

    fn real() -> Calls<EvmapStore> {
        Calls {
            commits_beside_a_reader: 1,
            reads: 3,
            preemptions: Some(3),
            ..Calls::real(EvmapStore::new)
        }
    }

    store_models!(real());

    fn open<R>(store: &EvmapStore, write: impl FnOnce(&mut Writer) -> R) -> Result<R> {
        let mut writer = store.lock();
        writer.as_mut().map(write).ok_or(StoreError::Closed)
    }

    /// Publishes the services of a batch, and leaves the rest to the next commit.
    fn publish_services_only(subject: &Subject<EvmapStore>, batch: Batch) -> Result<Revision> {
        open(&subject.store, |writer| {
            for change in batch.clone() {
                if let Change::SaveService(service) = change {
                    let key = Index::Services.text(service.key());
                    writer.map.update(key, Value::Service(service));
                }
            }
            writer.map.publish();
            writer.apply_batch(batch)?;
            Ok(writer.tables.settle())
        })?
    }

    #[test]
    #[should_panic(expected = "a reader saw a part of a commit")]
    fn models_twin_services_that_are_published_before_names_are_rejected() {
        Calls {
            commit: publish_services_only,
            ..real()
        }
        .a_reader_sees_all_of_a_commit_or_nothing();
    }

    fn publish_the_revision_only(subject: &Subject<EvmapStore>, batch: Batch) -> Result<Revision> {
        open(&subject.store, |writer| {
            writer.map.set_meta(Meta {
                revision: writer.tables.revision().next(),
                stats: writer.tables.stats(),
            });
            writer.map.publish();
            writer.apply_batch(batch)?;
            Ok(writer.tables.settle())
        })?
    }

    #[test]
    #[should_panic(expected = "a revision was learnt before its commit")]
    fn models_twin_a_revision_that_is_published_first_is_rejected() {
        Calls {
            commit: publish_the_revision_only,
            ..real()
        }
        .a_revision_that_was_read_makes_its_commit_visible();
    }

    fn leave_it_to_the_next_publication(
        subject: &Subject<EvmapStore>,
        batch: Batch,
    ) -> Result<Revision> {
        open(&subject.store, |writer| {
            writer.apply_batch(batch)?;
            Ok(writer.tables.settle())
        })?
    }

    #[test]
    #[should_panic(expected = "a commit that has returned was not seen")]
    fn models_twin_a_commit_that_is_left_to_the_next_publication_is_rejected() {
        Calls {
            commit: leave_it_to_the_next_publication,
            ..real()
        }
        .a_commit_that_has_returned_is_seen();
    }

    fn log_before_the_maps_are_published(
        subject: &Subject<EvmapStore>,
        batch: Batch,
    ) -> Result<Revision> {
        let store = &*subject.store;
        open(store, |writer| {
            log_and_publish(&store.log, writer, batch, Writer::settle)
        })?
    }

    #[test]
    #[should_panic(expected = "a watch delivered a commit before it could be read")]
    fn models_twin_an_append_before_the_maps_are_published_is_rejected() {
        Calls {
            commit: log_before_the_maps_are_published,
            ..real()
        }
        .a_delivered_commit_can_be_read();
    }

    /// Runs `read_inside` in a read, beside a writer that has to wait for it.
    fn a_read_inside_a_read_ends(read_inside: fn(&EvmapStore)) {
        loom::model(move || {
            let store = Arc::new(EvmapStore::new());
            store.commit(everything()).unwrap();
            let reader = thread::spawn({
                let store = store.clone();
                move || store.with_service("a:1", |_| read_inside(&store)).unwrap()
            });
            store.commit(subscription("one")).unwrap();
            store.commit(subscription("two")).unwrap();
            reader.join().unwrap();
        });
    }

    #[test]
    fn models_a_read_inside_a_read_ends() {
        a_read_inside_a_read_ends(|store| {
            store.stats().unwrap();
        });
    }

    /// Creating a handle takes a lock that a writer holds while it waits for this reader. loom
    /// aborts the writer, and the reader then finds the lock poisoned.
    #[test]
    #[should_panic(expected = "PoisonError")]
    fn models_twin_a_handle_made_inside_a_read_is_rejected() {
        a_read_inside_a_read_ends(|store| drop(store.handles.take()));
    }
}
