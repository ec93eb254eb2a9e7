//! *snapshot-scan*: all services at once, while they change.
//!
//! One thread scans without a pause, another one commits small batches without a
//! pause. Three questions: how long a scan takes, what the writer loses by it, and
//! what a scan is worth: whether it shows a state that the store ever had.
//!
//! The last one is answered by counting. There is one writer, and its batches are
//! made beforehand, so the state after each of them is known. Each change of a
//! batch carries the batch's number as its time. A scan in which the newest number
//! is *n* has to show the state after batch *n*, record by record: `Replay`
//! tells whether it does. Where it does not, it is *mixed*, of several moments;
//! and where it shows some changes of one batch, and not the others, it is *torn*.

mod layout;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

use hdrhistogram::Histogram;
use rand::RngExt;

use super::latency::{self, Measure};
use super::{Effort, Scenario};
use crate::lab::contender::{self, About, Contender, SnapshotContender};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report};
use crate::lab::open_loop::{Written, beside, nanoseconds, wait_until};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Sample, Unit, histogram};
use crate::lab::run::Scale;
use crate::lab::section::Section;
use crate::lab::workload::{Fleet, LabRng, Texts, epoch, shuffled};
use crate::{
    Batch, RegistryStore, RegistryView, Result, ServiceInfo, ServiceStatus, ThreadSafeMemoryStore,
};

/// The name of the scenario.
pub(crate) const NAME: &str = "snapshot-scan";

/// What the others are compared with.
const REFERENCE: &About = &ThreadSafeMemoryStore::ABOUT;

/// How many pods take turns: of two neighbours one is registered, and each batch
/// replaces one such pod by the other.
const TURNS: usize = 100;

/// How many pairs of pods a batch updates; the two of a pair always together.
const PAIRS: usize = 3;

/// Batches made for each millisecond of writing. A store that has committed them all
/// before the time is up is done early.
const BATCHES_PER_MILLISECOND: usize = 1_000;

/// How scans are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scan {
    /// `get_all_services`, which clones every record.
    Clone,
    /// An immutable view is taken, and every record of it is looked at.
    View,
}

impl Scan {
    const ALL: [Scan; 2] = [Scan::Clone, Scan::View];

    const fn name(self) -> &'static str {
        match self {
            Scan::Clone => "get_all_services",
            Scan::View => "view",
        }
    }
}

/// What is told of scans, and of the writer beside them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Figure {
    /// The median time of a scan.
    Time(Scan),
    /// The 99th percentile.
    P99(Scan),
    /// Tally of a thousand that show a batch in part.
    Torn(Scan),
    /// Tally of a thousand that show a state that never was.
    Mixed(Scan),
    /// Commits a second while nobody scans.
    Alone,
    /// Commits a second beside the scans.
    Beside(Scan),
}

impl Figure {
    fn metric(self) -> String {
        match self {
            Figure::Time(scan) => scan.name().into(),
            Figure::P99(scan) => format!("{}_p99", scan.name()),
            Figure::Torn(scan) => format!("torn_scans_{}", scan.name()),
            Figure::Mixed(scan) => format!("mixed_scans_{}", scan.name()),
            Figure::Alone => "commits_alone".into(),
            Figure::Beside(scan) => format!("commits_beside_{}", scan.name()),
        }
    }

    fn cell(self, store: &str, services: usize) -> Cell {
        Cell {
            scenario: NAME.into(),
            store: store.into(),
            threads: if self == Figure::Alone { 1 } else { 2 },
            services,
            metric: self.metric(),
        }
    }

    /// The figure that a cell is of.
    fn of(cell: &Cell) -> Option<Figure> {
        let each = |scan| {
            [
                Figure::Time(scan),
                Figure::P99(scan),
                Figure::Torn(scan),
                Figure::Mixed(scan),
                Figure::Beside(scan),
            ]
        };
        let mut all = Scan::ALL.into_iter().flat_map(each);
        let found = all.find(|figure| figure.metric() == cell.metric);
        found.or_else(|| (cell.metric == Figure::Alone.metric()).then_some(Figure::Alone))
    }
}

