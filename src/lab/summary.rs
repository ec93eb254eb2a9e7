//! From samples to one row a cell.
//!
//! A value is the median of its blocks. A comparison is the geometric mean of the
//! ratios within each block: times multiply, so their ratios have to be averaged
//! as logarithms (Fleming and Wallace, 1986), and a block that was slow for both
//! sides weighs as much as one that was quick. Two things are equal where the 95 %
//! interval of that mean holds 1, or lies inside the noise floor, which is how far
//! the reference is from itself: see [`is_equal`].
//!
//! Every sample counts. To leave out those in which a thread waited for a processor
//! would be to choose by what the store did, for some make their threads wait; that
//! a cell was disturbed is said, not mended.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::contender;
use super::model::{Cell, Comparison, Measurement, Noise, Report, SummaryRow};
use super::overall::Kind;
use super::run::places;
use super::scenarios;
use super::stats::{geometric_mean, geometric_mean_interval, is_equal, median, median_interval};
use super::targets::targets;
use super::workload::{LabRng, number_of, seeded};

/// A generator of its own for the intervals, so that they do not depend on what
/// the blocks drew, nor on each other's order.
fn rng(seed: u64, cell: &Cell) -> LabRng {
    let text = format!("{cell:?}");
    let name = number_of(text.bytes());
    seeded(seed ^ name)
}

type Samples<'a> = HashMap<&'a Cell, Vec<&'a Measurement>>;

/// The samples of each cell; of the reference those of its first run.
pub(super) fn samples(results: &[Measurement], replica: usize) -> Samples<'_> {
    let mut samples: Samples<'_> = HashMap::new();
    for sample in results.iter().filter(|sample| sample.replica == replica) {
        samples.entry(&sample.cell).or_default().push(sample);
    }
    samples
}

/// Makes everything anew that is made from the samples.
pub(super) fn sum_up(report: &mut Report) {
    let seed = report.context.seed;
    report.noise = noise(seed, &report.results);
    report.summary = summarise(seed, &report.results, &report.noise);
    report.targets = targets(&report.summary, report.context.machine.cores);
}

/// How far each cell of a reference is from itself.
pub(super) fn noise(seed: u64, results: &[Measurement]) -> Vec<Noise> {
    let (first, second) = (samples(results, 0), samples(results, 1));
    let order = in_order(results);
    let twice = order.into_iter().filter_map(|cell| {
        let ratios = paired_ratios(second.get(cell)?, first.get(cell)?);
        let ratio = geometric_mean(&ratios)?;
        let interval = geometric_mean_interval(&ratios, &mut rng(seed, cell));
        Some(Noise {
            cell: cell.clone(),
            ratio,
            ci_low: interval.low,
            ci_high: interval.high,
            floor: interval.far(),
        })
    });
    twice.collect()
}

/// One row a cell, in the order of the scenarios' tables.
pub(super) fn summarise(seed: u64, results: &[Measurement], noise: &[Noise]) -> Vec<SummaryRow> {
    let samples = samples(results, 0);
    let floors: HashMap<&Cell, f64> = noise
        .iter()
        .map(|noise| (&noise.cell, noise.floor))
        .collect();
    let row = |cell: &Cell| {
        let own = samples.get(cell)?;
        let mut rng = rng(seed, cell);
        let values: Vec<f64> = own.iter().map(|sample| sample.value).collect();
        let interval = median_interval(&values, &mut rng);
        let mut after: Vec<usize> = own.iter().filter_map(|s| s.services_after).collect();
        after.sort_unstable();
        Some(SummaryRow {
            value: median(&values),
            unit: own[0].unit.clone(),
            value_low: interval.low,
            value_high: interval.high,
            blocks: own.len(),
            operations: middle(own, |sample| sample.operations),
            writes: middle(own, |sample| sample.writes),
            kinds: kinds(own),
            hits_min: own.iter().map(|sample| sample.hits).min().unwrap_or(0),
            hits_max: own.iter().map(|sample| sample.hits).max().unwrap_or(0),
            hit_rate_min: hit_rates(own).fold(1.0, f64::min),
            hit_rate_max: hit_rates(own).fold(0.0, f64::max),
            services_after: after.get(after.len() / 2).copied(),
            percentiles: percentiles(own),
            undisturbed: own[0].waited.map(|_| {
                let undisturbed = own.iter().filter(|sample| !sample.is_disturbed());
                undisturbed.count()
            }),
            comparison: compare(cell, own, &samples, &floors, &mut rng),
            cell: cell.clone(),
        })
    };
    in_order(results).into_iter().filter_map(row).collect()
}

fn compare(
    cell: &Cell,
    own: &[&Measurement],
    samples: &Samples<'_>,
    floors: &HashMap<&Cell, f64>,
    rng: &mut LabRng,
) -> Option<Comparison> {
    let mut known = scenarios::ALL.iter();
    let scenario = known.find(|scenario| scenario.name() == cell.scenario)?;
    let reference = scenario.compared_with(cell)?;
    let ratios = paired_ratios(own, samples.get(&reference)?);
    // One block says nothing of how far the next one would be, but of a count.
    let exact = Kind::of(&own[0].unit).is_some_and(Kind::is_exact);
    let ratio = geometric_mean(&ratios).filter(|_| ratios.len() > 1 || exact)?;
    let interval = geometric_mean_interval(&ratios, rng);
    let floor = floors.get(&reference).copied().unwrap_or(1.0);
    let other = |differs: bool| differs.then_some(());
    Some(Comparison {
        ratio,
        ci_low: interval.low,
        ci_high: interval.high,
        pairs: ratios.len(),
        equal: is_equal(interval, floor, ratios.len(), exact),
        reference_threads: other(reference.threads != cell.threads).map(|()| reference.threads),
        reference_services: other(reference.services != cell.services).map(|()| reference.services),
        reference_metric: other(reference.metric != cell.metric).map(|()| reference.metric.clone()),
        reference: reference.store,
    })
}

