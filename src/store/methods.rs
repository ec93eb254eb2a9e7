//! The methods of `RegistryStore` for a store with tables, which is every store except
//! `WorkerStore`.

use super::RegistryView;
use crate::model::error::Result;

/// How the methods read a store with tables. All of these fail if the store is closed, and in
/// some stores inside a read. The result of a closure is that of the method: putting a record
/// into another result would copy it.
pub(crate) trait ReadTables {
    type View<'s>: RegistryView
    where
        Self: 's;

    /// Reads with a closure of this crate, which does not call the store.
    fn read<R>(&self, read: impl FnOnce(&Self::View<'_>) -> Result<R>) -> Result<R>;

    /// Reads with a closure of the caller, which may call the store again, and may be a signal
    /// handler.
    #[inline]
    fn read_foreign<R>(&self, read: impl FnOnce(&Self::View<'_>) -> Result<R>) -> Result<R> {
        self.read(read)
    }
}

/// Implements `RegistryStore` for a store with [`ReadTables`] and these inherent methods:
///
/// ```text
/// fn write<R, A>(
///     &self,
///     with_changes: bool,
///     write: impl FnOnce(&mut RecordingTables<'_, Tables>) -> Result<R>,
///     finish: impl FnOnce(CommitOutcome<R>) -> A,
/// ) -> Result<A>;
/// fn begin_watch(&self, selection: Selection, from: Option<Cursor>) -> Result<Watch>;
/// fn current_revision(&self) -> Revision;
/// fn own_upkeep(&self) -> Result<Upkeep>;
/// fn close_tables(&self) -> Result<()>;
/// ```
///
/// `write` makes one commit of the changes of its closure, or none if the closure fails, which must
/// then have changed nothing. It passes the differences to `finish` if the caller needs them.
/// (`finish` is called inside, because a large result of two functions would be copied.)
macro_rules! impl_registry_store {
    ($store:ty) => {
        impl RegistryStore for $store {
            fn save_service(&self, service: ServiceInfo) -> Result<()> {
                self.write(false, |tables| tables.put_record(service, Put::Save), drop)
            }

            #[inline]
            fn get_service(&self, key: &str) -> Result<ServiceInfo> {
                self.read(|tables| match tables.get(key) {
                    Some(found) => Ok(found.clone()),
                    None => Err(missing(key)),
                })
            }

            #[inline]
            fn find_service(&self, key: &str) -> Result<Option<ServiceInfo>> {
                self.read(|tables| match tables.get(key) {
                    Some(found) => Ok(Some(found.clone())),
                    None => absent(key, None),
                })
            }

            #[inline]
            fn contains_service(&self, key: &str) -> Result<bool> {
                self.read(|tables| match tables.get(key) {
                    Some(_) => Ok(true),
                    None => absent(key, false),
                })
            }

            fn get_services_by_name(&self, service_name: &str) -> Result<Vec<ServiceInfo>> {
                self.read(|tables| Ok(clone_all(tables.services_by_name(service_name))))
            }

            fn get_all_services(&self) -> Result<Vec<ServiceInfo>> {
                self.read(|tables| Ok(clone_all(tables.services())))
            }

            fn delete_service(&self, key: &str) -> Result<()> {
                self.write(
                    false,
                    |tables| match tables.delete(key) {
                        Some(_) => Ok(()),
                        None => Err(missing(key)),
                    },
                    drop,
                )
            }

            #[inline]
            fn update_health_status(
                &self,
                key: &str,
                status: ServiceStatus,
                checked_at: SystemTime,
            ) -> Result<HealthUpdate> {
                self.write(
                    false,
                    |tables| {
                        let checked_at = Moment::new("checked_at", checked_at)?;
                        tables
                            .set_health(key, status, checked_at, |_| ())
                            .ok_or_else(|| missing(key))
                    },
                    |written| written.answer,
                )
            }

            fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
                self.write(
                    false,
                    |tables| {
                        check_subscription(subscriber_key, service_group)?;
                        tables.subscribe(subscriber_key, service_group);
                        Ok(())
                    },
                    drop,
                )
            }

            fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
                self.write(
                    false,
                    |tables| {
                        check_subscription(subscriber_key, service_group)?;
                        tables.unsubscribe(subscriber_key, service_group);
                        Ok(())
                    },
                    drop,
                )
            }

            fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
                self.write(
                    false,
                    |tables| {
                        check_subscriber(subscriber_key)?;
                        tables.unsubscribe_all(subscriber_key);
                        Ok(())
                    },
                    drop,
                )
            }

            fn get_subscribers(&self, service_group: &str) -> Result<Vec<ServiceKey>> {
                self.read(|tables| Ok(tables.subscribers(service_group).cloned().collect()))
            }

            fn get_subscriber_services(&self, service_group: &str) -> Result<Vec<ServiceInfo>> {
                self.read(|tables| Ok(clone_all(tables.subscriber_services(service_group))))
            }

            fn commit(&self, batch: Batch) -> Result<Revision> {
                self.write(
                    false,
                    |tables| tables.apply_batch(batch),
                    |written| written.revision,
                )
            }

            fn commit_changes(&self, batch: Batch) -> Result<(Revision, Vec<Difference>)> {
                self.write(
                    true,
                    |tables| tables.apply_batch(batch),
                    |written| (written.revision, written.changes),
                )
            }

            fn watch(&self, selection: Selection) -> Result<Watch> {
                self.begin_watch(selection, None)
            }

            fn watch_from(&self, selection: Selection, cursor: Cursor) -> Result<Watch> {
                self.begin_watch(selection, Some(cursor))
            }

            fn revision(&self) -> Revision {
                self.current_revision()
            }

            fn take_service(&self, key: &str) -> Result<ServiceInfo> {
                self.write(
                    false,
                    |tables| tables.take(key, Cause::Deleted).ok_or_else(|| missing(key)),
                    |written| written.answer,
                )
            }

            fn clear(&self) -> Result<()> {
                self.write(false, |tables| Ok(tables.clear()), drop)
            }

            fn stats(&self) -> Result<StoreStats> {
                self.read(|tables| Ok(tables.stats()))
            }

            fn upkeep(&self) -> Result<Upkeep> {
                self.read(|_| Ok(()))?;
                self.own_upkeep()
            }

            fn ping(&self) -> Result<()> {
                self.read(|_| Ok(()))
            }

            fn close(&self) -> Result<()> {
                self.close_tables()
            }

            #[inline]
            fn with_service<R>(&self, key: &str, read: impl FnOnce(&ServiceInfo) -> R) -> Result<R>
            where
                Self: Sized,
            {
                self.read_foreign(|tables| Ok(tables.get(key).map(read)))?
                    .ok_or_else(|| missing(key))
            }

            fn visit_service(&self, key: &str, visit: &mut dyn FnMut(&ServiceInfo)) -> Result<()> {
                self.with_service(key, visit)
            }

            fn with_view<R>(&self, read: impl FnOnce(&dyn DynView) -> R) -> Result<R>
            where
                Self: Sized,
            {
                self.read_foreign(|tables| Ok(read(tables)))
            }

            fn visit_view(&self, visit: &mut dyn FnMut(&dyn DynView)) -> Result<()> {
                self.read_foreign(|tables| Ok(visit(tables)))
            }
        }
    };
}

