//! The operations that are measured.

use super::NAME;
use crate::lab::model::Cell;
use crate::lab::record::Unit;
use crate::lab::workload::PROBES;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `with_service`: reads the status of a record in place. Each read begins
    /// when the one before has answered, as in all reads but the next.
    WithService,
    /// The same back to back: reads that do not wait for each other.
    WithServiceBackToBack,
    /// `with_service` through a reader handle.
    Reader,
    /// The same back to back.
    ReaderBackToBack,
    /// The same in a snapshot that was taken before.
    SnapshotGet,
    /// The same in a view that is pinned before, or in a snapshot where there is no
    /// cheaper view.
    PinnedGet,
    /// `services_by_name` in such a view, of ten pods, which are borrowed.
    PinnedByName,
    /// `get_service`: a clone.
    GetService,
    /// `get_service` of a pod that is not registered; back to back, because
    /// there is nothing to wait for.
    Miss,
    /// `get_services_by_name`, of ten pods.
    ByName,
    /// `get_all_services`
    All,
    /// `get_subscribers`, of ten.
    Subscribers,
    /// `update_health_status`
    UpdateHealth,
    /// `save_service` of a pod that is registered already.
    SaveReplace,
    /// `save_service` of a new pod; the registry grows to twice its size, or by
    /// 4,096.
    SaveNew,
    /// `delete_service` of as many pods, which have registered just before, in
    /// random order.
    Delete,
    /// `delete_service`, and `save_service` of the same pod.
    DeleteSave,
    /// `add_subscription` to a group with ten subscribers.
    AddSubscription,
    /// `remove_subscription` of those.
    RemoveSubscription,
    /// 1,000 health updates one by one.
    UpdatesSingly,
    /// 1,000 health updates in one batch.
    UpdatesInBatch,
    /// `snapshot()`; dropped outside the clock.
    Snapshot,
    /// `snapshot()`, dropped at once.
    SnapshotAndDrop,
    /// `with_service` on one thread, as many as go in a second.
    Throughput1,
    /// The same on two threads.
    Throughput2,
    /// Reads through a handle on one thread, as many as go in a second.
    ReaderThroughput1,
    /// The same on two threads.
    ReaderThroughput2,
    /// `clear()` of the whole store.
    Clear,
    /// Drop of the whole store.
    Drop,
}

use Operation as Op;

/// The operations in the order in which a process goes through them: from those
/// that leave no trace to those that leave nothing else.
pub(super) const GROUPS: &[&[Operation]] = &[
    &[Op::WithService, Op::Reader, Op::SnapshotGet, Op::PinnedGet],
    &[Op::WithServiceBackToBack, Op::ReaderBackToBack],
    &[Op::GetService],
    &[Op::Miss],
    &[Op::ByName, Op::PinnedByName],
    &[Op::All],
    &[Op::Subscribers],
    &[Op::UpdateHealth],
    &[Op::UpdatesSingly, Op::UpdatesInBatch],
    &[Op::Snapshot, Op::SnapshotAndDrop],
    &[
        Op::Throughput1,
        Op::Throughput2,
        Op::ReaderThroughput1,
        Op::ReaderThroughput2,
    ],
    &[Op::SaveReplace],
    &[Op::DeleteSave],
    &[Op::AddSubscription, Op::RemoveSubscription],
    &[Op::SaveNew],
    &[Op::Delete],
    &[Op::Clear],
    &[Op::Drop],
];

impl Operation {
    /// All of them, in the order of the tables.
    pub fn all() -> impl Iterator<Item = Operation> {
        GROUPS.iter().copied().flatten().copied()
    }

