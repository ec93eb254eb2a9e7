//! Reports commits, watches and sweeps to the crates `metrics` and `tracing`.
//!
//! Without both features, all types here are empty and all functions do nothing, so the compiler
//! removes them. With one of them, recorders and subscribers are foreign code: they are called
//! after the writers' turn has been given back, and without a lock.

#[cfg(feature = "metrics")]
pub(crate) use names::*;
#[cfg(all(feature = "worker", any(feature = "metrics", feature = "tracing")))]
pub(crate) use on::{Asked, Served};
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub(crate) use on::{Observed, note_event, note_lagged, note_sweep};

#[cfg(all(feature = "worker", not(any(feature = "metrics", feature = "tracing"))))]
pub(crate) use off::{Asked, Served};
#[cfg(not(any(feature = "metrics", feature = "tracing")))]
pub(crate) use off::{Observed, note_event, note_lagged, note_sweep};

/// Names of metrics.
#[cfg(feature = "metrics")]
mod names {
    pub(crate) const COMMITS: &str = "service_registry_commits_total";
    pub(crate) const COMMIT_SECONDS: &str = "service_registry_commit_seconds";
    pub(crate) const TURN_WAIT_SECONDS: &str = "service_registry_turn_wait_seconds";
    pub(crate) const WATCH_LAG_REVISIONS: &str = "service_registry_watch_lag_revisions";
    pub(crate) const STATES_FOR_LAG: &str = "service_registry_states_for_lag_total";
    pub(crate) const EXPIRED: &str = "service_registry_expired_total";
}

#[cfg(any(feature = "metrics", feature = "tracing"))]
mod on {
    use std::thread;
    use std::time::{Duration, Instant};

    use crate::model::revision::Revision;

    /// Measures a turn of writing. Reports when dropped: after the turn has been given back.
    pub(crate) struct Observed {
        /// `None` if another part reports.
        store: Option<&'static str>,
        asked: Instant,
        /// `None` if it got no turn.
        waited: Option<Duration>,
        made: Option<(Revision, Duration)>,
    }

    impl Observed {
        /// Starts the measurement. Call it before asking for the turn.
        pub(crate) fn ask(store: Option<&'static str>) -> Observed {
            Observed {
                store,
                asked: Instant::now(),
                waited: None,
                made: None,
            }
        }

        /// Notes that the turn has begun.
        pub(crate) fn begin(&mut self) {
            self.waited = Some(self.asked.elapsed());
        }

        /// Notes that a commit has led from one revision to another, and that the turn is over.
        pub(crate) fn made(&mut self, before: Revision, after: Revision) {
            self.made = (before != after).then(|| (after, self.asked.elapsed()));
        }
    }

    impl Drop for Observed {
        fn drop(&mut self) {
            if let (Some(store), Some(waited)) = (self.store, self.waited)
                && !thread::panicking()
            {
                note_turn(store, waited, self.made);
            }
        }
    }

    /// The metric of a kind of store. A label that is a literal needs no allocation; any other
    /// label needs one for each call.
    #[cfg(feature = "metrics")]
    macro_rules! of_store {
        ($metric:ident, $name:expr, $store:expr) => {
            of_store!($metric, $name, $store;
                "memory" "worker" "thread-safe" "evmap" "snapshot" "versioned")
        };
        ($metric:ident, $name:expr, $store:expr; $($kind:literal)*) => {
            match $store {
                $($kind => ::metrics::$metric!($name, "store" => $kind),)*
                other => ::metrics::$metric!($name, "store" => other),
            }
        };
    }

    fn note_turn(store: &'static str, waited: Duration, made: Option<(Revision, Duration)>) {
        #[cfg(feature = "metrics")]
        {
            use super::names::{COMMIT_SECONDS, COMMITS, TURN_WAIT_SECONDS};
            of_store!(histogram, TURN_WAIT_SECONDS, store).record(waited);
            if let Some((_, took)) = made {
                of_store!(counter, COMMITS, store).increment(1);
                of_store!(histogram, COMMIT_SECONDS, store).record(took);
            }
        }
        #[cfg(feature = "tracing")]
        if let Some((revision, took)) = made {
            ::tracing::trace!(
                target: "service_registry",
                store,
                revision = revision.as_u64(),
                ?waited,
                ?took,
                "commit"
            );
        }
    }

    /// The time when a call entered the queue of a worker.
    #[cfg(feature = "worker")]
    pub(crate) struct Asked(Instant);

    /// The times and revisions that the worker returns to the caller, who reports them.
    #[cfg(feature = "worker")]
    #[derive(Default)]
    pub(crate) struct Served {
        begun: Option<Instant>,
        before: Revision,
        after: Revision,
    }

