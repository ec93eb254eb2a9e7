//! What is measured: every scenario, as data.
//!
//! A scenario is a function in a folder's file that answers with a [`Scenario`]; it is named
//! in [`all`], and the one runner in [`crate::workload`] does the rest.

mod growth;
mod latency;
mod map;
mod one_thread;
mod parts;
mod threads;

use crate::contender;
use crate::scenario::Scenario;

/// All scenarios, in the order in which they are run and shown.
pub fn all() -> Vec<Scenario> {
    let mut all = vec![
        one_thread::operations(),
        threads::sustained(),
        threads::burst(),
        threads::hot_key(),
        threads::zipf(),
        latency::writer_storm(),
        latency::health_sweep(),
        latency::visibility(),
        one_thread::views(),
        threads::snapshot_scan(),
        one_thread::by_name(),
        one_thread::subscriptions(),
        growth::fill_and_drop(),
        growth::memory(),
        growth::size(),
        map::one_thread(),
        map::two_threads(),
        map::beside_a_writer(),
        map::idle_threads(),
        growth::allocations(),
        growth::instructions(),
    ];
    for (level, guest) in contender::guests() {
        let with =
            |own: &&mut Scenario| own.level == *level && own.contenders.contains(&"thread-safe");
        for scenario in all.iter_mut().filter(with) {
            scenario.contenders.push(&guest.info.id);
        }
    }
    all
}
