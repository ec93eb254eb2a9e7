//! Tests of what models cannot show: real threads, signals, processes, and the kernel.
//!
//! Each test that changes the process runs in a process of its own. All tests run again with the
//! readers' fences, as on a system without `membarrier(2)`.

use std::env;
use std::process::{Command, Output};
use std::sync::OnceLock;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize};
use std::time::{Duration, Instant};
use std::{ptr, thread};

use crate::reclaim::barrier::has_fences;
use crate::reclaim::threads::count;
use crate::reclaim::{Awaited, Domain, Reclaimer};

#[cfg(unix)]
mod process;

const ALIVE: usize = 0x600D_600D;
const DEAD: usize = 0xDEAD_DEAD;

/// A value that readers read. It is marked before it is freed, so that a reader that reaches it
/// notices, even if its memory is used again.
struct Canary {
    first: AtomicUsize,
    second: AtomicUsize,
}

impl Canary {
    fn new() -> *mut Canary {
        Box::into_raw(Box::new(Canary {
            first: AtomicUsize::new(ALIVE),
            second: AtomicUsize::new(ALIVE),
        }))
    }

    fn check(&self) {
        assert_eq!(self.first.load(Relaxed), ALIVE, "it has been freed");
        std::hint::spin_loop();
        assert_eq!(self.second.load(Relaxed), ALIVE, "it is being freed");
    }
}

/// A canary that no reader can find any more.
struct Unlinked(*mut Canary);

// SAFETY: an `Unlinked` owns its canary.
#[allow(unsafe_code)]
unsafe impl Send for Unlinked {}

impl Drop for Unlinked {
    fn drop(&mut self) {
        // SAFETY: `Canary::new` allocated it, and its readers have left.
        #[allow(unsafe_code)]
        let canary = unsafe { Box::from_raw(self.0) };
        assert_eq!(canary.first.swap(DEAD, Relaxed), ALIVE, "freed twice");
        canary.second.store(DEAD, Relaxed);
    }
}

struct Shared {
    domain: Domain,
    newest: [AtomicPtr<Canary>; 4],
}

impl Shared {
    fn new() -> Shared {
        Shared {
            domain: Domain::new(),
            newest: [(); 4].map(|()| AtomicPtr::new(Canary::new())),
        }
    }

    fn read(&self, at: usize) {
        let _guard = self.domain.pin();
        self.find(at).check();
    }

    /// Reads until `is_over`, each time with `inside(at)` more pins inside its own.
    fn read_until(&self, is_over: &AtomicBool, mut at: usize, inside: impl Fn(usize) -> usize) {
        while !is_over.load(Relaxed) {
            let guard = self.domain.pin();
            let found = self.find(at);
            for _ in 0..inside(at) {
                self.read(at + 1);
            }
            found.check();
            drop(guard);
            at += 1;
        }
    }

    /// Returns the newest canary. The caller stays pinned for as long as it uses the canary.
    fn find(&self, at: usize) -> &Canary {
        // SAFETY: the thread is pinned, and the thread that frees waits for it.
        #[allow(unsafe_code)]
        unsafe {
            &*self.newest[at % 4].load(Acquire)
        }
    }

    fn replace(&self, at: usize, reclaimer: &mut Reclaimer<Unlinked>) {
        let old = self.newest[at % 4].swap(Canary::new(), Release);
        reclaimer.retire(Unlinked(old));
    }

    fn reclaimer(&self) -> Reclaimer<Unlinked> {
        Reclaimer::new(self.domain)
    }
}

/// Returns the values of threads that outlive the test.
fn shared_by_all() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(Shared::new)
}

impl Drop for Shared {
    fn drop(&mut self) {
        for newest in &self.newest {
            drop(Unlinked(newest.load(Relaxed)));
        }
    }
}

/// Calls `work` until it returns `true`.
fn until(what: &str, mut work: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !work() {
        let limit = Duration::from_secs(60);
        assert!(begin.elapsed() < limit, "too slow: {what}");
        thread::yield_now();
    }
}

/// Frees everything that was retired. No thread stays pinned.
fn free_all(reclaimer: &mut Reclaimer<Unlinked>) {
    until("freeing", || {
        reclaimer.advance(0);
        drop(reclaimer.take(usize::MAX));
        reclaimer.is_empty()
    });
}

