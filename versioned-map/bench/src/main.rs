//! `versioned-map` beside other concurrent maps, under the harness `bustle` and the mixes of
//! conc-map-bench.
//!
//! ```console
//! cargo run --release -p versioned-map-bench -- [threads] [rounds]
//! ```
//!
//! Keys and values are `u64`, the hasher is foldhash for all, the allocator mimalloc. Reads look at a
//! value, and clone nothing. Contenders take turns, in each round from another one on, each time with a
//! new map; what is printed is the median of the rounds, and the median of the ratios within a round, with
//! the least and the greatest of them.

use bustle::{Mix, Workload};

mod contenders;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A mix of operations, how full the map is before, and how many operations there are, in parts of
/// 2^18.
struct Scenario {
    name: &'static str,
    mix: Mix,
    prefill: f64,
    operations: f64,
}

const fn mix(read: u8, insert: u8, remove: u8, update: u8) -> Mix {
    Mix {
        read,
        insert,
        remove,
        update,
        upsert: 0,
    }
}

const SCENARIOS: [Scenario; 3] = [
    Scenario {
        name: "read-heavy (98/1/1/0)",
        mix: mix(98, 1, 1, 0),
        prefill: 0.75,
        operations: 8.0,
    },
    Scenario {
        name: "exchange (10/40/40/10)",
        mix: mix(10, 40, 40, 10),
        prefill: 0.75,
        operations: 0.75,
    },
    Scenario {
        name: "rapid-grow (5/80/5/10)",
        mix: mix(5, 80, 5, 10),
        prefill: 0.0,
        operations: 0.75,
    },
];

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| {
        let argument = arguments.next();
        argument.map_or(default, |text| text.parse().expect("a number"))
    };
    let (threads, rounds): (usize, usize) = (number(2), number(5));
    let contenders = contenders::ALL;
    println!("{threads} threads, {rounds} rounds\n");
    for Scenario {
        name,
        mix,
        prefill,
        operations,
    } in SCENARIOS
    {
        // Million operations a second, by contender and round.
        let mut speeds = vec![Vec::new(); contenders.len()];
        for round in 0..rounds {
            let mut seed = [0; 32];
            seed[0] = u8::try_from(round % 256).expect("less than 256");
            for turn in 0..contenders.len() {
                let at = (round + turn) % contenders.len();
                let mut workload = Workload::new(threads, mix);
                workload
                    .initial_capacity_log2(18)
                    .prefill_fraction(prefill)
                    .operations(operations)
                    .seed(seed);
                let measured = (contenders[at].1)(&workload);
                speeds[at].push(measured.throughput / 1e6);
            }
        }
        println!("| {name} | Mops/s | to versioned-map |\n| --- | ---: | --- |");
        let own = speeds[0].clone();
        for ((contender, _), mut of) in contenders.iter().zip(speeds) {
            let mut ratios: Vec<f64> = of.iter().zip(&own).map(|(of, own)| of / own).collect();
            let ratio = median(&mut ratios);
            let (least, greatest) = (ratios[0], ratios[rounds - 1]);
            let speed = median(&mut of);
            println!("| {contender} | {speed:.2} | {ratio:.2} ({least:.2} to {greatest:.2}) |");
        }
        println!();
    }
}
