//! *instructions*: what an operation does, whatever else the machine does.
//!
//! Times are noisy; how many instructions an operation takes and how often it
//! allocates are not. This is no second clock: an instruction that misses the cache
//! takes as long as a hundred that do not, and a lock that others hold takes none.
//! But two stores, or two versions of one, can be told apart by a single
//! instruction.
//!
//! Allocations are counted by the allocator of the program (see
//! [`counting`](crate::lab::counting)). Instructions are counted by `valgrind
//! --tool=callgrind`, which runs this program once more, with `COUNT` in its
//! environment. There every operation is a call of `counted`: at its start
//! callgrind sets its counts to zero, at its end it writes them down, so that the
//! filling of the store is not in them. The empty loop is counted in the same way,
//! and taken off. A store with a thread of its own is left out, because that thread
//! would be counted while it waits.

use std::collections::BTreeMap;
use std::fs;
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::growth::{colour, head, number};
use super::{Effort, Scenario};
use crate::lab::contender::{self, About, Contender, Floor, Visitor};
use crate::lab::counting::Count;
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report, SummaryRow};
use crate::lab::process::{self, Processes, Trial};
use crate::lab::record::{Recorder, Sample, Unit};
use crate::lab::run::Scale;
use crate::lab::section::{
    Bar, BarChart, BarGroup, Block, Entry, Quantity, Section, Table, TableRow, bare, significant,
    took_part,
};
use crate::lab::workload::{Deck, Fleet, PODS_PER_SERVICE};
use crate::{Result, ServiceInfo};

/// The name of the scenario.
pub(crate) const NAME: &str = "instructions";

/// How many services are registered.
pub const SERVICES: usize = 1_000;

/// How often each operation is done while it is counted.
const TIMES: usize = 1_000;

/// Set in the environment of a process that only has to do what is counted.
const COUNT: &str = "SERVICE_REGISTRY_LAB_COUNT";

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `with_service`, of a pod that is there.
    WithService,
    /// `get_service` of a pod that is there, and the drop of the clone.
    GetService,
    /// `get_service` of a pod that is not there, and the drop of the error.
    Miss,
    /// `get_services_by_name`, of ten pods, and the drop of the clones.
    ByName,
    /// `update_health_status`
    UpdateHealth,
    /// `save_service` of a pod that is registered already.
    SaveReplace,
}

impl Operation {
    /// All of them, in the order in which they are done.
    pub const ALL: [Operation; 6] = [
        Operation::WithService,
        Operation::GetService,
        Operation::Miss,
        Operation::ByName,
        Operation::UpdateHealth,
        Operation::SaveReplace,
    ];

    const fn name(self) -> &'static str {
        match self {
            Operation::WithService => "with_service",
            Operation::GetService => "get_service",
            Operation::Miss => "get_service_miss",
            Operation::ByName => "get_services_by_name",
            Operation::UpdateHealth => "update_health_status",
            Operation::SaveReplace => "save_service_replace",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Operation::WithService => "with_service (borrow)",
            Operation::GetService => "get_service (clone)",
            Operation::Miss => "get_service, missing",
            Operation::ByName => "get_services_by_name, 10",
            Operation::UpdateHealth => "update_health_status",
            Operation::SaveReplace => "save_service, replace",
        }
    }

    const fn is_write(self) -> bool {
        matches!(self, Operation::UpdateHealth | Operation::SaveReplace)
    }
}

/// What is counted of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Instructions.
    Instructions,
    /// Allocations.
    Allocations,
}

impl Axis {
    const ALL: [Axis; 2] = [Axis::Instructions, Axis::Allocations];

