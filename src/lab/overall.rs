//! One ratio for many cells: what a store costs next to another one over a whole
//! scenario, or over the part of it that a question is about.
//!
//! Each cell counts the same: its ratios within the blocks are averaged as
//! logarithms, and so are the cells. The interval comes from drawing whole blocks
//! anew, because what happened to the machine in a block happened to all of its
//! cells. Ratios are turned so that less is better, of throughputs as well.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;

use rand::RngExt;

use super::model::{Cell, Measurement, Report, SummaryRow};
use super::record::Unit;
use super::section::Ratio;
use super::stats::{RESAMPLES, quantile};
use super::summary::samples;
use super::workload::{LabRng, seeded};

/// Of fewer blocks no interval means anything.
pub const FEWEST_BLOCKS: usize = 3;

/// What a unit is about; ratios of different kinds are not averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Times and throughputs.
    Time,
    /// Bytes.
    Memory,
    /// Instructions and allocations, which noise cannot touch.
    Work,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 3] = [Kind::Time, Kind::Memory, Kind::Work];

    /// What a unit is about. Counts, slopes and rates that somebody else set are
    /// about nothing that could be averaged.
    pub fn of(unit: &str) -> Option<Kind> {
        match Unit::named(unit)? {
            Unit::NanosecondsPerOperation | Unit::MillionsPerSecond | Unit::Nanoseconds => {
                Some(Kind::Time)
            }
            Unit::Bytes | Unit::BytesPerService => Some(Kind::Memory),
            Unit::InstructionsPerOperation | Unit::AllocationsPerOperation => Some(Kind::Work),
            Unit::PerSecond | Unit::Count | Unit::Slope => None,
        }
    }

    /// Whether it is counted, so that noise cannot touch it: a few blocks are enough.
    pub const fn is_exact(self) -> bool {
        matches!(self, Kind::Memory | Kind::Work)
    }

    /// How it is called where a scenario has several.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Time => "time",
            Kind::Memory => "memory",
            Kind::Work => "work",
        }
    }
}

/// One ratio for many cells; less is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Overall {
    /// The ratio.
    pub ratio: Ratio,
    /// How many cells it is made of.
    pub cells: usize,
    /// How many blocks they were measured in.
    pub blocks: usize,
}

/// A situation that stores are compared in: a cell without its store.
type Situation<'a> = (usize, usize, &'a str);

fn situation(cell: &Cell) -> Situation<'_> {
    (cell.threads, cell.services, &cell.metric)
}

/// The values of a cell, by block.
type Values = BTreeMap<usize, f64>;

/// The samples of a report, ready to be compared.
#[derive(Debug)]
pub struct Overview<'a> {
    report: &'a Report,
    /// By scenario and by store.
    rows: HashMap<&'a str, HashMap<&'a str, Vec<&'a SummaryRow>>>,
    first: HashMap<&'a Cell, Values>,
    second: HashMap<&'a Cell, Values>,
}

impl<'a> Overview<'a> {
    /// Sorts the samples of a report.
    pub fn new(report: &'a Report) -> Overview<'a> {
        let mut rows: HashMap<&str, HashMap<&str, Vec<&SummaryRow>>> = HashMap::new();
        for row in &report.summary {
            let stores = rows.entry(&row.cell.scenario).or_default();
            stores.entry(&row.cell.store).or_default().push(row);
        }
        let values = |replica| {
            let all = samples(&report.results, replica);
            let values = |own: Vec<&Measurement>| -> Values {
                let own = own.into_iter();
                own.map(|sample| (sample.block, sample.value)).collect()
            };
            all.into_iter()
                .map(|(cell, own)| (cell, values(own)))
                .collect()
        };
        Overview {
            report,
            rows,
            first: values(0),
            second: values(1),
        }
    }

    /// The names of the stores that took part in a scenario, in their order.
    pub fn stores(&self, scenario: &str) -> Vec<&'a str> {
        let all = self.rows.get(scenario);
        let took_part = |name: &&str| all.is_some_and(|all| all.contains_key(name));
        let contenders = self.report.context.contenders.iter();
        contenders
            .map(|contender| contender.name.as_str())
            .filter(took_part)
            .collect()
    }

    fn rows(&self, scenario: &str, store: &str) -> &[&'a SummaryRow] {
        let own = self.rows.get(scenario).and_then(|all| all.get(store));
        own.map_or(&[], Vec::as_slice)
    }

    /// One store next to another in the same blocks, over the cells that both
    /// have and `wanted` wants.
    pub fn versus(
        &self,
        scenario: &str,
        own: &str,
        other: &str,
        wanted: &dyn Fn(&SummaryRow) -> bool,
    ) -> Option<Overall> {
        let theirs = self.rows(scenario, other).iter();
        let theirs: HashMap<_, _> = theirs
            .map(|row| (situation(&row.cell), &row.cell))
            .collect();
        let pairs = self.rows(scenario, own).iter().filter(|row| wanted(row));
        let pairs = pairs.filter_map(|row| Some((*row, *theirs.get(&situation(&row.cell))?)));
        self.pairs(pairs.collect())
    }

