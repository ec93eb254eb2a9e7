//! *size*: how the cost of an operation grows with the registry.
//!
//! The operations and their loops are those of the scenario *operations*; here
//! they are done at every size from ten services to a million, and what counts is
//! the line that they make. On two logarithmic axes a cost that grows with a power
//! of the size is a straight line, whose slope is the power: 0 for a table, 1 for a
//! list. Caches grow no slower than what they hold, so that a bare hash map has a
//! slope as well, and that is what others are to be compared with.
//!
//! The largest size takes so long to fill that only one block in
//! `LARGE_EVERY` has it, the same ones for all.

mod layout;

use rand::RngExt;

use super::operations::trial::samples;
use super::operations::{Operation, Subject, subjects};
use super::{Effort, Scenario};
use crate::lab::contender::{self, About, Floor};
use crate::lab::fault::Fault;
use crate::lab::model::{Cell, Report};
use crate::lab::process::Trial;
use crate::lab::record::{Recorder, Sample, Unit};
use crate::lab::run::Scale;
use crate::lab::section::Section;
use crate::lab::workload::{Deck, Fleet, LabRng};

/// The name of the scenario.
pub(crate) const NAME: &str = "size";

/// How many services are registered.
pub const SIZES: [usize; 6] = [10, 100, 1_000, 10_000, 100_000, 1_000_000];

/// One block in so many has the largest size in a default run.
const LARGE_EVERY: usize = 8;

/// How many random keys a sample draws from: too many to be learnt.
const KEYS: usize = 1 << 15;

/// Of how many pods at most the keys are ready to be read before the clock starts.
const SWEPT: usize = 1 << 18;

/// What is done at every size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cost {
    /// A read in place, of a pod that is there.
    Hit,
    /// A read of a pod that is not.
    Miss,
    /// A health update.
    Update,
    /// A new pod registers.
    Register,
    /// A pod is removed.
    Remove,
}

impl Cost {
    /// All of them.
    pub const ALL: [Cost; 5] = [
        Cost::Hit,
        Cost::Miss,
        Cost::Update,
        Cost::Register,
        Cost::Remove,
    ];

    /// The name in the rows.
    pub const fn metric(self) -> &'static str {
        match self {
            Cost::Hit => "hit",
            Cost::Miss => "miss",
            Cost::Update => "update",
            Cost::Register => "register",
            Cost::Remove => "remove",
        }
    }

    /// Which operation it is.
    pub const fn operation(self) -> Operation {
        match self {
            Cost::Hit => Operation::WithService,
            Cost::Miss => Operation::Miss,
            Cost::Update => Operation::UpdateHealth,
            Cost::Register => Operation::SaveNew,
            Cost::Remove => Operation::Delete,
        }
    }

    fn of(op: Operation) -> Option<Cost> {
        Cost::ALL.into_iter().find(|cost| cost.operation() == op)
    }

    /// The cell of the cost at a size.
    pub(crate) fn cell(self, store: &str, services: usize) -> Cell {
        Cell {
            scenario: NAME.into(),
            store: store.into(),
            threads: 1,
            services,
            metric: self.metric().into(),
        }
    }

    /// The cell of the slope up to a size.
    pub(crate) fn slope_cell(self, store: &str, largest: usize) -> Cell {
        Cell {
            metric: format!("slope_{}", self.metric()),
            ..self.cell(store, largest)
        }
    }
}

/// The fleet and the keys of one size; for the benches as well.
pub fn deck(services: usize, block: usize, rng: &mut LabRng) -> Deck {
    Deck::of_keys(Fleet::new(services), block as u64, KEYS, SWEPT, rng)
}

/// The sizes of a block.
fn sizes(scale: Scale, block: usize) -> &'static [usize] {
    match scale {
        Scale::Smoke => &SIZES[..3],
        Scale::Quick => &SIZES[..4],
        Scale::Default if block % LARGE_EVERY != LARGE_EVERY / 2 => &SIZES[..5],
        Scale::Default | Scale::Full => &SIZES,
    }
}

