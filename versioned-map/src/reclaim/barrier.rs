//! The two fences: the light one of readers, which costs nothing where the kernel helps, and the
//! heavy one of the thread that frees.
//!
//! Together they do what two `SeqCst` fences would do, one on either side. A reader stores that it
//! is pinned, and then loads what it reads; the thread that frees unlinks, and then looks for
//! pinned readers. At least one of them must see what the other one has stored. The light fence
//! only keeps the compiler from moving the reader's loads in front of its store; the processor may
//! still do that. The heavy fence makes up for it: `membarrier(2)` has every thread of the process
//! run a full fence at some point within the call. For a reader that point lies
//!
//! - behind its store: then the store is visible when the call returns, and the thread that frees
//!   sees it;
//! - or before its store, and so before its loads, which then see what was unlinked.
//!
//! Without `membarrier` both fences are `SeqCst` ones. A process finds out at its first pin, or
//! before. `VERSIONED_MAP_MEMBARRIER=off` in the environment turns the call off on every system.
//!
//! # When it begins to fail
//!
//! A program may forbid itself the system call later (seccomp), and an old kernel may be out of
//! memory for it. From then on pins have their fence. But just before that, a reader may have
//! checked whether it needs one, and gone on without. It stored that it is pinned before it
//! checked, so that this store only has to become visible, which no fence orders. No processor
//! holds a store back for long, and a context switch drains it. So the thread that frees waits for
//! [`DRAIN`], a thousand times longer than the store can take, before it relies on the fences of
//! readers. The model checker takes this step alone on trust: it knows no time.

use std::time::Duration;

use crate::sync::atomic::Ordering::{Relaxed, SeqCst};
use crate::sync::atomic::{AtomicU8, fence};
use crate::sync::global;
use crate::twin::{self, Twin};

/// How long the thread that frees waits after `membarrier` has failed.
#[cfg_attr(loom, allow(dead_code))]
pub(super) const DRAIN: Duration = Duration::from_secs(1);

/// The kernel has not been asked yet. Pins have their fence.
#[cfg(not(loom))]
const UNKNOWN: u8 = 0;
/// The thread that frees calls `membarrier`.
const MEMBARRIER: u8 = 1;
/// Pins have their fence.
const FENCES: u8 = 2;

/// All readers load it, and it changes once or twice: it has a cache line of its own.
#[repr(align(128))]
struct Mode(AtomicU8);

#[cfg(not(loom))]
global! {
    static MODE: Mode = Mode(AtomicU8::new(UNKNOWN));
}
// A model has asked before it begins, so that its readers can miss one store less.
#[cfg(loom)]
global! {
    static MODE: Mode = Mode(AtomicU8::new(kernel::first_mode()));
}

/// Stands between the store that says that a reader is pinned, and all that the reader loads.
#[inline]
pub(super) fn light() {
    std::sync::atomic::compiler_fence(SeqCst);
    // Relaxed: see "When it begins to fail" above.
    if kernel::needs_light_fences() || MODE.0.load(Relaxed) != MEMBARRIER {
        if twin::is(Twin::NoLightFence) {
            return;
        }
        // SeqCst: pairs with the fence in `heavy`.
        fence(SeqCst);
    }
}

/// Stands between the unlinking and the look for pinned readers. Returns whether that look is sure
/// to find them; if not, the caller must free nothing on the strength of it.
pub(super) fn heavy() -> bool {
    ask();
    if twin::is(Twin::NoHeavyFence) {
        return true;
    }
    // SeqCst: pairs with the fence in `light`, if pins have one. If not, this is for the kernel,
    // whose `membarrier` does nothing at all for a process with one thread.
    fence(SeqCst);
    // Relaxed: this thread has called `ask`, so that the mode is known to it.
    if MODE.0.load(Relaxed) == MEMBARRIER {
        if kernel::membarrier() {
            return true;
        }
        kernel::begin_to_drain();
        MODE.0.store(FENCES, Relaxed);
        return twin::is(Twin::NoDrain);
    }
    kernel::is_drained()
}

/// Asks the kernel once whether it has `membarrier`.
pub(super) fn ask() {
    #[cfg(not(loom))]
    if MODE.0.load(Relaxed) == UNKNOWN {
        let mode = if kernel::register() {
            MEMBARRIER
        } else {
            FENCES
        };
        // Relaxed: a thread that has not seen the mode yet has asked as well. The first answer
        // stands.
        let _ = MODE.0.compare_exchange(UNKNOWN, mode, Relaxed, Relaxed);
    }
}

/// Returns whether pins have their fence.
#[cfg(all(test, not(any(loom, shuttle))))]
pub(crate) fn has_fences() -> bool {
    ask();
    MODE.0.load(Relaxed) == FENCES
}

