//! What the scenarios have in common in which threads go on until they are told
//! to stop.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Duration;

use crate::lab::contender::{self, About, Contender, Null, SnapshotContender, Visitor};
use crate::lab::fault::Fault;
use crate::lab::gang::Gang;
use crate::lab::model::{Cell, Report, SummaryRow};
use crate::lab::process::Trial;
use crate::lab::record::Sample;
use crate::lab::section::{
    Axis, Block, Colour, Entry, LineChart, Point, Quantity, Series, Table, TableRow, capitalised,
};
use crate::lab::window::Span;
use crate::lab::workload::laps::{Call, Deal, Kinds, Lap, MOST_THREADS, Wardrobe};
use crate::{RegistryStore, ServiceInfo, ThreadSafeMemoryStore};

/// What the others are compared with.
pub(super) const REFERENCE: &About = &ThreadSafeMemoryStore::ABOUT;

/// The null store, which shows what a scenario costs by itself, and the contenders
/// that threads share.
pub(super) fn entrants() -> Vec<About> {
    std::iter::once(Null::ABOUT)
        .chain(contender::shared())
        .collect()
}

/// The cell of the reference that a cell is compared with.
pub(super) fn compared_with(cell: &Cell) -> Option<Cell> {
    let store = cell.store.as_str();
    (store != REFERENCE.name && store != Null::ABOUT.name).then(|| Cell {
        store: REFERENCE.name.into(),
        ..cell.clone()
    })
}

// --- measuring

/// What is done with the contender of a trial.
pub(super) trait Plan {
    /// Measures a store that threads share.
    fn shared<C: Contender + Send + Sync>(&mut self) -> Result<(), Fault>;

    /// Measures one that hands out readers, too.
    fn snapshots<C: SnapshotContender>(&mut self) -> Result<(), Fault> {
        self.shared::<C>()
    }
}

/// Carries out a plan for the contender of the trial.
pub(super) fn carry_out(trial: &Trial, plan: &mut impl Plan) -> Result<(), Fault> {
    struct Visit<'a, P> {
        plan: &'a mut P,
        done: Option<Result<(), Fault>>,
    }
    impl<P: Plan> Visitor for Visit<'_, P> {
        fn local<C: Contender>(&mut self) {}
        fn shared<C: Contender + Send + Sync>(&mut self) {
            self.done = Some(self.plan.shared::<C>());
        }
        fn snapshots<C: SnapshotContender>(&mut self) {
            self.done = Some(self.plan.snapshots::<C>());
        }
    }
    let mut visit = Visit { plan, done: None };
    if trial.store == Null::ABOUT.id {
        visit.shared::<Null>();
    } else {
        contender::visit_one(&trial.store, &mut visit);
    }
    visit.done.unwrap_or_else(|| Err(trial.unknown_store()))
}

/// The numbers of threads: those that were asked for, or `own`.
pub(super) fn threads(trial: &Trial, own: &[usize]) -> Result<Vec<usize>, Fault> {
    let mut threads = trial.threads_or(own);
    threads.sort_unstable();
    threads.dedup();
    let possible = |threads: &usize| (1..=MOST_THREADS).contains(threads);
    if threads.iter().all(possible) {
        return Ok(threads);
    }
    Err(Fault::Measuring(format!(
        "the operations of {} are dealt out to 1 to {MOST_THREADS} threads",
        trial.scenario
    )))
}