    /// The situations that all of these stores were measured in.
    fn common(&self, scenario: &str, stores: &[&str], kind: Kind) -> BTreeSet<Situation<'a>> {
        let own = |store: &&str| -> BTreeSet<Situation<'a>> {
            let rows = self.rows(scenario, store).iter();
            let rows = rows.filter(|row| self.compared(row, kind).is_some());
            rows.map(|row| situation(&row.cell)).collect()
        };
        let mut all = stores.iter().map(own).filter(|own| !own.is_empty());
        let Some(first) = all.next() else {
            return BTreeSet::new();
        };
        all.fold(first, |common, own| {
            common.intersection(&own).copied().collect()
        })
    }

    /// What a row is compared with, where that is the reference of its scenario in
    /// the same situation.
    fn compared(&self, row: &SummaryRow, kind: Kind) -> Option<&'a Cell> {
        let comparison = row.comparison.as_ref()?;
        let run = self.report.run_of(&row.cell.scenario)?;
        let same = comparison.reference == run.reference
            && comparison.reference_threads.is_none()
            && comparison.reference_services.is_none()
            && Kind::of(&row.unit) == Some(kind);
        let metric = comparison.reference_metric.as_ref();
        let cell = Cell {
            store: run.reference.clone(),
            metric: metric.unwrap_or(&row.cell.metric).clone(),
            ..row.cell.clone()
        };
        let (cell, _) = same.then(|| self.first.get_key_value(&cell)).flatten()?;
        Some(cell)
    }

    /// Every store of a scenario next to its reference, over the cells that all of
    /// them have.
    pub fn next_to_reference(&self, scenario: &str, kind: Kind) -> Vec<(&'a str, Overall)> {
        let stores = self.stores(scenario);
        let common = self.common(scenario, &stores, kind);
        let one = |store: &'a str| {
            let rows = self.rows(scenario, store).iter();
            let rows = rows.filter(|row| common.contains(&situation(&row.cell)));
            let pairs = rows.filter_map(|row| Some((*row, self.compared(row, kind)?)));
            Some((store, self.pairs(pairs.collect())?))
        };
        stores.into_iter().filter_map(one).collect()
    }

    fn pairs(&self, pairs: Vec<(&SummaryRow, &Cell)>) -> Option<Overall> {
        let mut logs = Vec::new();
        let mut noise = Vec::new();
        let mut name = String::new();
        for (row, reference) in pairs {
            let sign = match Unit::named(&row.unit) {
                Some(unit) if unit.more_is_better() => -1.0,
                _ => 1.0,
            };
            let theirs = self.first.get(reference);
            let own = ratios(self.first.get(&row.cell), theirs, sign);
            if !own.is_empty() {
                logs.push(own);
                let _ = write!(name, "{:?}{}", row.cell, reference.store);
            }
            // Whichever of the two ran twice tells how far a store is from itself.
            for cell in [&row.cell, reference] {
                let twice = ratios(self.second.get(cell), self.first.get(cell), 1.0);
                if !twice.is_empty() {
                    noise.push(twice);
                }
            }
        }
        let mut rng = self.rng(&name);
        let (ratio, low, high) = estimate(&logs, &mut rng)?;
        let far = |end: f64| end.max(end.recip());
        let floor = estimate(&noise, &mut rng).map_or_else(
            || self.typical_noise(),
            |(_, low, high)| far(low).max(far(high)),
        );
        let blocks: BTreeSet<usize> = logs.iter().flat_map(|own| own.keys().copied()).collect();
        let inside = floor.recip() <= low && high <= floor;
        Some(Overall {
            ratio: Ratio {
                ratio,
                low,
                high,
                equal: (low <= 1.0 && 1.0 <= high) || inside || blocks.len() < FEWEST_BLOCKS,
            },
            cells: logs.len(),
            blocks: blocks.len(),
        })
    }

    /// Where neither of two stores ran twice: the median of all noise floors.
    fn typical_noise(&self) -> f64 {
        let mut floors: Vec<f64> = self.report.noise.iter().map(|noise| noise.floor).collect();
        floors.sort_unstable_by(f64::total_cmp);
        if floors.is_empty() {
            1.0
        } else {
            quantile(&floors, 0.5)
        }
    }

    fn rng(&self, name: &str) -> LabRng {
        let name = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        seeded(self.report.context.seed ^ name)
    }
}