#[cfg(not(loom))]
mod kernel {
    //! What the kernel does.

    use std::sync::OnceLock;
    use std::time::Instant;

    /// When `membarrier` has failed.
    static FAILED: OnceLock<Instant> = OnceLock::new();

    pub(super) const fn needs_light_fences() -> bool {
        false
    }

    pub(super) fn begin_to_drain() {
        FAILED.get_or_init(Instant::now);
    }

    pub(super) fn is_drained() -> bool {
        FAILED.get().is_none_or(|at| at.elapsed() >= super::DRAIN)
    }

    #[cfg(not(all(
        any(target_os = "linux", target_os = "android"),
        not(any(miri, shuttle))
    )))]
    mod call {
        pub(crate) fn register() -> bool {
            false
        }

        pub(crate) fn membarrier() -> bool {
            false
        }
    }

    #[cfg(all(
        any(target_os = "linux", target_os = "android"),
        not(any(miri, shuttle))
    ))]
    mod call {
        use libc::c_long;

        // From `linux/membarrier.h`; `libc` does not have them for every target.
        const QUERY: c_long = 0;
        const PRIVATE_EXPEDITED: c_long = 1 << 3;
        const REGISTER_PRIVATE_EXPEDITED: c_long = 1 << 4;

        #[allow(unsafe_code)]
        fn call(command: c_long) -> c_long {
            // SAFETY: the call takes no pointers, and changes no memory.
            unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) }
        }

        /// Registers the process, as the kernel requires, unless the environment forbids it.
        pub(crate) fn register() -> bool {
            let is_off = std::env::var_os("VERSIONED_MAP_MEMBARRIER").is_some_and(|is| is == "off");
            let both = PRIVATE_EXPEDITED | REGISTER_PRIVATE_EXPEDITED;
            let has = |commands: c_long| commands >= 0 && commands & both == both;
            !is_off && has(call(QUERY)) && call(REGISTER_PRIVATE_EXPEDITED) == 0 && membarrier()
        }

        /// Runs the call. A forked process may have to register anew.
        pub(crate) fn membarrier() -> bool {
            let run = || call(PRIVATE_EXPEDITED) == 0;
            run() || call(REGISTER_PRIVATE_EXPEDITED) == 0 && run()
        }
    }

    pub(super) use call::{membarrier, register};
}

#[cfg(all(test, loom))]
pub(crate) use kernel::{KERNEL, Kernel, has_seen_failure};

#[cfg(loom)]
#[cfg_attr(not(test), allow(dead_code))]
mod kernel {
    //! A stand-in for the kernel in a model.
    //!
    //! loom has no `membarrier`. A fence of the reader right between its store and its loads stands
    //! for the point at which the kernel makes the reader run one. Wherever that point lies, one of
    //! the two cases that the page of `barrier` names holds, and one of the same two holds for two
    //! fences.
    //!
    //! If the call fails, pins have no fence until they know of the failure. The model's readers
    //! tell that their stores have become visible after [`DRAIN`](super::DRAIN).

    use std::cell::Cell;

    use super::{FENCES, MEMBARRIER, MODE};
    use crate::sync::atomic::AtomicBool;
    use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
    use crate::sync::global;

    /// How `membarrier` behaves in a model.
    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) enum Kernel {
        Works,
        Missing,
        Fails,
    }

    std::thread_local! {
        /// All threads of a model run on the thread that began it.
        pub(crate) static KERNEL: Cell<Kernel> = const { Cell::new(Kernel::Works) };
    }

    global! {
        static DRAINED: AtomicBool = AtomicBool::new(false);
    }

    pub(super) fn first_mode() -> u8 {
        if KERNEL.get() == Kernel::Missing {
            FENCES
        } else {
            MEMBARRIER
        }
    }

    pub(super) fn needs_light_fences() -> bool {
        KERNEL.get() == Kernel::Works
    }

    pub(super) fn membarrier() -> bool {
        KERNEL.get() == Kernel::Works
    }

    pub(super) fn begin_to_drain() {}

    pub(super) fn is_drained() -> bool {
        // Acquire: pairs with the Release in `has_seen_failure`.
        KERNEL.get() == Kernel::Missing || DRAINED.load(Acquire)
    }

    /// A reader calls this between two pins: if it knows of the failure, or never pins again, all
    /// that it has stored before has become visible.
    pub(crate) fn has_seen_failure(is_last: bool) {
        if is_last || MODE.0.load(Relaxed) == FENCES {
            // Release: pairs with the Acquire in `is_drained`.
            DRAINED.store(true, Release);
        }
    }
}
