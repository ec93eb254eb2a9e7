//! Whether memory levels off.
//!
//! The rule, which was there before the first run: of the samples, taken at even
//! intervals, the first third is for warming up. The greatest of the last third
//! may be 1.2 times the greatest of the middle third and no more, and, so that a
//! store of a few kilobytes is not failed by one of them, an allowance besides.

use std::time::Duration;

use crate::heap::counts;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Bytes that are allocated.
    pub(crate) live: u64,
    /// Bytes of memory that the process has, 0 where that cannot be learnt.
    pub(crate) resident: u64,
}

impl Sample {
    pub(crate) fn take() -> Sample {
        Sample {
            live: u64::try_from(counts::live()).unwrap_or(0),
            resident: resident().unwrap_or(0),
        }
    }
}

/// In Linux, from `/proc`.
fn resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

/// How often a sample is taken in a soak of this length.
pub(crate) fn interval(whole: Duration) -> Duration {
    whole / 150
}

/// Below that many samples there is nothing to be said.
const FEWEST: usize = 30;

/// What the rule lets pass, in bytes: of what is allocated, and of the process,
/// whose allocator keeps memory for each thread.
pub(crate) const ALLOWANCE: u64 = 256 << 10;
pub(crate) const ALLOWANCE_OF_THE_PROCESS: u64 = 4 << 20;

/// The greatest of the middle third and of the last third, and whether the one
/// goes by the rule for the other.
pub(crate) fn levels_off(series: &[u64], allowance: u64) -> (u64, u64, bool) {
    assert!(
        series.len() >= FEWEST,
        "{} samples are too few",
        series.len()
    );
    let third = series.len() / 3;
    let greatest = |samples: &[u64]| samples.iter().copied().max().unwrap_or(0);
    let middle = greatest(&series[third..2 * third]);
    let last = greatest(&series[2 * third..]);
    (middle, last, last <= middle + middle / 5 + allowance)
}

#[test]
fn the_rule_tells_a_leak_from_a_level() {
    const MIB: u64 = 1 << 20;
    let passes = |at: fn(u64) -> u64| {
        let series: Vec<u64> = (0..150).map(at).collect();
        levels_off(&series, ALLOWANCE).2
    };
    assert!(passes(|_| MIB));
    // Growing at first, then swinging.
    assert!(passes(|n| n.min(40) * MIB + n % 7 * MIB));
    // Without end: from nothing, from something, by steps, in the end only.
    assert!(!passes(|n| n * 64 * 1024));
    assert!(!passes(|n| 10 * MIB + n * MIB / 8));
    assert!(!passes(|n| MIB + n / 20 * MIB));
    assert!(!passes(|n| if n < 140 { MIB } else { 2 * MIB }));
}
