//! *visibility*: from the end of a write to the first read that sees it.
//!
//! One writer sets the time of one pod's health check to the next number; one
//! reader reads that pod without a pause and takes down when it has first seen
//! each number. When it has, the writer waits for a random moment (so that a write
//! does not always meet a read at the same place) and goes on.
//!
//! By the contract every read that *starts* after a write has returned sees it. So
//! what is left to measure is the read that was under way, and what the machine
//! needs to bring a cache line over. A read may also see a write before its call has
//! returned: that counts as 0, and how often it happened is told.
//!
//! The null store is a bare atomic number here: what the machine needs.

mod layout;

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use rand::RngExt;

use super::latency::{self, Measure, of_reference};
use super::{Effort, Scenario};
use crate::lab::contender::{About, Contender, Null, SnapshotContender};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report};
use crate::lab::open_loop::{beside, nanoseconds, wait_until};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Sample, Unit, histogram};
use crate::lab::run::Scale;
use crate::lab::section::Section;
use crate::lab::workload::{Fleet, LabRng, epoch, shuffled};
use crate::{RegistryView, Result, ServiceInfo, ServiceStatus, StoreError, ThreadSafeMemoryStore};

/// The name of the scenario.
pub(crate) const NAME: &str = "visibility";

/// How many services are registered.
const SERVICES: usize = 1_000;

/// A reader and a writer.
const THREADS: usize = 2;

/// What the others are compared with.
const REFERENCE: &About = &ThreadSafeMemoryStore::ABOUT;

/// The longest that the writer waits before a write.
const PAUSE: Duration = Duration::from_micros(20);

/// After so many reads that saw nothing new the reader lets another thread have
/// its processor: where there is only one, the writer waits for it.
const PATIENCE: u64 = 4_096;

/// How the reader reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `get_service`, a clone.
    Get,
    /// `with_service`, in place.
    With,
    /// In place, through a reader handle.
    Handle,
    /// A new snapshot for each read.
    Snapshot,
}

impl Way {
    const ALL: [Way; 4] = [Way::Get, Way::With, Way::Handle, Way::Snapshot];

    const fn name(self) -> &'static str {
        match self {
            Way::Get => "get_service",
            Way::With => "with_service",
            Way::Handle => "reader.with_service",
            Way::Snapshot => "snapshot",
        }
    }
}

/// What is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    /// From the return of the write, the median.
    Median,
    /// The 99th percentile, which has the curve.
    P99,
    /// From the start of the write, the median.
    FromStart,
    /// Writes of a thousand that were seen before their call had returned.
    Early,
}

impl Figure {
    const ALL: [Figure; 4] = [
        Figure::Median,
        Figure::P99,
        Figure::FromStart,
        Figure::Early,
    ];

    fn metric(self, way: Way) -> String {
        let figure = match self {
            Figure::Median => "p50",
            Figure::P99 => "p99",
            Figure::FromStart => "from_start_p50",
            Figure::Early => "early",
        };
        format!("{}_{figure}", way.name())
    }
}

fn cell(store: &str, way: Way, figure: Figure) -> Cell {
    Cell {
        scenario: NAME.into(),
        store: store.into(),
        threads: THREADS,
        services: SERVICES,
        metric: figure.metric(way),
    }
}

/// For how long each way is measured, and after how many writes it is enough.
fn extent(scale: Scale) -> (Duration, usize) {
    let (milliseconds, writes) = match scale {
        Scale::Smoke => (3, 50),
        Scale::Quick => (10, 1_000),
        Scale::Default => (30, 5_000),
        Scale::Full => (200, 20_000),
    };
    (Duration::from_millis(milliseconds), writes)
}

fn stamp(number: u64) -> SystemTime {
    epoch() + Duration::from_micros(number)
}

fn number(info: &ServiceInfo) -> u64 {
    let at = info.last_health_check().unwrap_or_else(epoch);
    let since = at.duration_since(epoch()).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// What came of watching.
#[derive(Debug)]
struct Watched {
    /// From the return of each write to when it was first seen; 0 where that was
    /// before.
    after: Histogram<u64>,
    /// From the start of the write.
    from_start: Histogram<u64>,
    writes: u64,
    /// Writes that were accepted and seen in their turn: never one of them missed,
    /// none before it was made, and no older one after a newer one.
    right: u64,
    /// Writes that were seen before their call had returned.
    early: u64,
    reads: u64,
    elapsed: Duration,
}

/// How it is watched, made before anything starts.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Plan {
    /// Before each write.
    pauses: Vec<Duration>,
    /// No write is begun after so long.
    window: Duration,
    /// A write that has not been seen after so long never will be.
    watchdog: Duration,
}

