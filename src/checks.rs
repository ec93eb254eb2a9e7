//! Health checks: [`Checks`] probes the pods of a registry and records the results.
//!
//! Feature `checks`, on tokio.

mod driver;
mod options;
mod probe;

use crate::changes::Selection;
use crate::model::error::Result;
use crate::registry::Registry;
use crate::store::RegistryStore;

pub use options::CheckOptions;
pub use probe::{HttpProbe, Probe, TcpProbe};

use driver::CheckDriver;

/// Probes the registered pods and records the results.
///
/// ```no_run
/// use std::sync::Arc;
/// use service_registry::checks::{CheckOptions, Checks, HttpProbe};
/// use service_registry::{MemoryStore, Registry, RegistryStore};
///
/// # async fn run(store: Arc<impl RegistryStore + Send + Sync + 'static>) {
/// let registry = Registry::new(store);
/// let checks = Checks::new(registry, HttpProbe::new(), CheckOptions::default());
/// let running = tokio::spawn(checks.run());
/// // ... and to stop probing:
/// running.abort();
/// # }
/// ```
///
/// # Guarantees
///
/// - It follows the registered pods with a [watch](RegistryStore::watch). When a pod leaves, its
///   probing stops and a running probe is dropped. The first probes of the initial pods are spread
///   over one interval; a pod that comes later is first probed within a tenth of the interval.
/// - A probe begins at most 20 ms or a hundredth of the interval late, whichever is less, so that
///   probes can begin together. It begins later only if [`at_once`](CheckOptions::at_once) probes
///   are running.
/// - A late result changes nothing. A result is recorded only if the pod still has the same
///   registration, and if nobody has set another status or reported a later check during the probe.
/// - A pod that is [`Draining`](crate::ServiceStatus::Draining) stays so, whatever the result.
///   Between the thresholds, the status stays as it is. Each result records the time of its check.
/// - A system clock that steps back does not block checks.
///
/// # Costs
///
/// One read of the store for each probe, and one commit for all results that arrive at about the
/// same time. O(log pods) for each probe and each pod that comes or goes. Each running probe is a
/// task on the runtime that [runs](Self::run) the checks. A current-thread runtime on a thread of
/// its own costs least, because several threads wake each other.
#[derive(Clone, Debug)]
pub struct Checks<S, P> {
    registry: Registry<S>,
    probe: P,
    options: CheckOptions,
    selection: Selection,
}

impl<S: RegistryStore, P: Probe> Checks<S, P> {
    /// Creates checks of all pods of `registry`.
    pub fn new(registry: Registry<S>, probe: P, options: CheckOptions) -> Checks<S, P> {
        Checks {
            registry,
            probe,
            options,
            selection: Selection::All,
        }
    }

    /// Restricts the checks to some pods, for example those of one service.
    #[must_use]
    pub fn with_selection(self, selection: Selection) -> Checks<S, P> {
        Checks { selection, ..self }
    }

    /// Probes until the store is closed. Dropping the future also drops the running probes.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::watch`] does, and if the watch fails. A failed read of a pod or a
    /// failed commit is not an error and not retried: the next check of the pod has a newer result.
    ///
    /// # Panics
    ///
    /// Panics if it is not polled on a tokio runtime with time and IO enabled.
    pub async fn run(self) -> Result<()> {
        let watch = self.registry.watch(self.selection)?;
        let driver = CheckDriver::new(self.registry, self.probe, self.options, watch);
        driver.run().await
    }
}