    const fn name(self) -> &'static str {
        match self {
            Axis::Instructions => "instructions",
            Axis::Allocations => "allocations",
        }
    }

    const fn unit(self) -> Unit {
        match self {
            Axis::Instructions => Unit::InstructionsPerOperation,
            Axis::Allocations => Unit::AllocationsPerOperation,
        }
    }

    /// The cell of an operation.
    pub fn cell(self, store: &str, op: Operation) -> Cell {
        Cell {
            scenario: NAME.into(),
            store: store.into(),
            threads: 1,
            services: SERVICES,
            metric: format!("{}_{}", self.name(), op.name()),
        }
    }
}

// --- what is counted

/// The one function that callgrind looks for: neither inlined nor generic, and
/// called once for each operation that is counted.
#[inline(never)]
fn counted(run: &mut dyn FnMut() -> u64) -> u64 {
    // Not the last thing that it does: a jump in place of a call would end it.
    black_box(run())
}

/// What callgrind calls it.
const COUNTED: &str = concat!(module_path!(), "::counted");

/// Counts what a closure does, which answers how often it has hit.
type Counter<'a> = dyn FnMut(&mut dyn FnMut() -> u64) -> u64 + 'a;

/// Goes through items and counts the hits.
fn each<I>(items: impl Iterator<Item = I>, mut operation: impl FnMut(I) -> bool) -> u64 {
    let mut hits = 0;
    for item in items {
        hits += u64::from(operation(item));
    }
    hits
}

fn nothing(deck: &Deck, count: &mut Counter<'_>) -> u64 {
    let keys = deck.keys.window(0, TIMES);
    count(&mut || each(keys.iter(), |key| black_box(key).is_empty()))
}

fn replacements(deck: &Deck) -> std::vec::IntoIter<ServiceInfo> {
    let record = |at: usize| {
        let stamp = 1 + deck.stamp(at);
        deck.fleet.replacement(deck.picks[at], stamp)
    };
    (0..TIMES).map(record).collect::<Vec<_>>().into_iter()
}

/// What does the operations.
trait Subject: Sized {
    fn about() -> &'static About;
    fn fill(deck: &Deck) -> Result<Self>;
    fn can(op: Operation) -> bool;
    /// Does an operation [`TIMES`] times, and answers how often it has hit.
    fn run(&mut self, op: Operation, deck: &Deck, count: &mut Counter<'_>) -> u64;
    /// How many services are registered.
    fn services(&self) -> Result<usize>;
}

struct Store<C>(C);

impl<C: Contender> Subject for Store<C> {
    fn about() -> &'static About {
        &C::ABOUT
    }

    fn fill(deck: &Deck) -> Result<Self> {
        let store = C::default();
        deck.fleet.fill(&store, &deck.order)?;
        Ok(Store(store))
    }

    fn can(_: Operation) -> bool {
        true
    }

    fn run(&mut self, op: Operation, deck: &Deck, count: &mut Counter<'_>) -> u64 {
        let store = &self.0;
        let before = store.revision().as_u64();
        let (keys, absent) = (deck.keys.window(0, TIMES), deck.absent.window(0, TIMES));
        let names = deck.names.window(0, TIMES);
        let hits = match op {
            Operation::WithService => count(&mut || {
                each(keys.iter(), |key| {
                    let answer = store.with_service(key, |info| black_box(info.status()));
                    answer.is_ok()
                })
            }),
            Operation::GetService => {
                count(&mut || each(keys.iter(), |key| black_box(store.get_service(key)).is_ok()))
            }
            Operation::Miss => count(&mut || {
                each(absent.iter(), |key| {
                    black_box(store.get_service(key)).is_ok()
                })
            }),
            Operation::ByName => count(&mut || {
                each(names.iter(), |name| {
                    let answer = black_box(store.get_services_by_name(name));
                    answer.is_ok_and(|all| all.len() == PODS_PER_SERVICE)
                })
            }),
            Operation::UpdateHealth => {
                let checks = deck.health_checks(0, TIMES);
                count(&mut || {
                    each(checks.iter(), |check| {
                        let done = store.update_health_status(check.key, check.status, check.at);
                        done.is_ok()
                    })
                })
            }
            Operation::SaveReplace => {
                let mut records = replacements(deck);
                count(&mut || {
                    each(records.by_ref(), |record| {
                        store.save_service(record).is_ok()
                    })
                })
            }
        };
        if !op.is_write() {
            return hits;
        }
        // The revision tells how many of them changed something.
        hits.min(store.revision().as_u64() - before)
    }

