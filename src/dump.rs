//! A registry as a file, and back: [`Registry::dump`] and [`Registry::restore`].
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
//! // After a restart nobody knows who is still healthy.
//! let again = Registry::new(MemoryStore::new());
//! again.restore(&file[..])?;
//! assert_eq!(again.get_subscribers("payment")?, ["checkout:pod-1"]);
//! let status = |pod: &service_registry::ServiceInfo| pod.status();
//! assert_eq!(again.with_service("checkout:pod-1", status)?, ServiceStatus::Unknown);
//! // Unless the health is asked for.
//! again.restore_with(&file[..], Health::Keep)?;
//! assert_eq!(again.with_service("checkout:pod-1", status)?, ServiceStatus::Healthy);
//!
//! // What is not whole changes nothing, and says where it ends.
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
//! The header says how many records and how many subscriptions follow; the subscriptions of a
//! group stand in their order. The last line has the number of lines before it, and the CRC-32
//! (that of gzip) of their bytes. It finds every accident, as a file that was cut, a bit that
//! flipped, or a line that went; it is no signature. Who may write the file may write what the
//! registry will hold.
//!
//! # What comes back, and what does not
//!
//! Registrations, times of registration, sources, subscriptions and their order. Health where it
//! is asked for; otherwise every pod is [`Unknown`](crate::ServiceStatus::Unknown) and never
//! checked. Revisions and incarnations are those of the commit that restores: a
//! [`Cursor`](crate::changes::Cursor) from before begins with a state, and a condition that names
//! an incarnation from before does not hold. Leases are no part of a dump: what holds a record
//! alive from outside has to be set up again, with its time counted from then.
//!
//! # Of one state, and how long that is held
//!
//! A dump is of one state, and writes while it looks at it, so that it needs no memory but for a
//! record. [`Registry::dump`] looks through [`with_view`](crate::RegistryStore::with_view):
//! meanwhile a lock-based store keeps its writers waiting, and `WorkerStore` everybody. Where the
//! writer is slow (a network, a disk that is busy), dump a snapshot with [`write()`], or dump to
//! memory first.
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

/// What the first line names.
const FORMAT: &str = "service-registry";
/// The version that is written here, and the only one that is read.
const VERSION: u64 = 1;

/// What becomes of the health of the pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Health {
    /// Every pod is `Unknown`, and was never checked.
    #[default]
    Forget,
    /// As it was when the dump was made.
    Keep,
}

/// The first line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    version: u64,
    revision: u64,
    services: u64,
    subscriptions: u64,
}

/// A line for a subscription.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Side<'a> {
    #[serde(borrow)]
    subscriber: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    group: std::borrow::Cow<'a, str>,
}

/// The last line, of the number of lines before it and their checksum.
fn trailer(lines: u64, checksum: u32) -> String {
    format!("{{\"lines\":{lines},\"crc32\":\"{checksum:08x}\"}}\n")
}
