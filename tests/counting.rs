//! What is asked for is counted while somebody counts.
//!
//! Counts are those of the whole process, so this is a program without a harness,
//! which would allocate on a thread of its own.
//!
//! ```text
//! cargo test --features lab --test counting
//! ```

use mimalloc::MiMalloc;
use service_registry::lab::counting::{Count, Counting};

#[global_allocator]
static ALLOCATOR: Counting<MiMalloc> = Counting(MiMalloc);

fn main() {
    let kept = vec![0_u8; 5_000];
    let mut count = Count::begin().expect("the allocator of this program counts");
    assert!(Count::begin().is_none(), "two counts at a time");
    let (allocations, live) = (count.allocations(), count.live());
    let mut other = vec![1_u8; 1_000];
    std::hint::black_box(&mut other);
    assert_eq!(count.allocations() - allocations, 1);
    assert_eq!(count.live() - live, 1_000);
    other.reserve_exact(3_000);
    assert_eq!(
        count.allocations() - allocations,
        2,
        "to grow is to allocate"
    );
    assert_eq!(count.live() - live, 4_000);
    drop(other);
    assert_eq!(count.live(), live);
    assert_eq!(count.peak() - live, 4_000, "the peak stays");
    count.reset_peak();
    assert_eq!(count.peak(), live);
    // On another thread, too.
    let there = std::thread::spawn(|| vec![2_u8; 70_000]).join();
    assert!(count.live() - live >= 70_000);
    drop((kept, there));
    drop(count);
    assert!(Count::begin().is_some(), "the one before is over");
}
