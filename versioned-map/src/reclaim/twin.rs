//! What a model breaks on purpose, to see that loom finds out.

#[cfg_attr(not(all(test, loom)), allow(dead_code))]
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
}

#[cfg(all(test, loom))]
std::thread_local! {
    /// All threads of a model run on the one that began it.
    pub(crate) static TWIN: std::cell::Cell<Twin> = const { std::cell::Cell::new(Twin::None) };
}

#[cfg(all(test, loom))]
pub(super) fn is(twin: Twin) -> bool {
    TWIN.get() == twin
}

/// Outside of models none is broken.
#[cfg(not(all(test, loom)))]
#[inline]
pub(super) const fn is(_: Twin) -> bool {
    false
}