impl Plan {
    fn new(scale: Scale, rng: &mut LabRng) -> Plan {
        let (window, writes) = extent(scale);
        let pauses = (0..writes).map(|_| PAUSE.mul_f64(rng.random::<f64>()));
        Plan {
            pauses: pauses.collect(),
            window,
            watchdog: Duration::from_secs(20),
        }
    }
}

/// What the reader has seen, or the last that it will be shown, when there is
/// nothing more to wait for.
const OVER: u64 = u64::MAX;

/// Writes and watches. `post` writes a number, which is greater by one each time,
/// starting with 1; `look` answers with the one that is there.
fn watch(
    plan: &Plan,
    post: impl Fn(u64) -> bool + Sync,
    mut look: impl FnMut() -> Result<u64>,
) -> Result<Watched, Fault> {
    // What the reader has seen last: only then the writer goes on. Its Release
    // stores pair with the Acquire loads of the writer, so that a number is written
    // after the one before has been read.
    let seen = AtomicU64::new(0);
    // The last number, once the writer has ended. It has been seen before, so
    // nothing has to be ordered: Release and Acquire are the habit.
    let last = AtomicU64::new(OVER);
    let (calls, sights) = beside(
        |start| {
            let mut calls = Vec::with_capacity(plan.pauses.len());
            let begin = wait_until(start.wait());
            let mut confirmed = 0;
            for (number, pause) in (1..).zip(&plan.pauses) {
                let resume = Instant::now() + *pause;
                while Instant::now() < resume {
                    std::hint::spin_loop();
                }
                let before = Instant::now();
                let accepted = post(number);
                let after = Instant::now();
                calls.push((before, after, accepted));
                if !accepted || !is_seen(&seen, number, after + plan.watchdog) {
                    break;
                }
                confirmed = number;
                if after - begin >= plan.window {
                    break;
                }
            }
            last.store(confirmed, Release);
            calls
        },
        |start| {
            let warm = look();
            wait_until(start.wait());
            let sights = warm.and_then(|_| sights(plan.pauses.len(), &seen, &last, look));
            // Whatever came of it, nobody waits for this reader any more.
            seen.store(OVER, Release);
            sights
        },
    )?;
    let (sights, reads) = sights?;
    Ok(judge(&calls, &sights, reads))
}

/// Waits until the reader has seen a number; answers whether it has, in time.
fn is_seen(seen: &AtomicU64, number: u64, until: Instant) -> bool {
    for tries in 1_u64.. {
        if seen.load(Acquire) >= number {
            return true;
        }
        std::hint::spin_loop();
        if give_way(tries) && Instant::now() > until {
            return false;
        }
    }
    false
}

/// Reads without a pause, until the last number has been seen; answers with each
/// new number and when it was there, and with how many reads there were.
fn sights(
    most: usize,
    seen: &AtomicU64,
    last: &AtomicU64,
    mut look: impl FnMut() -> Result<u64>,
) -> Result<(Vec<(u64, Instant)>, u64)> {
    let mut sights = Vec::with_capacity(most + 1);
    let (mut newest, mut reads, mut tries) = (0, 0, 0);
    // More numbers than there are come from a store that goes back and forth.
    while newest < last.load(Acquire) && sights.len() <= most {
        let number = look()?;
        reads += 1;
        tries += 1;
        if number == newest {
            give_way(tries);
            continue;
        }
        sights.push((number, Instant::now()));
        newest = number;
        tries = 0;
        seen.fetch_max(number, Release);
    }
    Ok((sights, reads))
}

/// Lets another thread have the processor once in a while; answers whether it was
/// now.
fn give_way(tries: u64) -> bool {
    let now = tries.is_multiple_of(PATIENCE);
    if now {
        std::thread::yield_now();
    }
    now
}

/// Puts calls and sights together.
fn judge(calls: &[(Instant, Instant, bool)], sights: &[(u64, Instant)], reads: u64) -> Watched {
    let mut watched = Watched {
        after: histogram(),
        from_start: histogram(),
        writes: calls.len() as u64,
        right: 0,
        early: 0,
        reads,
        elapsed: Duration::ZERO,
    };
    if let (Some((begin, ..)), Some((_, end))) = (calls.first(), sights.last()) {
        watched.elapsed = end.saturating_duration_since(*begin);
    }
    for (at, (before, after, accepted)) in calls.iter().enumerate() {
        let number = at as u64 + 1;
        let Some((seen, sight)) = sights.get(at) else {
            continue;
        };
        watched.right += u64::from(*accepted && *seen == number && sight >= before);
        watched.early += u64::from(sight < after);
        let since = |moment: &Instant| nanoseconds(sight.saturating_duration_since(*moment));
        watched.after.saturating_record(since(after));
        watched.from_start.saturating_record(since(before));
    }
    watched
}

