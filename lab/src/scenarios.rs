//! What is measured.

mod threads;

use crate::scenario::Scenario;

/// All scenarios, in the order in which they are run and shown.
pub fn all() -> Vec<Scenario> {
    vec![threads::sustained(), threads::operations()]
}