    fn services(&self) -> Result<usize> {
        Ok(self.0.stats()?.services)
    }
}

impl Subject for Floor {
    fn about() -> &'static About {
        &Floor::ABOUT
    }

    fn fill(deck: &Deck) -> Result<Self> {
        let mut floor = Floor::default();
        floor.fill(deck.fleet, &deck.order);
        Ok(floor)
    }

    fn can(op: Operation) -> bool {
        op != Operation::ByName
    }

    fn services(&self) -> Result<usize> {
        Ok(self.services.len())
    }

    fn run(&mut self, op: Operation, deck: &Deck, count: &mut Counter<'_>) -> u64 {
        let map = &mut self.services;
        let (keys, absent) = (deck.keys.window(0, TIMES), deck.absent.window(0, TIMES));
        match op {
            Operation::WithService => count(&mut || {
                each(keys.iter(), |key| {
                    map.get(*key).map(|info| black_box(info.status())).is_some()
                })
            }),
            Operation::GetService => count(&mut || {
                each(keys.iter(), |key| {
                    black_box(map.get(*key).cloned()).is_some()
                })
            }),
            Operation::Miss => count(&mut || {
                each(absent.iter(), |key| {
                    black_box(map.get(*key).cloned()).is_some()
                })
            }),
            Operation::ByName => 0,
            Operation::UpdateHealth => {
                let checks = deck.health_checks(0, TIMES);
                count(&mut || {
                    each(checks.iter(), |check| {
                        let info = map.get_mut(check.key);
                        info.is_some_and(|info| {
                            crate::lab::contender::outside::set_health(info, check.status, check.at)
                        })
                    })
                })
            }
            Operation::SaveReplace => {
                let mut records = replacements(deck);
                count(&mut || {
                    each(records.by_ref(), |record| {
                        map.insert(record.key().clone(), record).is_some()
                    })
                })
            }
        }
    }
}

/// What is done, in this order.
fn operations<S: Subject>() -> impl Iterator<Item = Operation> {
    Operation::ALL.into_iter().filter(|op| S::can(*op))
}

fn deck(trial: &Trial) -> Deck {
    let fleet = Fleet::new(SERVICES);
    Deck::new(fleet, trial.block as u64, &mut trial.rng("deck"))
}

// --- counting

/// All of it under callgrind: the empty loop, and each operation.
fn do_what_is_counted<S: Subject>(trial: &Trial) -> std::result::Result<(), Fault> {
    let deck = deck(trial);
    let mut subject = S::fill(&deck)?;
    nothing(&deck, &mut |run| counted(run));
    for op in operations::<S>() {
        subject.run(op, &deck, &mut |run| counted(run));
    }
    Ok(())
}

