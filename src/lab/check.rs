//! Whether a report is whole, and agrees with itself.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::model::{Cell, Measurement, Report, SCHEMA_VERSION, SummaryRow};
use super::overall::Kind;
use super::stats::{Interval, geometric_mean, is_equal, median};
use super::summary::{self, paired_ratios};

/// Checks a report that has been read back: in every block every contender ran
/// once and the reference twice, and measured the same as in the others; medians
/// and ratios are those of the raw rows; intervals are in order and hold what they
/// are about; hits are within their bounds. Answers with everything that is wrong.
pub fn check(report: &Report) -> Vec<String> {
    let mut faults = Vec::new();
    if report.schema_version != SCHEMA_VERSION {
        faults.push(format!("schema_version is {}", report.schema_version));
    }
    faults.extend(report.results.iter().filter_map(check_sample));
    faults.extend(check_processes(report));
    let samples = summary::samples(&report.results, 0);
    let twice = summary::samples(&report.results, 1);
    faults.extend(check_blocks(report, &[&samples, &twice]));
    for cell in samples.keys() {
        match report
            .summary
            .iter()
            .filter(|row| row.cell == **cell)
            .count()
        {
            1 => {}
            rows => faults.push(format!("{cell:?} has {rows} rows in the summary")),
        }
    }
    for noise in &report.noise {
        let (first, second) = (samples.get(&noise.cell), twice.get(&noise.cell));
        let ratios = first
            .zip(second)
            .map(|(first, second)| paired_ratios(second, first));
        let ratio = ratios.and_then(|ratios| geometric_mean(&ratios));
        let interval = Interval {
            low: noise.ci_low,
            high: noise.ci_high,
        };
        let right = ratio.is_some_and(|ratio| near(ratio, noise.ratio));
        if !right || !near(noise.floor, interval.far()) {
            faults.push(format!("not the noise of its samples: {noise:?}"));
        }
    }
    let noise = report.noise.iter();
    let floors = noise.map(|noise| (&noise.cell, noise.floor)).collect();
    for row in &report.summary {
        faults.extend(check_row(row, &samples, &floors));
    }
    faults
}

/// Every cell has a sample in each block of its scenario; where a scenario leaves a
/// size out in some blocks, in each block that measured that size.
fn check_blocks(report: &Report, runs: &[&HashMap<&Cell, Vec<&Measurement>>]) -> Vec<String> {
    let mut faults = Vec::new();
    let mut of_size: HashMap<(&str, usize), HashSet<usize>> = HashMap::new();
    let mut of_scenario: HashMap<&str, HashSet<usize>> = HashMap::new();
    for sample in &report.results {
        let (scenario, services) = (sample.cell.scenario.as_str(), sample.cell.services);
        let blocks = of_size.entry((scenario, services)).or_default();
        blocks.insert(sample.block);
        of_scenario
            .entry(scenario)
            .or_default()
            .insert(sample.block);
    }
    for (scenario, blocks) in of_scenario {
        let Some(run) = report.run_of(scenario) else {
            faults.push(format!("{scenario} was not run, but measured"));
            continue;
        };
        if blocks.len() != run.blocks || blocks.iter().any(|block| *block >= run.blocks) {
            let ran = run.blocks;
            faults.push(format!(
                "{scenario} has samples of {blocks:?}, not of {ran}"
            ));
        }
    }
    for (cell, own) in runs.iter().copied().flatten() {
        let blocks: HashSet<usize> = own.iter().map(|sample| sample.block).collect();
        let expected = &of_size[&(cell.scenario.as_str(), cell.services)];
        if own.len() != expected.len() || blocks != *expected {
            let (found, expected) = (own.len(), expected.len());
            faults.push(format!("{cell:?} has {found} samples of {expected} blocks"));
        }
    }
    faults
}

