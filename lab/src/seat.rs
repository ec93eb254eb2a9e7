//! A processor of its own for each of a few threads.
//!
//! Where threads are as many as there are processors, the system now and then puts two on
//! one for a while, and lets another idle. What is measured then is its time slices.

use std::sync::OnceLock;

/// The processors in the order in which they are taken.
static ORDER: OnceLock<Vec<usize>> = OnceLock::new();

/// Says in which order processors are taken. The first call counts.
pub(crate) fn prefer(order: Vec<usize>) {
    // Whoever calls again finds the first order.
    let _ = ORDER.set(order);
}

/// The processor that others use least, where that is known.
pub(crate) fn quietest() -> Option<usize> {
    ORDER.get()?.first().copied()
}

/// The processors for threads that are to have one of their own.
pub(crate) fn seats() -> Vec<usize> {
    ORDER.get().cloned().unwrap_or_else(usable)
}

/// The processors that this process may use.
pub(crate) fn usable() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|own| own.id).collect()
}

/// Keeps the calling thread on the processor of this number, for good. Where the system
/// refuses, it runs where it runs.
pub(crate) fn take(cpu: usize) {
    core_affinity::set_for_current(core_affinity::CoreId { id: cpu });
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_thread_sits_where_it_is_put() {
        let usable_before = usable();
        let last = *usable_before.last().expect("a processor");
        let there = std::thread::spawn(move || {
            take(last);
            usable()
        });
        assert_eq!(there.join().expect("no panic"), [last]);
        assert_eq!(usable(), usable_before);
    }
}