/// The logarithms of the ratios in the blocks that both sides have.
fn ratios(own: Option<&Values>, reference: Option<&Values>, sign: f64) -> Values {
    let (Some(own), Some(reference)) = (own, reference) else {
        return Values::new();
    };
    let ratio = |(block, value): (&usize, &f64)| {
        let ratio = value / reference.get(block)?;
        (ratio.is_finite() && ratio > 0.0).then(|| (*block, sign * ratio.ln()))
    };
    own.iter().filter_map(ratio).collect()
}

/// Cells that were measured in the same blocks, averaged block by block.
struct Group {
    cells: f64,
    /// By the place of the block among all blocks.
    means: Vec<Option<f64>>,
}

/// The geometric mean over all cells, and its interval.
#[allow(clippy::cast_precision_loss)] // counts of cells and blocks
fn estimate(logs: &[Values], rng: &mut LabRng) -> Option<(f64, f64, f64)> {
    let blocks: BTreeSet<usize> = logs.iter().flat_map(|own| own.keys().copied()).collect();
    let blocks: Vec<usize> = blocks.into_iter().collect();
    if blocks.is_empty() {
        return None;
    }
    let mut alike: BTreeMap<Vec<usize>, Vec<&Values>> = BTreeMap::new();
    for own in logs {
        alike
            .entry(own.keys().copied().collect())
            .or_default()
            .push(own);
    }
    let groups: Vec<Group> = alike
        .into_values()
        .map(|own| {
            let cells = own.len() as f64;
            let mean = |block: &usize| {
                let values: Option<Vec<f64>> =
                    own.iter().map(|own| own.get(block).copied()).collect();
                values.map(|values| values.iter().sum::<f64>() / cells)
            };
            Group {
                cells,
                means: blocks.iter().map(mean).collect(),
            }
        })
        .collect();
    let mean = |places: &mut dyn Iterator<Item = usize>| {
        let places: Vec<usize> = places.collect();
        let (mut sum, mut weight) = (0.0, 0.0);
        for group in &groups {
            let drawn = places.iter().filter_map(|place| group.means[*place]);
            let (mut total, mut count) = (0.0, 0.0);
            for value in drawn {
                total += value;
                count += 1.0;
            }
            // A group of which no block was drawn has nothing to say.
            if count > 0.0 {
                sum += group.cells * total / count;
                weight += group.cells;
            }
        }
        (weight > 0.0).then(|| (sum / weight).exp())
    };
    let ratio = mean(&mut (0..blocks.len()))?;
    let mut draws: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| mean(&mut (0..blocks.len()).map(|_| rng.random_range(0..blocks.len()))))
        .collect();
    draws.sort_unstable_by(f64::total_cmp);
    let (low, high) = (quantile(&draws, 0.025), quantile(&draws, 0.975));
    Some((ratio, low.min(ratio), high.max(ratio)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::synthetic::{self, BURST};

    #[test]
    fn cells_count_the_same_and_throughputs_are_turned_round() {
        let report = synthetic::report();
        let overview = Overview::new(&report);
        let all = overview.next_to_reference(BURST, Kind::Time);
        let of = |name: &str| {
            all.iter()
                .find(|(store, _)| *store == name)
                .map(|(_, o)| *o)
        };
        let snapshot = of("SnapshotStore").unwrap();
        // Half the time at reads, twice at writes; the noise is the same for both.
        assert_eq!((snapshot.cells, snapshot.blocks), (2, 7));
        assert!((snapshot.ratio.ratio - 1.0).abs() < 0.02, "{snapshot:?}");
        let worker = of("WorkerStore").unwrap().ratio;
        assert!(
            (worker.ratio - 10.0).abs() < 0.5 && !worker.equal,
            "{worker:?}"
        );
        let faster = overview.next_to_reference(synthetic::SUSTAINED, Kind::Time);
        let (_, faster) = faster
            .iter()
            .find(|(store, _)| *store == "EvmapStore")
            .unwrap();
        assert!((faster.ratio.ratio - 0.25).abs() < 0.02, "{faster:?}");
    }

    #[test]
    fn what_lies_in_the_noise_is_equal() {
        let report = synthetic::report();
        let overview = Overview::new(&report);
        let all = |_: &SummaryRow| true;
        let twin = overview.versus(synthetic::SUSTAINED, "SnapshotStore", "EvmapStore", &all);
        assert!(twin.unwrap().ratio.equal, "{twin:?}");
        let other = overview.versus(BURST, "WorkerStore", "EvmapStore", &all);
        assert!(!other.unwrap().ratio.equal, "{other:?}");
    }

    #[test]
    fn two_blocks_tell_nothing_apart() {
        let mut report = synthetic::report();
        report.results.retain(|sample| sample.block < 2);
        let overview = Overview::new(&report);
        let all = overview.next_to_reference(BURST, Kind::Time);
        assert!(
            all.iter().all(|(_, overall)| overall.ratio.equal),
            "{all:?}"
        );
    }
}
