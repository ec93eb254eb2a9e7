//! Writes a registry to a file and reads it back: [`Registry::dump`] and [`Registry::restore`].
//!
//! ```
//! use service_registry::dump::Health;
//! use service_registry::{MemoryStore, Registry, RegistryStore, ServiceRegistration, ServiceStatus};
//!
//! let registry = Registry::new(MemoryStore::new());
//! registry.register(ServiceRegistration::new("checkout", "pod-1").with_subscription("payment"))?;
//! registry.update_health_status("checkout:pod-1", ServiceStatus::Healthy)?;
//! let mut file = Vec::new();
//! registry.dump(&mut file)?;
//!
//! // After a restart, the health of a pod is not known.
//! let again = Registry::new(MemoryStore::new());
//! again.restore(&file[..])?;
//! assert_eq!(again.get_subscribers("payment")?, ["checkout:pod-1"]);
//! let status = |pod: &service_registry::ServiceInfo| pod.status();
//! assert_eq!(again.with_service("checkout:pod-1", status)?, ServiceStatus::Unknown);
//! // On request, the health is restored, too.
//! again.restore_with(&file[..], Health::Keep)?;
//! assert_eq!(again.with_service("checkout:pod-1", status)?, ServiceStatus::Healthy);
//!
//! // A truncated dump changes nothing, and the error names the line.
//! let error = again.restore(&file[..file.len() - 1]).unwrap_err();
//! assert_eq!(error.to_string(), "line 4: the dump is cut short here");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # The file
//!
//! JSON, one record a line:
//!
//! ```text
//! {"format":"service-registry","version":1,"revision":17,"services":1,"subscriptions":1}
//! {"service_name":"checkout","pod_name":"pod-1", ... ,"status":"healthy", ... }
//! {"subscriber":"checkout:pod-1","group":"payment"}
//! {"lines":3,"crc32":"1c291ca3"}
//! ```
//!
//! The header has the number of records and of subscriptions that follow. The subscriptions of a
//! group are in their order. The last line has the number of lines before it, and the CRC-32 (that
//! of gzip) of their bytes. The checksum detects accidental damage: a truncated file, a flipped
//! bit, a missing line. It is not a signature: anyone who can write the file decides what the
//! registry will hold.
//!
//! # What a dump restores
//!
//! A dump restores registrations, times of registration, sources, and subscriptions with their
//! order. It restores health only on request; otherwise every pod is
//! [`Unknown`](crate::ServiceStatus::Unknown) and never checked.
//!
//! Revisions and incarnations are those of the restoring commit: a
//! [`Cursor`](crate::changes::Cursor) from before begins with a state, and a condition that names
//! an earlier incarnation does not hold. A dump does not contain leases. Whatever keeps a record
//! alive from outside has to be set up again, and its time starts anew.
//!
//! # Consistency and locking
//!
//! A dump shows one state. It is written while that state is read, so it needs memory for only one
//! record. [`Registry::dump`] reads through [`with_view`](crate::RegistryStore::with_view):
//! meanwhile a lock-based store blocks its writers, and `WorkerStore` blocks everybody. If the
//! writer is slow (a network, a busy disk), dump a snapshot with [`write()`], or dump to memory
//! first.
//!
//! [`Registry::dump`]: crate::Registry::dump
//! [`Registry::restore`]: crate::Registry::restore

mod error;
mod lines;
mod read;
mod write;

pub use error::{Error, Flaw};
pub use read::read;
pub use write::write;

use serde::{Deserialize, Serialize};

/// The name of the format, in the first line.
const FORMAT: &str = "service-registry";
/// The version that is written, and the only one that is read.
const VERSION: u64 = 1;

/// What to do with the health of the pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Makes every pod `Unknown` and never checked.
    #[default]
    Forget,
    /// Keeps the health that the dump contains.
    Keep,
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DumpHeader {
    format: String,
    version: u64,
    revision: u64,
    services: u64,
    subscriptions: u64,
}

/// A line for a subscription.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SubscriptionLine<'a> {
    #[serde(borrow)]
    subscriber: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    group: std::borrow::Cow<'a, str>,
}

/// Returns the last line, from the number of lines before it and their checksum.
fn trailer(lines: u64, checksum: u32) -> String {
    format!("{{\"lines\":{lines},\"crc32\":\"{checksum:08x}\"}}\n")
}
