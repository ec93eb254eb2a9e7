//! [`Store`]: which store the gateway has.

use std::sync::Arc;

use service_registry::VersionedStore;

/// The store of the gateway: many requests read it, and snapshots are kept while a dump is written.
pub type Store = Arc<VersionedStore>;