    /// The name in the rows.
    pub const fn metric(self) -> &'static str {
        match self {
            Op::WithService => "with_service",
            Op::WithServiceBackToBack => "with_service_back_to_back",
            Op::Reader => "reader.with_service",
            Op::ReaderBackToBack => "reader.with_service_back_to_back",
            Op::SnapshotGet => "snapshot.get",
            Op::PinnedGet => "pinned.get",
            Op::PinnedByName => "pinned.services_by_name",
            Op::GetService => "get_service",
            Op::Miss => "get_service_miss",
            Op::ByName => "get_services_by_name",
            Op::All => "get_all_services",
            Op::Subscribers => "get_subscribers",
            Op::UpdateHealth => "update_health_status",
            Op::SaveReplace => "save_service_replace",
            Op::SaveNew => "save_service_new",
            Op::Delete => "delete_service",
            Op::DeleteSave => "delete_and_save",
            Op::AddSubscription => "add_subscription",
            Op::RemoveSubscription => "remove_subscription",
            Op::UpdatesSingly => "updates_1000_singly",
            Op::UpdatesInBatch => "updates_1000_in_batch",
            Op::Snapshot => "snapshot",
            Op::SnapshotAndDrop => "snapshot_and_drop",
            Op::Throughput1 | Op::Throughput2 => "throughput.with_service",
            Op::ReaderThroughput1 | Op::ReaderThroughput2 => "throughput.reader",
            Op::Clear => "clear",
            Op::Drop => "drop",
        }
    }

    pub(super) const fn threads(self) -> usize {
        match self {
            Op::Throughput2 | Op::ReaderThroughput2 => 2,
            _ => 1,
        }
    }

    pub(super) const fn unit(self) -> Unit {
        if self.is_throughput() {
            return Unit::MillionsPerSecond;
        }
        Unit::NanosecondsPerOperation
    }

    pub(super) const fn is_throughput(self) -> bool {
        matches!(
            self,
            Op::Throughput1 | Op::Throughput2 | Op::ReaderThroughput1 | Op::ReaderThroughput2
        )
    }

    /// Whether only a store with snapshots has it.
    pub(super) const fn is_of_snapshots(self) -> bool {
        matches!(
            self,
            Op::Reader
                | Op::ReaderBackToBack
                | Op::SnapshotGet
                | Op::PinnedGet
                | Op::PinnedByName
                | Op::Snapshot
                | Op::SnapshotAndDrop
                | Op::ReaderThroughput1
                | Op::ReaderThroughput2
        )
    }

    /// Whether it writes records.
    pub(super) const fn is_write(self) -> bool {
        matches!(
            self,
            Op::UpdateHealth
                | Op::UpdatesSingly
                | Op::UpdatesInBatch
                | Op::SaveReplace
                | Op::SaveNew
                | Op::Delete
                | Op::DeleteSave
        )
    }

    /// Whether there is something to learn at this size.
    pub(super) const fn applies(self, services: usize) -> bool {
        services >= 1_000 || !self.is_throughput()
    }

    /// What the floor does in its place.
    pub(super) fn on_the_floor(self) -> Option<Operation> {
        match self {
            Op::WithService | Op::Reader | Op::SnapshotGet | Op::PinnedGet => Some(Op::WithService),
            Op::WithServiceBackToBack | Op::ReaderBackToBack => Some(Op::WithServiceBackToBack),
            Op::GetService
            | Op::Miss
            | Op::All
            | Op::UpdateHealth
            | Op::SaveReplace
            | Op::SaveNew
            | Op::Delete
            | Op::DeleteSave
            | Op::Clear
            | Op::Drop => Some(self),
            _ => None,
        }
    }

    /// The most operations of a sample; `None` where the state of the store
    /// leaves no choice. One of the "1,000 updates" counts as one.
    pub const fn limit(self) -> Option<usize> {
        match self {
            Op::SaveNew
            | Op::Delete
            | Op::AddSubscription
            | Op::RemoveSubscription
            | Op::Clear
            | Op::Drop => None,
            Op::SaveReplace | Op::DeleteSave => Some(4_096),
            Op::UpdatesSingly | Op::UpdatesInBatch => Some(16),
            Op::Throughput1 | Op::Throughput2 | Op::ReaderThroughput1 | Op::ReaderThroughput2 => {
                Some(1 << 22)
            }
            _ => Some(PROBES),
        }
    }

    pub(super) fn cell(self, store: &str, services: usize) -> Cell {
        Cell {
            scenario: NAME.into(),
            store: store.into(),
            threads: self.threads(),
            services,
            metric: self.metric().into(),
        }
    }

    pub(super) fn of(cell: &Cell) -> Option<Operation> {
        Operation::all().find(|op| op.metric() == cell.metric && op.threads() == cell.threads)
    }
}
