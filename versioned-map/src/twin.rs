//! The faults that tests inject on purpose: loom, or the stress, must detect each of them.

#[cfg_attr(not(test), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Twin {
    None,
    /// A reader's loads may come before its store.
    NoLightFence,
    /// The thread that frees looks for readers without its fence.
    NoHeavyFence,
    /// The thread that frees does not wait for what readers stored before they knew that the kernel
    /// fails.
    NoDrain,
    /// The thread that frees does not wait for the readers that it has found.
    ReadersNotAwaited,
    /// The thread that frees overlooks one of the records.
    SkippedRecord,
    /// The thread that frees takes only the readers of other domains for pinned.
    WrongDomain,
    /// A reader pins again without a Release that orders its earlier reads.
    RepinnedRelaxed,
    /// A reader leaves without a Release that orders its reads.
    UnpinnedRelaxed,
    /// A reader leaves when the first of several nested pins ends.
    UnpinnedByFirstGuard,
    /// A thread that ends gives its record back while it is still pinned.
    RecordReleasedPinned,
    /// A thread takes over a record without seeing how the last one left it.
    RecordTakenRelaxed,

    /// The writer publishes the revision before the versions are there.
    PublishedBeforeWritten,
    /// A reader loads the tables before the revision.
    TablesLoadedFirst,
    /// The writer settles a revision before it publishes it.
    SettledBeforePublished,
    /// A look-up of one key loads the settled revision after the tables.
    SettledLoadedLast,
    /// The writer unlinks versions as soon as they have been replaced.
    UnlinkedWithoutPeriod,
    /// The writer frees versions as soon as they have been unlinked.
    FreedWithoutPeriod,
    /// A snapshot registers after its pin has ended.
    RegisteredUnpinned,
    /// The writer finds no snapshot when it scans.
    SnapshotsNotFound,
    /// The writer scans for snapshots before the pinned readers have left.
    ScannedBeforeWaiting,
    /// The writer uses memory again that a snapshot may walk over.
    ReusedTooEarly,
    /// A slot dies when its key is deleted.
    SlotKilledAtDeletion,
    /// A slot becomes free when it dies.
    DeadSlotFree,
    /// A version drops its value although it has lent it.
    LentValueDropped,
    /// The writer keeps something for a place that was given back before it could be marked.
    KeptWithoutMark,
    /// The writer scans for snapshots only once.
    ScannedOnlyOnce,
    /// A snapshot that gives back a marked place does not tell the writer.
    DepartureNotReported,
    /// A successor of a table does not follow the changes of the slots that have been moved.
    ChangeNotCopied,
    /// A successor takes over before all slots have been moved.
    SuccessorInstalledEarly,

    /// An update is put without a check whether the key has got another version meanwhile.
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
