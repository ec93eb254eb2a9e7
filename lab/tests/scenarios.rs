//! Runs every scenario in miniature.

use std::time::Duration;

use service_registry_lab::contender::find;
use service_registry_lab::scenario::{Cell, Effort, Orchestration};
use service_registry_lab::scenarios;

/// Returns the same cell with few services and few threads.
fn small(cell: &Cell) -> Cell {
    let mut cell = cell.clone();
    cell.from = Effort::Smoke;
    cell.holds.services = cell.holds.services.min(10 * cell.holds.pods_per_name);
    cell.holds.services = cell.holds.services.max(cell.holds.subscribers_per_group);
    cell.threads = cell.threads.min(3);
    if let Some(beside) = &mut cell.background {
        beside.threads = beside.threads.min(8);
    }
    cell
}

/// Each cell of each scenario runs with each of its contenders, yields a figure for each metric,
/// and leaves the right content. The size of the figures is not checked.
#[test]
fn every_cell_runs_with_every_contender() {
    for scenario in scenarios::all() {
        let mut seen = Vec::new();
        for cell in scenario.cells.iter().map(small) {
            // This program is the test, and valgrind would run all of it again.
            if cell.orchestration == Orchestration::Instructions || seen.contains(&cell) {
                continue;
            }
            seen.push(cell.clone());
            for id in &scenario.contenders {
                if *id == "memory" && cell.threads > 1 {
                    continue;
                }
                let at = format!("{} {}, {} threads, {id}", scenario.name, cell.name, cell.threads);
                let contender = find(id).expect("a contender");
                let mut stage = contender.open(&cell, 1).expect(&at);
                for _ in 0..2 {
                    let slice = stage.slice(Duration::from_millis(1));
                    let slice = slice.unwrap_or_else(|fault| panic!("{at}: {fault}"));
                    assert_eq!(slice.len(), cell.metrics.len(), "{at}");
                    for (value, (metric, unit)) in slice.iter().zip(&cell.metrics) {
                        let good = *value > 0.0 || (*value >= 0.0 && unit.is_counted());
                        assert!(value.is_finite() && good, "{at}: {metric} is {value}");
                    }
                }
                stage.finish().unwrap_or_else(|fault| panic!("{at}: {fault}"));
            }
        }
    }
}

/// Names and cells are unique, contenders exist, and a quick run stays small.
#[test]
fn scenarios_are_well_formed() {
    let all = scenarios::all();
    for (at, scenario) in all.iter().enumerate() {
        let name = scenario.name;
        assert!(all[..at].iter().all(|other| other.name != name), "{name} twice");
        assert!(scenario.contenders.contains(&scenario.reference), "{name}");
        for id in &scenario.contenders {
            find(id).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        }
        let id = |cell: &Cell| (cell.name.clone(), cell.threads, cell.holds.services);
        for (at, cell) in scenario.cells.iter().enumerate() {
            let is_new = scenario.cells[..at].iter().all(|other| id(other) != id(cell));
            assert!(is_new, "{name}: {} twice", cell.name);
            assert_eq!(cell.holds.services % cell.holds.pods_per_name, 0, "{name}: {}", cell.name);
        }
    }
    let quick = all.iter().flat_map(|scenario| &scenario.cells);
    let quick = quick.filter(|cell| cell.from <= Effort::Quick);
    assert!(quick.count() <= 30);
}