/// So many milliseconds, and an eighth of it that is cut off before. Where threads
/// outnumber the cores it becomes longer by itself: whoever ends it waits for a turn,
/// too.
pub(super) fn span(milliseconds: u64) -> Span {
    let window = Duration::from_millis(milliseconds);
    Span {
        ramp: window / 8,
        window,
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// So many threads. Where each can have a core, they tell when others took it away.
fn gang(threads: usize) -> Result<Gang, Fault> {
    let gang = Gang::new(threads)?;
    Ok(if threads > cores() {
        gang
    } else {
        gang.watching()
    })
}

/// Threads by their number, started when they are first needed; and the records
/// that they register.
#[derive(Default)]
pub(super) struct Stage {
    gangs: BTreeMap<usize, Gang>,
    wardrobe: Wardrobe,
}

/// How a thread reads.
pub(super) trait Reading<S> {
    /// What each thread opens for itself.
    type Own: Send;

    /// Opens it.
    fn open(store: &S) -> Self::Own;

    /// Reads while the clock runs; answers whether there was something.
    fn read(store: &S, own: &mut Self::Own, key: &str) -> bool;

    /// Reads in the same way while no clock runs; answers whether it was the pod
    /// that was asked for.
    fn finds(store: &S, own: &mut Self::Own, key: &str) -> bool;
}

/// Reads a clone, and drops it: a caller pays for both.
pub(super) struct Cloned;

impl<S: RegistryStore> Reading<S> for Cloned {
    type Own = ();

    fn open(_: &S) {}

    #[inline]
    fn read(store: &S, (): &mut (), key: &str) -> bool {
        store.get_service(key).map(black_box).is_ok()
    }

    fn finds(store: &S, (): &mut (), key: &str) -> bool {
        store.get_service(key).is_ok_and(|pod| is(&pod, key))
    }
}

/// Reads in place.
pub(super) struct Borrowed;

impl<S: RegistryStore> Reading<S> for Borrowed {
    type Own = ();

    fn open(_: &S) {}

    #[inline]
    fn read(store: &S, (): &mut (), key: &str) -> bool {
        store.with_service(key, look).is_ok()
    }

    fn finds(store: &S, (): &mut (), key: &str) -> bool {
        let found = store.with_service(key, |pod| is(pod, key));
        found.unwrap_or(false)
    }
}

/// Reads in place, through a handle of the thread.
pub(super) struct ByReader;

impl<S: SnapshotContender> Reading<S> for ByReader {
    type Own = S::Reader;

    fn open(store: &S) -> S::Reader {
        store.open_reader()
    }

    #[inline]
    fn read(_: &S, reader: &mut S::Reader, key: &str) -> bool {
        S::read(reader, key, look).is_ok()
    }

    fn finds(_: &S, reader: &mut S::Reader, key: &str) -> bool {
        let found = S::read(reader, key, |pod| is(pod, key));
        found.unwrap_or(false)
    }
}

#[inline]
fn look(pod: &ServiceInfo) {
    black_box(pod.status());
}

fn is(pod: &ServiceInfo, key: &str) -> bool {
    **pod.key() == *key
}

/// How many keys are looked up once more when the window is over, to see that the
/// right pods are behind them; by all threads together, and by each at least four.
const CHECKED: usize = 64;

impl Stage {
    /// Has so many threads work through a deal, all on one store that holds the
    /// whole fleet.
    pub(super) fn perform<S: Contender + Send + Sync, R: Reading<S>>(
        &mut self,
        store: &S,
        deal: &Deal,
        (threads, span): (usize, Span),
    ) -> Result<Sample, Fault> {
        let gang = match self.gangs.entry(threads) {
            std::collections::btree_map::Entry::Occupied(gang) => gang.into_mut(),
            std::collections::btree_map::Entry::Vacant(free) => free.insert(gang(threads)?),
        };
        let step = |(lap, own): &mut (Lap<'_>, R::Own)| match lap.next_call() {
            Call::Read(key) => R::read(store, own, key),
            Call::Save(record) => store.save_service(record).is_ok(),
            Call::Check(key, status, at) => store.update_health_status(key, status, at).is_ok(),
        };
        let laps = deal.laps(threads, &mut self.wardrobe);
        let mut window = gang.window(laps, span, |lap| (lap, R::open(store)), step);
        let numbers = window.operations.iter();
        let kinds = numbers
            .zip(&window.work)
            .map(|(numbers, (lap, _))| lap.kinds(numbers))
            .fold(Kinds::default(), Kinds::and);
        let operations = kinds.operations();
        let (hits, expected, services) = if S::ABOUT.is_store() {
            // A single miss, within the window or not, is one too many; and so is a
            // single answer about another pod.
            let hits =
                operations.saturating_sub(window.missed + wrong::<S, R>(store, &mut window.work));
            let services = (store.stats()?.services, deal.fleet().pods);
            (hits, operations, Some(services))
        } else {
            // A measure finds nothing, and accepts everything.
            (kinds.writes(), kinds.writes(), None)
        };
        Ok(Sample {
            writes: kinds.writes(),
            kinds: BTreeMap::from([
                ("read", kinds.reads),
                ("save_service", kinds.saves),
                ("update_health_status", kinds.checks),
            ]),
            hits,
            expected: expected..=expected,
            mix: Some(deal.mix().writes_of(operations, threads)),
            services,
            waited: window.waited,
            ..Sample::of(window.elapsed, operations)
        })
    }
}

/// How many of some keys of each thread, looked up as it has read them all the time,
/// have another pod behind them, or none.
fn wrong<S, R: Reading<S>>(store: &S, work: &mut [(Lap<'_>, R::Own)]) -> u64 {
    let each = CHECKED.div_ceil(work.len()).max(4);
    let mut wrong = 0;
    for (lap, own) in work {
        for key in lap.keys().take(each) {
            wrong += u64::from(!R::finds(store, own, key));
        }
    }
    wrong
}

// --- showing

/// One place on the axis of a panel, and one row of its table.
pub(super) struct Place {
    /// Where it stands.
    pub(super) x: f64,
    /// What it is called.
    pub(super) name: String,
    /// What was measured there, of whichever store.
    pub(super) cell: Cell,
}

/// A chart of throughput and its table: a line a store.
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) note: String,
    pub(super) axis: Axis,
    pub(super) marks: Vec<(f64, String)>,
    /// The head of the first column.
    pub(super) head: &'static str,
    pub(super) places: Vec<Place>,
    pub(super) brief: bool,
}

/// How a table of throughput is read.
pub(super) const NOTE: &str = "Millions of operations a second, of all threads together; more is \
    better. Ratio to ThreadSafeMemoryStore with its 95 % interval, above 1 where more was done; \
    \"=\" where the two cannot be told apart. The null store does nothing: more than that, which \
    has only to fetch the next operation and to count it, nobody can do.";

/// A row of a cell template.
pub(super) fn row<'a>(report: &'a Report, cell: &Cell, about: &About) -> Option<&'a SummaryRow> {
    report.row(&Cell {
        store: about.name.into(),
        ..cell.clone()
    })
}