/// The scenario.
#[derive(Debug)]
pub struct Visibility;

impl Scenario for Visibility {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "from the end of a write to the first read that sees it"
    }

    fn method(&self) -> &'static str {
        "One writer updates the health of one pod of 1,000, again and again; one reader, where it can \
         be on a processor of its own, as in writer-storm, reads that pod without a pause, and the clock is read after the first read that shows the new \
         value. The drop of a clone comes after that, and so delays the next read, as it does for a \
         caller. The writer goes on when the reader has seen it, after a random pause of up to \
         20 µs. Every read that starts after a write has returned sees it, on every store; so what \
         is measured is the read that was under way, and the one after it. A write that was seen \
         before its call had returned counts as 0; how many there were stands beside it. What can \
         be compared between stores is the time from the start of the write, in which a store \
         that publishes late gains nothing by returning late. Reading in place, through a handle \
         and through a new snapshot are rows of their own. Where the system has put both threads on one \
         core, the writer waits until the reader gives way, after 4,096 reads that saw nothing new: \
         samples of more than 4,000 reads a write are counted, and what they show is that wait. The null store is a bare atomic number \
         here: what the machine itself needs."
    }

    fn entrants(&self) -> Vec<About> {
        latency::null_and_shared()
    }

    fn reference(&self) -> &'static About {
        REFERENCE
    }

    fn effort(&self, scale: Scale) -> Effort {
        match scale {
            Scale::Smoke => Effort::new(1, 1, 2),
            Scale::Quick => Effort::new(5, 3, 2),
            Scale::Default => Effort::new(15, 7, 10),
            Scale::Full => Effort::new(15, 7, 40),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> Result<(), Fault> {
        let mut measuring = Measuring { trial, record };
        if trial.store == Null::ABOUT.id {
            return measuring.null();
        }
        latency::measure_one(trial, &mut measuring)
    }

    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        // Times from the return of a write may be 0, and of 0 there is no ratio.
        let ways = [Way::Get, Way::With];
        let mut compared = ways.iter().map(|way| Figure::FromStart.metric(*way));
        if !compared.any(|metric| metric == cell.metric) {
            return None;
        }
        of_reference(cell, REFERENCE)
    }

    fn section(&self, report: &Report) -> Section {
        layout::section(report)
    }
}

struct Measuring<'a> {
    trial: &'a Trial,
    record: &'a mut Recorder,
}

impl Measuring<'_> {
    /// The plan of a way: the same for every contender.
    fn plan(&self, way: Way) -> Plan {
        Plan::new(self.trial.scale, &mut self.trial.rng(way.name()))
    }

    fn take_down(
        &mut self,
        about: &About,
        way: Way,
        watched: &Watched,
        services: Option<(usize, usize)>,
    ) -> Result<(), Fault> {
        let sample = Sample {
            writes: watched.writes,
            hits: watched.right,
            kinds: [("write", watched.writes), ("read", watched.reads)].into(),
            services,
            ..Sample::of(watched.elapsed, watched.writes)
        };
        #[allow(clippy::cast_precision_loss)] // at most a minute
        let median = |times: &Histogram<u64>| times.value_at_quantile(0.5) as f64;
        for figure in Figure::ALL {
            let cell = cell(about.name, way, figure);
            let unit = Unit::Nanoseconds;
            let record = &mut *self.record;
            match figure {
                Figure::Median => record.value(&cell, unit, median(&watched.after), &sample),
                Figure::P99 => record.latency(&cell, 0.99, &watched.after, &sample),
                Figure::FromStart => {
                    record.value(&cell, unit, median(&watched.from_start), &sample)
                }
                Figure::Early => {
                    #[allow(clippy::cast_precision_loss)] // counts far below 2^52
                    let share = watched.early as f64 * 1e3 / watched.writes as f64;
                    record.value(&cell, Unit::Count, share, &sample)
                }
            }?;
        }
        Ok(())
    }

    fn null(&mut self) -> Result<(), Fault> {
        for way in [Way::Get, Way::With] {
            let board = AtomicU64::new(0);
            // Release and Acquire, as a store would.
            let post = |number| {
                board.store(number, Release);
                true
            };
            let watched = watch(&self.plan(way), post, || Ok(board.load(Acquire)))?;
            self.take_down(&Null::ABOUT, way, &watched, None)?;
        }
        Ok(())
    }

    /// Watches a store, which is a new one, through `look`.
    fn watch<C: Contender + Send + Sync>(
        &mut self,
        way: Way,
        store: &C,
        look: impl FnMut() -> Result<u64>,
    ) -> Result<(), Fault> {
        let key = self.key();
        let post = |number: u64| {
            let status = match number % 2 {
                0 => ServiceStatus::Healthy,
                _ => ServiceStatus::Unhealthy,
            };
            let done = store.update_health_status(&key, status, stamp(number));
            done.is_ok()
        };
        let watched = watch(&self.plan(way), post, look)?;
        let services = (store.stats()?.services, SERVICES);
        self.take_down(&C::ABOUT, way, &watched, Some(services))
    }

    /// The pod that is watched.
    fn key(&self) -> String {
        Fleet::key(self.trial.rng("pod").random_range(0..SERVICES))
    }

    fn filled<C: Contender>(&self) -> Result<(C, String)> {
        let store = C::default();
        let order = shuffled(SERVICES, &mut self.trial.rng("order of registration"));
        Fleet::new(SERVICES).fill(&store, &order)?;
        Ok((store, self.key()))
    }
}

