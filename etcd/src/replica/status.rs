//! The state that the task shares with its handle.

use std::sync::atomic::AtomicU64;
use std::time::Instant;

use tokio::sync::{Notify, watch};

use crate::set_aside::SetAsideKeys;
use crate::state::Why;
use crate::{Error, EtcdRevision, State};

/// Statistics of a replica.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// The number of histories of etcd so far. Revisions of different histories cannot be compared.
    pub epoch: u64,
    /// Lists that were committed to the store.
    pub lists: u64,
    /// Watches that began.
    pub watches: u64,
    /// Commits to the store, of lists and of watches.
    pub commits: u64,
    /// Changes that were skipped because the key belongs to another source.
    pub skipped: u64,
    /// Keys that currently cannot be read.
    pub set_aside: usize,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) lists: AtomicU64,
    pub(super) watches: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) skipped: AtomicU64,
}

#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) epoch: u64,
    pub(super) applied: EtcdRevision,
    pub(super) state: State,
    /// Whether the server reports the progress of the watch reliably; `None` until its version is
    /// known, and while there is no watch.
    pub(super) trusted: Option<bool>,
    /// The last failure since the copy was synced.
    pub(super) trouble: Option<Why>,
    pub(super) ended: Option<Why>,
}

impl Status {
    pub(super) fn check(&self) -> Result<(), Error> {
        match &self.ended {
            None => Ok(()),
            Some(why) => Err(Error::Ended(why.clone())),
        }
    }
}

pub(super) struct ReplicaState {
    status: watch::Sender<Status>,
    /// Notified when a caller needs the progress of the watch.
    pub(super) progress_wanted: Notify,
    pub(super) counts: Counts,
    pub(super) set_aside: SetAsideKeys,
}

impl ReplicaState {
    pub(super) fn new(set_aside: SetAsideKeys) -> ReplicaState {
        let status = Status {
            epoch: 0,
            applied: EtcdRevision::ZERO,
            state: State::Never,
            trusted: None,
            trouble: None,
            ended: None,
        };
        ReplicaState {
            status: watch::Sender::new(status),
            progress_wanted: Notify::new(),
            counts: Counts::default(),
            set_aside,
        }
    }

    pub(super) fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// Waits for the next change; the sender lives as long as `self`.
    pub(super) async fn changed(&self, seen: &mut watch::Receiver<Status>) {
        let _ = seen.changed().await;
    }

    /// Records that everything up to `applied` is in the store.
    pub(super) fn applied(&self, epoch: u64, applied: EtcdRevision) {
        self.status.send_if_modified(|status| {
            let is_new = (status.epoch, status.applied) != (epoch, applied);
            (status.epoch, status.applied) = (epoch, applied);
            if let State::Synced { revision } = &mut status.state {
                *revision = applied;
            }
            is_new
        });
    }

    /// Records that the watch is alive.
    pub(super) fn synced(&self) {
        self.status.send_if_modified(|status| {
            let revision = status.applied;
            let is_new = !status.state.is_synced();
            status.state = State::Synced { revision };
            status.trouble = None;
            is_new
        });
    }

    pub(super) fn set_trusted(&self, trusted: Option<bool>) {
        self.status
            .send_if_modified(|status| std::mem::replace(&mut status.trusted, trusted) != trusted);
    }

    /// Records that the watch ended, with its last sign of life at `since`, or could not begin.
    pub(super) fn stale(&self, since: Instant, why: &Why) {
        self.status.send_modify(|status| {
            status.trouble = Some(why.clone());
            match &mut status.state {
                State::Never => {}
                State::Stale { why: before, .. } => before.clone_from(why),
                State::Synced { .. } => {
                    let why = why.clone();
                    status.state = State::Stale { since, why };
                }
            }
        });
    }

    pub(super) fn end(&self, why: Why) {
        self.status.send_modify(|status| {
            if status.ended.is_some() {
                return;
            }
            status.ended = Some(why.clone());
            let since = match status.state {
                State::Stale { since, .. } => since,
                State::Never | State::Synced { .. } => Instant::now(),
            };
            status.state = State::Stale { since, why };
        });
    }
}