/// The instructions of the empty loop and of each operation, as this program does
/// them under callgrind; `None` where that is not installed, or cannot run this
/// program.
fn callgrind(trial: &Trial) -> Option<Vec<u64>> {
    let folder = process::scratch(std::process::id());
    fs::create_dir_all(&folder).ok()?;
    let done = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--zero-before={COUNTED}"))
        .arg(format!("--dump-after={COUNTED}"))
        .arg(format!(
            "--callgrind-out-file={}",
            folder.join("out").display()
        ))
        .arg(std::env::current_exe().ok()?)
        .arg(Processes::ARGUMENT)
        .arg(serde_json::to_string(trial).ok()?)
        .env(COUNT, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let dumps = done
        .is_ok_and(|status| status.success())
        .then(|| read(&folder));
    // What cannot be removed is a few kilobytes among the temporary files.
    let _ = fs::remove_dir_all(&folder);
    dumps?
}

/// The counts of the dumps of a folder, in their order.
fn read(folder: &Path) -> Option<Vec<u64>> {
    let mut counts = Vec::new();
    for part in 1.. {
        let Ok(dump) = fs::read_to_string(folder.join(format!("out.{part}"))) else {
            break;
        };
        // The last one is written at the end of the program.
        if dump.contains("desc: Trigger: --dump-after=") {
            counts.push(total(&dump)?);
        }
    }
    Some(counts)
}

/// The count of a dump.
fn total(dump: &str) -> Option<u64> {
    let total = |name: &str| dump.lines().find_map(|line| line.strip_prefix(name));
    total("summary:")
        .or_else(|| total("totals:"))?
        .trim()
        .parse()
        .ok()
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn per_operation(count: u64) -> f64 {
    count as f64 / TIMES as f64
}

fn measure<S: Subject>(trial: &Trial, record: &mut Recorder) -> std::result::Result<(), Fault> {
    if std::env::var_os(COUNT).is_some() {
        return do_what_is_counted::<S>(trial);
    }
    let deck = deck(trial);
    let mut subject = S::fill(&deck)?;
    let without =
        || Fault::Measuring("this program has no allocator that counts: run `cargo lab`".into());
    let mut samples = Vec::new();
    for op in operations::<S>() {
        let (mut allocations, mut counts) = (0, true);
        let hits = subject.run(op, &deck, &mut |run| {
            let count = Count::begin();
            let before = count.as_ref().map(Count::allocations);
            let hits = run();
            match (count, before) {
                (Some(count), Some(before)) => allocations = count.allocations() - before,
                _ => counts = false,
            }
            hits
        });
        if !counts {
            return Err(without());
        }
        let times = TIMES as u64;
        let sample = Sample {
            hits,
            writes: if op.is_write() { times } else { 0 },
            expected: if op == Operation::Miss {
                0..=0
            } else {
                times..=times
            },
            kinds: BTreeMap::from([(op.name(), times)]),
            services: Some((subject.services()?, SERVICES)),
            ..Sample::of(Duration::ZERO, times)
        };
        let cell = Axis::Allocations.cell(S::about().name, op);
        let value = per_operation(allocations.unsigned_abs());
        record.value(&cell, Axis::Allocations.unit(), value, &sample)?;
        samples.push((op, sample));
    }
    drop(subject);
    // How long a thread of a store looks for work before it goes to sleep is luck.
    if trial.scale < Scale::Default || S::about().own_thread {
        return Ok(());
    }
    let Some(counts) = callgrind(trial) else {
        return Ok(());
    };
    // Where the symbols are gone nothing was found, and nothing can be said.
    let Some((nothing, counts)) = counts.split_first() else {
        return Ok(());
    };
    if counts.len() != samples.len() {
        return Err(Fault::Measuring(format!(
            "callgrind counted {} operations of {}",
            counts.len(),
            samples.len()
        )));
    }
    for ((op, sample), count) in samples.iter().zip(counts) {
        let cell = Axis::Instructions.cell(S::about().name, *op);
        let value = per_operation(count.saturating_sub(*nothing));
        record.value(&cell, Axis::Instructions.unit(), value, sample)?;
    }
    Ok(())
}

struct Counts<'a> {
    trial: &'a Trial,
    record: &'a mut Recorder,
    outcome: std::result::Result<(), Fault>,
}

impl Visitor for Counts<'_> {
    fn local<C: Contender>(&mut self) {
        self.outcome = measure::<Store<C>>(self.trial, self.record);
    }
}

/// The scenario.
#[derive(Debug)]
pub struct Instructions;

