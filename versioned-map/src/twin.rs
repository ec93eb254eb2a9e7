//! The faults that tests inject on purpose: loom or the stress test must detect each of them.

#[cfg_attr(not(test), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Twin {
    None,
    /// A reader's loads may come before its store.
    NoLightFence,
    /// The thread that frees looks for readers without its fence.
    NoHeavyFence,
    /// After the kernel begins to refuse, the thread that frees does not wait for the stores of
    /// readers that did not know of it.
    NoDrain,
    /// The thread that frees does not wait for the readers that it has found.
    ReadersNotAwaited,
    /// The thread that frees overlooks one of the records.
    SkippedRecord,
    /// The thread that frees waits only for the readers of other domains.
    WrongDomain,
    /// A reader pins again without the Release that orders its earlier reads.
    RepinnedRelaxed,
    /// A reader unpins without the Release that orders its reads.
    UnpinnedRelaxed,
    /// A reader unpins when the first of several nested guards is dropped.
    UnpinnedByFirstGuard,
    /// A thread that ends releases its record while it is still pinned.
    RecordReleasedPinned,
    /// A thread takes over a record without the Acquire after which it sees the record's last
    /// state.
    RecordTakenRelaxed,

    /// The writer publishes the revision before it writes the versions.
    PublishedBeforeWritten,
    /// A reader loads the tables before the revision.
    TablesLoadedFirst,
    /// The writer unlinks versions as soon as they have been replaced, and waits for no period.
    UnlinkedWithoutPeriod,
    /// The writer frees versions as soon as they have been unlinked, and waits for no period.
    FreedWithoutPeriod,
    /// A snapshot registers after its pin has ended.
    RegisteredUnpinned,
    /// A scan of the reader slots finds no snapshot.
    SnapshotsNotFound,
    /// The writer scans the reader slots before the pinned readers have left.
    ScannedBeforeWaiting,
    /// The writer reuses memory of versions that a snapshot may traverse.
    ReusedTooEarly,
    /// The writer kills a slot as soon as its key is deleted.
    SlotKilledAtDeletion,
    /// A dead slot is free.
    DeadSlotFree,
    /// A version drops its value although another version owns the value.
    LentValueDropped,
    /// The writer keeps a version for a snapshot although it could not mark the reader slot,
    /// because the snapshot has departed.
    KeptWithoutMark,
    /// The writer scans the reader slots only once.
    ScannedOnlyOnce,
    /// A snapshot that releases a marked reader slot does not report this to the writer.
    DepartureNotReported,
    /// The changes of moved slots are not copied to the successor of a table.
    ChangeNotCopied,
    /// A successor replaces the table before all slots have been moved.
    SuccessorInstalledEarly,

    /// An update is written without a check whether the key has got another version since.
    UpdateNotCompared,
}

#[cfg(all(test, loom))]
std::thread_local! {
    /// All threads of a model run on the thread that began it.
    static TWIN: std::cell::Cell<Twin> = const { std::cell::Cell::new(Twin::None) };
}

/// Runs this thread's models on a twin.
#[cfg(all(test, loom))]
pub(crate) fn set(twin: Twin) {
    TWIN.set(twin);
}

#[cfg(all(test, loom))]
pub(crate) fn is(twin: Twin) -> bool {
    TWIN.get() == twin
}

/// The twin of the process.
#[cfg(all(test, not(loom)))]
static TWIN: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(Twin::None as u8);

/// Runs this process on a twin.
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) fn set(twin: Twin) {
    TWIN.store(twin as u8, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(all(test, not(loom)))]
pub(crate) fn is(twin: Twin) -> bool {
    TWIN.load(std::sync::atomic::Ordering::Relaxed) == twin as u8
}

/// Outside of tests nothing is broken.
#[cfg(not(test))]
#[inline]
pub(crate) const fn is(_: Twin) -> bool {
    false
}
