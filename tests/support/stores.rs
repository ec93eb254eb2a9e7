//! The stores under test.

use service_registry::{MemoryStore, RegistryStore};

/// Hands every store that threads can share to `$with`, as
/// `feature module Store = how to make one;`. The only list of them in the
/// tests: a store that stands here is in every suite.
#[allow(unused_macros)] // as for the functions of this folder
macro_rules! shared_stores {
    ($with:ident) => {
        $with! { "thread-safe" thread_safe ThreadSafe ThreadSafeMemoryStore }
        $with! { "worker" worker Worker WorkerStore }
        $with! { "evmap" evmap Evmap EvmapStore }
        $with! { "snapshot" snapshot Snapshot SnapshotStore }
        $with! { "versioned" versioned Versioned VersionedStore }
    };
}

/// A store from elsewhere that has only what the trait requires, so that the
/// provided methods are under test, too.
#[derive(Debug, Default)]
pub(crate) struct Required(MemoryStore);

impl Required {
    pub(crate) fn new() -> Required {
        Required::default()
    }
}

/// Implements the required methods of `RegistryStore`, and `commit_changes`, by calling another
/// store, except those listed after `except`. The other provided methods keep the defaults of the
/// trait, so that a fault in what they call shows; add each new provided method to the list below.
/// `reads` and `writes` implement one half each, without commits and `revision`.
macro_rules! forward_required {
    ($self:ident => $inner:expr $(; except $($except:ident),+)?) => {
        service_registry::delegate_store!($self => $inner; except
            find_service, contains_service, watch, watch_from, upkeep, with_service, visit_service,
            with_view $($(, $except)+)?);
    };
    (reads $self:ident => $inner:expr $(; except $($except:ident),+)?) => {
        forward_required!($self => $inner; except
            commit, commit_changes, revision, save_service, delete_service, update_health_status,
            take_service, add_subscription, remove_subscription, remove_all_subscriptions, clear,
            close $($(, $except)+)?);
    };
    (writes $self:ident => $inner:expr $(; except $($except:ident),+)?) => {
        forward_required!($self => $inner; except
            commit, commit_changes, revision, visit_view, get_service, get_services_by_name,
            get_all_services, get_subscribers, get_subscriber_services, stats, ping
            $($(, $except)+)?);
    };
}

impl RegistryStore for Required {
    forward_required!(self => self.0);
}