    #[cfg(feature = "worker")]
    impl Asked {
        pub(crate) fn now() -> Asked {
            Asked(Instant::now())
        }

        /// Reports the turn of a call that was served.
        pub(crate) fn served(&self, store: &'static str, served: &Served) {
            let Asked(asked) = *self;
            let Some(begun) = served.begun else {
                return;
            };
            let waited = begun.saturating_duration_since(asked);
            let is_commit = served.before != served.after;
            let made = is_commit.then(|| (served.after, asked.elapsed()));
            note_turn(store, waited, made);
        }
    }

    #[cfg(feature = "worker")]
    impl Served {
        pub(crate) fn none() -> Served {
            Served::default()
        }

        pub(crate) fn begin(&mut self, revision: impl FnOnce() -> Revision) {
            self.begun = Some(Instant::now());
            self.before = revision();
            self.after = self.before;
        }

        pub(crate) fn end(&mut self, revision: impl FnOnce() -> Revision) {
            self.after = revision();
        }
    }

    /// Reports the lag of a watch that shows what follows `shown` while the store is at `head`.
    pub(crate) fn note_event(shown: Revision, head: Revision) {
        #[cfg(feature = "metrics")]
        {
            let behind = head.as_u64().saturating_sub(shown.as_u64());
            #[allow(clippy::cast_precision_loss)] // recorders take `f64`
            ::metrics::histogram!(super::names::WATCH_LAG_REVISIONS).record(behind as f64);
        }
        let _ = (shown, head);
    }

    /// Reports that a watch had fallen behind the log, and received the state instead.
    pub(crate) fn note_lagged(selection: &impl std::fmt::Debug, shown: Revision, now: Revision) {
        #[cfg(feature = "metrics")]
        ::metrics::counter!(super::names::STATES_FOR_LAG).increment(1);
        #[cfg(feature = "tracing")]
        ::tracing::debug!(
            target: "service_registry",
            ?selection,
            shown = shown.as_u64(),
            revision = now.as_u64(),
            "a watch fell behind the log"
        );
        let _ = (selection, shown, now);
    }

    /// Reports how many pods a sweep has removed, and how many it withholds.
    pub(crate) fn note_sweep(expired: usize, withheld: usize) {
        #[cfg(feature = "metrics")]
        ::metrics::counter!(super::names::EXPIRED).increment(expired as u64);
        #[cfg(feature = "tracing")]
        if expired > 0 || withheld > 0 {
            ::tracing::debug!(target: "service_registry", expired, withheld, "a sweep of leases");
        }
        let _ = (expired, withheld);
    }
}

#[cfg(not(any(feature = "metrics", feature = "tracing")))]
#[allow(clippy::inline_always, clippy::unused_self)] // it should compile to nothing
mod off {
    use crate::model::revision::Revision;

    pub(crate) struct Observed;

    impl Observed {
        #[inline(always)]
        pub(crate) fn ask(_: Option<&'static str>) -> Observed {
            Observed
        }

        #[inline(always)]
        pub(crate) fn begin(&mut self) {}

        #[inline(always)]
        pub(crate) fn made(&mut self, _: Revision, _: Revision) {}
    }

    #[cfg(feature = "worker")]
    pub(crate) struct Asked;

    #[cfg(feature = "worker")]
    pub(crate) struct Served;

    #[cfg(feature = "worker")]
    impl Asked {
        #[inline(always)]
        pub(crate) fn now() -> Asked {
            Asked
        }

        #[inline(always)]
        pub(crate) fn served(&self, _: &'static str, _: &Served) {}
    }

    #[cfg(feature = "worker")]
    impl Served {
        #[inline(always)]
        pub(crate) fn none() -> Served {
            Served
        }

        #[inline(always)]
        pub(crate) fn begin(&mut self, _: impl FnOnce() -> Revision) {}

        #[inline(always)]
        pub(crate) fn end(&mut self, _: impl FnOnce() -> Revision) {}
    }

    #[inline(always)]
    pub(crate) fn note_event(_: Revision, _: Revision) {}

    #[inline(always)]
    pub(crate) fn note_lagged(_: &impl std::fmt::Debug, _: Revision, _: Revision) {}

    #[inline(always)]
    pub(crate) fn note_sweep(_: usize, _: usize) {}

    // The compiler removes it: it has neither fields nor a destructor.
    const _: () = assert!(size_of::<Observed>() == 0 && !std::mem::needs_drop::<Observed>());
    #[cfg(feature = "worker")]
    const _: () = assert!(size_of::<(Asked, Served)>() == 0);
}
