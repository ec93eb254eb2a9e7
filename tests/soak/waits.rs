//! How often a reader waits.
//!
//! A thread that waits for another one is put to sleep, and the system counts that
//! (`voluntary_ctxt_switches`; being put off the processor because others want it
//! is counted elsewhere). So the count is taken before and after a block of reads.
//! Left out are blocks in which the thread called the allocator (whoever lets go of
//! a state last frees it, and the allocator has locks of its own), and blocks with a
//! page fault, in which the system may have waited for a disk.
//!
//! Where the system tells no such count, nothing is counted.

use std::fs::File;
use std::io::Read;

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

type Text = [u8; 4096];

/// Does not allocate.
fn read<'a>(path: &str, text: &'a mut Text) -> Option<&'a [u8]> {
    let mut file = File::open(path).ok()?;
    let mut length = 0;
    while length < text.len() {
        match file.read(&mut text[length..]).ok()? {
            0 => break,
            more => length += more,
        }
    }
    Some(&text[..length])
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.trim().parse().ok()
}

/// How often this thread has waited, and how often it was preempted.
fn switches() -> Option<(u64, u64)> {
    let mut text = [0; 4096];
    let text = read("/proc/thread-self/status", &mut text)?;
    let lines = || text.split(|&byte| byte == b'\n');
    let count = |name: &[u8]| number(lines().find_map(|line| line.strip_prefix(name))?);
    Some((
        count(b"voluntary_ctxt_switches:")?,
        count(b"nonvoluntary_ctxt_switches:")?,
    ))
}

/// How many page faults this thread has had, small and great.
fn faults() -> Option<u64> {
    let mut text = [0; 4096];
    let text = read("/proc/thread-self/stat", &mut text)?;
    // The name of the thread, which may hold anything, ends with the last bracket.
    let end = text.iter().rposition(|&byte| byte == b')')?;
    let mut fields = text[end + 1..].split(|&byte| byte == b' ').skip(8);
    let (minor, _, major) = (fields.next()?, fields.next()?, fields.next()?);
    Some(number(minor)? + number(major)?)
}

pub(crate) fn can_be_counted() -> bool {
    switches().is_some()
}

impl Waits {
    /// Does `reads` reads, and counts.
    pub(crate) fn block(&mut self, reads: u64, read: impl FnOnce()) {
        let (calls, faults_before) = (calls_of_this_thread(), faults());
        let before = switches();
        read();
        let after = switches();
        self.reads += reads;
        self.blocks += 1;
        if let (Some(before), Some(after)) = (before, after) {
            self.preempted += after.1 - before.1;
            if calls_of_this_thread() != calls {
                self.allocated += 1;
            } else if faults() == faults_before {
                self.looked_at += 1;
                self.slept += after.0 - before.0;
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
    // Whatever the system does besides, there are blocks without it.
    let count = |work: fn()| {
        let mut waits = Waits::default();
        (0..100).for_each(|_| waits.block(1, work));
        assert!(waits.looked_at > 0, "{waits:?}");
        waits
    };
    let waits = count(|| std::thread::sleep(Duration::from_micros(100)));
    assert!(waits.slept >= waits.looked_at, "{waits:?}");
    let waits = count(|| {
        let mut sum = 0_u64;
        (0..10_000).for_each(|n| sum = std::hint::black_box(sum + n));
    });
    assert_eq!(waits.slept, 0, "{waits:?}");
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
        while waits.slept == 0 && Instant::now() < end {
            waits.block(300, || {
                (0..300).for_each(|_| drop(std::hint::black_box(store.stats())));
            });
        }
        noticed.store(waits.slept > 0, SeqCst);
    });
    assert!(noticed.into_inner(), "no reader of {KEY} was seen to wait");
}
