//! What the documents say about the costs of single operations is measured here.
//!
//! ```console
//! cargo run --release -p versioned-map --example costs -- snapshots 16000
//! ```

// Bytes and nanoseconds are far below 2^52.
#![allow(clippy::cast_precision_loss, unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use versioned_map::VersionedMap;

struct Counting;

static LIVE: AtomicI64 = AtomicI64::new(0);

fn count(bytes: usize, sign: i64) {
    LIVE.fetch_add(sign * i64::try_from(bytes).unwrap_or(0), Relaxed);
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: the caller's.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn live() -> f64 {
    LIVE.load(Relaxed) as f64 / 1e6
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let what = arguments.first().map_or("", |what| what);
    let count = arguments.get(1).and_then(|count| count.parse().ok());
    match what {
        "snapshots" => snapshots(count.unwrap_or(16_000)),
        "tables" => tables(count.unwrap_or(100_000)),
        "growth" => growth(count.unwrap_or(1_000_000)),
        "hot" => hot(count.unwrap_or(1_000_000)),
        _ => eprintln!("snapshots, tables, growth or hot; and how many"),
    }
}

/// Many snapshots, each of which keeps a value of its own, and all of them the same hundred; they go
/// oldest first, newest first, and in no order.
fn snapshots(many: u64) {
    for order in ["oldest first", "newest first", "in no order"] {
        let map = VersionedMap::new();
        (0..100).for_each(|key| _ = map.insert(u64::MAX - key, 0));
        let mut held = Vec::new();
        for key in 0..many {
            map.insert(key, 0);
            held.push(map.snapshot());
            map.remove(&key);
        }
        (0..100).for_each(|key| _ = map.insert(u64::MAX - key, 1));
        (0..10_000).for_each(|value| _ = map.insert(u64::MAX, value));
        match order {
            "oldest first" => {}
            "newest first" => held.reverse(),
            _ => held.sort_by_key(|view| view.revision().wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        }
        let (began, before) = (Instant::now(), live());
        drop(held);
        let took = began.elapsed();
        println!(
            "{many} snapshots go, {order}: {took:?}, {:?} each; {before:.1} MB before, {:.1} after",
            took / u32::try_from(many).unwrap(),
            live()
        );
    }
}

/// Snapshots between which a table grows and shrinks.
fn tables(keys: u64) {
    let map = VersionedMap::new();
    let mut held = Vec::new();
    for round in 0..10 {
        (0..keys).for_each(|key| _ = map.insert(key, round));
        held.push(map.snapshot());
        (0..keys).for_each(|key| _ = map.remove(&key));
        held.push(map.snapshot());
    }
    println!(
        "{} snapshots of {keys} keys and none: {:.1} MB",
        held.len(),
        live()
    );
}

/// The slowest commits of those that fill a table, and of those that empty it, in processor time of their thread, and
/// their keys: what lies in the code is slow at the same keys again.
fn growth(keys: u64) {
    for round in 0..5 {
        let map = VersionedMap::new();
        let slowest = |what, commit: &dyn Fn(u64)| {
            let mut slowest = [(Duration::ZERO, 0); 3];
            let began = processor_time();
            for key in 0..keys {
                let before = processor_time();
                commit(key);
                let took = processor_time().saturating_sub(before);
                if took > slowest[2].0 {
                    slowest[2] = (took, key);
                    slowest.sort_by(|one, other| other.cmp(one));
                }
            }
            let total = processor_time().saturating_sub(began);
            println!("round {round}: {keys} {what} in {total:?}, the slowest {slowest:?}");
        };
        slowest("insertions", &|key| _ = map.insert(key, key));
        slowest("removals", &|key| _ = map.remove(&key));
    }
}

/// What this thread has used.
fn processor_time() -> Duration {
    let mut time = std::mem::MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: it is memory for what is asked for, and zeros are such a thing.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, time.as_mut_ptr());
        time.assume_init()
    };
    let nanoseconds = u32::try_from(time.tv_nsec).unwrap_or(0);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), nanoseconds)
}

/// Updates of one key, alone, beside a reader who is pinned in turns, and beside a snapshot.
fn hot(updates: u64) {
    const SLICE: usize = 1_000;
    let updates = usize::try_from(updates).unwrap_or(usize::MAX);
    for beside in ["nobody", "a reader", "a snapshot"] {
        let map = VersionedMap::new();
        map.insert(1_u64, 0_u64);
        let snapshot = (beside == "a snapshot").then(|| map.snapshot());
        let ends = AtomicBool::new(false);
        std::thread::scope(|threads| {
            if beside == "a reader" {
                threads.spawn(|| {
                    while !ends.load(Relaxed) {
                        let view = map.pinned();
                        assert!(view.get(&1).is_some());
                    }
                });
            }
            (0..10_000).for_each(|value| _ = map.insert(1, value));
            let before = live();
            let (mut most, mut dropped) = (before, 0);
            let mut took = Vec::with_capacity(updates);
            let own = (updates * size_of::<u32>()) as f64 / 1e6;
            while took.len() < updates && dropped < updates {
                let (first, switches) = (took.len(), switches());
                for value in 0..SLICE {
                    let began = Instant::now();
                    map.insert(1, value as u64);
                    took.push(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX));
                }
                most = most.max(live() - own);
                if self::switches() != switches {
                    took.truncate(first);
                    dropped += SLICE;
                }
            }
            ends.store(true, Relaxed);
            took.sort_unstable();
            let median = took[took.len() / 2];
            let within = took.partition_point(|took| *took <= 3 * median);
            println!(
                "beside {beside}: median {median} ns, {:.3} % within 3 of it, 99.9 % within {}, the slowest \
                 {} ns; {dropped} in slices that were preempted; {:.3} MB more at most",
                100.0 * within as f64 / took.len() as f64,
                f64::from(took[took.len() * 999 / 1_000]) / f64::from(median),
                took[took.len() - 1],
                most - before,
            );
        });
        drop(snapshot);
    }
}

/// How often this thread has lost its processor.
fn switches() -> i64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: it is memory for what is asked for, and zeros are such a thing.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr());
        usage.assume_init()
    };
    usage.ru_nivcsw + usage.ru_nvcsw
}