/// The slopes are taken up to these sizes, where they were measured.
const SLOPES_TO: [usize; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// The sizes up to which a block has slopes: its largest one, and the one that all
/// blocks have.
fn slopes_to(scale: Scale, block: usize) -> Vec<usize> {
    let largest = |block| sizes(scale, block).last().copied();
    let mut ends: Vec<usize> = [0, block].into_iter().filter_map(largest).collect();
    ends.dedup();
    ends
}

/// The scenario.
#[derive(Debug)]
pub struct Size;

impl Scenario for Size {
    fn name(&self) -> &'static str {
        NAME
    }

    fn about(&self) -> &'static str {
        "how the cost of an operation grows from 10 services to 1,000,000"
    }

    fn method(&self) -> &'static str {
        "Operations of the scenario operations on one thread, at every size: a read in place of a pod \
         that is there, a read of one that is not, a health update, a new pod registered, and a pod \
         removed. Registered and removed are as many pods as there are, at most 4,096: they come in \
         the order of their names, and what a table needs to grow is part of it; they go in random \
         order. Up to 100 services a hundred stores take part one after the other (ten, where a \
         store starts a thread), so that there are enough of them. The slope is that of a straight line through \
         the logarithms of size and cost, fitted by least squares in each block: 0 where the size \
         does not matter, 1 where twice the size costs twice as much. Tables that no longer fit in \
         the caches have a slope as well; the floor, a bare hash map, shows how much of it that is. \
         A quick run goes up to 10,000 services; a default run has 1,000,000 in one block of eight, \
         the fifth, and what was measured in one block alone has no interval and is compared with \
         nothing; a full run has it in all."
    }

    fn entrants(&self) -> Vec<About> {
        let subjects = subjects(|_| true);
        subjects.iter().map(|subject| *subject.about()).collect()
    }

    fn reference(&self) -> &'static About {
        &Floor::ABOUT
    }

    fn effort(&self, scale: Scale) -> Effort {
        match scale {
            Scale::Smoke => Effort::new(1, 1, 2),
            Scale::Quick => Effort::new(5, 3, 4),
            Scale::Default => Effort::new(11, 5, 60),
            Scale::Full => Effort::new(11, 5, 450),
        }
    }

    fn measure(&self, trial: &Trial, record: &mut Recorder) -> Result<(), Fault> {
        let mut subjects = subjects(|id| id == trial.store).into_iter();
        let chosen = subjects.find(|subject| subject.about().id == trial.store);
        let mut subject = chosen.ok_or_else(|| trial.unknown_store())?;
        measure(&mut *subject, trial, record)?;
        // The process ends here: to free a million records would take a second.
        std::mem::forget(subject);
        Ok(())
    }

    fn compared_with(&self, cell: &Cell) -> Option<Cell> {
        // Of slopes a ratio says nothing: they may be 0, or less.
        let is_cost = Cost::ALL.iter().any(|cost| cost.metric() == cell.metric);
        (is_cost && cell.store != Floor::ABOUT.name).then(|| Cell {
            store: Floor::ABOUT.name.into(),
            ..cell.clone()
        })
    }

    fn section(&self, report: &Report) -> Section {
        layout::section(report, &contender::all())
    }
}

fn measure(subject: &mut dyn Subject, trial: &Trial, record: &mut Recorder) -> Result<(), Fault> {
    let ops = Cost::ALL.map(Cost::operation);
    let mut all: Vec<(Cost, usize, Sample)> = Vec::new();
    for &services in sizes(trial.scale, trial.block) {
        let mut rng = trial.rng(&format!("deck of {services}"));
        let deck = deck(services, trial.block, &mut rng);
        let from = rng.random_range(0..KEYS);
        subject.fill(&deck)?;
        samples(
            subject,
            &ops,
            trial.scale,
            &deck,
            from,
            |about, op, sample| {
                let cost = Cost::of(op).expect("only these were asked for");
                all.push((cost, services, sample.clone()));
                record.sample(
                    &cost.cell(about.name, services),
                    Unit::NanosecondsPerOperation,
                    sample,
                )
            },
        )?;
        if services < SIZES[5] {
            subject.empty();
        }
    }
    for largest in slopes_to(trial.scale, trial.block) {
        for cost in Cost::ALL {
            let own = all
                .iter()
                .filter(|(c, size, _)| *c == cost && *size <= largest);
            let own: Vec<(usize, &Sample)> = own.map(|(_, size, s)| (*size, s)).collect();
            let cell = cost.slope_cell(subject.about().name, largest);
            record.value(&cell, Unit::Slope, slope(&own), &sum(&own))?;
        }
    }
    Ok(())
}