/// How many services there are, and for how long each part goes on.
fn extent(scale: Scale) -> (usize, Duration) {
    let (services, milliseconds) = match scale {
        Scale::Smoke => (1_000, 3),
        Scale::Quick => (1_000, 10),
        Scale::Default => (10_000, 25),
        Scale::Full => (10_000, 100),
    };
    (services, Duration::from_millis(milliseconds))
}

/// The time that stands for a number of a batch; 0 is the start.
fn stamp(number: u64) -> SystemTime {
    epoch() + Duration::from_micros(number)
}

fn number(stamp: SystemTime) -> u64 {
    let since = stamp.duration_since(epoch()).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The number of a pod, from its key: `service-00042:pod-7` is 427.
fn pod(key: &str) -> Option<usize> {
    let digits = key.bytes().filter(u8::is_ascii_digit);
    let number = digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'));
    (key.len() == "service-00042:pod-7".len()).then_some(number)
}

/// What a batch does: the pods that it updates, the one that it removes and the
/// one that it registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Move {
    pairs: [usize; PAIRS],
    turn: usize,
}

/// Who is there, and what happens to them.
#[derive(Debug)]
struct Churn {
    /// Registered at every moment.
    services: usize,
    moves: Vec<Move>,
}

impl Churn {
    /// Pods that never leave; after them come those that take turns, two for each
    /// that is registered.
    const fn stayers(services: usize) -> usize {
        services - TURNS
    }

    fn new(services: usize, batches: usize, rng: &mut LabRng) -> Churn {
        let pairs = Churn::stayers(services) / 2;
        let moves = (0..batches).map(|_| Move {
            pairs: std::array::from_fn(|_| rng.random_range(0..pairs)),
            turn: rng.random_range(0..TURNS),
        });
        Churn {
            services,
            moves: moves.collect(),
        }
    }

    /// The two pods of a turn.
    const fn turn(&self, turn: usize) -> [usize; 2] {
        let first = Churn::stayers(self.services) + 2 * turn;
        [first, first + 1]
    }

    /// Pods that are ever registered.
    const fn pods(&self) -> usize {
        self.services + TURNS
    }

    fn fill(&self, store: &impl RegistryStore, rng: &mut LabRng) -> Result<()> {
        let stayers = Churn::stayers(self.services);
        let first = (0..TURNS).map(|turn| self.turn(turn)[0]);
        let there: Vec<usize> = (0..stayers).chain(first).collect();
        let order = shuffled(there.len(), rng);
        let order: Vec<usize> = order.into_iter().map(|at| there[at]).collect();
        Fleet::new(self.pods()).fill(store, &order)
    }

    /// The batches, the first of which has number 1.
    fn batches(&self) -> Vec<Batch> {
        let fleet = Fleet::new(self.pods());
        let keys: Texts = (0..self.pods()).map(Fleet::key).collect();
        let mut present = [0; TURNS];
        let batch = |(at, a_move): (usize, &Move)| {
            let number = at as u64 + 1;
            let mut batch = Batch::with_capacity(2 * PAIRS + 2);
            let status = match number % 2 {
                0 => ServiceStatus::Healthy,
                _ => ServiceStatus::Unhealthy,
            };
            for pair in a_move.pairs {
                for pod in [2 * pair, 2 * pair + 1] {
                    batch.update_health_status(keys.get(pod), status, stamp(number));
                }
            }
            let present = &mut present[a_move.turn];
            let pods = self.turn(a_move.turn);
            batch.delete_service(keys.get(pods[*present]));
            *present = 1 - *present;
            batch.save_service(fleet.replacement(pods[*present], number));
            batch
        };
        self.moves.iter().enumerate().map(batch).collect()
    }
}

/// What a scan showed of a pod: the number of the batch that changed it last.
type Seen = Option<u64>;

/// What a scan turned out to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Verdict {
    torn: bool,
    mixed: bool,
}

/// The states that a store went through, one after the other.
#[derive(Debug)]
struct Replay<'a> {
    churn: &'a Churn,
    /// How many batches have been replayed.
    done: u64,
    /// The state after these.
    expected: Vec<Seen>,
    /// What a scan showed; kept to be used again.
    seen: Vec<Seen>,
}

