//! Gives each of a few threads its own processor.
//!
//! If there are as many threads as processors, the system sometimes puts two threads on one
//! processor for a while and leaves another idle. Then the measurement shows its time slices.

use std::sync::OnceLock;

/// The processors in the order in which threads take them.
static ORDER: OnceLock<Vec<usize>> = OnceLock::new();

/// Sets the order in which threads take processors. Only the first call has an effect.
pub(crate) fn set_order(order: Vec<usize>) {
    // A second call keeps the first order.
    let _ = ORDER.set(order);
}

/// Returns the processor that others use least, if known.
pub(crate) fn first_processor() -> Option<usize> {
    ORDER.get()?.first().copied()
}

/// Returns the processors for threads that need their own.
pub(crate) fn processor_order() -> Vec<usize> {
    ORDER.get().cloned().unwrap_or_else(usable)
}

/// Returns the processors that this process may use.
pub(crate) fn usable() -> Vec<usize> {
    core_affinity::get_core_ids().unwrap_or_default().into_iter().map(|own| own.id).collect()
}

/// Pins the calling thread to a processor, permanently. Has no effect if the system refuses.
pub(crate) fn pin(cpu: usize) {
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
            pin(last);
            usable()
        });
        assert_eq!(there.join().expect("no panic"), [last]);
        assert_eq!(usable(), usable_before);
    }
}
