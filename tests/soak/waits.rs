//! How often a reader waits.
//!
//! A thread that waits for another one is put to sleep, and the system counts that
//! (`voluntary_ctxt_switches`; being put off the processor because others want it
//! is counted elsewhere). So the count is taken before and after a block of reads.
//! A block in which the thread called the allocator is left out: whoever lets go of
//! a state last frees it, and the allocator has locks of its own.
//!
//! Where the system tells no such count, nothing is counted.

use std::fs::File;
use std::io::Read;

use crate::heap::counts::calls_of_this_thread;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Waits {
    pub(crate) reads: u64,
    pub(crate) blocks: u64,
    /// Blocks that were looked at: those without a call of the allocator.
    pub(crate) looked_at: u64,
    /// How often the thread was put to sleep in those.
    pub(crate) waits: u64,
    /// How often others took the processor, in all blocks.
    pub(crate) preempted: u64,
}

/// How often this thread has waited, and how often it was preempted. Does not
/// allocate.
fn switches() -> Option<(u64, u64)> {
    let mut text = [0; 4096];
    let mut file = File::open("/proc/thread-self/status").ok()?;
    let mut length = 0;
    while length < text.len() {
        match file.read(&mut text[length..]).ok()? {
            0 => break,
            more => length += more,
        }
    }
    let lines = || text[..length].split(|&byte| byte == b'\n');
    let count = |name: &[u8]| {
        let line = lines().find_map(|line| line.strip_prefix(name))?;
        std::str::from_utf8(line).ok()?.trim().parse().ok()
    };
    Some((
        count(b"voluntary_ctxt_switches:")?,
        count(b"nonvoluntary_ctxt_switches:")?,
    ))
}

pub(crate) fn can_be_counted() -> bool {
    switches().is_some()
}

impl Waits {
    /// Does `reads` reads, and counts.
    pub(crate) fn block(&mut self, reads: u64, read: impl FnOnce()) {
        let calls = calls_of_this_thread();
        let before = switches();
        read();
        let after = switches();
        self.reads += reads;
        self.blocks += 1;
        if let (Some(before), Some(after)) = (before, after) {
            self.preempted += after.1 - before.1;
            if calls_of_this_thread() == calls {
                self.looked_at += 1;
                self.waits += after.0 - before.0;
            }
        }
    }

    pub(crate) fn add(&mut self, other: Waits) {
        self.reads += other.reads;
        self.blocks += other.blocks;
        self.looked_at += other.looked_at;
        self.waits += other.waits;
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
    let mut waits = Waits::default();
    waits.block(1, || std::thread::sleep(Duration::from_millis(2)));
    assert!(waits.waits >= 1, "{waits:?}");
    let mut waits = Waits::default();
    waits.block(1, || {
        let mut sum = 0_u64;
        (0..100_000).for_each(|n| sum = std::hint::black_box(sum + n));
    });
    assert_eq!((waits.looked_at, waits.waits), (1, 0), "{waits:?}");
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

    use crate::support::{KEY, PATIENCE, set_the_table};

    let _alone = crate::heap::alone();
    if !can_be_counted() {
        return;
    }
    let store = ThreadSafeMemoryStore::new();
    set_the_table(&store);
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
                    set_the_table(&store);
                }
            });
        }
        let mut waits = Waits::default();
        while waits.waits == 0 && Instant::now() < end {
            waits.block(300, || {
                (0..300).for_each(|_| drop(std::hint::black_box(store.stats())));
            });
        }
        noticed.store(waits.waits > 0, SeqCst);
    });
    assert!(noticed.into_inner(), "no reader of {KEY} was seen to wait");
}
