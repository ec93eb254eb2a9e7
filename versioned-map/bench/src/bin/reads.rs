//! What a look-up costs on one thread, next to a bare `hashbrown` map of the same keys and hasher.
//!
//! ```console
//! taskset -c 0 cargo run --release -p versioned-map-bench --bin reads -- [keys] [lives]
//! ```
//!
//! Keys and values are `u64`, the hasher is foldhash for all, the allocator mimalloc. Contenders take turns in short
//! slices, each time from another one on, and ask for keys that are there, in random order. What is
//! printed is the median slice, and the median ratio of a slice to that of the bare map beside it: of
//! the lives, in each of which there are other keys and new maps, the median, with the least and the
//! greatest.

use std::hint::black_box;
use std::time::Instant;

use foldhash::fast::RandomState;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Slices of a life.
const SLICES: usize = 200;

type Read<'m> = (&'static str, Box<dyn Fn(&[u64]) + 'm>);

macro_rules! reads {
    ($($name:literal: |$key:ident| $get:expr;)*) => {
        vec![$(($name, Box::new(|keys: &[u64]| for $key in keys {
            black_box($get);
        }))),*]
    };
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// For each contender the median slice in nanoseconds a read, and the median ratio.
fn measure(reads: &[Read], asked: &[u64], slice: usize) -> Vec<(&'static str, f64, f64)> {
    let mut times = vec![Vec::new(); reads.len()];
    for round in 0..SLICES {
        for turn in 0..reads.len() {
            let at = (turn + round) % reads.len();
            // Of large maps other keys than those that were asked for just before: two of them read the same map.
            let from = (round + 5 * at) * slice % (asked.len() - slice + 1);
            let begin = Instant::now();
            (reads[at].1)(&asked[from..from + slice]);
            #[allow(clippy::cast_precision_loss)]
            times[at].push(begin.elapsed().as_secs_f64() * 1e9 / slice as f64);
        }
    }
    let bare = times[0].clone();
    let all = reads.iter().zip(times);
    all.map(|((name, _), mut times)| {
        let mut ratios: Vec<f64> = times
            .iter()
            .zip(&bare)
            .map(|(own, bare)| own / bare)
            .collect();
        (*name, median(&mut times), median(&mut ratios))
    })
    .collect()
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| {
        let argument = arguments.next();
        argument.map_or(default, |text| text.parse().expect("a number"))
    };
    let (count, lives): (usize, usize) = (number(1_000), number(7));
    let slice = if count > 10_000 { 20_000 } else { count };
    let mut state = 0x9e37_79b9_7f4a_7c15;
    let mut all = Vec::new();
    for _ in 0..lives {
        let keys: Vec<u64> = (0..count).map(|_| random(&mut state)).collect();
        let mut asked = keys.clone();
        asked.sort_by_cached_key(|_| random(&mut state));
        let hasher = RandomState::default();
        let mut bare = hashbrown::HashMap::with_hasher(hasher.clone());
        let own = versioned_map::VersionedMap::with_hasher(hasher.clone());
        let papaya = papaya::HashMap::with_hasher(hasher.clone());
        let index = scc::HashIndex::with_hasher(hasher.clone());
        let map = scc::HashMap::with_hasher(hasher.clone());
        for &key in &keys {
            bare.insert(key, key);
            own.insert(key, key);
            papaya.pin().insert(key, key);
            let _ = index.insert_sync(key, key);
            let _ = map.insert_sync(key, key);
        }
        let mut reads: Vec<Read> = reads! {
            "bare hashbrown": |key| bare.get(key).copied();
            "get": |key| own.get(key);
            "with": |key| own.with(key, |value| *value);
            "papaya, a pin each": |key| papaya.pin().get(key).copied();
            "scc::HashIndex, peek_with": |key| index.peek_with(key, |_, value| *value);
            "scc::HashMap, read_sync": |key| map.read_sync(key, |_, value| *value);
        };
        reads.push((
            "pinned().get",
            Box::new(|keys| {
                let pinned = own.pinned();
                for key in keys {
                    black_box(pinned.get(key).copied());
                }
            }),
        ));
        reads.push((
            "papaya, pinned",
            Box::new(|keys| {
                let pinned = papaya.pin();
                for key in keys {
                    black_box(pinned.get(key).copied());
                }
            }),
        ));
        all.push(measure(&reads, &asked, slice));
    }
    println!("| {count} keys | ns | to bare hashbrown |\n| --- | ---: | --- |");
    for at in 0..all[0].len() {
        let mut times: Vec<f64> = all.iter().map(|life| life[at].1).collect();
        let mut ratios: Vec<f64> = all.iter().map(|life| life[at].2).collect();
        let (name, time, ratio) = (all[0][at].0, median(&mut times), median(&mut ratios));
        let (least, greatest) = (ratios[0], ratios[lives - 1]);
        println!("| {name} | {time:.1} | {ratio:.2} ({least:.2} to {greatest:.2}) |");
    }
}
