//! What commits, watches and sweeps tell the crates `metrics` and `tracing`.
//!
//! Where neither feature is on, all of this has no size and does nothing, so that nothing of it
//! is left in a build. Where one is, a recorder and a subscriber are code of others: they are
//! called when the turn has been given back, and without a lock.

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

    /// A turn of writing. It tells when it is dropped: after the turn has been given back.
    pub(crate) struct Observed {
        /// `None` where somebody else tells.
        store: Option<&'static str>,
        asked: Instant,
        /// `None` where it had no turn.
        waited: Option<Duration>,
        made: Option<(Revision, Duration)>,
    }

    impl Observed {
        /// To be called before the turn is asked for.
        pub(crate) fn ask(store: Option<&'static str>) -> Observed {
            Observed {
                store,
                asked: Instant::now(),
                waited: None,
                made: None,
            }
        }

        /// Notes that the turn has come.
        pub(crate) fn begin(&mut self) {
            self.waited = Some(self.asked.elapsed());
        }

        /// Notes that a commit has led from one revision to another, and the turn is over.
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

    /// The metric of a kind of store. A label that is a literal is allocated by nobody; one that
    /// is not, by each call.
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

    /// When a call was put into the queue of a worker.
    #[cfg(feature = "worker")]
    pub(crate) struct Asked(Instant);

    /// What the worker tells the caller, who notes it.
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

        /// Notes the turn of a call that was served.
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

    /// Notes that a watch shows what comes after `shown`, where the store is at `head`.
    pub(crate) fn note_event(shown: Revision, head: Revision) {
        #[cfg(feature = "metrics")]
        {
            let behind = head.as_u64().saturating_sub(shown.as_u64());
            #[allow(clippy::cast_precision_loss)] // what recorders take
            ::metrics::histogram!(super::names::WATCH_LAG_REVISIONS).record(behind as f64);
        }
        let _ = (shown, head);
    }

    /// Notes that a watch had fallen behind the log, and was told the state.
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

    /// Notes how many pods a sweep has removed, and how many it withholds.
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
#[allow(clippy::inline_always, clippy::unused_self)] // nothing is to be left of it
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

    // Nothing is left of it: neither a field nor a destructor.
    const _: () = assert!(size_of::<Observed>() == 0 && !std::mem::needs_drop::<Observed>());
    #[cfg(feature = "worker")]
    const _: () = assert!(size_of::<(Asked, Served)>() == 0);
}
