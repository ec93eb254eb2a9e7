//! A domain of ten thousand maps: what it costs grows with their number, and not faster.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use versioned_map::{Domain, VersionedMap};

/// The system's, counted.
struct Counting;

static LIVE: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: it passes everything on.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let live = LIVE.fetch_add(layout.size(), Relaxed) + layout.size();
        MOST.fetch_max(live, Relaxed);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        LIVE.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

const MAPS: usize = 10_000;

/// What the work has left, and the most that there was meanwhile, in bytes for each map.
fn costs<R>(work: impl FnOnce() -> R) -> (R, usize, usize) {
    let before = LIVE.load(Relaxed);
    MOST.store(before, Relaxed);
    let answer = work();
    let each = |bytes: usize| bytes.saturating_sub(before) / MAPS;
    (answer, each(LIVE.load(Relaxed)), each(MOST.load(Relaxed)))
}

/// One test: what others allocate would be counted, too.
#[test]
fn ten_thousand_maps() {
    let domain = Domain::new();
    let empty = LIVE.load(Relaxed);
    let make = || (0..MAPS).map(|_| domain.map()).collect();
    let (maps, left, most): (Vec<VersionedMap<u32, u32>>, _, _) = costs(make);
    println!("an empty map: {left} bytes, {most} at most");
    assert!(left < 2_000 && most < 2_000, "{left} {most}");

    let ((), left, most) = costs(|| {
        let mut commit = domain.commit();
        for map in &maps {
            (0..7).for_each(|key| _ = commit.insert(map, key, key));
        }
        commit.publish();
    });
    println!("seven keys in each, in one commit: {left} bytes, {most} at most");
    assert!(left < 4_000 && most < 8_000, "{left} {most}");

    let ((), left, most) = costs(|| {
        for map in &maps {
            (7..13).for_each(|key| _ = map.insert(key, key));
        }
    });
    println!("six more, in a commit each: {left} bytes, {most} at most");
    assert!(left < 6_000 && most < 6_000, "{left} {most}");

    // Somebody who sleeps.
    let view = domain.pinned();
    let ((), left, most) = costs(|| {
        for map in &maps {
            (13..26).for_each(|key| _ = map.insert(key, key));
        }
    });
    println!("thirteen more beside a view: {left} bytes, {most} at most");
    assert!(most < 20_000, "{most}");
    drop(view);
    drop(maps);
    (0..10).for_each(|_| drop(domain.pinned()));
    let left = LIVE.load(Relaxed).saturating_sub(empty) / MAPS;
    println!("when they have gone: {left} bytes");
    assert!(left < 200, "{left}");
}
