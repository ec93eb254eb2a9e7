//! Models for loom of the guarantees of the reclamation.
//!
//! An owner publishes one value after the other, and retires each replaced value. Pinned readers
//! read the published value. In a model nothing is really freed: the owner marks the value instead,
//! and a reader that reaches a marked value fails. Each value also has a cell that loom watches: it
//! detects a mark that is not ordered after all reads. When the readers have left, the owner must
//! have freed everything that was retired.
//!
//! A faulty reader reaches a value that was freed, or one that is being freed. Which fault loom
//! finds first depends on the order in which it tries schedules.
//!
//! A [`Twin`] is the reclamation with one step left out or done too early, and loom must detect it.

use std::sync::atomic::{AtomicBool as Seen, Ordering::Relaxed as Unseen};
use std::sync::{Arc, Mutex as PlainMutex};

use loom::cell::UnsafeCell;
use loom::sync::Mutex;
use loom::sync::atomic::AtomicUsize;
use loom::sync::atomic::Ordering::{Acquire, Release};
use loom::thread;

use crate::reclaim::barrier::{KERNEL, Kernel, has_seen_failure};
use crate::reclaim::threads::{begin_to_end, count};
use crate::reclaim::{Domain, Guard, Reclaimer};
use crate::twin::{self, Twin};

const FREED: &str = "a reader stood on what had been freed";
const HELD: &str = "garbage is held for no reader";

fn check(model: impl Fn() + Send + Sync + 'static) {
    check_on(Kernel::Works, Twin::None, model);
}

fn check_on(kernel: Kernel, twin: Twin, model: impl Fn() + Send + Sync + 'static) {
    KERNEL.set(kernel);
    twin::set(twin);
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    builder.check(model);
}

/// A value that readers read.
#[derive(Default)]
struct Value {
    is_freed: Seen,
    /// A reader reads this, and freeing writes to it.
    memory: UnsafeCell<()>,
}

// SAFETY: loom watches all accesses to the cell.
#[allow(unsafe_code)]
unsafe impl Sync for Value {}

impl Value {
    fn read(&self) {
        assert!(!self.is_freed.load(Unseen), "{FREED}");
        self.memory.with(|_| ());
    }

    fn free(&self) {
        assert!(!self.is_freed.swap(true, Unseen), "freed twice");
        self.memory.with_mut(|_| ());
    }
}

struct Shared {
    domain: Domain,
    published: AtomicUsize,
    values: [Value; 4],
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared {
            domain: Domain::new(),
            published: AtomicUsize::new(0),
            values: Default::default(),
        })
    }

    /// Reads under a guard.
    fn read(&self, _guard: &Guard) -> &Value {
        let value = &self.values[self.published.load(Acquire)];
        value.read();
        value
    }

    fn pin_and_read(&self) {
        let guard = self.domain.pin();
        self.read(&guard);
    }

    /// Returns whether all values except the published one have been freed.
    fn has_freed_all(&self) -> bool {
        let last = self.published.load(Acquire);
        let freed = |value: &Value| value.is_freed.load(Unseen);
        self.values[..last].iter().all(freed)
    }
}

struct Owner {
    shared: Arc<Shared>,
    reclaimer: Reclaimer<usize>,
}

impl Owner {
    fn new(shared: &Arc<Shared>) -> Owner {
        Owner {
            shared: shared.clone(),
            reclaimer: Reclaimer::new(shared.domain),
        }
    }

    /// Publishes the next value.
    fn replace(&mut self) {
        let before = self.shared.published.load(Acquire);
        self.shared.published.store(before + 1, Release);
        self.reclaimer.retire(before);
    }

    /// Ends the period, and takes the values that can be freed.
    fn advance(&mut self) -> Vec<usize> {
        self.reclaimer.advance(0);
        self.reclaimer.take(usize::MAX).collect()
    }

    fn free(&mut self) {
        for at in self.advance() {
            self.shared.values[at].free();
        }
    }

    /// Frees the rest. No thread is pinned any more.
    fn finish(mut self) {
        self.free();
        assert!(self.shared.has_freed_all(), "{HELD}");
        assert!(self.reclaimer.is_empty());
    }
}

/// One thread reads while another thread replaces the values, and frees them.
fn beside(read: fn(&Shared)) -> impl Fn() + Send + Sync + 'static {
    move || {
        let shared = Shared::new();
        let reader = thread::spawn({
            let shared = shared.clone();
            move || read(&shared)
        });
        let mut owner = Owner::new(&shared);
        owner.replace();
        owner.free();
        owner.replace();
        owner.free();
        reader.join().unwrap();
        owner.finish();
    }
}

fn read_once(shared: &Shared) {
    shared.pin_and_read();
}

/// Reads two values under one pin. Neither may be freed.
fn read_twice(shared: &Shared) {
    let guard = shared.domain.pin();
    let first = shared.read(&guard);
    shared.read(&guard);
    first.read();
}

