//! A run: requests slices from the processes, and collects the results.

use std::collections::{BTreeMap, BTreeSet};
use std::iter::repeat_n;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::child::Task;
use crate::fault::Fault;
use crate::judge;
use crate::machine::{self, Quiet, Used};
use crate::model::{CellId, Context, Interval, Report, Row, SCHEMA_VERSION, Unit, rounded};
use crate::output::progress::Progress;
use crate::plan::{DROP, FEW, FLOORS, Plan, TABLES, USUAL};
use crate::process::{End, Process, Waiting};
use crate::scenario::{Cell, Orchestration, Scenario};
use crate::stage::Slice;
use crate::stats::{Dice, middle};

/// An operation that takes less time than this, in nanoseconds, was not done.
const IMPOSSIBLE: f64 = 0.1;

/// The waiting times of a process with more threads than this are not read: that would take longer
/// than a slice.
const MANY_THREADS: usize = 100;

/// The options of a run.
#[derive(Debug)]
pub struct Run<'a> {
    /// The scenarios, each with all its cells; a process finds them by name and place.
    pub scenarios: Vec<Scenario>,
    /// The cells that are measured: scenario and cell, by index.
    pub cells: Vec<(usize, usize)>,
    /// How long to measure.
    pub plan: Plan,
    /// The seed of all randomness.
    pub seed: u64,
    /// Set when the user wants to stop.
    pub interrupted: &'a AtomicBool,
    /// How long a process may give no answer before it counts as hung.
    pub patience: Duration,
}

impl Run<'_> {
    /// Runs the measurements. Keeps the results from before a fault or an interruption; then
    /// [`Context::ended_early`] has the reason.
    pub fn measure(&self, context: Context, progress: &Progress) -> Report {
        let mut desk = Desk::new(self, context);
        let end = desk.passes(progress);
        progress.finish();
        let mut report = desk.report;
        report.context.ended_early = match end {
            Ok(()) => None,
            Err(End::Interrupted) => Some("interrupted".into()),
            Err(End::Fault(fault)) => Some(fault.0),
        };
        report.rows.retain(|row| row.samples.iter().flatten().flatten().next().is_some());
        report.drop_empty();
        report.context.seconds = (desk.begun.elapsed().as_secs_f64() * 10.0).round() / 10.0;
        judge::complete(&mut report);
        report
    }
}

/// One cell of a run.
#[derive(Debug)]
struct Seat {
    scenario: usize,
    cell: usize,
    id: CellId,
    /// The index of its first row: there is one row per metric and contender.
    rows: usize,
    lives: usize,
    /// The time per contender of its last life.
    each: Duration,
    /// What other programs took of the slices of each contender, twice for the reference.
    lost: BTreeMap<(String, bool), Vec<f64>>,
    /// How much others ran in each slice at most.
    others: Vec<f64>,
}

/// A contender in a life of a cell.
struct Entry {
    contender: String,
    /// Whether it is the second process of the reference.
    again: bool,
    /// `None` after it has ended successfully.
    process: Option<Process>,
    /// The figures of each round, with what others took, if the system reports it.
    slices: Vec<(Slice, Option<f64>)>,
}

/// The state of a run.
struct Desk<'a> {
    run: &'a Run<'a>,
    report: Report,
    seats: Vec<Seat>,
    begun: Instant,
    dice: Dice,
    waiting: Waiting<'a>,
    processors: usize,
    quiet: Quiet,
}

