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

use driver::Driver;

/// Probes the pods of a registry, and records the results.
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
/// // Ends the checks.
/// running.abort();
/// # }
/// ```
///
/// # Guarantees
///
/// - A [watch](RegistryStore::watch) tells it which pods to probe. When a pod is removed, its
///   probes end, and a running one is dropped. The first probes of the pods that exist at the start
///   are spread over an interval; a pod that is added later is first probed within a tenth of one.
/// - A probe starts up to 20 ms, or a hundredth of an interval, after its time, together with
///   others.
/// - A late result changes nothing: it is recorded only if the pod is still the same registration,
///   and if nobody has set another status or reported a later check while the probe ran.
/// - A pod that is [`Draining`](crate::ServiceStatus::Draining) stays so, whatever the results.
///   Between the thresholds a status stays as it is; the time of the check is recorded each time.
/// - A system clock that steps back does not block checks.
///
/// # Costs
///
/// Each probe reads the store once; results of about the same time share one commit. O(log pods)
/// for each probe and each pod that is added or removed. Each running probe is a task on the
/// runtime on which this [runs](Self::run). A current-thread runtime on a thread of its own costs
/// least: several threads wake each other.
/// costs least: several threads wake each other.
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

    /// Restricts the checks to a selection of pods, such as those of one service.
    #[must_use]
    pub fn with_selection(self, selection: Selection) -> Checks<S, P> {
        Checks { selection, ..self }
    }

    /// Runs the checks until the store is closed. Dropping the future ends them, and drops the
    /// running probes.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::watch`] and the watch do. A read or a commit that fails is not
    /// retried: the next check of the pod brings a newer result.
    ///
    /// # Panics
    ///
    /// Panics if it is not polled on a tokio runtime with time and IO enabled.
    pub async fn run(self) -> Result<()> {
        let watch = self.registry.watch(self.selection)?;
        let driver = Driver::new(self.registry, self.probe, self.options, watch);
        driver.run().await
    }
}
