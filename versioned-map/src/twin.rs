//! What a test breaks on purpose, to see that loom, or the stress, finds out.

#[cfg_attr(not(test), allow(dead_code))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Twin {
    None,
    /// A reader does not keep its loads behind its store,
    NoLightFence,
    /// or who frees looks at once.
    NoHeavyFence,
    /// Who frees does not wait for what readers stored before they knew that the kernel fails,
    NoDrain,
    /// or does not wait for the readers that it has found,
    FreedTooEarly,
    /// or overlooks one of the records,
    SkippedRecord,
    /// or takes only those for pinned that read another domain.
    WrongDomain,
    /// A reader comes again without telling that it has read before,
    EnteredRelaxed,
    /// or leaves without telling that it has read,
    LeftRelaxed,
    /// or with the first of several pins.
    LeftFirst,
    /// A record is given back while its thread is still pinned,
    GivenBackPinned,
    /// or is taken over by a thread that has not seen how it was left.
    TakenRelaxed,

    /// The revision is published before the versions are there.
    PublishedFirst,
    /// A reader loads the tables before the revision.
    TablesFirst,
    /// Versions are unlinked as soon as they have been replaced,
    UnlinkedAtOnce,
    /// or freed as soon as they have been unlinked.
    FreedAtOnce,
    /// A snapshot begins when it is pinned no more,
    RegisteredLate,
    /// or the pruner looks at no snapshot,
    Overlooked,
    /// or it looks before those who are pinned have left,
    ScannedFirst,
    /// Memory is used again though a snapshot may pass over it.
    WalkedOver,
    /// A slot dies when its key is deleted,
    KilledAtOnce,
    /// or becomes free when it dies.
    KilledFree,
    /// A version that has lent its value drops it all the same.
    NotGivenBack,
    /// A writer keeps something for a place that was given back before it could be marked,
    Unmarked,
    /// or looks for snapshots once and for all.
    ScannedOnce,
    /// Who gives back a place with a mark tells nobody.
    Untold,
    /// A table that is to take the place of another one is told of no change,
    Unfollowed,
    /// or takes over before all slots have been moved.
    SucceededEarly,

    /// An update is put without a look whether the key has got another version meanwhile.
    Uncompared,
}

#[cfg(all(test, loom))]
std::thread_local! {
    /// All threads of a model run on the one that began it.
    static TWIN: std::cell::Cell<Twin> = const { std::cell::Cell::new(Twin::None) };
}

/// Has models of this thread run on a twin.
#[cfg(all(test, loom))]
pub(crate) fn set(twin: Twin) {
    TWIN.set(twin);
}

#[cfg(all(test, loom))]
pub(crate) fn is(twin: Twin) -> bool {
    TWIN.get() == twin
}

/// That of the process.
#[cfg(all(test, not(loom)))]
static TWIN: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(Twin::None as u8);

/// Has this process run on a twin.
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) fn set(twin: Twin) {
    TWIN.store(twin as u8, std::sync::atomic::Ordering::Relaxed);
}

#[cfg(all(test, not(loom)))]
pub(crate) fn is(twin: Twin) -> bool {
    TWIN.load(std::sync::atomic::Ordering::Relaxed) == twin as u8
}

/// Outside of tests none is broken.
#[cfg(not(test))]
#[inline]
pub(crate) const fn is(_: Twin) -> bool {
    false
}
