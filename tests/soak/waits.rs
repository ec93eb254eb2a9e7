//! How often a reader waits.
//!
//! A thread that waits for another one is put to sleep, and the system counts that
//! (`ru_nvcsw` of `getrusage(2)`; being put off the processor because others want it
//! is counted elsewhere). So the count is taken before and after a block of reads.
//! Left out are blocks in which the thread called the allocator (whoever lets go of
//! a state last frees it, and the allocator has locks of its own), and blocks with a
//! page fault, in which the system may have waited for a disk.
//!
//! Where the system tells no such count, nothing is counted.

use crate::heap::counts::calls_of_this_thread;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waits {
    pub(crate) reads: u64,
    pub(crate) blocks: u64,
    /// Blocks that were looked at: those without a call of the allocator and
    /// without a page fault.
    pub(crate) looked_at: u64,
    /// Those that were not, for a call of the allocator.
    pub(crate) allocated: u64,
    /// How often the thread was put to sleep in those.
    pub(crate) slept: u64,
    /// How often others took the processor, in all blocks.
    pub(crate) preempted: u64,
}

/// What the system counts of this thread.
#[derive(Clone, Copy)]
struct Counts {
    slept: i64,
    preempted: i64,
    /// Page faults, small and great.
    faults: i64,
}

#[cfg(target_os = "linux")]
fn counts() -> Option<Counts> {
    use nix::sys::resource::{UsageWho, getrusage};
    let usage = getrusage(UsageWho::RUSAGE_THREAD).ok()?;
    Some(Counts {
        slept: usage.voluntary_context_switches(),
        preempted: usage.involuntary_context_switches(),
        faults: usage.minor_page_faults() + usage.major_page_faults(),
    })
}

#[cfg(not(target_os = "linux"))]
fn counts() -> Option<Counts> {
    None
}

pub(crate) fn can_be_counted() -> bool {
    counts().is_some()
}

impl Waits {
    /// Does `reads` reads, and counts.
    pub(crate) fn block(&mut self, reads: u64, read: impl FnOnce()) {
        let calls = calls_of_this_thread();
        let before = counts();
        read();
        let after = counts();
        self.reads += reads;
        self.blocks += 1;
        if let (Some(before), Some(after)) = (before, after) {
            self.preempted += (after.preempted - before.preempted).cast_unsigned();
            if calls_of_this_thread() != calls {
                self.allocated += 1;
            } else if after.faults == before.faults {
                self.looked_at += 1;
                self.slept += (after.slept - before.slept).cast_unsigned();
            }
        }
    }

    pub(crate) fn add(&mut self, other: Waits) {
        self.reads += other.reads;
        self.blocks += other.blocks;
        self.allocated += other.allocated;
        self.looked_at += other.looked_at;
        self.slept += other.slept;
        self.preempted += other.preempted;
    }
}

#[test]
fn a_thread_that_waits_is_counted_and_one_that_works_is_not() {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    let _alone = crate::heap::alone();
    if !can_be_counted() {
        return;
    }
    // What the system does besides may hide a sleep or add one: a thread that is put off
    // the processor on its way to sleep may find its time over when it comes back. So most
    // blocks must tell the truth, not all.
    let sleeps = |work: fn()| {
        let looked_at = (0..1_000).filter_map(|_| {
            let mut waits = Waits::default();
            waits.block(1, work);
            (waits.looked_at == 1).then_some(waits.slept > 0)
        });
        let (slept, awake) = looked_at.partition::<Vec<_>, _>(|slept| *slept);
        (slept.len(), awake.len())
    };
    let (slept, awake) = sleeps(|| std::thread::sleep(Duration::from_micros(100)));
    assert!(
        slept > awake,
        "who sleeps: {slept} seen asleep, {awake} not"
    );
    let (slept, awake) = sleeps(|| {
        let mut sum = 0_u64;
        (0..10_000).for_each(|n| sum = std::hint::black_box(sum + n));
    });
    assert!(awake > slept, "who works: {slept} seen asleep, {awake} not");
    // What waits in the allocator's presence is left out.
    let mut waits = Waits::default();
    waits.block(1, || {
        let (send, receive) = channel();
        send.send(1).unwrap();
        receive.recv().unwrap();
        std::thread::sleep(Duration::from_millis(2));
    });
    assert_eq!((waits.blocks, waits.looked_at), (1, 0), "{waits:?}");
}

/// On a store with a lock readers wait, and this sees it. Runs until it does.
#[cfg(feature = "thread-safe")]
#[test]
fn a_reader_that_waits_for_a_writer_is_counted() {
    use std::sync::atomic::AtomicBool;
    use std::sync::atomic::Ordering::SeqCst;
    use std::time::Instant;

    use service_registry::{RegistryStore, ThreadSafeMemoryStore};

    use crate::support::{KEY, PATIENCE, fill_store};

    let _alone = crate::heap::alone();
    if !can_be_counted() {
        return;
    }
    let store = ThreadSafeMemoryStore::new();
    fill_store(&store);
    let (noticed, end) = (AtomicBool::new(false), Instant::now() + PATIENCE);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !noticed.load(SeqCst) && Instant::now() < end {
                    store.clear().unwrap();
                    for n in 0..100 {
                        let name = n.to_string();
                        store
                            .save_service(crate::support::pod("db", &name))
                            .unwrap();
                    }
                    fill_store(&store);
                }
            });
        }
        let mut waits = Waits::default();
        while waits.slept == 0 && Instant::now() < end {
            waits.block(300, || {
                (0..300).for_each(|_| drop(std::hint::black_box(store.stats())));
            });
        }
        noticed.store(waits.slept > 0, SeqCst);
    });
    assert!(noticed.into_inner(), "no reader of {KEY} was seen to wait");
}