impl Scenario for Instructions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "instructions and allocations an operation, which no noise can touch"
    }

    fn method(&self) -> &'static str {
        "One thread, 1,000 services, 1,000 calls of each operation on random keys. Allocations are \
         counted by the allocator of the program, of all its threads. Instructions are counted by \
         valgrind (callgrind), which runs the same calls once more; those of the empty loop are \
         taken off, and a store with a thread of its own is left out, because its waiting would be \
         counted. Dropping what a call answers belongs to it here. Both hardly differ from one block to the next: what is left \
         is the luck of the hashers' seeds. An instruction is not a nanosecond: what waits for \
         memory, or for another thread, takes few of them and long."
    }

    fn entrants(&self) -> Vec<About> {
        let stores = contender::all().into_iter().filter(About::is_store);
        std::iter::once(Floor::ABOUT).chain(stores).collect()
    }

    fn reference(&self) -> &'static About {
        &Floor::ABOUT
    }

    fn effort(&self, scale: Scale) -> Effort {
        match scale {
            Scale::Smoke => Effort::new(1, 1, 1),
            Scale::Quick => Effort::new(2, 2, 1),
            Scale::Default => Effort::new(2, 2, 30),
            Scale::Full => Effort::new(3, 2, 30),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> std::result::Result<(), Fault> {
        if trial.store == Floor::ABOUT.id {
            return measure::<Floor>(trial, record);
        }
        let mut counts = Counts {
            trial,
            record,
            outcome: Ok(()),
        };
        if !contender::visit_one(&trial.store, &mut counts) {
            return Err(trial.unknown_store());
        }
        counts.outcome
    }

    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        (cell.store != Floor::ABOUT.name).then(|| Cell {
            store: Floor::ABOUT.name.into(),
            ..cell.clone()
        })
    }

    fn section(&self, report: &Report) -> Section {
        let layout = Layout {
            report,
            stores: took_part(report, NAME, &contender::all()),
        };
        let mut blocks = Vec::new();
        for axis in Axis::ALL {
            if layout.has(axis) {
                blocks.push(Block::Chart(layout.chart(axis)));
                blocks.push(Block::Table(layout.table(axis)));
            }
        }
        Section {
            title: "Instructions and allocations".into(),
            intro: self.method().into(),
            findings: layout.findings(),
            blocks,
        }
    }
}

struct Layout<'a> {
    report: &'a Report,
    stores: Vec<(usize, About)>,
}

