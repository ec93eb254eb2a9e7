//! What of the laboratory needs a program of its own: memory and instructions are
//! counted by the allocator of `report`, and by callgrind around it.
//!
//! ```text
//! cargo test --features lab --test laboratory
//! ```

#![cfg(feature = "lab")]

use std::process::Command;

use service_registry::lab::contender;
use service_registry::lab::model::Measurement;
use service_registry::lab::process::{Answer, Processes};

/// What a measuring process answers.
fn measure(scenario: &str, store: &str, scale: &str) -> Vec<Measurement> {
    let trial = format!(
        r#"{{"scenario":"{scenario}","store":"{store}","scale":"{scale}","seed":1,"block":0,"threads":[]}}"#
    );
    let mut report = Command::new(env!("CARGO_BIN_EXE_report"));
    let output = report.arg(Processes::ARGUMENT).arg(trial).output();
    let output = output.expect("the program was built");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{store}: {said}");
    let answer: Answer = serde_json::from_slice(&output.stdout).expect("an answer");
    answer.results
}

fn value(results: &[Measurement], metric: &str) -> f64 {
    let mut found = results.iter().filter(|result| result.cell.metric == metric);
    found.next().unwrap_or_else(|| panic!("no {metric}")).value
}

#[test]
fn every_store_holds_more_than_the_floor_and_its_peak_is_no_less() {
    let floor = measure("memory", "floor", "smoke");
    // The texts of a record alone are more than this.
    assert!(value(&floor, "live") > 200.0);
    for about in contender::all()
        .into_iter()
        .filter(contender::About::is_store)
    {
        let own = measure("memory", about.id, "smoke");
        let (live, peak) = (value(&own, "live"), value(&own, "peak"));
        assert!(live > value(&floor, "live"), "{}: {live}", about.name);
        assert!(peak >= live, "{}: {peak} < {live}", about.name);
        // A store that kept all of those who left would hold eleven times as much.
        let after = value(&own, "after_churn");
        assert!(after < 4.0 * live, "{}: {live}, then {after}", about.name);
    }
}

#[test]
fn allocations_are_counted_and_instructions_where_there_is_callgrind() {
    let valgrind = Command::new("valgrind").arg("--version").output();
    let has_valgrind = valgrind.is_ok_and(|output| output.status.success());
    // Of others only the allocations: a debug build under callgrind takes its time.
    for (store, scale) in [
        ("floor", "quick"),
        ("snapshot", "quick"),
        ("memory", "default"),
    ] {
        let own = measure("instructions", store, scale);
        for op in ["with_service", "get_service"] {
            let allocations = value(&own, &format!("allocations_{op}"));
            assert!(allocations.abs() < 1e-9, "{store}, {op}: {allocations}");
        }
        // A table is changed in place, a persistent one is copied.
        let allocations = value(&own, "allocations_update_health_status");
        assert_eq!(
            allocations >= 1.0,
            store == "snapshot",
            "{store}: {allocations}"
        );
        let counted = own.iter().filter(|result| result.unit == "instructions/op");
        let counted: Vec<&Measurement> = counted.collect();
        if !has_valgrind || scale == "quick" {
            assert!(counted.is_empty(), "{store}");
            continue;
        }
        assert_eq!(counted.len(), own.len() / 2, "as many as allocations");
        for result in counted {
            let metric = &result.cell.metric;
            // A hash of 19 bytes takes some; a scan of a thousand records takes more.
            let value = result.value;
            assert!((5.0..50_000.0).contains(&value), "{metric}: {value}");
        }
    }
}