/// The slope of the straight line through the logarithms of size and cost, by least
/// squares.
#[allow(clippy::cast_precision_loss)] // far below 2^52
fn slope(samples: &[(usize, &Sample)]) -> f64 {
    let points = samples.iter().map(|(size, sample)| {
        let cost = sample.elapsed.as_nanos().max(1) as f64 / sample.operations as f64;
        ((*size as f64).ln(), cost.ln())
    });
    let points: Vec<(f64, f64)> = points.collect();
    let n = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / n;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / n;
    let covariance: f64 = points
        .iter()
        .map(|(x, y)| (x - mean_x) * (y - mean_y))
        .sum();
    let variance: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    covariance / variance
}

/// All samples that a slope is taken from, as one.
fn sum(samples: &[(usize, &Sample)]) -> Sample {
    let add = |mut all: Sample, one: &Sample| {
        for (kind, n) in &one.kinds {
            *all.kinds.entry(kind).or_default() += n;
        }
        Sample {
            elapsed: all.elapsed + one.elapsed,
            operations: all.operations + one.operations,
            writes: all.writes + one.writes,
            hits: all.hits + one.hits,
            expected: all.expected.start() + one.expected.start()
                ..=all.expected.end() + one.expected.end(),
            services: one.services,
            ..all
        }
    };
    let nothing = Sample::of(std::time::Duration::ZERO, 0);
    samples.iter().fold(nothing, |all, (_, one)| add(all, one))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sample(nanoseconds: u64) -> Sample {
        Sample::of(Duration::from_nanos(nanoseconds), 10)
    }

    #[test]
    fn the_slope_is_the_power_with_which_a_cost_grows() {
        let of = |cost: fn(u64) -> u64| {
            let samples = [10, 100, 1_000, 10_000].map(|size| (size, sample(cost(size as u64))));
            slope(&samples.each_ref().map(|(size, sample)| (*size, sample)))
        };
        assert!((of(|_| 70) - 0.0).abs() < 1e-12);
        assert!((of(|n| 70 * n) - 1.0).abs() < 1e-9);
        assert!((of(|n| 7 * n * n) - 2.0).abs() < 1e-9);
        assert!((of(|n| 1_000_000 / n) + 1.0).abs() < 1e-9);
    }

    #[test]
    fn all_contenders_of_a_block_have_the_same_sizes_and_few_blocks_the_largest() {
        let large = |scale| {
            let has = |block: &usize| sizes(scale, *block).contains(&1_000_000);
            (0..8).filter(has).collect::<Vec<usize>>()
        };
        assert_eq!(large(Scale::Quick), [0; 0]);
        assert_eq!(large(Scale::Default), [4]);
        assert_eq!(large(Scale::Full), [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(slopes_to(Scale::Default, 1), [100_000]);
        assert_eq!(slopes_to(Scale::Default, 4), [100_000, 1_000_000]);
        assert_eq!(slopes_to(Scale::Full, 2), [1_000_000]);
    }

    #[test]
    fn every_contender_hits_and_misses_as_it_should_at_every_size() {
        for about in Size.entrants() {
            let trial = Trial {
                scenario: NAME.into(),
                store: about.id.into(),
                scale: Scale::Smoke,
                seed: 3,
                block: 0,
                threads: Vec::new(),
            };
            let mut record = Recorder::default();
            Size.measure(&trial, &mut record).unwrap();
            let results = record.into_results();
            assert_eq!(results.len(), 5 * 3 + 5, "{}", about.name);
            for result in results {
                let none = result.cell.metric.ends_with("miss");
                let right = if none { 0 } else { result.operations };
                assert_eq!(result.hits, right, "{:?}", result.cell);
            }
        }
    }

    #[test]
    fn slopes_are_not_compared_and_costs_are_with_the_floor() {
        let cell = Cost::Hit.cell("MemoryStore", 10);
        assert_eq!(Size.compared_with(&cell), Some(Cost::Hit.cell("floor", 10)));
        let slope = Cost::Hit.slope_cell("MemoryStore", 10);
        assert_eq!(Size.compared_with(&slope), None);
    }
}