fn check_processes(report: &Report) -> Vec<String> {
    let mut blocks: BTreeMap<(&str, usize), Vec<(&str, usize)>> = BTreeMap::new();
    for process in report.processes.iter().filter(|process| !process.repeated) {
        let block = blocks
            .entry((&process.scenario, process.block))
            .or_default();
        block.push((&process.store, process.replica));
    }
    let mut faults = Vec::new();
    let mut crews: HashMap<&str, Vec<(&str, usize)>> = HashMap::new();
    for ((scenario, block), mut ran) in blocks {
        ran.sort_unstable();
        let crew = crews.entry(scenario).or_insert_with(|| ran.clone());
        let reference = report.run_of(scenario).map_or("", |run| &run.reference);
        let second: Vec<&str> = ran.iter().filter(|r| r.1 == 1).map(|r| r.0).collect();
        let distinct: HashSet<_> = ran.iter().collect();
        if *crew != ran || distinct.len() != ran.len() || second != [reference] {
            faults.push(format!(
                "block {block} of {scenario} is not like the others: {ran:?}"
            ));
        }
    }
    faults
}

fn check_sample(sample: &Measurement) -> Option<String> {
    let whole = sample.value.is_finite()
        && sample.operations > 0
        && sample.hits <= sample.operations
        && (sample.hits_low..=sample.hits_high).contains(&sample.hits);
    (!whole).then(|| format!("a sample is off: {sample:?}"))
}

