//! Memory of its own for what a test makes, which can be protected from being written to; and
//! tests in a process that may die of it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio, exit};
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::libc;

const SIZE: usize = 64 << 20;

/// Is set to the name of the test in the process of a child.
const CHILD: &str = "TEST_IN_A_CHILD";

/// The code of a child that has come to its end.
const ENDED: i32 = 7;

/// What the system does, but in the arena where a thread [asks](in_arena) for that.
pub(crate) struct Arena;

static USED: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static IS_ASKED: Cell<bool> = const { Cell::new(false) };
}

/// Where the arena begins.
fn arena() -> *mut u8 {
    /// An address.
    struct Start(*mut u8);
    // SAFETY: it is an address.
    unsafe impl Send for Start {}
    // SAFETY: as above.
    unsafe impl Sync for Start {}

    static ARENA: OnceLock<Start> = OnceLock::new();
    let start = ARENA.get_or_init(|| {
        let (read_and_write, own) = (
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
        );
        // SAFETY: pages that nobody has.
        let start = unsafe { libc::mmap(ptr::null_mut(), SIZE, read_and_write, own, -1, 0) };
        assert_ne!(start, libc::MAP_FAILED);
        Start(start.cast())
    });
    start.0
}

// SAFETY: each piece of the arena is handed out once, and what is not its own is the system's.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if !IS_ASKED.get() {
            // SAFETY: the caller's.
            return unsafe { System.alloc(layout) };
        }
        let room = layout.size() + layout.align();
        let from = USED.fetch_add(room, Relaxed);
        assert!(from + room <= SIZE, "the arena is full");
        let at = arena().wrapping_add(from);
        at.wrapping_add(at.align_offset(layout.align()))
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if !(arena()..arena().wrapping_add(SIZE)).contains(&at) {
            // SAFETY: the caller's; it came from there.
            unsafe { System.dealloc(at, layout) }
        }
    }
}

/// Makes something in the arena, with all that it asks memory for.
pub(crate) fn in_arena<T>(make: impl FnOnce() -> T) -> T {
    arena();
    IS_ASKED.set(true);
    let all = make();
    IS_ASKED.set(false);
    all
}

/// How much is in the arena.
pub(crate) fn used() -> usize {
    USED.load(Relaxed)
}

/// From now on, whoever writes to the arena dies.
pub(crate) fn protect() {
    // SAFETY: it is mapped; whoever writes there dies, and that is all.
    let is_done = unsafe { libc::mprotect(arena().cast(), SIZE, libc::PROT_READ) };
    assert_eq!(is_done, 0);
}

/// How a child has ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ChildEnd {
    Whole,
    /// By writing where it must not.
    Writing,
}

/// Runs `body` of the test `name` in a child, and answers how that has ended.
pub(crate) fn in_child(name: &str, body: impl FnOnce()) -> ChildEnd {
    if std::env::var_os(CHILD).is_some_and(|child| child == name) {
        body();
        // Nothing of the arena is dropped.
        exit(ENDED);
    }
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(CHILD, name)
        // A sanitizer is not to say in its own way what is told by the signal.
        .env("ASAN_OPTIONS", "handle_segv=0:detect_leaks=0")
        .stdout(Stdio::null())
        .output()
        .unwrap();
    match (child.status.code(), child.status.signal()) {
        (Some(ENDED), None) => ChildEnd::Whole,
        (None, Some(libc::SIGSEGV)) => ChildEnd::Writing,
        _ => panic!(
            "{:?}: {}",
            child.status,
            String::from_utf8_lossy(&child.stderr)
        ),
    }
}