impl Panel {
    /// Throughput by the number of threads, with a mark at that of the cores.
    #[allow(clippy::cast_precision_loss)] // small numbers
    pub(super) fn by_threads(
        report: &Report,
        title: String,
        threads: &[usize],
        cell: impl Fn(usize) -> Cell,
    ) -> Panel {
        let cores = report.context.machine.cores;
        let places = threads.iter().map(|&threads| Place {
            x: threads as f64,
            name: threads.to_string(),
            cell: cell(threads),
        });
        let places: Vec<Place> = places.collect();
        let words = if cores == 1 { "core" } else { "cores" };
        Panel {
            title,
            note: NOTE.into(),
            axis: Axis {
                label: "threads".into(),
                quantity: Quantity::Number,
                logarithmic: true,
                ticks: ticks(&places),
            },
            marks: vec![(cores as f64, format!("{cores} {words}"))],
            head: "threads",
            places,
            brief: false,
        }
    }

    /// Whether any store was measured there.
    pub(super) fn is_measured(&self, report: &Report, stores: &[(usize, About)]) -> bool {
        let places = self.places.iter();
        let mut pairs = places.flat_map(|place| stores.iter().map(move |store| (place, store)));
        pairs.any(|(place, (_, about))| row(report, &place.cell, about).is_some())
    }

    /// The chart, and its table.
    pub(super) fn blocks(self, report: &Report, stores: &[(usize, About)]) -> [Block; 2] {
        let series = stores.iter().filter_map(|(place, about)| {
            let points = self.places.iter().filter_map(|place| {
                let row = row(report, &place.cell, about)?;
                Some(Point {
                    x: place.x,
                    y: row.value,
                    low: row.value_low,
                    high: row.value_high,
                })
            });
            let points: Vec<Point> = points.collect();
            (!points.is_empty()).then(|| Series {
                name: about.name.into(),
                colour: if about.is_store() {
                    Colour::Contender(*place)
                } else {
                    Colour::Neutral
                },
                joined: true,
                points,
            })
        });
        let series: Vec<Series> = series.collect();
        let rows = self.places.iter().map(|place| TableRow {
            name: place.name.clone(),
            entries: stores
                .iter()
                .map(|(_, about)| {
                    row(report, &place.cell, about).map_or(Entry::Empty, SummaryRow::entry)
                })
                .collect(),
        });
        let heads = stores.iter().map(|(_, about)| about.id.to_owned());
        let table = Table {
            title: self.title.clone(),
            note: self.note,
            head: std::iter::once(self.head.to_owned()).chain(heads).collect(),
            rows: rows.filter(TableRow::is_filled).collect(),
            brief: self.brief,
            intervals: true,
        };
        let chart = LineChart {
            title: self.title,
            x: self.axis,
            y: Axis {
                label: "millions of operations a second, more is better".into(),
                quantity: Quantity::MillionsPerSecond,
                // From one that asks another thread by message to one that only
                // reads it is a factor of a thousand.
                logarithmic: true,
                ticks: Vec::new(),
            },
            marks: self.marks,
            series,
        };
        [Block::Lines(chart), Block::Table(table)]
    }
}

/// A label at every place.
pub(super) fn ticks(places: &[Place]) -> Vec<(f64, String)> {
    let ticks = places.iter();
    ticks.map(|place| (place.x, place.name.clone())).collect()
}