/// The middle one of the samples' counts; of an even number, the upper one of two.
fn middle(own: &[&Measurement], count: impl Fn(&Measurement) -> u64) -> u64 {
    let mut counts: Vec<u64> = own.iter().map(|sample| count(sample)).collect();
    counts.sort_unstable();
    counts.get(counts.len() / 2).copied().unwrap_or(0)
}

/// Operations by kind, over all samples.
pub(super) fn kinds(own: &[&Measurement]) -> BTreeMap<String, u64> {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for sample in own {
        let named = sample.kinds.iter().map(|(kind, n)| (kind.as_str(), *n));
        let reads = sample.operations.saturating_sub(sample.writes);
        let plain = [("read", reads), ("write", sample.writes)];
        let plain = plain.into_iter().filter(|_| sample.kinds.is_empty());
        for (kind, n) in named.chain(plain).filter(|(_, n)| *n > 0) {
            *kinds.entry(kind.into()).or_default() += n;
        }
    }
    kinds
}

/// Which share of its operations hit, of each sample.
#[allow(clippy::cast_precision_loss)] // far fewer than 2^52 operations
pub(super) fn hit_rates(own: &[&Measurement]) -> impl Iterator<Item = f64> {
    own.iter()
        .map(|sample| sample.hits as f64 / sample.operations.max(1) as f64)
}

/// The median of each percentile.
fn percentiles(own: &[&Measurement]) -> Vec<[f64; 2]> {
    let Some(first) = own.first() else {
        return Vec::new();
    };
    let shares = first
        .percentiles
        .iter()
        .map(|[share, _]| *share)
        .enumerate();
    shares
        .map(|(at, share)| {
            let values = own.iter().filter_map(|sample| sample.percentiles.get(at));
            let values: Vec<f64> = values.map(|[_, value]| *value).collect();
            [share, median(&values)]
        })
        .collect()
}

/// All cells: scenarios and contenders in the order of their lists, what is
/// measured in the order in which it was.
pub(super) fn in_order(results: &[Measurement]) -> Vec<&Cell> {
    let scenarios = places();
    let stores = contender::all();
    let store = |cell: &Cell| stores.iter().position(|about| about.name == cell.store);
    let mut metrics: HashMap<(&str, &str), usize> = HashMap::new();
    let mut cells: HashSet<&Cell> = HashSet::new();
    let mut order: Vec<&Cell> = Vec::new();
    for cell in results.iter().map(|sample| &sample.cell) {
        let next = metrics.len();
        metrics
            .entry((&cell.scenario, &cell.metric))
            .or_insert(next);
        if cells.insert(cell) {
            order.push(cell);
        }
    }
    order.sort_by_cached_key(|cell| {
        (
            scenarios.get(cell.scenario.as_str()).copied(),
            cell.services,
            metrics.get(&(&*cell.scenario, &*cell.metric)).copied(),
            cell.threads,
            store(cell),
        )
    });
    order
}

/// The ratio of each block that both sides have: there the two met the same machine.
/// Blocks in which one of them was 0 have none.
pub(super) fn paired_ratios(own: &[&Measurement], reference: &[&Measurement]) -> Vec<f64> {
    let references: HashMap<usize, f64> = reference.iter().map(|m| (m.block, m.value)).collect();
    own.iter()
        .filter_map(|m| Some(m.value / references.get(&m.block)?))
        .filter(|ratio| ratio.is_finite() && *ratio > 0.0)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::synthetic;

    /// Where time decides how many operations a sample has, hits are held against
    /// the sample's own.
    #[test]
    fn samples_of_different_lengths_that_hit_whole_have_a_hit_rate_of_one() {
        let mut results = synthetic::report().results;
        for sample in &mut results {
            sample.operations += sample.block as u64;
            sample.hits = sample.operations;
        }
        let rows = summarise(1, &results, &[]);
        let whole = |row: &SummaryRow| row.hit_rate_min >= 1.0 && row.hit_rate_max <= 1.0;
        assert!(rows.iter().all(whole), "{rows:?}");
        results[0].hits -= 1;
        let rows = summarise(1, &results, &[]);
        assert_eq!(rows.iter().filter(|row| !whole(row)).count(), 1);
    }

    #[test]
    fn what_is_not_told_apart_by_kind_is_read_and_written() {
        let report = synthetic::report();
        let mut samples: Vec<Measurement> = report.results[..3].to_vec();
        for sample in &mut samples {
            (sample.operations, sample.writes) = (10, 1);
        }
        samples[2].kinds = [("scan".to_owned(), 10)].into();
        let kinds = kinds(&samples.iter().collect::<Vec<_>>());
        let said: Vec<(&str, u64)> = kinds.iter().map(|(kind, n)| (&**kind, *n)).collect();
        assert_eq!(said, [("read", 18), ("scan", 10), ("write", 2)]);
    }
}