/// Runs a test of this file in a process of its own.
fn in_child(test: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--include-ignored"]);
    command.env("CHILD", test).envs(variables.iter().copied());
    command.output().unwrap()
}

/// Returns whether this is the process that [`in_child`] has started for the test. Otherwise runs
/// the test in such a process.
fn is_child(test: &str) -> bool {
    if env::var("CHILD").is_ok_and(|child| child == test) {
        return true;
    }
    let output = in_child(test, &[]);
    assert!(output.status.success(), "{output:?}");
    false
}

#[test]
fn all_of_this_holds_without_membarrier() {
    if env::var("VERSIONED_MAP_MEMBARRIER").is_ok() {
        assert!(has_fences());
        return;
    }
    let mut command = Command::new(env::current_exe().unwrap());
    // The twins are broken with fences, too.
    command.args(["--skip", "is_noticed"]);
    let output = command.env("VERSIONED_MAP_MEMBARRIER", "off").output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn readers_reach_nothing_that_is_freed() {
    let shared = Shared::new();
    let is_over = AtomicBool::new(false);
    thread::scope(|threads| {
        for own in 0..3 {
            let (shared, is_over) = (&shared, &is_over);
            threads.spawn(move || shared.read_until(is_over, own, |at| at % 7));
        }
        let mut reclaimer = shared.reclaimer();
        let (mut freed, mut waited) = (0, 0);
        let end = Instant::now() + Duration::from_secs(2);
        let mut at = 0;
        while Instant::now() < end {
            for _ in 0..20 {
                shared.replace(at, &mut reclaimer);
                at += 1;
            }
            waited += usize::from(!reclaimer.advance(at as u64));
            freed += reclaimer.take(usize::MAX).count();
        }
        is_over.store(true, Relaxed);
        assert!(freed > 1_000 && waited > 0, "{freed} {waited}");
        free_all(&mut reclaimer);
    });
}

/// Writers take the lock in turn, while other threads start and end.
#[test]
fn owners_in_turn_and_threads_that_start_and_end() {
    let shared = Shared::new();
    let reclaimer = std::sync::Mutex::new(shared.reclaimer());
    thread::scope(|threads| {
        for own in 0..4 {
            let (shared, reclaimer) = (&shared, &reclaimer);
            threads.spawn(move || {
                for round in 0..100 {
                    thread::scope(|threads| {
                        threads.spawn(|| (0..200).for_each(|at| shared.read(at + own)));
                        for at in 0..20 {
                            let taken: Vec<Unlinked> = {
                                let mut reclaimer = reclaimer.lock().unwrap();
                                shared.replace(at, &mut reclaimer);
                                if (at + round) % 10 == 0 {
                                    reclaimer.advance(0);
                                }
                                reclaimer.take(8).collect()
                            };
                            drop(taken);
                        }
                    });
                }
            });
        }
    });
    free_all(&mut reclaimer.into_inner().unwrap());
}

#[test]
fn ten_thousand_threads_share_a_few_records() {
    if !is_child("tests::ten_thousand_threads_share_a_few_records") {
        return;
    }
    let domain = Domain::new();
    for _ in 0..2_500 {
        let threads = [(); 4].map(|()| thread::spawn(move || drop(domain.pin())));
        for thread in threads {
            thread.join().unwrap();
        }
    }
    // Four threads run at the same time. A few more records exist because a thread may miss a
    // record that was just released.
    assert!(count() <= 16, "{}", count());
}

#[test]
fn thousands_of_threads_at_once() {
    let shared = Shared::new();
    let mut reclaimer = shared.reclaimer();
    let (pinned, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|threads| {
        for own in 0..2_000 {
            let (shared, pinned, is_over) = (&shared, &pinned, &is_over);
            let small = thread::Builder::new().stack_size(64 << 10);
            let idle = move || {
                shared.read(own);
                pinned.fetch_add(1, Relaxed);
                while !is_over.load(Relaxed) {
                    thread::park_timeout(Duration::from_millis(100));
                    shared.read(own);
                }
            };
            small.spawn_scoped(threads, idle).unwrap();
        }
        until("threads that begin", || pinned.load(Relaxed) == 2_000);
        for at in 0..1_000 {
            shared.replace(at, &mut reclaimer);
            if at % 100 == 0 {
                reclaimer.advance(0);
                drop(reclaimer.take(usize::MAX));
            }
        }
        free_all(&mut reclaimer);
        is_over.store(true, Relaxed);
    });
}

/// What was retired before the sleeper was pinned is freed. What is retired later waits. The
/// sleeper has no other effect.
#[test]
fn a_sleeper_holds_up_what_was_retired_after_it_was_pinned() {
    let shared = Shared::new();
    let mut reclaimer = shared.reclaimer();
    (0..10).for_each(|at| shared.replace(at, &mut reclaimer));
    assert!(reclaimer.advance(1));
    let (is_pinned, is_over) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|threads| {
        let sleeper = threads.spawn(|| {
            let _guard = shared.domain.pin();
            let found = shared.find(0);
            is_pinned.store(true, Release);
            until("sleeping", || is_over.load(Acquire));
            found.check();
        });
        until("falling asleep", || is_pinned.load(Acquire));
        assert_eq!(
            (reclaimer.passed(), reclaimer.take(usize::MAX).count()),
            (1, 10)
        );
        (0..10).for_each(|at| shared.replace(at, &mut reclaimer));
        assert!(reclaimer.advance(2), "the period ends");
        for mark in 3..100 {
            shared.replace(0, &mut reclaimer);
            assert!(
                !reclaimer.advance(mark),
                "the next period begins when the sleeper has left"
            );
            assert_eq!(
                (reclaimer.passed(), reclaimer.take(usize::MAX).count()),
                (1, 0)
            );
        }
        // The sleeper does not affect readers of other domains, or other readers of this one.
        let other = Shared::new();
        let mut others = other.reclaimer();
        other.replace(0, &mut others);
        assert!(others.advance(1));
        assert_eq!(others.take(usize::MAX).count(), 1);
        shared.read(1);
        is_over.store(true, Release);
        sleeper.join().unwrap();
        assert!(reclaimer.settle());
        assert_eq!((reclaimer.passed(), reclaimer.ready()), (2, 10));
        free_all(&mut reclaimer);
    });
}