fn read_in_two_pins(shared: &Shared) {
    shared.pin_and_read();
    shared.pin_and_read();
}

/// Drops the outer guard before the inner one.
fn read_inside(shared: &Shared) {
    let outside = shared.domain.pin();
    let inside = shared.domain.pin();
    drop(outside);
    shared.read(&inside);
}

/// Reads inside a pin of another domain, which ends first.
fn read_inside_of_another(shared: &Shared) {
    let outside = Domain::new().pin();
    let inside = shared.domain.pin();
    drop(outside);
    shared.read(&inside);
}

/// Pins another domain inside its own pin.
fn read_around_another(shared: &Shared) {
    let outside = shared.domain.pin();
    let first = shared.read(&outside);
    drop(Domain::new().pin());
    first.read();
}

#[test]
fn models_a_pinned_reader_keeps_what_it_finds() {
    check(beside(read_twice));
}

#[test]
fn models_a_pinned_reader_keeps_what_it_finds_without_membarrier() {
    check_on(Kernel::Missing, Twin::None, beside(read_twice));
}

/// The reader was pinned before anything was unlinked.
#[test]
fn models_a_reader_from_before_keeps_what_it_has() {
    check(|| {
        let shared = Shared::new();
        let guard = shared.domain.pin();
        let value = shared.read(&guard);
        let freeing = thread::spawn({
            let shared = shared.clone();
            move || {
                let mut owner = Owner::new(&shared);
                owner.replace();
                owner.free();
                owner.replace();
                owner.free();
                owner
            }
        });
        value.read();
        drop(guard);
        freeing.join().unwrap().finish();
    });
}

#[test]
fn models_a_second_pin_is_not_taken_for_the_first() {
    check(beside(read_in_two_pins));
}

#[test]
fn models_the_last_of_several_guards_ends_the_pin() {
    check(beside(read_inside));
}

#[test]
fn models_guards_of_two_domains_hold_up_both() {
    check(beside(read_inside_of_another));
    check(beside(read_around_another));
}

/// The owner does not wait for a thread that is pinned only in another domain.
#[test]
fn models_a_reader_of_another_domain_is_not_waited_for() {
    check(|| {
        let shared = Shared::new();
        let sleeper = thread::spawn(|| std::mem::forget(Domain::new().pin()));
        let mut owner = Owner::new(&shared);
        owner.replace();
        owner.free();
        assert!(shared.has_freed_all(), "{HELD}");
        sleeper.join().unwrap();
        owner.finish();
    });
}

#[test]
fn models_two_readers_are_both_waited_for() {
    check(|| {
        let shared = Shared::new();
        let readers = [(); 2].map(|()| {
            let shared = shared.clone();
            thread::spawn(move || shared.pin_and_read())
        });
        let mut owner = Owner::new(&shared);
        owner.replace();
        owner.free();
        for reader in readers {
            reader.join().unwrap();
        }
        owner.finish();
    });
}

/// Two writers take the lock in turn. Each frees what it has taken after it has released the lock.
#[test]
fn models_two_owners_in_turn_free_nothing_too_early() {
    check(two_owners);
}

fn two_owners() {
    let shared = Shared::new();
    let owner = Arc::new(Mutex::new(Owner::new(&shared)));
    let turn = |owner: &Mutex<Owner>, shared: &Shared| {
        let taken = {
            let mut owner = owner.lock().unwrap();
            owner.replace();
            owner.advance()
        };
        for at in taken {
            shared.values[at].free();
        }
    };
    let reader = thread::spawn({
        let shared = shared.clone();
        move || shared.pin_and_read()
    });
    let other = thread::spawn({
        let (shared, owner) = (shared.clone(), owner.clone());
        move || turn(&owner, &shared)
    });
    turn(&owner, &shared);
    reader.join().unwrap();
    other.join().unwrap();
    let Ok(owner) = Arc::try_unwrap(owner).map(Mutex::into_inner) else {
        unreachable!("the other threads have ended");
    };
    owner.unwrap().finish();
}

/// A thread ends, and another thread begins, which may take over its record.
fn hand_over() {
    let shared = Shared::new();
    let readers = thread::spawn({
        let shared = shared.clone();
        move || {
            let first = thread::spawn({
                let shared = shared.clone();
                move || shared.pin_and_read()
            });
            // If this thread joined `first` now, it would see the final state of the record in any
            // case.
            shared.pin_and_read();
            first.join().unwrap();
        }
    });
    let mut owner = Owner::new(&shared);
    owner.replace();
    owner.free();
    readers.join().unwrap();
    assert!(count() <= 2);
    owner.finish();
}

#[test]
fn models_a_record_is_handed_over_as_it_was_left() {
    check(hand_over);
}

/// A thread is still pinned when it ends, until one of its destructors drops the guard.
fn pinned_at_the_end() {
    let shared = Shared::new();
    let ending = thread::spawn({
        let shared = shared.clone();
        move || {
            let guard = shared.domain.pin();
            let value = shared.read(&guard);
            begin_to_end();
            value.read();
        }
    });
    let next = thread::spawn({
        let shared = shared.clone();
        move || shared.pin_and_read()
    });
    let mut owner = Owner::new(&shared);
    owner.replace();
    owner.free();
    ending.join().unwrap();
    next.join().unwrap();
    owner.finish();
}