impl<'a> Desk<'a> {
    fn new(run: &'a Run<'a>, context: Context) -> Desk<'a> {
        let mut report = Report { schema_version: SCHEMA_VERSION, context, ..Report::default() };
        let mut seats = Vec::new();
        for (at, scenario) in run.scenarios.iter().enumerate() {
            report.scenarios.push(scenario.begun());
            for &(_, cell) in run.cells.iter().filter(|(own, _)| *own == at) {
                let place = &scenario.cells[cell];
                let id = scenario.id(place);
                seats.push(Seat {
                    scenario: at,
                    cell,
                    id: id.clone(),
                    rows: report.rows.len(),
                    lives: 0,
                    each: Duration::ZERO,
                    lost: BTreeMap::new(),
                    others: Vec::new(),
                });
                report.rows.extend(scenario.rows(place));
            }
        }
        Desk {
            run,
            report,
            seats,
            begun: Instant::now(),
            dice: Dice(run.seed),
            waiting: Waiting { interrupted: run.interrupted, patience: run.patience },
            processors: machine::processors(),
            quiet: Quiet::new(),
        }
    }

    fn passes(&mut self, progress: &Progress) -> Result<(), End> {
        let plan = &self.run.plan;
        for pass in 0..plan.most {
            let mut turns: Vec<(usize, BTreeSet<String>)> = if pass < plan.lives {
                let all = |at: usize| (at, self.everybody(at));
                let counted = |at: &usize| pass > 0 && self.is_counted(*at);
                (0..self.seats.len()).filter(|at| !counted(at)).map(all).collect()
            } else {
                judge::complete(&mut self.report);
                let turn = pass - plan.lives;
                let mut turns = self.needed(turn % TABLES == TABLES - 1);
                if turns.is_empty() {
                    turns = self.needed(true);
                }
                let times = |all: &BTreeSet<_>| if all.len() == 1 { FLOORS } else { 1 };
                turns.into_iter().flat_map(|own| repeat_n(own.clone(), times(&own.1))).collect()
            };
            self.dice.shuffle(&mut turns);
            let mut measured = false;
            for (seat, contenders) in turns {
                let takes = self.seats[seat].each.mul_f64(contenders.len() as f64);
                if self.begun.elapsed() + takes > plan.budget {
                    continue;
                }
                let id = &self.seats[seat].id;
                let what = format!("{}, {}, life {}", id.scenario, id.cell, pass + 1);
                progress.at(&what);
                self.life(seat, &contenders)?;
                measured = true;
            }
            if !measured {
                break;
            }
        }
        Ok(())
    }

    fn scenario(&self, seat: usize) -> &'a Scenario {
        &self.run.scenarios[self.seats[seat].scenario]
    }

    fn everybody(&self, seat: usize) -> BTreeSet<String> {
        let contenders = self.scenario(seat).contenders.iter();
        contenders.map(|id| (*id).to_owned()).collect()
    }

    fn is_counted(&self, seat: usize) -> bool {
        let metrics = &self.scenario(seat).cells[self.seats[seat].cell].metrics;
        metrics.iter().all(|(_, unit)| unit.is_counted())
    }

    /// Returns which contenders need more rounds in which cells: for the questions, for the noise
    /// floors, and, if requested, for the tables.
    fn needed(&self, tables: bool) -> BTreeMap<usize, BTreeSet<String>> {
        let open = judge::open(&self.report);
        let mut needed: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for (at, seat) in self.seats.iter().enumerate().filter(|(at, _)| !self.is_counted(*at)) {
            let scenario = self.scenario(at);
            let mut all = BTreeSet::new();
            let asked = open.iter().filter(|own| own.cells.contains(&seat.id));
            all.extend(asked.flat_map(|own| &own.contenders).cloned());
            for row in self.rows_of(seat) {
                let is_wide = |own: Interval| own.high / own.value > self.run.plan.narrow;
                if judge::floor(row).is_some_and(|floor| floor > scenario.quiet) {
                    all.insert(row.contender.clone());
                }
                if tables && row.ratio.is_some_and(is_wide) {
                    all.extend([row.contender.clone(), scenario.reference.to_owned()]);
                }
            }
            if !all.is_empty() {
                needed.insert(at, all);
            }
        }
        needed
    }

    fn rows_of(&self, seat: &Seat) -> impl Iterator<Item = &Row> {
        let scenario = &self.run.scenarios[seat.scenario];
        let count = scenario.contenders.len() * scenario.cells[seat.cell].metrics.len();
        self.report.rows[seat.rows..seat.rows + count].iter()
    }

    /// Runs a life of a cell: opens its contenders, warms them, lets them do rounds, and ends them.
    /// The finished rounds of an interrupted life count.
    fn life(&mut self, at: usize, contenders: &BTreeSet<String>) -> Result<(), End> {
        let begun = Instant::now();
        let mut entries = Vec::new();
        let end = self.rounds(at, contenders, &mut entries);
        let end = end.map_err(|end| match end {
            End::Interrupted => End::Interrupted,
            End::Fault(fault) => {
                End::Fault(fault.at(&self.seats[at].id.cell).at(&self.seats[at].id.scenario))
            }
        });
        if !matches!(end, Err(End::Fault(_))) {
            self.keep(at, &entries);
        }
        let took = begun.elapsed();
        self.seats[at].each = took.div_f64(contenders.len().max(1) as f64);
        let run = &mut self.report.scenarios[self.seats[at].scenario];
        run.seconds = ((run.seconds + took.as_secs_f64()) * 1e3).round() / 1e3;
        end
    }

    fn rounds(
        &mut self,
        at: usize,
        contenders: &BTreeSet<String>,
        entries: &mut Vec<Entry>,
    ) -> Result<(), End> {
        let scenario = self.scenario(at);
        let cell = &scenario.cells[self.seats[at].cell];
        let counted = self.is_counted(at);
        if !counted {
            self.quiet.look();
        }
        let processors = self.quiet.order();
        let begun = Instant::now();
        let seed = Dice(self.run.seed ^ (self.seats[at].lives as u64) << 32).draw();
        for contender in contenders {
            let task = Task {
                scenario: scenario.name.into(),
                cell: self.seats[at].cell,
                contender: contender.clone(),
                seed,
                processors: processors.clone(),
            };
            let twice = *contender == scenario.reference && !counted;
            for again in [false, true].into_iter().take(1 + usize::from(twice)) {
                entries.push(Entry {
                    contender: contender.clone(),
                    again,
                    process: Some(Process::start(&task).map_err(End::Fault)?),
                    slices: Vec::new(),
                });
            }
        }
        let waiting = self.waiting;
        for process in entries.iter_mut().filter_map(|own| own.process.as_mut()) {
            process.ready(waiting)?;
        }
        let length = self.run.plan.slice(cell);
        let rounds = if counted {
            1
        } else {
            // The first slice of a process warms it.
            self.dice.shuffle(entries);
            let warming = Instant::now();
            for process in entries.iter_mut().filter_map(|own| own.process.as_mut()) {
                process.slice(length / 2, waiting)?;
            }
            let lives = self.seats.iter().map(|own| own.lives).sum();
            let late = self.run.plan.is_behind(self.begun.elapsed(), lives, self.seats.len());
            let round = warming.elapsed() * 2;
            let is_cheap = entries.len() <= FEW && !is_pooled(cell);
            self.run.plan.rounds(is_cheap, warming - begun, round, late)
        };
        let threads = cell.threads + cell.background.as_ref().map_or(0, |own| own.threads);
        let looked_at = !counted && threads <= MANY_THREADS;
        for _ in 0..rounds {
            self.dice.shuffle(entries);
            for entry in entries.iter_mut() {
                let Some(process) = &mut entry.process else {
                    continue;
                };
                let before = looked_at.then(|| Used::by(process.id())).flatten();
                let slice = process.slice(length, waiting)?;
                let after = looked_at.then(|| Used::by(process.id())).flatten();
                possible(&slice, &cell.metrics)
                    .map_err(|fault| End::Fault(fault.at(&entry.contender)))?;
                let lost = before.zip(after).map(|(before, after)| {
                    let threads = cell.working();
                    let [lost, others] = before.lost_until(&after, threads, self.processors);
                    self.seats[at].others.push(others);
                    lost
                });
                entry.slices.push((slice, lost));
            }
        }
        for process in entries.iter_mut().filter_map(|own| own.process.take()) {
            process.finish(waiting)?;
        }
        Ok(())
    }

    /// Adds the slices of a life to the rows, except those that are dropped.
    fn keep(&mut self, at: usize, entries: &[Entry]) {
        let scenario = self.scenario(at);
        let cell = &scenario.cells[self.seats[at].cell];
        let pooled = is_pooled(cell);
        let counted = self.is_counted(at);
        let rounds = entries.iter().map(|own| own.slices.len()).max().unwrap_or(0);
        if rounds == 0 {
            return;
        }
        let seat = &mut self.seats[at];
        seat.lives += 1;
        let run = &mut self.report.scenarios[seat.scenario];
        let mut values: BTreeMap<(&str, bool), Vec<Option<&Slice>>> = BTreeMap::new();
        for entry in entries {
            let key = (entry.contender.clone(), entry.again);
            let known = seat.lost.entry(key).or_default();
            known.extend(entry.slices.iter().filter_map(|(_, lost)| *lost));
            // A few slices do not show what is usual.
            let usual = middle(known.iter().copied()).filter(|_| known.len() >= USUAL);
            let most = usual.unwrap_or(1.0) + DROP;
            let keeps = |lost: Option<f64>| pooled || counted || lost.is_none_or(|own| own <= most);
            let kept = entry.slices.iter().map(|(slice, lost)| keeps(*lost).then_some(slice));
            let mut kept: Vec<Option<&Slice>> = kept.collect();
            run.slices += kept.len() as u64;
            run.dropped += kept.iter().filter(|own| own.is_none()).count() as u64;
            if pooled {
                kept = kept.pop().into_iter().collect();
            } else {
                kept.resize(rounds, None);
            }
            values.insert((&entry.contender, entry.again), kept);
        }
        let contenders = scenario.contenders.len();
        // A single thread runs beside no other.
        let usual = middle(seat.lost.values().flatten().copied()).filter(|_| cell.working() > 1);
        let others = seat.others.iter().sum::<f64>() / seat.others.len() as f64;
        let lost = usual.map(|own| own.min(others.max(0.0)));
        for row in &mut self.report.rows[seat.rows..][..contenders * cell.metrics.len()] {
            row.lost = lost.map(rounded);
        }
        for (metric, _) in cell.metrics.iter().enumerate() {
            let of = |kept: Option<&Vec<Option<&Slice>>>| -> Vec<Option<f64>> {
                let kept = kept.into_iter().flatten();
                kept.map(|slice| slice.map(|own| rounded(own[metric]))).collect()
            };
            for (place, contender) in scenario.contenders.iter().enumerate() {
                let row = &mut self.report.rows[seat.rows + metric * contenders + place];
                row.samples.push(of(values.get(&(*contender, false))));
                if *contender == scenario.reference && !counted {
                    row.again.push(of(values.get(&(*contender, true))));
                }
            }
        }
    }
}

/// Returns whether a cell has one figure per life.
fn is_pooled(cell: &Cell) -> bool {
    matches!(cell.orchestration, Orchestration::OpenLoop { .. })
}

/// Checks whether the figures of a slice are possible.
fn possible(slice: &[f64], metrics: &[(&'static str, Unit)]) -> Result<(), Fault> {
    if slice.len() != metrics.len() {
        let (own, all) = (slice.len(), metrics.len());
        return Err(Fault::new(format!("a slice yielded {own} figures for {all} metrics")));
    }
    for (value, (metric, unit)) in slice.iter().zip(metrics) {
        if !value.is_finite() || *value < 0.0 {
            return Err(Fault::new(format!("{metric} is {value}, which is no figure")));
        }
        if *unit == Unit::NsPerOp && *value < IMPOSSIBLE {
            return Err(Fault::new(format!(
                "{metric}: an operation in {value:.4} ns is less than a tenth of a nanosecond: the \
                 compiler has most likely removed the work, as nothing uses its result (see \
                 std::hint::black_box)"
            )));
        }
    }
    Ok(())
}