/// The numbers of threads that a scenario was measured with.
pub(super) fn measured_threads(report: &Report, scenario: &str) -> Vec<usize> {
    let rows = report.summary.iter();
    let own = rows.filter(|row| row.cell.scenario == scenario);
    let threads: std::collections::BTreeSet<usize> = own.map(|row| row.cell.threads).collect();
    threads.into_iter().collect()
}

/// The number of threads that says most about a machine with so many cores: the
/// greatest that does not exceed it, or else the smallest.
pub(super) fn at_cores(threads: &[usize], cores: usize) -> Option<usize> {
    let fitting = threads.iter().filter(|&&threads| threads <= cores).max();
    fitting.or(threads.iter().min()).copied()
}

/// How the stores compare with the reference in one cell, in a sentence; none
/// where nothing is compared there.
pub(super) fn comparison(
    report: &Report,
    cell: &Cell,
    stores: &[(usize, About)],
    situation: &str,
) -> Option<String> {
    let compared: Vec<String> = stores
        .iter()
        .filter_map(|(_, about)| {
            let ratio = row(report, cell, about)?.ratio()?;
            Some(match ratio.point() {
                equal if ratio.equal => format!("{} {equal}", about.name),
                times => format!("{} {times} ({})", about.name, ratio.interval()),
            })
        })
        .collect();
    (!compared.is_empty()).then(|| {
        format!(
            "{}, next to {}, so much is done: {}.",
            capitalised(situation),
            REFERENCE.name,
            compared.join(", ")
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::Scenario;
    use super::*;
    use crate::lab::record::{Recorder, Unit};
    use crate::lab::run::Scale;
    use crate::lab::workload::laps::Popularity;
    use crate::lab::workload::{Fleet, Mix, seeded, shuffled};
    use crate::lab::{process, run, scenarios};

    const FLEET: Fleet = Fleet::new(100);

    fn perform<R: Reading<ThreadSafeMemoryStore>>(registered: usize) -> Sample {
        let store = ThreadSafeMemoryStore::new();
        let order = shuffled(FLEET.pods, &mut seeded(1));
        FLEET.fill(&store, &order[..registered]).unwrap();
        let pods = Popularity::uniform(FLEET);
        let deal = Deal::new(FLEET, Mix { writes: 50 }, &pods, &mut seeded(1));
        let how = (3, span(2));
        let mut stage = Stage::default();
        stage.perform::<_, R>(&store, &deal, how).unwrap()
    }

    fn cell() -> Cell {
        Cell {
            scenario: "sustained".into(),
            store: REFERENCE.name.into(),
            threads: 3,
            services: FLEET.pods,
            metric: "throughput_50/50".into(),
        }
    }

    #[test]
    fn a_sample_says_what_was_done_and_a_whole_store_never_misses() {
        let sample = perform::<Cloned>(FLEET.pods);
        let kinds: u64 = sample.kinds.values().sum();
        assert_eq!((kinds, sample.hits), (sample.operations, sample.operations));
        assert_eq!(sample.services, Some((100, 100)));
        let mut record = Recorder::default();
        record
            .sample(&cell(), Unit::MillionsPerSecond, &sample)
            .unwrap();
    }

    #[test]
    fn a_store_that_lacks_pods_ends_the_run() {
        let sample = perform::<Cloned>(40);
        assert!(sample.hits < sample.operations);
        let sampled = Recorder::default().sample(&cell(), Unit::MillionsPerSecond, &sample);
        assert!(matches!(sampled, Err(Fault::Hits { .. })));
    }

    #[test]
    fn a_mix_that_is_off_ends_the_run() {
        let sample = perform::<Cloned>(FLEET.pods);
        let mix = sample.mix.clone().unwrap();
        // Fifty writes too few, or too many, a thread.
        assert!(mix.contains(&sample.writes) && mix.end() - mix.start() <= 300);
        let with = |writes: u64| {
            let sample = Sample {
                writes,
                ..sample.clone()
            };
            Recorder::default().sample(&cell(), Unit::MillionsPerSecond, &sample)
        };
        assert!(with(*mix.start()).is_ok() && with(*mix.end()).is_ok());
        let said = with(mix.end() + 1).unwrap_err();
        assert!(matches!(said, Fault::Writes { .. }));
        let said = said.to_string();
        let expected = format!("{} to {} should have been", mix.start(), mix.end());
        assert!(
            said.starts_with("sustained, ThreadSafeMemoryStore, throughput_50/50"),
            "{said}"
        );
        assert!(said.ends_with(&expected), "{said}");
        // More reads than the mix has are as wrong as fewer.
        if let Some(fewer) = mix.start().checked_sub(1) {
            assert!(matches!(with(fewer), Err(Fault::Writes { .. })));
        }
    }

    /// Always finds a pod, and always the same one.
    struct Astray;

    impl<S: RegistryStore> Reading<S> for Astray {
        type Own = ();

        fn open(_: &S) {}

        fn read(store: &S, own: &mut (), _: &str) -> bool {
            Cloned::read(store, own, &Fleet::key(0))
        }

        fn finds(store: &S, (): &mut (), key: &str) -> bool {
            let found = store.get_service(&Fleet::key(0));
            found.is_ok_and(|pod| is(&pod, key))
        }
    }

    #[test]
    fn answers_about_another_pod_end_the_run() {
        for sample in [
            perform::<Borrowed>(FLEET.pods),
            perform::<Astray>(FLEET.pods),
        ]
        .into_iter()
        .zip([true, false])
        {
            let (sample, right) = sample;
            let sampled = Recorder::default().sample(&cell(), Unit::MillionsPerSecond, &sample);
            assert_eq!(sampled.is_ok(), right, "{sample:?}");
        }
    }

    #[test]
    fn the_null_store_finds_nothing_and_accepts_all() {
        let deal = {
            let pods = Popularity::uniform(FLEET);
            Deal::new(FLEET, Mix { writes: 50 }, &pods, &mut seeded(1))
        };
        let mut stage = Stage::default();
        let sample = stage.perform::<_, Cloned>(&Null::default(), &deal, (2, span(2)));
        let sample = sample.unwrap();
        assert!(0 < sample.hits && sample.hits < sample.operations);
        assert_eq!((sample.hits, sample.services), (sample.writes, None));
    }

    #[test]
    fn threads_beyond_the_cores_count_by_the_nearest_number() {
        assert_eq!(at_cores(&[1, 2, 4, 8], 4), Some(4));
        assert_eq!(at_cores(&[1, 2, 8], 6), Some(2));
        assert_eq!(at_cores(&[8, 30], 2), Some(8));
        assert_eq!(at_cores(&[], 2), None);
    }

    fn steady() -> [&'static dyn Scenario; 3] {
        [
            &scenarios::sustained::Sustained,
            &scenarios::hot_key::HotKey,
            &scenarios::zipf::Zipf,
        ]
    }

    #[test]
    fn a_number_of_threads_that_cannot_be_dealt_to_is_refused() {
        for scenario in steady() {
            for threads in [vec![0], vec![2, MOST_THREADS + 1]] {
                let trial = Trial {
                    scenario: scenario.name().into(),
                    store: REFERENCE.id.into(),
                    scale: Scale::Smoke,
                    seed: 1,
                    block: 0,
                    threads,
                };
                let measured = scenario.measure(&trial, &mut Recorder::default());
                assert!(matches!(measured, Err(Fault::Measuring(_))));
            }
        }
    }

    #[test]
    fn a_run_is_whole_and_its_section_shows_every_cell() {
        for scenario in steady() {
            let settings = run::Settings {
                scale: Scale::Smoke,
                seed: 1,
                scenarios: vec![scenario.name().into()],
                stores: vec!["snapshot".into()],
                threads: vec![1, 3, 3],
                allocator: "",
                command: String::new(),
            };
            let report = run::run(&settings, &process::InProcess).unwrap();
            assert_eq!(crate::lab::check(&report), [""; 0]);
            let section = scenario.section(&report);
            let entries = section.blocks.iter().filter_map(|block| match block {
                Block::Table(table) => Some(&table.rows),
                _ => None,
            });
            let entries = entries.flatten().flat_map(|row| &row.entries);
            let shown = entries.filter(|entry| matches!(entry, Entry::Value { .. }));
            // A chart of write shares says some of it once more.
            assert!(shown.count() >= report.summary.len(), "{}", scenario.name());
            assert!(!section.findings.is_empty());
            let threads = measured_threads(&report, scenario.name());
            assert_eq!(threads, [1, 3]);
        }
    }

    #[test]
    fn other_stores_are_compared_with_the_reference_and_it_with_nothing() {
        for scenario in steady() {
            let other = Cell {
                store: "SnapshotStore".into(),
                ..cell()
            };
            assert_eq!(scenario.compared_with(&other), Some(cell()));
            assert_eq!(scenario.compared_with(&cell()), None);
            let null = Cell {
                store: Null::ABOUT.name.into(),
                ..cell()
            };
            assert_eq!(scenario.compared_with(&null), None);
            assert!(scenario.entrants().contains(&Null::ABOUT));
            assert!(scenario.entrants().contains(REFERENCE));
        }
    }
}
