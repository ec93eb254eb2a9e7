//! Health checks: [`Checks`] probes the pods of a registry and notes what it finds.
//!
//! Feature `checks`, on tokio.

mod driver;
mod probe;

use std::time::Duration;

use crate::changes::Selection;
use crate::model::error::Result;
use crate::registry::Registry;
use crate::store::RegistryStore;

pub use probe::{HttpProbe, Probe, TcpProbe};

use driver::Driver;

/// How often pods are probed, and what is made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// From the begin of one probe of a pod to that of the next, give or take the
    /// [jitter](Self::jitter_percent).
    pub interval: Duration,
    /// How much shorter or longer an interval may be, at random, so that pods that were
    /// registered together are not probed together for ever. At most 100.
    pub jitter_percent: u8,
    /// How long a probe may take.
    pub timeout: Duration,
    /// How many probes in a row must have succeeded before a pod is
    /// [`Healthy`](crate::ServiceStatus::Healthy). At least 1.
    pub rise: u32,
    /// How many in a row must have failed before it is
    /// [`Unhealthy`](crate::ServiceStatus::Unhealthy). At least 1.
    pub fall: u32,
    /// How many probes are under way at once. Others wait for their turn: let there be room for
    /// those that hang. At least 1.
    pub at_once: usize,
}

impl Default for CheckOptions {
    /// Every ten seconds, give or take a tenth; two seconds; twice up, three times down; 1,024
    /// at once.
    fn default() -> CheckOptions {
        CheckOptions {
            interval: Duration::from_secs(10),
            jitter_percent: 10,
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 3,
            at_once: 1024,
        }
    }
}

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
    /// Fails as [`RegistryStore::watch`] does. A commit that fails is not tried again: the next
    /// check of the pod brings what is newer.
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
