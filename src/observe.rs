//! Reports commits, watches and sweeps to the crates `metrics` and `tracing`.
//!
//! Without both features, all types here are empty and all functions do nothing, so the compiler
//! removes them. With one of them, recorders and subscribers are foreign code: they are called
//! after the writers' turn has been given back, and without a lock.

#[cfg(feature = "metrics")]
pub(crate) use names::*;
#[cfg(all(feature = "worker", any(feature = "metrics", feature = "tracing")))]
pub(crate) use on::{CallTimes, EnqueuedAt};
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub(crate) use on::{TurnTimer, report_event, report_lag, report_sweep};

#[cfg(all(feature = "worker", not(any(feature = "metrics", feature = "tracing"))))]
pub(crate) use off::{CallTimes, EnqueuedAt};
#[cfg(not(any(feature = "metrics", feature = "tracing")))]
pub(crate) use off::{TurnTimer, report_event, report_lag, report_sweep};

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
    pub(crate) struct TurnTimer {
        /// `None` if another part reports.
        store: Option<&'static str>,
        started: Instant,
        /// `None` if it got no turn.
        waited: Option<Duration>,
        committed: Option<(Revision, Duration)>,
    }

    impl TurnTimer {
        /// Starts the measurement. Call it before waiting for the turn.
        pub(crate) fn start(store: Option<&'static str>) -> TurnTimer {
            TurnTimer {
                store,
                started: Instant::now(),
                waited: None,
                committed: None,
            }
        }

        /// Records that the turn has begun.
        pub(crate) fn begin(&mut self) {
            self.waited = Some(self.started.elapsed());
        }

        /// Ends the measurement of a commit that led from revision `before` to `after`.
        pub(crate) fn finish(&mut self, before: Revision, after: Revision) {
            self.committed = (before != after).then(|| (after, self.started.elapsed()));
        }
    }

    impl Drop for TurnTimer {
        fn drop(&mut self) {
            if let (Some(store), Some(waited)) = (self.store, self.waited)
                && !thread::panicking()
            {
                report_turn(store, waited, self.committed);
            }
        }
    }

    /// The metric of a kind of store. A label that is a literal needs no allocation; any other
    /// label needs one for each call.
    #[cfg(feature = "metrics")]
    macro_rules! store_metric {
        ($metric:ident, $name:expr, $store:expr) => {
            store_metric!($metric, $name, $store;
                "memory" "worker" "thread-safe" "evmap" "snapshot" "versioned")
        };
        ($metric:ident, $name:expr, $store:expr; $($kind:literal)*) => {
            match $store {
                $($kind => ::metrics::$metric!($name, "store" => $kind),)*
                other => ::metrics::$metric!($name, "store" => other),
            }
        };
    }

    fn report_turn(store: &'static str, waited: Duration, committed: Option<(Revision, Duration)>) {
        #[cfg(feature = "metrics")]
        {
            use super::names::{COMMIT_SECONDS, COMMITS, TURN_WAIT_SECONDS};
            store_metric!(histogram, TURN_WAIT_SECONDS, store).record(waited);
            if let Some((_, took)) = committed {
                store_metric!(counter, COMMITS, store).increment(1);
                store_metric!(histogram, COMMIT_SECONDS, store).record(took);
            }
        }
        #[cfg(feature = "tracing")]
        if let Some((revision, took)) = committed {
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
    pub(crate) struct EnqueuedAt(Instant);

    /// The times and revisions that the worker returns to the caller, who reports them.
    #[cfg(feature = "worker")]
    #[derive(Default)]
    pub(crate) struct CallTimes {
        begun: Option<Instant>,
        before: Revision,
        after: Revision,
    }

    #[cfg(feature = "worker")]
    impl EnqueuedAt {
        pub(crate) fn now() -> EnqueuedAt {
            EnqueuedAt(Instant::now())
        }

        /// Reports the turn of a call.
        pub(crate) fn report(&self, store: &'static str, times: &CallTimes) {
            let EnqueuedAt(enqueued) = *self;
            let Some(begun) = times.begun else {
                return;
            };
            let waited = begun.saturating_duration_since(enqueued);
            let is_commit = times.before != times.after;
            let committed = is_commit.then(|| (times.after, enqueued.elapsed()));
            report_turn(store, waited, committed);
        }
    }

    #[cfg(feature = "worker")]
    impl CallTimes {
        pub(crate) fn empty() -> CallTimes {
            CallTimes::default()
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
    pub(crate) fn report_event(shown: Revision, head: Revision) {
        #[cfg(feature = "metrics")]
        {
            let behind = head.as_u64().saturating_sub(shown.as_u64());
            #[allow(clippy::cast_precision_loss)] // recorders take `f64`
            ::metrics::histogram!(super::names::WATCH_LAG_REVISIONS).record(behind as f64);
        }
        let _ = (shown, head);
    }

    /// Reports that a watch had fallen behind the log, and received the state instead.
    pub(crate) fn report_lag(selection: &impl std::fmt::Debug, shown: Revision, now: Revision) {
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
    pub(crate) fn report_sweep(expired: usize, withheld: usize) {
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

    pub(crate) struct TurnTimer;

    impl TurnTimer {
        #[inline(always)]
        pub(crate) fn start(_: Option<&'static str>) -> TurnTimer {
            TurnTimer
        }

        #[inline(always)]
        pub(crate) fn begin(&mut self) {}

        #[inline(always)]
        pub(crate) fn finish(&mut self, _: Revision, _: Revision) {}
    }

    #[cfg(feature = "worker")]
    pub(crate) struct EnqueuedAt;

    #[cfg(feature = "worker")]
    pub(crate) struct CallTimes;

    #[cfg(feature = "worker")]
    impl EnqueuedAt {
        #[inline(always)]
        pub(crate) fn now() -> EnqueuedAt {
            EnqueuedAt
        }

        #[inline(always)]
        pub(crate) fn report(&self, _: &'static str, _: &CallTimes) {}
    }

    #[cfg(feature = "worker")]
    impl CallTimes {
        #[inline(always)]
        pub(crate) fn empty() -> CallTimes {
            CallTimes
        }

        #[inline(always)]
        pub(crate) fn begin(&mut self, _: impl FnOnce() -> Revision) {}

        #[inline(always)]
        pub(crate) fn end(&mut self, _: impl FnOnce() -> Revision) {}
    }

    #[inline(always)]
    pub(crate) fn report_event(_: Revision, _: Revision) {}

    #[inline(always)]
    pub(crate) fn report_lag(_: &impl std::fmt::Debug, _: Revision, _: Revision) {}

    #[inline(always)]
    pub(crate) fn report_sweep(_: usize, _: usize) {}

    // The compiler removes it: it has neither fields nor a destructor.
    const _: () = assert!(size_of::<TurnTimer>() == 0 && !std::mem::needs_drop::<TurnTimer>());
    #[cfg(feature = "worker")]
    const _: () = assert!(size_of::<(EnqueuedAt, CallTimes)>() == 0);
}
