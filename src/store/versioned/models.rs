//! The loom models of all stores. `versioned-map` contains the models of the additional
//! guarantees of the engine.

use super::*;
use crate::store::models::watched::log_and_publish;
use crate::store::models::{Calls, Subject};
use crate::store::write::WriteTables;

fn real() -> Calls<VersionedStore> {
    Calls {
        preemptions: Some(2),
        ..Calls::real(VersionedStore::new)
    }
}

store_models!(real());

fn log_before_the_commit_settles(
    subject: &Subject<VersionedStore>,
    batch: Batch,
) -> Result<Revision> {
    let mut commit = subject.store.open_turn()?;
    let log = &subject.store.engine.owner().log;
    log_and_publish(log, &mut commit, batch, Turn::settle)
}

#[test]
#[should_panic(expected = "a watch delivered a commit before it could be read")]
fn models_twin_an_append_before_the_commit_settles_is_rejected() {
    Calls {
        commit: log_before_the_commit_settles,
        ..real()
    }
    .a_delivered_commit_can_be_read();
}