impl Measure for Measuring<'_> {
    fn store<C: Contender + Send + Sync>(&mut self) -> Result<(), Fault> {
        let (store, key) = self.filled::<C>()?;
        self.watch(Way::Get, &store, || {
            store.get_service(&key).map(|info| number(&info))
        })?;
        let (store, key) = self.filled::<C>()?;
        self.watch(Way::With, &store, || store.with_service(&key, number))
    }

    fn handles<C: SnapshotContender>(&mut self) -> Result<(), Fault> {
        let (store, key) = self.filled::<C>()?;
        let mut reader = store.open_reader();
        self.watch(Way::Handle, &store, || C::read(&mut reader, &key, number))?;
        let (store, key) = self.filled::<C>()?;
        self.watch(Way::Snapshot, &store, || {
            let snapshot = store.take();
            let found = snapshot.get(&key).map(number);
            found.ok_or_else(|| StoreError::NotFound(key.as_str().into()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::SeqCst;

    use crate::lab::workload::seeded;

    fn plan() -> Plan {
        Plan {
            watchdog: Duration::from_millis(50),
            ..Plan::new(Scale::Smoke, &mut seeded(1))
        }
    }

    #[test]
    fn one_seed_makes_one_plan() {
        let plan = |seed| Plan::new(Scale::Quick, &mut seeded(seed));
        assert_eq!(plan(1), plan(1));
        assert_ne!(plan(1).pauses, plan(2).pauses);
        assert!(plan(1).pauses.iter().all(|pause| *pause <= PAUSE));
    }

    #[test]
    fn every_write_is_seen_in_its_turn() {
        let board = AtomicU64::new(0);
        let post = |number| {
            board.store(number, Release);
            true
        };
        let plan = Plan {
            watchdog: Duration::from_secs(60),
            ..plan()
        };
        let watched = watch(&plan, post, || Ok(board.load(Acquire))).unwrap();
        assert!(watched.writes >= 1 && watched.reads >= watched.writes);
        assert_eq!(watched.right, watched.writes);
        assert_eq!(watched.after.len(), watched.writes);
    }

    #[test]
    fn a_store_that_goes_back_is_noticed() {
        let (board, back) = (AtomicU64::new(0), AtomicBool::new(false));
        let post = |number| {
            board.store(number, SeqCst);
            true
        };
        // Every other look shows the number before.
        let look = || {
            let number = board.load(SeqCst);
            Ok(number - u64::from(back.fetch_xor(true, SeqCst) && number > 0))
        };
        let plan = Plan {
            // All writes, however long they take.
            window: Duration::from_secs(60),
            ..plan()
        };
        let watched = watch(&plan, post, look).unwrap();
        assert!(watched.right < watched.writes, "{watched:?}");
    }

    #[test]
    fn a_write_that_is_never_seen_or_refused_or_a_reader_that_fails_ends_the_watch() {
        let lost = watch(&plan(), |_| true, || Ok(0)).unwrap();
        assert_eq!((lost.right, lost.writes), (0, 1));
        let refused = watch(&plan(), |_| false, || Ok(0)).unwrap();
        assert_eq!((refused.right, refused.writes), (0, 1));
        assert!(watch(&plan(), |_| true, || Err(StoreError::Closed)).is_err());
    }

    #[test]
    fn a_write_that_is_seen_before_it_returns_counts_as_nothing() {
        let now = Instant::now();
        let at = |microseconds| now + Duration::from_micros(microseconds);
        let calls = [(at(0), at(10), true), (at(20), at(30), true)];
        let watched = judge(&calls, &[(1, at(4)), (2, at(37))], 100);
        assert_eq!((watched.early, watched.right), (1, 2));
        assert_eq!((watched.after.min(), watched.after.max()), (0, 7_003));
        assert_eq!(watched.elapsed, Duration::from_micros(37));
        // A sight of what had not been written yet is none.
        assert_eq!(judge(&calls, &[(1, at(4)), (2, at(19))], 100).right, 1);
    }
}
