//! Tests on simulated runs whose true ratios are known. The simulated machine drifts, other
//! programs disturb it in bursts, and lives differ.

use super::complete;
use crate::model::{Interval, Report, Row, Unit};
use crate::stats::SplitMix64;

const RUNS: usize = 1_000;
/// The cost of each contender relative to the first, which is the reference.
const TRUTH: [f64; 3] = [1.0, 1.05, 1.6];

/// Returns a number from 0 to 1.
fn uniform(rng: &mut SplitMix64) -> f64 {
    (rng.draw() >> 11) as f64 / (1_u64 << 53) as f64
}

fn normal(rng: &mut SplitMix64) -> f64 {
    let radius = (-2.0 * uniform(rng).max(1e-300).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(rng)).cos()
}

/// The noise of a machine.
#[derive(Clone, Copy)]
struct NoiseModel {
    /// The standard deviation between lives, of logarithms.
    lives: f64,
    /// The standard deviation between slices, of logarithms.
    slices: f64,
    /// The drift from one slice to the next, as a standard deviation of logarithms.
    drift: f64,
    /// The part of the slices that a burst slows down, by up to three times.
    bursts: f64,
}

/// Simulates the samples of the contenders, and of the reference once more, by life and round.
fn samples(
    model: NoiseModel,
    lives: usize,
    rounds: usize,
    rng: &mut SplitMix64,
) -> Vec<Vec<Vec<Option<f64>>>> {
    let all = TRUTH.len() + 1;
    let mut samples: Vec<Vec<Vec<Option<f64>>>> = vec![Vec::new(); all];
    let mut weather = 0.0;
    for _ in 0..lives {
        for own in &mut samples {
            own.push(Vec::new());
        }
        let luck: Vec<f64> = (0..all).map(|_| model.lives * normal(rng)).collect();
        for _ in 0..rounds {
            let mut order: Vec<usize> = (0..all).collect();
            rng.shuffle(&mut order);
            for own in order {
                weather = 0.99 * weather + model.drift * normal(rng);
                let burst =
                    if uniform(rng) < model.bursts { uniform(rng) * 3.0_f64.ln() } else { 0.0 };
                let cost = TRUTH.get(own).copied().unwrap_or(1.0).ln();
                let log = 50.0_f64.ln() + cost + luck[own] + weather + burst;
                let log = log + model.slices * normal(rng);
                // One in twenty is dropped.
                let kept = (uniform(rng) > 0.05).then(|| log.exp());
                samples[own].last_mut().expect("a life").push(kept);
            }
        }
    }
    samples
}

fn report(samples: &[Vec<Vec<Option<f64>>>]) -> Report {
    let mut report = crate::synthetic::quick();
    let is_this = |row: &Row| (&*row.id.cell, row.id.threads) == ("95/5", 2);
    report.scenarios.retain(|run| run.name == "sustained");
    report.rows.retain(|row| row.id.scenario == "sustained" && is_this(row));
    report.rows.truncate(TRUTH.len());
    for (row, samples) in report.rows.iter_mut().zip(samples) {
        row.samples.clone_from(samples);
    }
    report.rows[0].again.clone_from(&samples[TRUTH.len()]);
    report
}

fn holds(interval: Interval, truth: f64) -> bool {
    interval.low <= truth && truth <= interval.high
}

#[test]
fn of_a_thousand_runs_the_interval_holds_the_truth_in_93_to_97_of_100() {
    let quiet = NoiseModel { lives: 0.01, slices: 0.03, drift: 0.01, bursts: 0.02 };
    let busy = NoiseModel { lives: 0.03, slices: 0.08, drift: 0.03, bursts: 0.15 };
    let alike = NoiseModel { lives: 0.0, ..busy };
    let mut rng = SplitMix64(1);
    for (model, lives, rounds) in
        [(quiet, 4, 4), (busy, 6, 4), (alike, 6, 4), (busy, 10, 4), (busy, 6, 12)]
    {
        let mut held = [0; 3];
        for _ in 0..RUNS {
            let mut report = report(&samples(model, lives, rounds, &mut rng));
            super::figures(&mut report);
            let again = super::ratio(Unit::NsPerOp, &report.rows[0].again, &report.rows[0].samples);
            held[0] += usize::from(holds(again.unwrap().interval(), 1.0));
            for own in [1, 2] {
                let ratio = report.rows[own].ratio.unwrap();
                held[own] += usize::from(holds(ratio, TRUTH[own]));
            }
        }
        for (own, held) in held.into_iter().enumerate() {
            assert!(
                (RUNS * 93 / 100..=RUNS * 97 / 100).contains(&held),
                "{own}: {held} of {RUNS}, with {lives} lives of {rounds} rounds"
            );
        }
    }
}

#[test]
fn what_is_clear_is_decided_and_the_rest_is_open() {
    let model = NoiseModel { lives: 0.02, slices: 0.05, drift: 0.02, bursts: 0.1 };
    let few = |report: &Report| report.answers[1].clone();
    let all = samples(model, 8, 4, &mut SplitMix64(2));
    let mut apart = report(&[all[0].clone(), all[2].clone(), all[2].clone(), all[3].clone()]);
    apart.rows.truncate(2);
    complete(&mut apart);
    let answer = few(&apart);
    assert!(answer.decided, "{answer:?}");
    assert_eq!(answer.stores, ["thread-safe"]);
    assert_eq!(answer.comparisons.len(), 1);

    let mut undecided = 0;
    for seed in 0..10 {
        let mut near = report(&samples(model, 8, 4, &mut SplitMix64(seed)));
        near.rows.truncate(2);
        complete(&mut near);
        let answer = few(&near);
        let ratio = answer.comparisons[0].ratio;
        let is_clear = ratio.low > 1.03 || (ratio.low >= 1.0 / 1.03 && ratio.high <= 1.03);
        assert_eq!(answer.decided, is_clear, "{ratio:?}");
        assert_eq!(answer.stores.is_empty(), !is_clear);
        assert!(near.noise[0].floor > 1.0);
        let open_questions = super::open_questions(&near);
        assert_eq!(open_questions.len(), usize::from(!is_clear));
        undecided += open_questions.len();
    }
    assert!(undecided > 0);
}
