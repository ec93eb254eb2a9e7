//! What the stores promise to watches beside other threads, and twins that any store could
//! have. Those of one protocol stand in the `models` of its file.

use std::sync::Arc;

use super::{Calls, KEY, Subject, everything, read_checks, spawn};
use crate::changes::models::recv_commit;
use crate::changes::{Event, Log, ReadState};
use crate::store::methods::prelude::*;

const DELIVERED_EARLY: &str = "a watch delivered a commit before it could be read";
const WATCHED: &str = "a closed store is watched";

impl<S: RegistryStore + Send + Sync + 'static> Calls<S> {
    pub(in crate::store) fn a_delivered_commit_can_be_read(self) {
        self.check(|calls, subject| {
            let [read, ..] = read_checks::<S>();
            let mut watch = begin_to_watch(calls, subject);
            let writer = spawn(subject, move |subject| calls.write(subject, everything()));
            if let Some(event) = watch.try_recv().unwrap() {
                let now = (calls.revision)(subject.call());
                assert!(now >= event.revision().as_u64(), "{DELIVERED_EARLY}");
                assert_eq!(read(&subject.call().store), Some(true), "{DELIVERED_EARLY}");
            }
            writer.join().unwrap();
        });
    }

    /// The watch ends after it has delivered what was committed before, and no other watch begins.
    pub(in crate::store) fn a_watch_ends_with_its_store(self) {
        self.check(|calls, subject| {
            let mut watch = begin_to_watch(calls, subject);
            let writer = spawn(subject, move |subject| {
                calls.write(subject, everything());
                (calls.close)(subject.call());
            });
            let delivered = recv_commit(&mut watch);
            assert_eq!(delivered.map(|event| event.revision().as_u64()), Ok(1));
            assert_eq!(recv_commit(&mut watch), Err(StoreError::Closed));
            writer.join().unwrap();
            assert!((calls.watch)(subject).is_err(), "{WATCHED}");
        });
    }
}

/// Returns a watch that has delivered the empty state.
fn begin_to_watch<S>(calls: Calls<S>, subject: &Subject<S>) -> Watch {
    let mut watch = (calls.watch)(subject).unwrap();
    let first = watch.try_recv();
    assert!(matches!(first, Ok(Some(Event::State { .. }))));
    watch
}

struct EmptyState;

impl ReadState for EmptyState {
    fn read_state(&self, _: &Selection) -> Result<Option<Selected>> {
        Ok(Some(Selected::default()))
    }
}

/// Twin: watches hang on a log beside the store.
pub(in crate::store) fn watch_beside<S: RegistryStore>(subject: &Subject<S>) -> Result<Watch> {
    let log = &subject.log;
    log.watch(Selection::All, None, Arc::new(EmptyState), || {
        Ok(subject.store.revision())
    })
}

fn append<S>(subject: &Subject<S>, revision: Revision) {
    let change = Difference::Subscribed {
        subscriber: KEY.parse().unwrap(),
        group: "g".into(),
    };
    drop(subject.log.append(revision, [change]));
}

/// Twin: appends a commit to [that log](watch_beside), and then makes it.
pub(in crate::store) fn log_and_commit<S: RegistryStore>(
    subject: &Subject<S>,
    batch: Batch,
) -> Result<Revision> {
    append(subject, subject.store.revision().next());
    subject.call().store.commit(batch)
}

/// Not a twin: makes a commit, and then appends it to [that log](watch_beside).
pub(in crate::store) fn commit_and_log<S: RegistryStore>(
    subject: &Subject<S>,
    batch: Batch,
) -> Result<Revision> {
    let revision = subject.call().store.commit(batch)?;
    append(subject, revision);
    Ok(revision)
}

/// A step of twins: commits in a turn as stores do, but appends to the log before `publish`.
pub(in crate::store) fn log_and_publish<T: WriteTables>(
    log: &Log,
    tables: &mut T,
    batch: Batch,
    publish: impl FnOnce(&mut T) -> Revision,
) -> Result<Revision> {
    let revisions = (tables.current(), tables.next_revision());
    let mut recorder = ChangeRecorder::new(log, false).expect("somebody watches");
    recorder.record_writes(tables, |tables| tables.apply_batch(batch))?;
    drop(recorder.append_to_log(revisions, |log, changes| {
        log.append_net(revisions.1, changes)
    }));
    Ok(publish(tables))
}