/// A call for reclamation becomes due when the awaited reader has left, and not before.
#[test]
fn a_call_is_due_when_the_awaited_reader_has_left() {
    let shared = Shared::new();
    let mut reclaimer = shared.reclaimer();
    let awaited = Awaited::default();
    assert!(!awaited.is_due());
    let guard = shared.domain.pin();
    shared.replace(0, &mut reclaimer);
    assert!(reclaimer.advance(1));
    reclaimer.call(&awaited);
    shared.read(1);
    assert!(!awaited.is_due(), "the reader is still there");
    drop(guard);
    assert!(awaited.is_due());
    let _again = shared.domain.pin();
    assert!(awaited.is_due(), "this is another pin");
    awaited.take();
    assert!(!awaited.is_due());
    assert!(reclaimer.settle());
    reclaimer.call(&awaited);
    assert!(awaited.is_due(), "there is no reader to wait for");
    assert_eq!(reclaimer.take(1).count(), 1);
}

#[test]
fn without_pinned_threads_one_period_is_enough() {
    let shared = Shared::new();
    let mut reclaimer = shared.reclaimer();
    (0..10).for_each(|at| shared.replace(at, &mut reclaimer));
    assert_eq!((reclaimer.retired(), reclaimer.passed()), (10, 0));
    assert!(reclaimer.period() == 0 && reclaimer.passed_periods() == 0);
    assert!(reclaimer.advance(7));
    assert_eq!((reclaimer.retired(), reclaimer.passed()), (0, 7));
    assert_eq!(reclaimer.passed_periods(), 1);
    assert_eq!(reclaimer.take(3).count(), 3, "as many as were asked for");
    assert_eq!(reclaimer.ready(), 7);
    drop(reclaimer.take(0));
    assert_eq!(reclaimer.take(usize::MAX).count(), 7);
    assert!(reclaimer.is_empty());
}

#[test]
fn guards_of_the_owner_itself_hold_up_as_others_do() {
    let shared = Shared::new();
    let mut reclaimer = shared.reclaimer();
    let first = shared.domain.pin();
    let second = shared.domain.pin();
    let found = shared.find(0);
    shared.replace(0, &mut reclaimer);
    assert!(reclaimer.advance(1));
    drop(first);
    assert!(!reclaimer.settle() && reclaimer.passed_periods() == 0);
    found.check();
    drop(second);
    assert!(reclaimer.settle() && reclaimer.passed_periods() > 0);
    free_all(&mut reclaimer);
}

