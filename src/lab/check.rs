//! Whether a report is whole, and agrees with itself.

use std::collections::{HashMap, HashSet};

use super::model::{Cell, Measurement, Report, SCHEMA_VERSION, SummaryRow};
use super::run::{Settings, counting, paired_ratios};
use super::stats::median;

/// Checks a report that has been read back: every cell that was to be measured
/// is there, in every round; medians and ratios are those of the raw
/// rows; intervals are in order and hold what they are about; hits are within
/// their bounds. Answers with everything that is wrong.
pub fn check(report: &Report, settings: &Settings) -> Vec<String> {
    let mut faults = Vec::new();
    if report.schema_version != SCHEMA_VERSION {
        faults.push(format!("schema_version is {}", report.schema_version));
    }
    let mut samples: HashMap<&Cell, Vec<&Measurement>> = HashMap::new();
    for sample in &report.results {
        samples.entry(&sample.cell).or_default().push(sample);
        faults.extend(check_sample(sample));
    }
    let mut expected = HashSet::new();
    for scenario in settings.scenarios() {
        let Some(run) = report.run_of(scenario.name()) else {
            faults.push(format!("{} was not run", scenario.name()));
            continue;
        };
        for cell in scenario.cells(settings) {
            let rounds = samples.get(&cell).map_or(&[][..], Vec::as_slice);
            let numbers: HashSet<usize> = rounds.iter().map(|sample| sample.round).collect();
            if rounds.len() < run.rounds || numbers.len() != rounds.len() {
                let found = rounds.len();
                faults.push(format!(
                    "{cell:?} has {found} samples in {} rounds",
                    run.rounds
                ));
            }
            match report.summary.iter().filter(|row| row.cell == cell).count() {
                1 => {}
                rows => faults.push(format!("{cell:?} has {rows} rows in the summary")),
            }
            let compared = report
                .row(&cell)
                .is_some_and(|row| row.comparison.is_some());
            if compared != scenario.compared_with(&cell).is_some() {
                faults.push(format!(
                    "{cell:?}: a comparison is missing, or is one too many"
                ));
            }
            expected.insert(cell);
        }
    }
    for row in &report.summary {
        if !expected.contains(&row.cell) {
            faults.push(format!("{:?} was not asked for", row.cell));
        }
        faults.extend(check_row(row, &samples));
    }
    faults
}

fn check_sample(sample: &Measurement) -> Option<String> {
    let whole = sample.value.is_finite()
        && sample.value > 0.0
        && sample.operations > 0
        && sample.hits <= sample.operations
        && (sample.hits_low..=sample.hits_high).contains(&sample.hits);
    (!whole).then(|| format!("a sample is off: {sample:?}"))
}

fn check_row(row: &SummaryRow, samples: &HashMap<&Cell, Vec<&Measurement>>) -> Vec<String> {
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
    let values: Vec<f64> = counting(own).iter().map(|sample| sample.value).collect();
    expect(
        near(median(&values), row.value),
        "not the median of its samples",
    );
    expect(row.rounds == own.len(), "not the number of its samples");
    let ordered = row.value_low <= row.value && row.value <= row.value_high;
    expect(ordered, "an interval that does not hold its value");
    let hits = own.iter().map(|sample| sample.hits);
    let bounds = (hits.clone().min(), hits.max());
    expect(
        bounds == (Some(row.hits_min), Some(row.hits_max)),
        "not the hits of its samples",
    );
    if let Some(comparison) = &row.comparison {
        let reference = Cell {
            scenario: row.cell.scenario.clone(),
            store: comparison.reference.clone(),
            threads: comparison.reference_threads.unwrap_or(row.cell.threads),
            services: comparison.reference_services.unwrap_or(row.cell.services),
            metric: comparison
                .reference_metric
                .clone()
                .unwrap_or_else(|| row.cell.metric.clone()),
        };
        let theirs = samples.get(&reference).map_or(&[][..], Vec::as_slice);
        let ratios = paired_ratios(own, theirs);
        let whole = ratios.len() == own.len() || row.undisturbed.is_some();
        expect(whole, "a comparison that lacks rounds");
        let right = !ratios.is_empty() && near(median(&ratios), comparison.ratio);
        expect(right, "not the median of the ratios of its rounds");
        let ordered =
            comparison.ci_low <= comparison.ratio && comparison.ratio <= comparison.ci_high;
        expect(ordered, "an interval that does not hold its ratio");
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
    use crate::lab::run::{Scale, run};

    /// A report of the scenario that takes less time.
    fn report() -> (Report, Settings) {
        let settings = Settings {
            scale: Scale::Smoke,
            seed: 1,
            scenarios: vec!["burst-30x100".into()],
            stores: vec!["snapshot".into()],
            allocator: "",
            command: "a command with <brackets>".into(),
        };
        (run(&settings).unwrap(), settings)
    }

    #[test]
    fn a_report_survives_its_files_and_no_fault_of_it_escapes() {
        let (report, settings) = report();
        let folder = std::env::temp_dir().join(format!("lab-check-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let files = output::write(&report, &settings, &folder).unwrap();
        let read = output::read(&folder.join("report.json")).unwrap();
        let page = std::fs::read_to_string(folder.join("report.html")).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(files.len(), 4);
        assert_eq!(check(&read, &settings), [""; 0]);
        assert_eq!(read.summary.len(), report.summary.len());
        assert!(page.contains("&lt;brackets&gt;") && !page.contains("<brackets>"));
        assert!(!page.contains("http://") && !page.contains("https://"));

        let broken = |change: fn(&mut Report)| {
            let mut broken = read.clone();
            change(&mut broken);
            check(&broken, &settings).len()
        };
        assert!(broken(|report| report.schema_version = 0) > 0);
        assert!(broken(|report| drop(report.results.pop())) > 0);
        assert!(broken(|report| drop(report.summary.pop())) > 0);
        assert!(broken(|report| report.results[3].hits = 1_000_000) > 0);
        assert!(broken(|report| report.results[3].round = 1_000) > 0);
        assert!(broken(|report| report.summary[2].value *= 1.001) > 0);
        assert!(broken(|report| report.summary[2].value_high = 0.0) > 0);
        let compared = |report: &mut Report| {
            let mut rows = report.summary.iter_mut();
            rows.find_map(|row| row.comparison.as_mut())?.ratio *= 1.001;
            Some(())
        };
        let mut wrong = read.clone();
        compared(&mut wrong).expect("a row that is compared");
        assert!(!check(&wrong, &settings).is_empty());
    }
}
