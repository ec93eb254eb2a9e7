//! The loom models of all stores. `versioned-map` contains the models of the additional
//! guarantees of the engine.

use super::*;
use crate::store::models::watched::tell_and_publish;
use crate::store::models::{Calls, Subject};
use crate::store::write::WriteTables;

fn real() -> Calls<VersionedStore> {
    Calls {
        preemptions: Some(2),
        ..Calls::real(VersionedStore::new)
    }
}

store_models!(real());

fn tell_before_the_commit_settles(
    subject: &Subject<VersionedStore>,
    batch: Batch,
) -> Result<Revision> {
    let mut commit = subject.store.open_turn()?;
    let log = &subject.store.engine.owner().log;
    tell_and_publish(log, &mut commit, batch, Turn::settle)
}

#[test]
#[should_panic(expected = "a watch told of a commit before it could be read")]
fn models_twin_a_log_that_is_told_before_the_commit_settles_is_rejected() {
    Calls {
        commit: tell_before_the_commit_settles,
        ..real()
    }
    .whoever_is_told_of_a_commit_can_read_it();
}