impl Layout<'_> {
    fn row(&self, axis: Axis, about: &About, op: Operation) -> Option<&SummaryRow> {
        self.report.row(&axis.cell(about.name, op))
    }

    fn has(&self, axis: Axis) -> bool {
        let mut rows = self.report.summary.iter();
        rows.any(|row| row.cell.scenario == NAME && row.unit == axis.unit().name())
    }

    fn chart(&self, axis: Axis) -> BarChart {
        let groups = Operation::ALL.map(|op| BarGroup {
            label: op.title().into(),
            detail: "1,000 services".into(),
            bars: self
                .stores
                .iter()
                .filter_map(|(place, about)| {
                    let row = self.row(axis, about, op)?;
                    Some(Bar {
                        series: about.name.into(),
                        colour: colour(*place, about),
                        value: row.value,
                        low: row.value_low,
                        high: row.value_high,
                        note: String::new(),
                    })
                })
                .collect(),
        });
        BarChart {
            title: title(axis).into(),
            axis: format!("{} an operation, less is better", axis.name()),
            quantity: Quantity::Number,
            line: None,
            limit: None,
            groups: groups.into(),
        }
    }

    fn table(&self, axis: Axis) -> Table {
        let entry = |row: &SummaryRow| match axis {
            Axis::Instructions => Entry::Value {
                value: significant(row.value),
                ratio: row.ratio(),
                hits: None,
            },
            Axis::Allocations => Entry::Text(bare(row.value)),
        };
        let rows = Operation::ALL.into_iter().map(|op| TableRow {
            name: op.title().into(),
            entries: self
                .stores
                .iter()
                .map(|(_, about)| self.row(axis, about, op).map_or(Entry::Empty, entry))
                .collect(),
        });
        Table {
            title: title(axis).into(),
            note: match axis {
                Axis::Instructions => "With the ratio to the floor.",
                Axis::Allocations => {
                    "Calls that got memory, an operation. An error that names its key allocates."
                }
            }
            .into(),
            head: head("operation", self.stores.iter()),
            rows: rows.filter(TableRow::is_filled).collect(),
            brief: axis == Axis::Instructions,
            intervals: false,
        }
    }

    fn findings(&self) -> Vec<String> {
        let mut findings = Vec::new();
        let op = Operation::WithService;
        let reads = self.stores.iter().filter_map(|(_, about)| {
            let row = self.row(Axis::Instructions, about, op)?;
            Some(format!("{} on {}", significant(row.value), about.name))
        });
        let reads: Vec<String> = reads.collect();
        findings.push(if !reads.is_empty() {
            format!(
                "A read in place takes so many instructions: {}.",
                reads.join(", ")
            )
        } else if ["smoke", "quick"].contains(&self.report.context.effort.as_str()) {
            "Instructions were not counted: a quick run leaves that out.".into()
        } else {
            "Instructions were not counted: valgrind is not installed here, or cannot run this \
             program."
                .into()
        });
        let nothing = number(0);
        let none = self.stores.iter().filter(|(_, about)| {
            let rows = [
                Operation::WithService,
                Operation::GetService,
                Operation::UpdateHealth,
            ]
            .map(|op| self.row(Axis::Allocations, about, op));
            let is_none = |row: &SummaryRow| row.value <= nothing;
            rows.iter().all(|row| row.is_some_and(is_none))
        });
        let none: Vec<&str> = none.map(|(_, about)| about.name).collect();
        if !none.is_empty() {
            findings.push(format!(
                "Reading a pod and updating its health allocate nothing on {}.",
                none.join(", ")
            ));
        }
        findings
    }
}

const fn title(axis: Axis) -> &'static str {
    match axis {
        Axis::Instructions => "Instructions an operation",
        Axis::Allocations => "Allocations an operation",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(store: &str) -> Trial {
        Trial {
            scenario: NAME.into(),
            store: store.into(),
            scale: Scale::Smoke,
            seed: 1,
            block: 0,
            threads: Vec::new(),
        }
    }

    #[test]
    fn every_contender_does_all_that_is_counted_and_hits() {
        struct All;
        fn check<S: Subject>() {
            let deck = deck(&trial(S::about().id));
            let mut subject = S::fill(&deck).unwrap();
            for op in operations::<S>() {
                let mut calls = 0;
                let hits = subject.run(op, &deck, &mut |run| {
                    calls += 1;
                    counted(run)
                });
                let right = if op == Operation::Miss {
                    0
                } else {
                    TIMES as u64
                };
                assert_eq!((calls, hits), (1, right), "{op:?} on {}", S::about().name);
            }
        }
        impl Visitor for All {
            fn local<C: Contender>(&mut self) {
                check::<Store<C>>();
            }
        }
        contender::visit(&mut All);
        check::<Floor>();
        assert_eq!(operations::<Floor>().count(), Operation::ALL.len() - 1);
    }

    #[test]
    fn a_dump_of_callgrind_is_read() {
        let dump = "# callgrind format\nversion: 1\npart: 2\n\ndesc: Trigger: --dump-after=f\n\
                    events: Ir\nsummary: 12345\n\nfn=(1) f\n0 12345\n\ntotals: 12345\n";
        assert_eq!(total(dump), Some(12_345));
        assert_eq!(total("events: Ir\n\ntotals: 7\n"), Some(7));
        assert_eq!(total("events: Ir\n"), None);
    }
}
