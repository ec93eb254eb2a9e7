//! One ratio for many cells: what a store costs next to another one over a whole
//! scenario, or over the part of it that a question is about.
//!
//! Each cell counts the same: its ratios within the blocks are averaged as
//! logarithms, and so are the cells. What happened to the machine in a block happened
//! to all of its cells: the interval is made of whole blocks, by drawing them anew, or
//! of few by Student's t (see [`stats`](super::stats)). Ratios are turned so that less
//! is better, of throughputs as well.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;

use rand::RngExt;

use super::model::{Cell, Measurement, Report, SummaryRow};
use super::record::Unit;
use super::scenarios;
use super::section::Ratio;
use super::stability::typical_floor;
use super::stats::{FEWEST, Interval, MANY, RESAMPLES, is_equal, quantile, span, student};
use super::summary::samples;
use super::workload::{LabRng, number_of, seeded};

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
    /// In how many blocks each of them was measured, at the fewest.
    pub blocks: usize,
    /// Whether that is enough to tell something apart.
    pub enough: bool,
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
    /// Situations that a scenario compares nobody in, though its reference was
    /// measured there as well, say because values may be 0.
    incomparable: HashSet<(&'a str, Situation<'a>)>,
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
            incomparable: incomparable(report),
            report,
            rows,
            first: values(0),
            second: values(1),
        }
    }

    fn is_comparable(&self, row: &'a SummaryRow) -> bool {
        let situation = (row.cell.scenario.as_str(), situation(&row.cell));
        !self.incomparable.contains(&situation)
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
    /// have, `wanted` wants, and their scenario does compare.
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
        let pairs = self.rows(scenario, own).iter();
        let pairs = pairs.filter(|row| wanted(row) && self.is_comparable(row));
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
        let kind = pairs.first().and_then(|(row, _)| Kind::of(&row.unit));
        let scenario = pairs.first().map(|(row, _)| row.cell.scenario.clone())?;
        let exact = kind.is_some_and(Kind::is_exact);
        let mut logs = Vec::new();
        let mut noise = Vec::new();
        let mut noise_beside = Vec::new();
        let mut name = String::new();
        for (row, other) in pairs {
            let sign = match Unit::named(&row.unit) {
                Some(unit) if unit.more_is_better() => -1.0,
                _ => 1.0,
            };
            let own = ratios(self.first.get(&row.cell), self.first.get(other), sign);
            if !own.is_empty() {
                logs.push(own);
                let _ = write!(name, "{:?}{}", row.cell, other.store);
            }
            // Whichever of the two ran twice tells how far a store is from itself.
            noise.extend(self.twice(&row.cell));
            noise.extend(self.twice(other));
            // Where neither did, the reference of the scenario in the same situation.
            if let Some(reference) = self.reference_beside(row) {
                noise_beside.extend(self.twice(&reference));
            }
        }
        let mut rng = self.rng(&name);
        let logs = those_with_enough(logs, exact);
        let (ratio, interval) = estimate(&logs, &mut rng)?;
        let noise = if noise.is_empty() {
            noise_beside
        } else {
            noise
        };
        let floor = estimate(&those_with_enough(noise, exact), &mut rng).map_or_else(
            || typical_floor(self.report, &scenario, kind).unwrap_or(1.0),
            |(_, interval)| interval.far(),
        );
        let blocks = logs.iter().map(Values::len).min().unwrap_or(0);
        Some(Overall {
            ratio: Ratio {
                ratio,
                low: interval.low,
                high: interval.high,
                equal: is_equal(interval, floor, blocks, exact),
            },
            cells: logs.len(),
            blocks,
            enough: exact || blocks >= FEWEST,
        })
    }

    /// The ratios of the second run of a cell to its first, if it ran twice.
    fn twice(&self, cell: &Cell) -> Option<Values> {
        let twice = ratios(self.second.get(cell), self.first.get(cell), 1.0);
        (!twice.is_empty()).then_some(twice)
    }

    /// The cell of the scenario's reference that belongs to a row: the one that it is
    /// compared with, else the one in its situation.
    fn reference_beside(&self, row: &SummaryRow) -> Option<Cell> {
        let reference = &self.report.run_of(&row.cell.scenario)?.reference;
        let compared = row.reference().filter(|cell| cell.store == *reference);
        Some(compared.unwrap_or_else(|| Cell {
            store: reference.clone(),
            ..row.cell.clone()
        }))
    }

    fn rng(&self, name: &str) -> LabRng {
        let name = number_of(name.bytes());
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

/// Cells of fewer than [`FEWEST`] blocks say nothing beside others that have more.
fn those_with_enough(mut logs: Vec<Values>, exact: bool) -> Vec<Values> {
    if !exact && logs.iter().any(|own| own.len() >= FEWEST) {
        logs.retain(|own| own.len() >= FEWEST);
    }
    logs
}

/// The geometric mean over all cells, and its interval.
#[allow(clippy::cast_precision_loss)] // counts of cells and blocks
fn estimate(logs: &[Values], rng: &mut LabRng) -> Option<(f64, Interval)> {
    let blocks: BTreeSet<usize> = logs.iter().flat_map(|own| own.keys().copied()).collect();
    let blocks: Vec<usize> = blocks.into_iter().collect();
    let fewest = logs.iter().map(Values::len).min()?;
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
    let places: Vec<usize> = (0..blocks.len()).collect();
    let mean = mean_of(&groups, &places)?;
    let interval = if fewest < FEWEST {
        spans(&groups)
    } else if fewest < MANY {
        student(mean, standard_error(&groups), fewest - 1)
    } else {
        let mut draws: Vec<f64> = (0..RESAMPLES)
            .filter_map(|_| {
                let drawn: Vec<usize> = places
                    .iter()
                    .map(|_| rng.random_range(0..places.len()))
                    .collect();
                mean_of(&groups, &drawn)
            })
            .collect();
        draws.sort_unstable_by(f64::total_cmp);
        Interval {
            low: quantile(&draws, 0.025).min(mean),
            high: quantile(&draws, 0.975).max(mean),
        }
    };
    Some((mean.exp(), interval.exp()))
}

/// The mean over all cells in the blocks at these places.
fn mean_of(groups: &[Group], places: &[usize]) -> Option<f64> {
    let (mut sum, mut weight) = (0.0, 0.0);
    for group in groups {
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
    (weight > 0.0).then(|| sum / weight)
}

/// The standard error of the mean over all cells. What a block adds to it is the sum
/// of how far its cells are from their means: cells of one block are not independent.
#[allow(clippy::cast_precision_loss)] // counts of blocks
fn standard_error(groups: &[Group]) -> f64 {
    let weight: f64 = groups.iter().map(|group| group.cells).sum();
    let mut added = vec![0.0; groups.first().map_or(0, |group| group.means.len())];
    for group in groups {
        let known: Vec<f64> = group.means.iter().copied().flatten().collect();
        let n = known.len() as f64;
        let mean = known.iter().sum::<f64>() / n;
        for (added, value) in added.iter_mut().zip(&group.means) {
            *added += value.map_or(0.0, |value| group.cells / weight * (value - mean) / n);
        }
    }
    let n = added.len() as f64;
    let squares: f64 = added.iter().map(|added| added * added).sum();
    (squares * n / (n - 1.0)).sqrt()
}

/// The span of the blocks of each group, averaged.
fn spans(groups: &[Group]) -> Interval {
    let weight: f64 = groups.iter().map(|group| group.cells).sum();
    let mut all = Interval {
        low: 0.0,
        high: 0.0,
    };
    for group in groups {
        let known: Vec<f64> = group.means.iter().copied().flatten().collect();
        let own = span(&known);
        all.low += group.cells / weight * own.low;
        all.high += group.cells / weight * own.high;
    }
    all
}

/// The situations in which a scenario compares nobody with its reference, though that
/// was measured there.
fn incomparable(report: &Report) -> HashSet<(&str, Situation<'_>)> {
    let mut with_reference = HashSet::new();
    let mut compared = HashSet::new();
    for row in &report.summary {
        let cell = &row.cell;
        let situation = (cell.scenario.as_str(), situation(cell));
        let mut known = scenarios::ALL.iter();
        let scenario = known.find(|scenario| scenario.name() == cell.scenario);
        if report
            .run_of(&cell.scenario)
            .is_some_and(|run| run.reference == cell.store)
        {
            with_reference.insert(situation);
        }
        // Of a single block there is no comparison, but the scenario knows.
        if row.comparison.is_some()
            || scenario.is_some_and(|scenario| scenario.compared_with(cell).is_some())
        {
            compared.insert(situation);
        }
    }
    with_reference.retain(|situation| !compared.contains(situation));
    with_reference
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::stats::geometric_mean_interval;
    use crate::lab::summary;
    use crate::lab::synthetic::{self, BURST, REFERENCE};

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

    /// Stores that are not the reference are held against the reference's own noise
    /// in the same situations, never against that of another scenario.
    #[test]
    fn the_noise_of_one_scenario_says_nothing_of_another() {
        let mut report = synthetic::report();
        let all = |_: &SummaryRow| true;
        let apart = |report: &Report| {
            let overview = Overview::new(report);
            let twin = overview.versus(BURST, "SnapshotStore", "dashmap", &all);
            twin.unwrap()
        };
        let quiet = apart(&report);
        assert!(!quiet.ratio.equal, "{quiet:?}");
        // The reference of the other scenario is a hundred times as far from itself.
        for sample in &mut report.results {
            if sample.cell.scenario == synthetic::SUSTAINED && sample.replica == 1 {
                sample.value *= 100.0;
            }
        }
        summary::sum_up(&mut report);
        assert_eq!(apart(&report), quiet);
        // And so is its own.
        for sample in &mut report.results {
            if sample.cell.scenario == BURST && sample.replica == 1 {
                sample.value *= 100.0;
            }
        }
        assert!(apart(&report).ratio.equal);
    }

    #[test]
    fn what_a_scenario_does_not_compare_is_not_compared_here_either() {
        const VISIBILITY: &str = "visibility";
        const NOT_COMPARED: &str = "get_service_p50";
        let mut report = synthetic::report();
        report.context.scenarios[0].name = VISIBILITY.into();
        for sample in &mut report.results {
            let cell = &mut sample.cell;
            if cell.scenario == BURST {
                cell.scenario = VISIBILITY.into();
                cell.metric = match cell.metric.as_str() {
                    "burst_95/5" => "get_service_from_start_p50".into(),
                    _ => NOT_COMPARED.into(),
                };
            }
        }
        let all = |_: &SummaryRow| true;
        let cells = |report: &mut Report| {
            summary::sum_up(report);
            let overview = Overview::new(report);
            let versus = overview.versus(VISIBILITY, "SnapshotStore", "EvmapStore", &all);
            versus.map_or(0, |versus| versus.cells)
        };
        assert_eq!(cells(&mut report), 1);
        // Where the reference has no such figure, none could be compared with it.
        let is_reference = |cell: &Cell| cell.metric == NOT_COMPARED && cell.store == REFERENCE;
        report.results.retain(|sample| !is_reference(&sample.cell));
        assert_eq!(cells(&mut report), 2);
    }

    #[test]
    fn counts_need_no_number_of_blocks() {
        let mut report = synthetic::report();
        report.results.retain(|sample| sample.block < 2);
        for sample in &mut report.results {
            sample.unit = "bytes".into();
        }
        summary::sum_up(&mut report);
        let overview = Overview::new(&report);
        let all = |_: &SummaryRow| true;
        let other = overview.versus(BURST, "WorkerStore", "EvmapStore", &all);
        assert!(other.is_some_and(|other| other.enough && !other.ratio.equal));
    }

    /// With all cells in the same blocks, the mean over them has the interval of the
    /// means of the blocks.
    #[test]
    fn the_interval_over_cells_is_that_of_their_blocks() {
        let cell = |values: [f64; 4]| -> Values { values.into_iter().enumerate().collect() };
        let logs = [cell([0.1, 0.3, 0.2, 0.4]), cell([0.5, 0.1, 0.4, 0.2])];
        let means: Vec<f64> = [0.3_f64, 0.2, 0.3, 0.3].map(f64::exp).into();
        let (ratio, interval) = estimate(&logs, &mut seeded(1)).unwrap();
        let expected = geometric_mean_interval(&means, &mut seeded(1));
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9;
        assert!(near(ratio, 0.275_f64.exp()), "{ratio}");
        assert!(near(interval.low, expected.low) && near(interval.high, expected.high));
    }
}
