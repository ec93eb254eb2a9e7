//! Every scenario in miniature.

use std::time::Duration;

use service_registry_lab::contender::{all, find};
use service_registry_lab::scenarios;

/// Each cell of each scenario runs with each of its contenders, and yields a figure for
/// each metric. How large they are is nobody's business here.
#[test]
fn every_cell_runs_with_every_contender() {
    let contenders = all();
    for scenario in scenarios::all() {
        assert!(
            scenario.contenders.contains(&scenario.reference),
            "{}",
            scenario.name
        );
        for cell in &scenario.cells {
            for id in &scenario.contenders {
                let place = format!(
                    "{}, {} on {} threads, {id}",
                    scenario.name, cell.name, cell.threads
                );
                let contender = find(&contenders, id).expect("a contender");
                let Ok(mut stage) = contender.open(cell, 1) else {
                    assert!(
                        *id == "memory" || *id == "floor",
                        "{place}: {:?}",
                        contender.open(cell, 1).err()
                    );
                    continue;
                };
                for _ in 0..2 {
                    let slice = stage.slice(Duration::from_millis(1));
                    let slice = slice.unwrap_or_else(|fault| panic!("{place}: {fault}"));
                    assert_eq!(slice.values.len(), cell.metrics.len(), "{place}");
                    let good = |value: &f64| value.is_finite() && *value > 0.0;
                    assert!(slice.values.iter().all(good), "{place}: {slice:?}");
                }
                stage
                    .finish()
                    .unwrap_or_else(|fault| panic!("{place}: {fault}"));
            }
        }
    }
}