fn check_row(
    row: &SummaryRow,
    samples: &HashMap<&Cell, Vec<&Measurement>>,
    floors: &HashMap<&Cell, f64>,
) -> Vec<String> {
    let mut faults = Vec::new();
    let mut expect = |right: bool, what: &str| {
        if !right {
            faults.push(format!("{what}: {row:?}"));
        }
    };
    let own = samples.get(&row.cell).map_or(&[][..], Vec::as_slice);
    if own.is_empty() {
        expect(false, "a row without samples");
        return faults;
    }
    let values: Vec<f64> = own.iter().map(|sample| sample.value).collect();
    expect(
        near(median(&values), row.value),
        "not the median of its samples",
    );
    expect(row.blocks == own.len(), "not the number of its samples");
    let ordered = row.value_low <= row.value && row.value <= row.value_high;
    expect(ordered, "an interval that does not hold its value");
    let hits = own.iter().map(|sample| sample.hits);
    let bounds = (hits.clone().min(), hits.max());
    expect(
        bounds == (Some(row.hits_min), Some(row.hits_max)),
        "not the hits of its samples",
    );
    let rates = [
        summary::hit_rates(own).fold(1.0, f64::min),
        summary::hit_rates(own).fold(0.0, f64::max),
    ];
    expect(
        near(rates[0], row.hit_rate_min) && near(rates[1], row.hit_rate_max),
        "not the hit rates of its samples",
    );
    let kinds = summary::kinds(own);
    expect(kinds == row.kinds, "not the kinds of its samples");
    if let Some(comparison) = &row.comparison {
        let reference = row.reference();
        let theirs = reference.as_ref().and_then(|cell| samples.get(cell));
        let theirs = theirs.map_or(&[][..], Vec::as_slice);
        let ratios = paired_ratios(own, theirs);
        let right = geometric_mean(&ratios).is_some_and(|mean| near(mean, comparison.ratio));
        expect(right, "not the geometric mean of the ratios of its blocks");
        let below = |a: f64, b: f64| a <= b || near(a, b);
        let ordered = below(comparison.ci_low, comparison.ratio)
            && below(comparison.ratio, comparison.ci_high);
        expect(ordered, "an interval that does not hold its ratio");
        expect(
            comparison.pairs == ratios.len(),
            "not the number of blocks that both sides have",
        );
        let interval = Interval {
            low: comparison.ci_low,
            high: comparison.ci_high,
        };
        let floor = reference.and_then(|cell| floors.get(&cell).copied());
        let exact = Kind::of(&row.unit).is_some_and(Kind::is_exact);
        let equal = is_equal(interval, floor.unwrap_or(1.0), ratios.len(), exact);
        expect(comparison.equal == equal, "not the verdict of its interval");
    }
    faults
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::output;
    use crate::lab::process::InProcess;
    use crate::lab::run::{Scale, Settings, run};
    use crate::lab::synthetic;

    /// A report of the scenario that takes less time.
    fn report() -> Report {
        let settings = Settings {
            scale: Scale::Smoke,
            seed: 1,
            scenarios: vec!["burst-30x100".into()],
            stores: vec!["snapshot".into()],
            threads: Vec::new(),
            allocator: "",
            command: "a command with <brackets>".into(),
        };
        run(&settings, &InProcess).unwrap()
    }

    #[test]
    fn a_report_survives_its_files_and_no_fault_of_it_escapes() {
        let report = report();
        let folder = std::env::temp_dir().join(format!("lab-check-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = output::write(&report, &folder).unwrap();
        let read = output::read(&folder.join("report.json")).unwrap();
        let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(files.len(), 4);
        assert_eq!(check(&read), [""; 0]);
        assert_eq!(read.summary.len(), report.summary.len());
        assert!(page.contains("&lt;brackets&gt;") && !page.contains("<brackets>"));
        assert!(!page.contains("http://") && !page.contains("https://"));

        let broken = |what: &str, change: fn(&mut Report)| {
            let mut broken = read.clone();
            change(&mut broken);
            assert!(!check(&broken).is_empty(), "not noticed: {what}");
        };
        broken("another schema", |report| report.schema_version = 0);
        broken("a sample lost", |report| {
            report.results.truncate(report.results.len() - 1);
        });
        broken("a row lost", |report| report.summary.truncate(3));
        broken("a process lost", |report| report.processes.truncate(3));
        broken("a process twice", |report| {
            let first = report.processes[0].clone();
            report.processes.push(first);
        });
        broken("too many hits", |report| report.results[3].hits = 1_000_000);
        broken("an unknown block", |report| report.results[3].block = 1_000);
        broken("a block lost", |report| {
            report.results.retain(|sample| sample.block != 1);
        });
        broken("one size of a contender lost in a block", |report| {
            let lost = |sample: &Measurement| {
                sample.block == 1 && sample.cell.services == 0 && sample.cell.store == "null"
            };
            report.results.retain(|sample| !lost(sample));
        });
        broken("no number", |report| report.results[3].value = f64::NAN);
        broken("a value changed", |report| report.summary[2].value *= 1.001);
        broken("an interval beside", |report| {
            report.summary[2].value_high = 0.0;
        });
        broken("a hit rate changed", |report| {
            report.summary[2].hit_rate_min -= 0.01;
        });
        broken("a kind lost", |report| report.summary[2].kinds.clear());
        broken("a noise floor changed", |report| {
            report.noise[0].ratio *= 1.001;
        });
        broken("a ratio changed", |report| {
            let mut rows = report.summary.iter_mut();
            let compared = rows.find_map(|row| row.comparison.as_mut());
            compared.expect("a row that is compared").ratio *= 1.001;
        });
        broken("a winner made", |report| {
            let mut rows = report.summary.iter_mut();
            let mut compared = rows.find_map(|row| row.comparison.as_mut());
            compared.as_mut().expect("a row that is compared").equal = false;
        });
        broken("pairs made up", |report| {
            let mut rows = report.summary.iter_mut();
            let compared = rows.find_map(|row| row.comparison.as_mut());
            compared.expect("a row that is compared").pairs += 1;
        });
        broken("a floor lowered", |report| report.noise[0].floor = 1.0);
    }

    /// Whatever its intervals say: a smoke run has fewer blocks than tell anything
    /// apart.
    #[test]
    fn a_smoke_run_tells_nothing_apart() {
        let report = report();
        let mut compared = report.summary.iter().filter_map(SummaryRow::ratio);
        assert!(compared.clone().count() > 0);
        assert!(compared.all(|ratio| ratio.equal));
    }

    #[test]
    fn a_verdict_that_the_interval_does_not_give_is_noticed() {
        let mut report = synthetic::report();
        summary::sum_up(&mut report);
        let said = |report: &Report| check(report).join(" ");
        assert!(!said(&report).contains("verdict"), "{}", said(&report));
        let mut rows = report.summary.iter_mut();
        let apart = rows.find_map(|row| row.comparison.as_mut().filter(|own| !own.equal));
        apart.expect("the synthetic stores differ").equal = true;
        assert!(said(&report).contains("not the verdict of its interval"));
    }
}
