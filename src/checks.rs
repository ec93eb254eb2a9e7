//! Health checks: [`Checks`] probes the pods of a registry and notes what it finds.
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

/// Probes what is registered, and notes what it finds.
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
/// // ... and no more probes:
/// running.abort();
/// # }
/// ```
///
/// # What it promises
///
/// - It learns by a [watch](RegistryStore::watch) whom to probe. A pod that leaves is probed no
///   more, and a probe of it that is under way is dropped. The pods that are there at the begin are
///   spread over an interval; one that comes later is first probed within a tenth of it.
/// - A probe begins up to 20 ms, or a hundredth of an interval, after its time, together with others.
/// - A check that comes late changes nothing: what a probe found is noted only if the pod is still
///   the same registration, and nobody has set another status or reported a later check while it ran.
/// - A pod that is [`Draining`](crate::ServiceStatus::Draining) stays so, whatever a probe finds.
///   Between the thresholds a status stays as it is; the time of the check is noted each time.
/// - A clock of the system that steps back holds up nothing.
///
/// # Costs
///
/// One look at the store for each probe; what was found at about the same time is one commit. O(log
/// pods) for each probe and each pod that comes or goes. It spawns a task for each probe that is under
/// way, on the runtime on which it [runs](Self::run). A current-thread runtime on a thread of its own
/// costs least: several threads wake each other.
#[derive(Clone, Debug)]
pub struct Checks<S, P> {
    registry: Registry<S>,
    probe: P,
    options: CheckOptions,
    selection: Selection,
}

impl<S: RegistryStore, P: Probe> Checks<S, P> {
    /// Checks of all pods of `registry`.
    pub fn new(registry: Registry<S>, probe: P, options: CheckOptions) -> Checks<S, P> {
        Checks {
            registry,
            probe,
            options,
            selection: Selection::All,
        }
    }

    /// Checks of some pods only, such as those of one service.
    #[must_use]
    pub fn with_selection(self, selection: Selection) -> Checks<S, P> {
        Checks { selection, ..self }
    }

    /// Probes until the store is closed. It can be dropped at any time, which drops the probes
    /// that are under way.
    ///
    /// # Errors
    ///
    /// Fails as [`RegistryStore::watch`] does, and as the watch. A look at a pod or a commit that
    /// fails is not tried again: the next check of the pod brings what is newer.
    ///
    /// # Panics
    ///
    /// Where it is not polled on a tokio runtime with time and IO enabled.
    pub async fn run(self) -> Result<()> {
        let watch = self.registry.watch(self.selection)?;
        let driver = Driver::new(self.registry, self.probe, self.options, watch);
        driver.run().await
    }
}