impl Replay<'_> {
    fn new(churn: &Churn) -> Replay<'_> {
        let mut expected = vec![None; churn.pods()];
        expected[..Churn::stayers(churn.services)].fill(Some(0));
        for turn in 0..TURNS {
            expected[churn.turn(turn)[0]] = Some(0);
        }
        Replay {
            churn,
            done: 0,
            seen: vec![None; expected.len()],
            expected,
        }
    }

    /// Judges a scan. Those of one thread have to come in their order: what one
    /// has seen the next one cannot have missed.
    fn judge<'r>(&mut self, scan: impl Iterator<Item = &'r ServiceInfo>) -> Verdict {
        self.seen.fill(None);
        let (mut twice, mut newest) = (false, 0);
        for info in scan {
            let at = pod(info.key().as_str()).filter(|pod| *pod < self.seen.len());
            let Some(at) = at else {
                twice = true;
                continue;
            };
            // A pod that takes turns is saved anew, the others are checked.
            let stamped = if at < Churn::stayers(self.churn.services) {
                info.last_health_check().map_or(0, number)
            } else {
                number(info.registered_at())
            };
            newest = newest.max(stamped);
            twice |= self.seen[at].replace(stamped).is_some();
        }
        self.advance(newest);
        let stayers = Churn::stayers(self.churn.services);
        let pairs = self.seen[..stayers].chunks_exact(2);
        let turns = self.seen[stayers..].chunks_exact(2);
        let torn = twice
            || pairs.into_iter().any(|pair| pair[0] != pair[1])
            || turns
                .into_iter()
                .any(|two| two[0].is_some() == two[1].is_some());
        Verdict {
            torn,
            mixed: torn || self.seen != self.expected,
        }
    }

    fn advance(&mut self, newest: u64) {
        let all = self.churn.moves.len() as u64;
        while self.done < newest.min(all) {
            #[allow(clippy::cast_possible_truncation)] // the place of a move
            let a_move = self.churn.moves[self.done as usize];
            self.done += 1;
            for pair in a_move.pairs {
                self.expected[2 * pair..][..2].fill(Some(self.done));
            }
            let two = self.churn.turn(a_move.turn);
            let there = usize::from(self.expected[two[0]].is_none());
            self.expected[two[there]] = None;
            self.expected[two[1 - there]] = Some(self.done);
        }
    }
}

/// What the scans of a run came to.
#[derive(Debug)]
struct Tally {
    times: Histogram<u64>,
    scans: u64,
    /// How many of them showed as many services as there are.
    whole: u64,
    torn: u64,
    mixed: u64,
    elapsed: Duration,
}

impl Default for Tally {
    fn default() -> Tally {
        Tally {
            times: histogram(),
            scans: 0,
            whole: 0,
            torn: 0,
            mixed: 0,
            elapsed: Duration::ZERO,
        }
    }
}

impl Tally {
    #[allow(clippy::cast_precision_loss)] // counts far below 2^52
    fn per_thousand(&self, count: u64) -> f64 {
        count as f64 * 1e3 / self.scans as f64
    }
}

/// Commits the batches until the time is up, or there are no more of them. What is
/// left of them is dropped by the caller, outside of the time.
fn commit(
    store: &impl RegistryStore,
    batches: &mut std::vec::IntoIter<Batch>,
    begin: Instant,
    window: Duration,
) -> Written {
    let mut written = Written::default();
    // It has its whole time, even where it came late.
    let begin = wait_until(begin);
    let mut now = begin;
    while now < begin + window
        && let Some(batch) = batches.next()
    {
        written.accepted += u64::from(store.commit(batch).is_ok());
        written.writes += 1;
        now = Instant::now();
    }
    written.elapsed = now - begin;
    written
}