#[test]
fn a_reclaimer_that_unwinds_leaks_what_it_has_panic_of_others() {
    static DROPPED: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            DROPPED.fetch_add(1, Relaxed);
        }
    }
    let unwound = std::panic::catch_unwind(|| {
        let mut reclaimer = Reclaimer::new(Domain::new());
        (0..3).for_each(|_| reclaimer.retire(Counted));
        reclaimer.advance(0);
        (0..3).for_each(|_| reclaimer.retire(Counted));
        let _guard = Domain::new().pin();
        panic!("in the middle");
    });
    assert!(unwound.is_err());
    assert_eq!(DROPPED.load(Relaxed), 0);
    let mut reclaimer = Reclaimer::new(Domain::new());
    reclaimer.retire(Counted);
    assert_eq!(reclaimer.drain().count(), 1, "the owner drains it");
    assert_eq!(DROPPED.load(Relaxed), 1);
}

#[test]
fn a_panic_of_a_reader_ends_its_pin() {
    let shared = Shared::new();
    let mut reclaimer = shared.reclaimer();
    let unwound = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = shared.domain.pin();
        panic!("while it reads");
    }));
    assert!(unwound.is_err());
    shared.replace(0, &mut reclaimer);
    assert!(reclaimer.advance(1));
    assert_eq!(reclaimer.take(usize::MAX).count(), 1);
}

// --- threads that end

/// Pins and reads when its thread ends. Until then it holds a guard.
struct AtTheEnd<'s>(&'s Shared, Option<crate::reclaim::Guard>);

impl Drop for AtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.read(1);
        drop(self.1.take());
        for at in 0..3 {
            self.0.read(at);
        }
        // This call must not take a record: a record is released with a pin, and no pin follows.
        Awaited::default().call();
    }
}

thread_local! {
    static FIRST: std::cell::Cell<Option<AtTheEnd<'static>>> = const { std::cell::Cell::new(None) };
    static LAST: std::cell::Cell<Option<AtTheEnd<'static>>> = const { std::cell::Cell::new(None) };
}

/// The order of the destructors of thread locals is not specified: some run before the record is
/// released, and some after it.
#[test]
fn destructors_of_thread_locals_may_pin() {
    if !is_child("tests::destructors_of_thread_locals_may_pin") {
        return;
    }
    let shared = shared_by_all();
    let mut reclaimer = shared.reclaimer();
    for round in 0..400 {
        let thread = thread::spawn(move || {
            let end = |is_pinned| {
                AtTheEnd(
                    shared,
                    if is_pinned {
                        Some(shared.domain.pin())
                    } else {
                        None
                    },
                )
            };
            // The thread local that is used first is dropped last, or first.
            FIRST.set(None);
            if round % 4 < 2 {
                shared.read(0);
            }
            LAST.set(Some(end(round % 2 == 0)));
            FIRST.set(Some(end(round % 3 == 0)));
        });
        shared.replace(round, &mut reclaimer);
        reclaimer.advance(0);
        drop(reclaimer.take(usize::MAX));
        thread.join().unwrap();
    }
    free_all(&mut reclaimer);
    assert!(count() <= 4, "{}", count());
    // A record that was taken for a single pin can be taken again like any other.
    let guard = shared.domain.pin();
    shared.replace(0, &mut reclaimer);
    assert!(reclaimer.advance(1));
    assert!(!reclaimer.settle());
    drop(guard);
    free_all(&mut reclaimer);
}

#[test]
fn a_guard_that_is_forgotten_holds_up_for_good() {
    if !is_child("tests::a_guard_that_is_forgotten_holds_up_for_good") {
        return;
    }
    let shared = shared_by_all();
    let forgetful = || {
        let guard = shared.domain.pin();
        let found = ptr::from_ref(shared.find(0)).addr();
        std::mem::forget(guard);
        found
    };
    let found = thread::spawn(forgetful).join().unwrap();
    let mut reclaimer = shared.reclaimer();
    shared.replace(0, &mut reclaimer);
    assert!(reclaimer.advance(1));
    for _ in 0..10 {
        thread::spawn(|| shared.read(0)).join().unwrap();
        assert!(!reclaimer.settle());
    }
    let found = ptr::with_exposed_provenance::<Canary>(found);
    // SAFETY: the guard has never been dropped.
    #[allow(unsafe_code)]
    unsafe { &*found }.check();
    // Only this test knows that no thread reads it any more.
    drop(reclaimer.drain());
}