#[test]
fn models_a_thread_that_ends_keeps_its_record_while_it_is_pinned() {
    check(pinned_at_the_end);
}

/// A guard that a thread forgets holds up its domain forever, even after the thread has ended.
#[test]
fn models_a_guard_that_is_forgotten_holds_for_good() {
    check(|| {
        let shared = Shared::new();
        let found = Arc::new(PlainMutex::new(0));
        let forgetful = thread::spawn({
            let (shared, found) = (shared.clone(), found.clone());
            move || {
                let guard = shared.domain.pin();
                *found.lock().unwrap() = shared.published.load(Acquire);
                std::mem::forget(guard);
            }
        });
        let next = thread::spawn({
            let shared = shared.clone();
            move || {
                forgetful.join().unwrap();
                shared.pin_and_read();
            }
        });
        let mut owner = Owner::new(&shared);
        owner.replace();
        owner.free();
        next.join().unwrap();
        owner.free();
        let found = *found.lock().unwrap();
        shared.values[found].read();
    });
}

/// The kernel begins to refuse `membarrier`.
fn failing() {
    let shared = Shared::new();
    let reader = thread::spawn({
        let shared = shared.clone();
        move || {
            shared.pin_and_read();
            has_seen_failure(false);
            shared.pin_and_read();
            has_seen_failure(true);
        }
    });
    let mut owner = Owner::new(&shared);
    owner.replace();
    owner.free();
    owner.replace();
    owner.free();
    reader.join().unwrap();
    owner.free();
    owner.finish();
}

#[test]
fn models_a_kernel_that_begins_to_refuse_frees_nothing_too_early() {
    check_on(Kernel::Fails, Twin::None, failing);
}

// --- twins, which loom must reject

#[test]
#[should_panic(expected = "a reader stood on what had been freed")]
fn models_twin_without_a_heavy_fence_is_rejected() {
    check_on(Kernel::Works, Twin::NoHeavyFence, beside(read_once));
}

#[test]
#[should_panic(expected = "a reader stood on what had been freed")]
fn models_twin_a_pin_without_its_fence_is_rejected() {
    check_on(Kernel::Works, Twin::NoLightFence, beside(read_once));
}

#[test]
#[should_panic(expected = "a reader stood on what had been freed")]
fn models_twin_a_pin_without_its_fence_is_rejected_without_membarrier() {
    check_on(Kernel::Missing, Twin::NoLightFence, beside(read_once));
}

#[test]
#[should_panic(expected = "Concurrent read and write accesses")]
fn models_twin_relying_on_fences_that_readers_do_not_know_of_is_rejected() {
    check_on(Kernel::Fails, Twin::NoDrain, failing);
}

#[test]
#[should_panic(expected = "Concurrent read and write accesses")]
fn models_twin_freeing_a_period_too_early_is_rejected() {
    check_on(Kernel::Works, Twin::ReadersNotAwaited, beside(read_twice));
}

#[test]
#[should_panic(expected = "Concurrent read and write accesses")]
fn models_twin_a_record_that_is_overlooked_is_rejected() {
    check_on(Kernel::Works, Twin::SkippedRecord, beside(read_twice));
}

#[test]
#[should_panic(expected = "Concurrent read and write accesses")]
fn models_twin_waiting_for_readers_of_other_domains_is_rejected() {
    check_on(Kernel::Works, Twin::WrongDomain, beside(read_twice));
}

#[test]
#[should_panic(expected = "Concurrent read and write accesses")]
fn models_twin_leaving_without_release_is_rejected() {
    check_on(Kernel::Works, Twin::UnpinnedRelaxed, beside(read_once));
}

#[test]
#[should_panic(expected = "Concurrent read and write accesses")]
fn models_twin_coming_again_without_release_is_rejected() {
    check_on(
        Kernel::Works,
        Twin::RepinnedRelaxed,
        beside(read_in_two_pins),
    );
}

#[test]
#[should_panic(expected = "Concurrent read and write accesses")]
fn models_twin_leaving_with_the_first_guard_is_rejected() {
    check_on(
        Kernel::Works,
        Twin::UnpinnedByFirstGuard,
        beside(read_inside),
    );
}

#[test]
#[should_panic(expected = "garbage is held for no reader")]
fn models_twin_a_record_that_is_given_back_too_early_is_rejected() {
    check_on(Kernel::Works, Twin::RecordReleasedPinned, pinned_at_the_end);
}

#[test]
#[should_panic(expected = "garbage is held for no reader")]
fn models_twin_a_record_that_is_not_taken_as_it_was_left_is_rejected() {
    check_on(Kernel::Works, Twin::RecordTakenRelaxed, hand_over);
}
