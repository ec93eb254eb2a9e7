//! [`delegate_store!`], which forwards the methods of a store to another one.

/// Implements the methods of [`RegistryStore`](crate::RegistryStore) by forwarding them to
/// another store, except for the methods named after `except`. It is meant for stores that
/// wrap another one and count, cache or refuse something.
///
/// It also forwards the provided methods. Otherwise a wrapper would use their default
/// implementations instead of the better ones of the inner store.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
/// use service_registry::{
///     MemoryStore, RegistryStore, Result, ServiceInfo, ServiceRegistration, delegate_store,
/// };
///
/// /// Counts saved records.
/// struct Counting<S> {
///     inner: S,
///     saved: AtomicU64,
/// }
///
/// impl<S: RegistryStore> RegistryStore for Counting<S> {
///     fn save_service(&self, service: ServiceInfo) -> Result<()> {
///         self.saved.fetch_add(1, Relaxed);
///         self.inner.save_service(service)
///     }
///
///     delegate_store!(self => self.inner; except save_service);
/// }
///
/// let store = Counting { inner: MemoryStore::new(), saved: AtomicU64::new(0) };
/// store.save_service(ServiceInfo::new(ServiceRegistration::new("web", "pod-1"))?)?;
/// assert!(store.contains_service("web:pod-1")?);
/// assert_eq!(store.saved.load(Relaxed), 1);
/// # Ok::<(), service_registry::StoreError>(())
/// ```
///
/// Without `except` it forwards everything: `delegate_store!(self => self.inner);`. An
/// unsized inner store, such as `*self.inner` of a `Box<dyn RegistryStore>`, needs
/// `except with_service, with_view`.
#[macro_export]
macro_rules! delegate_store {
    ($self:ident => $inner:expr) => {
        $crate::delegate_store!($self => $inner; except);
    };
    ($self:ident => $inner:expr; except $($except:ident),* $(,)?) => {
        $crate::delegate_store!(@unless save_service [$($except)*] {
            #[inline]
            fn save_service(&$self, service: $crate::ServiceInfo) -> $crate::Result<()> {
                $crate::RegistryStore::save_service(&$inner, service)
            }
        });
        $crate::delegate_store!(@unless get_service [$($except)*] {
            #[inline]
            fn get_service(&$self, key: &str) -> $crate::Result<$crate::ServiceInfo> {
                $crate::RegistryStore::get_service(&$inner, key)
            }
        });
        $crate::delegate_store!(@unless find_service [$($except)*] {
            #[inline]
            fn find_service(&$self, key: &str) -> $crate::Result<::core::option::Option<$crate::ServiceInfo>> {
                $crate::RegistryStore::find_service(&$inner, key)
            }
        });
        $crate::delegate_store!(@unless contains_service [$($except)*] {
            #[inline]
            fn contains_service(&$self, key: &str) -> $crate::Result<bool> {
                $crate::RegistryStore::contains_service(&$inner, key)
            }
        });
        $crate::delegate_store!(@unless get_services_by_name [$($except)*] {
            #[inline]
            fn get_services_by_name(&$self, service_name: &str) -> $crate::Result<::std::vec::Vec<$crate::ServiceInfo>> {
                $crate::RegistryStore::get_services_by_name(&$inner, service_name)
            }
        });
        $crate::delegate_store!(@unless get_all_services [$($except)*] {
            #[inline]
            fn get_all_services(&$self) -> $crate::Result<::std::vec::Vec<$crate::ServiceInfo>> {
                $crate::RegistryStore::get_all_services(&$inner)
            }
        });
        $crate::delegate_store!(@unless delete_service [$($except)*] {
            #[inline]
            fn delete_service(&$self, key: &str) -> $crate::Result<()> {
                $crate::RegistryStore::delete_service(&$inner, key)
            }
        });
        $crate::delegate_store!(@unless update_health_status [$($except)*] {
            #[inline]
            fn update_health_status(&$self, key: &str, status: $crate::ServiceStatus, checked_at: ::std::time::SystemTime) -> $crate::Result<$crate::HealthUpdate> {
                $crate::RegistryStore::update_health_status(&$inner, key, status, checked_at)
            }
        });
        $crate::delegate_store!(@unless add_subscription [$($except)*] {
            #[inline]
            fn add_subscription(&$self, subscriber_key: &str, service_group: &str) -> $crate::Result<()> {
                $crate::RegistryStore::add_subscription(&$inner, subscriber_key, service_group)
            }
        });
        $crate::delegate_store!(@unless remove_subscription [$($except)*] {
            #[inline]
            fn remove_subscription(&$self, subscriber_key: &str, service_group: &str) -> $crate::Result<()> {
                $crate::RegistryStore::remove_subscription(&$inner, subscriber_key, service_group)
            }
        });
        $crate::delegate_store!(@unless remove_all_subscriptions [$($except)*] {
            #[inline]
            fn remove_all_subscriptions(&$self, subscriber_key: &str) -> $crate::Result<()> {
                $crate::RegistryStore::remove_all_subscriptions(&$inner, subscriber_key)
            }
        });
        $crate::delegate_store!(@unless get_subscribers [$($except)*] {
            #[inline]
            fn get_subscribers(&$self, service_group: &str) -> $crate::Result<::std::vec::Vec<$crate::ServiceKey>> {
                $crate::RegistryStore::get_subscribers(&$inner, service_group)
            }
        });
        $crate::delegate_store!(@unless get_subscriber_services [$($except)*] {
            #[inline]
            fn get_subscriber_services(&$self, service_group: &str) -> $crate::Result<::std::vec::Vec<$crate::ServiceInfo>> {
                $crate::RegistryStore::get_subscriber_services(&$inner, service_group)
            }
        });
        $crate::delegate_store!(@unless commit [$($except)*] {
            #[inline]
            fn commit(&$self, batch: $crate::Batch) -> $crate::Result<$crate::Revision> {
                $crate::RegistryStore::commit(&$inner, batch)
            }
        });
        $crate::delegate_store!(@unless commit_changes [$($except)*] {
            #[inline]
            fn commit_changes(&$self, batch: $crate::Batch) -> $crate::Result<($crate::Revision, ::std::vec::Vec<$crate::changes::Difference>)> {
                $crate::RegistryStore::commit_changes(&$inner, batch)
            }
        });
        $crate::delegate_store!(@unless watch [$($except)*] {
            #[inline]
            fn watch(&$self, selection: $crate::changes::Selection) -> $crate::Result<$crate::changes::Watch> {
                $crate::RegistryStore::watch(&$inner, selection)
            }
        });
        $crate::delegate_store!(@unless watch_from [$($except)*] {
            #[inline]
            fn watch_from(&$self, selection: $crate::changes::Selection, cursor: $crate::changes::Cursor) -> $crate::Result<$crate::changes::Watch> {
                $crate::RegistryStore::watch_from(&$inner, selection, cursor)
            }
        });
        $crate::delegate_store!(@unless revision [$($except)*] {
            #[inline]
            fn revision(&$self) -> $crate::Revision {
                $crate::RegistryStore::revision(&$inner)
            }
        });
        $crate::delegate_store!(@unless take_service [$($except)*] {
            #[inline]
            fn take_service(&$self, key: &str) -> $crate::Result<$crate::ServiceInfo> {
                $crate::RegistryStore::take_service(&$inner, key)
            }
        });
        $crate::delegate_store!(@unless clear [$($except)*] {
            #[inline]
            fn clear(&$self) -> $crate::Result<()> {
                $crate::RegistryStore::clear(&$inner)
            }
        });
        $crate::delegate_store!(@unless stats [$($except)*] {
            #[inline]
            fn stats(&$self) -> $crate::Result<$crate::StoreStats> {
                $crate::RegistryStore::stats(&$inner)
            }
        });
        $crate::delegate_store!(@unless upkeep [$($except)*] {
            #[inline]
            fn upkeep(&$self) -> $crate::Result<$crate::Upkeep> {
                $crate::RegistryStore::upkeep(&$inner)
            }
        });
        $crate::delegate_store!(@unless ping [$($except)*] {
            #[inline]
            fn ping(&$self) -> $crate::Result<()> {
                $crate::RegistryStore::ping(&$inner)
            }
        });
        $crate::delegate_store!(@unless close [$($except)*] {
            #[inline]
            fn close(&$self) -> $crate::Result<()> {
                $crate::RegistryStore::close(&$inner)
            }
        });
        $crate::delegate_store!(@unless with_service [$($except)*] {
            #[inline]
            fn with_service<R>(&$self, key: &str, read: impl ::core::ops::FnOnce(&$crate::ServiceInfo) -> R) -> $crate::Result<R> where Self: ::core::marker::Sized {
                $crate::RegistryStore::with_service(&$inner, key, read)
            }
        });
        $crate::delegate_store!(@unless visit_service [$($except)*] {
            #[inline]
            fn visit_service(&$self, key: &str, visit: &mut dyn ::core::ops::FnMut(&$crate::ServiceInfo)) -> $crate::Result<()> {
                $crate::RegistryStore::visit_service(&$inner, key, visit)
            }
        });
        $crate::delegate_store!(@unless with_view [$($except)*] {
            #[inline]
            fn with_view<R>(&$self, read: impl ::core::ops::FnOnce(&dyn $crate::DynView) -> R) -> $crate::Result<R> where Self: ::core::marker::Sized {
                $crate::RegistryStore::with_view(&$inner, read)
            }
        });
        $crate::delegate_store!(@unless visit_view [$($except)*] {
            #[inline]
            fn visit_view(&$self, visit: &mut dyn ::core::ops::FnMut(&dyn $crate::DynView)) -> $crate::Result<()> {
                $crate::RegistryStore::visit_view(&$inner, visit)
            }
        });
    };

    // Emits a method unless it is in the list of exceptions.
    (@unless $method:ident [] { $($written:tt)* }) => { $($written)* };
    (@unless save_service [save_service $($except:ident)*] $written:tt) => {};
    (@unless get_service [get_service $($except:ident)*] $written:tt) => {};
    (@unless find_service [find_service $($except:ident)*] $written:tt) => {};
    (@unless contains_service [contains_service $($except:ident)*] $written:tt) => {};
    (@unless get_services_by_name [get_services_by_name $($except:ident)*] $written:tt) => {};
    (@unless get_all_services [get_all_services $($except:ident)*] $written:tt) => {};
    (@unless delete_service [delete_service $($except:ident)*] $written:tt) => {};
    (@unless update_health_status [update_health_status $($except:ident)*] $written:tt) => {};
    (@unless add_subscription [add_subscription $($except:ident)*] $written:tt) => {};
    (@unless remove_subscription [remove_subscription $($except:ident)*] $written:tt) => {};
    (@unless remove_all_subscriptions [remove_all_subscriptions $($except:ident)*] $written:tt) => {};
    (@unless get_subscribers [get_subscribers $($except:ident)*] $written:tt) => {};
    (@unless get_subscriber_services [get_subscriber_services $($except:ident)*] $written:tt) => {};
    (@unless commit [commit $($except:ident)*] $written:tt) => {};
    (@unless commit_changes [commit_changes $($except:ident)*] $written:tt) => {};
    (@unless watch [watch $($except:ident)*] $written:tt) => {};
    (@unless watch_from [watch_from $($except:ident)*] $written:tt) => {};
    (@unless revision [revision $($except:ident)*] $written:tt) => {};
    (@unless take_service [take_service $($except:ident)*] $written:tt) => {};
    (@unless clear [clear $($except:ident)*] $written:tt) => {};
    (@unless stats [stats $($except:ident)*] $written:tt) => {};
    (@unless upkeep [upkeep $($except:ident)*] $written:tt) => {};
    (@unless ping [ping $($except:ident)*] $written:tt) => {};
    (@unless close [close $($except:ident)*] $written:tt) => {};
    (@unless with_service [with_service $($except:ident)*] $written:tt) => {};
    (@unless visit_service [visit_service $($except:ident)*] $written:tt) => {};
    (@unless with_view [with_view $($except:ident)*] $written:tt) => {};
    (@unless visit_view [visit_view $($except:ident)*] $written:tt) => {};
    (@unless $method:ident [$other:ident $($except:ident)*] $written:tt) => {
        $crate::delegate_store!(@unless $method [$($except)*] $written);
    };
}