/// Commits and scans. A scan is timed, and only then judged, so that the writer is
/// undisturbed for about half of the time.
fn run<S: RegistryStore + Sync, T>(
    store: &S,
    churn: &Churn,
    window: Duration,
    mut scan: impl FnMut() -> Result<T>,
    mut judge: impl FnMut(&T, &mut Replay<'_>) -> (usize, Verdict),
) -> Result<(Written, Tally), Fault> {
    let mut batches = churn.batches().into_iter();
    let done = AtomicBool::new(false);
    let (written, scans) = beside(
        |start| {
            let written = commit(store, &mut batches, start.wait(), window);
            // Relaxed: it says only that no more scans are wanted.
            done.store(true, Relaxed);
            written
        },
        |start| -> Result<Tally> {
            let mut replay = Replay::new(churn);
            let mut scans = Tally::default();
            judge(&scan()?, &mut replay);
            let begin = start.wait();
            wait_until(begin);
            loop {
                let before = Instant::now();
                let all = scan()?;
                scans.times.saturating_record(nanoseconds(before.elapsed()));
                let (found, verdict) = judge(&all, &mut replay);
                scans.scans += 1;
                scans.whole += u64::from(found == churn.services);
                scans.torn += u64::from(verdict.torn);
                scans.mixed += u64::from(verdict.mixed);
                if done.load(Relaxed) {
                    scans.elapsed = begin.elapsed();
                    return Ok(scans);
                }
            }
        },
    )?;
    Ok((written, scans?))
}

/// The scenario.
#[derive(Debug)]
pub struct SnapshotScan;

impl Scenario for SnapshotScan {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "all services at once while they change: time, what writers lose, consistency"
    }

    fn method(&self) -> &'static str {
        "10,000 services (1,000 in a quick run). One thread commits batches as fast as it can, each of \
         which updates three pairs of records, both of a pair alike, and replaces one pod by \
         another, so that there are as many services after it as before. The other thread, where it \
         can be on a processor of its own, as in writer-storm, scans: \
         get_all_services, a clone of every record, and where a store hands out immutable views, \
         also those, whose records are looked at in place; so the two are not the same work. \
         After a scan has been timed, and while the next one waits, it is compared with the \
         states that the store went through, which are all known: a scan is torn where it shows \
         some changes of a batch and not the others, and mixed where it shows a state that the \
         store never had. The commits that the writer reaches are compared with those while \
         nobody scans. Beside scans, how long a scan takes and how many commits there were come \
         from the same run, unlike elsewhere: a clock is read before and after each scan, by the \
         thread that scans, and never by the one whose commits are counted; but a store that makes \
         scans slow has fewer of them in the way of its writer, so that the two figures belong \
         together. A store that applies a batch one by one is not refused here; it is told \
         apart."
    }

    fn entrants(&self) -> Vec<About> {
        contender::shared()
    }

    fn reference(&self) -> &'static About {
        REFERENCE
    }

    fn effort(&self, scale: Scale) -> Effort {
        match scale {
            Scale::Smoke => Effort::new(1, 1, 2),
            Scale::Quick => Effort::new(5, 3, 3),
            Scale::Default => Effort::new(15, 7, 25),
            Scale::Full => Effort::new(15, 7, 80),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> Result<(), Fault> {
        latency::measure_one(trial, &mut Measuring { trial, record })
    }

    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        let of_reference = |figure: Figure| {
            let other = cell.store != REFERENCE.name;
            other.then(|| figure.cell(REFERENCE.name, cell.services))
        };
        match Figure::of(cell)? {
            // What the writer loses.
            Figure::Beside(_) => Some(Figure::Alone.cell(&cell.store, cell.services)),
            figure @ (Figure::Alone | Figure::Time(Scan::Clone) | Figure::P99(Scan::Clone)) => {
                of_reference(figure)
            }
            // A look is no clone; and of what is none or all a ratio says nothing.
            _ => None,
        }
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
    fn services(&self) -> usize {
        extent(self.trial.scale).0
    }

    /// The batches of a part of a process, and a store for it.
    fn part<C: Contender>(&self, part: &str) -> Result<(C, Churn)> {
        let (services, window) = extent(self.trial.scale);
        let mut rng = self.trial.rng(part);
        let milliseconds = usize::try_from(window.as_millis()).unwrap_or(usize::MAX);
        let batches = BATCHES_PER_MILLISECOND * milliseconds;
        let churn = Churn::new(services, batches, &mut rng);
        let store = C::default();
        churn.fill(&store, &mut rng)?;
        Ok((store, churn))
    }

    fn rate<C: Contender>(
        &mut self,
        figure: Figure,
        written: Written,
        store: &C,
    ) -> Result<(), Fault> {
        let services = self.services();
        let sample = Sample {
            writes: written.writes,
            hits: written.accepted,
            kinds: [("commit", written.writes)].into(),
            services: Some((store.stats()?.services, services)),
            ..Sample::of(written.elapsed, written.writes)
        };
        let cell = figure.cell(C::ABOUT.name, services);
        self.record
            .value(&cell, Unit::PerSecond, written.rate(), &sample)
    }

    fn scans<C: Contender + Send + Sync, T>(
        &mut self,
        store: &C,
        churn: &Churn,
        kind: Scan,
        scan: impl FnMut() -> Result<T>,
        judge: impl FnMut(&T, &mut Replay<'_>) -> (usize, Verdict),
    ) -> Result<(), Fault> {
        let (services, window) = extent(self.trial.scale);
        let (written, scans) = run(store, churn, window, scan, judge)?;
        // A consistent scan is whole; of the others it is told how many were not
        // of one state, which is no fault of the measurement.
        let least = scans.scans - scans.mixed;
        let sample = Sample {
            hits: scans.whole,
            expected: least..=scans.scans,
            kinds: [
                (kind.name(), scans.scans),
                ("commit_beside", written.writes),
            ]
            .into(),
            services: Some((store.stats()?.services, services)),
            ..Sample::of(scans.elapsed, scans.scans)
        };
        let cell = |figure: Figure| figure.cell(C::ABOUT.name, services);
        let record = &mut *self.record;
        record.latency(&cell(Figure::Time(kind)), 0.5, &scans.times, &sample)?;
        #[allow(clippy::cast_precision_loss)] // at most a minute
        let p99 = scans.times.value_at_quantile(0.99) as f64;
        record.value(&cell(Figure::P99(kind)), Unit::Nanoseconds, p99, &sample)?;
        for (figure, count) in [
            (Figure::Torn(kind), scans.torn),
            (Figure::Mixed(kind), scans.mixed),
        ] {
            let share = scans.per_thousand(count);
            record.value(&cell(figure), Unit::Count, share, &sample)?;
        }
        self.rate(Figure::Beside(kind), written, store)
    }
}

impl Measure for Measuring<'_> {
    fn store<C: Contender + Send + Sync>(&mut self) -> Result<(), Fault> {
        let (_, window) = extent(self.trial.scale);
        let (store, churn) = self.part::<C>("alone")?;
        let mut batches = churn.batches().into_iter();
        let written = commit(&store, &mut batches, Instant::now(), window);
        self.rate(Figure::Alone, written, &store)?;
        drop(store);
        let (store, churn) = self.part::<C>("beside scans")?;
        self.scans(
            &store,
            &churn,
            Scan::Clone,
            || store.get_all_services(),
            |all, replay| (all.len(), replay.judge(all.iter())),
        )
    }

    fn handles<C: SnapshotContender>(&mut self) -> Result<(), Fault> {
        let (store, churn) = self.part::<C>("beside views")?;
        let look = || {
            let view = store.take();
            let healthy = |info: &&ServiceInfo| info.status() == ServiceStatus::Healthy;
            std::hint::black_box(view.services().filter(healthy).count());
            Ok(view)
        };
        self.scans(&store, &churn, Scan::View, look, |view, replay| {
            (view.stats().services, replay.judge(view.services()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;
    use crate::lab::workload::seeded;

    const SERVICES: usize = 1_000;

    fn churn(seed: u64) -> Churn {
        Churn::new(SERVICES, 50, &mut seeded(seed))
    }

    #[test]
    fn keys_read_back() {
        for at in [0, 9, 427, 99_999] {
            assert_eq!(pod(&Fleet::key(at)), Some(at));
        }
        assert_eq!(pod("web:pod-1"), None);
        assert_eq!(number(stamp(7)), 7);
    }

    #[test]
    fn one_seed_makes_one_churn_and_no_batch_changes_how_many_there_are() {
        assert_eq!(churn(1).moves, churn(1).moves);
        assert_ne!(churn(1).moves, churn(2).moves);
        let (store, churn) = (MemoryStore::new(), churn(1));
        churn.fill(&store, &mut seeded(1)).unwrap();
        for batch in churn.batches() {
            store.commit(batch).unwrap();
            assert_eq!(store.stats().unwrap().services, SERVICES);
        }
    }

    #[test]
    fn every_state_of_a_store_is_one() {
        let (store, churn) = (MemoryStore::new(), churn(1));
        churn.fill(&store, &mut seeded(1)).unwrap();
        let mut replay = Replay::new(&churn);
        let mut judge = || replay.judge(store.get_all_services().unwrap().iter());
        assert_eq!(judge(), Verdict::default());
        for batch in churn.batches() {
            store.commit(batch).unwrap();
            assert_eq!(judge(), Verdict::default());
        }
    }

    /// Applies only a part of the last of so many batches.
    fn partly(batches: usize, changes: impl Fn(usize) -> bool) -> Verdict {
        let (store, churn) = (MemoryStore::new(), churn(1));
        churn.fill(&store, &mut seeded(1)).unwrap();
        let all = churn.batches();
        for batch in &all[..batches - 1] {
            store.commit(batch.clone()).unwrap();
        }
        let mut part = Batch::new();
        for (at, change) in all[batches - 1].changes().iter().enumerate() {
            if changes(at) {
                part.push(change.clone());
            }
        }
        store.commit(part).unwrap();
        Replay::new(&churn).judge(store.get_all_services().unwrap().iter())
    }

    #[test]
    fn half_a_batch_is_torn() {
        let torn = Verdict {
            torn: true,
            mixed: true,
        };
        assert_eq!(partly(20, |at| at == 0), torn);
        // The one that leaves without the one that comes, and the other way round.
        assert_eq!(partly(20, |at| at != 7), torn);
        assert_eq!(partly(20, |at| at != 6), torn);
        assert_eq!(partly(20, |_| true), Verdict::default());
    }

    #[test]
    fn records_of_two_moments_are_mixed_even_where_no_batch_is_torn() {
        let (store, churn) = (MemoryStore::new(), churn(1));
        churn.fill(&store, &mut seeded(1)).unwrap();
        // Everything after the first batch but the batch before it.
        let second = churn.batches().swap_remove(1);
        store.commit(second).unwrap();
        let verdict = Replay::new(&churn).judge(store.get_all_services().unwrap().iter());
        assert!(verdict.mixed && !verdict.torn);
    }

    #[test]
    fn a_record_that_comes_twice_is_torn() {
        let (store, churn) = (MemoryStore::new(), churn(1));
        churn.fill(&store, &mut seeded(1)).unwrap();
        let all = store.get_all_services().unwrap();
        let mut replay = Replay::new(&churn);
        assert!(replay.judge(all.iter().chain(&all[..1])).torn);
        assert!(replay.judge(all[1..].iter()).torn);
    }

    #[test]
    fn scans_beside_a_writer_are_whole_and_one_that_loses_a_record_is_found_out() {
        let churn = Churn::new(SERVICES, 500, &mut seeded(1));
        let scans = |lost: usize| {
            let store = ThreadSafeMemoryStore::new();
            churn.fill(&store, &mut seeded(1)).unwrap();
            let scan = || {
                let mut all = store.get_all_services()?;
                all.truncate(SERVICES - lost);
                Ok(all)
            };
            let judge = |all: &Vec<ServiceInfo>, replay: &mut Replay<'_>| {
                (all.len(), replay.judge(all.iter()))
            };
            let (written, scans) =
                run(&store, &churn, Duration::from_millis(5), scan, judge).unwrap();
            assert_eq!(written.accepted, written.writes);
            assert_eq!(store.stats().unwrap().services, SERVICES);
            scans
        };
        let (whole, lost) = (scans(0), scans(1));
        assert_eq!((whole.whole, whole.torn, whole.mixed), (whole.scans, 0, 0));
        assert_eq!((lost.whole, lost.mixed), (0, lost.scans));
        assert_eq!(whole.times.len(), whole.scans);
    }

    #[test]
    fn figures_are_known_by_their_cells() {
        let figures = [
            Figure::Alone,
            Figure::Beside(Scan::View),
            Figure::Time(Scan::Clone),
            Figure::Mixed(Scan::View),
        ];
        for figure in figures {
            assert_eq!(Figure::of(&figure.cell("x", 10)), Some(figure));
        }
        let beside = Figure::Beside(Scan::View).cell("SnapshotStore", 10);
        let alone = SnapshotScan.compared_with(&beside).unwrap();
        assert_eq!((&*alone.store, alone.threads), ("SnapshotStore", 1));
        let view = Figure::Time(Scan::View).cell("SnapshotStore", 10);
        assert_eq!(SnapshotScan.compared_with(&view), None);
    }
}