/// The names that [`impl_registry_store!`] uses.
pub(crate) mod prelude {
    pub(crate) use crate::changes::{
        Cursor, Difference, LogOptions, Selection, State as Selected, Watch,
    };
    pub(crate) use crate::model::batch::Batch;
    pub(crate) use crate::model::cause::Cause;
    pub(crate) use crate::model::error::{Result, StoreError};
    pub(crate) use crate::model::key::ServiceKey;
    pub(crate) use crate::model::key::{absent, check_subscriber, check_subscription, missing};
    pub(crate) use crate::model::record::ServiceInfo;
    pub(crate) use crate::model::revision::Revision;
    pub(crate) use crate::model::status::HealthUpdate;
    pub(crate) use crate::model::status::ServiceStatus;
    pub(crate) use crate::model::time::Moment;
    pub(crate) use crate::model::upkeep::Upkeep;
    pub(crate) use crate::store::collect::clone_all;
    pub(crate) use crate::store::methods::ReadTables;
    pub(crate) use crate::store::recorder::{
        ChangeRecorder, CommitOutcome, NoRecorder, RecordChanges, RecordingTables, out_of_line,
    };
    pub(crate) use crate::store::view::state_of;
    pub(crate) use crate::store::write::{Put, WriteTables};
    pub(crate) use crate::store::{DynView, RegistryStore, RegistryView, StoreStats};
    pub(crate) use std::time::SystemTime;
}
