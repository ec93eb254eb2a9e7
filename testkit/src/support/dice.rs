//! A pseudorandom number generator: `SplitMix64` (Steele, Lea, Flood: *Fast Splittable
//! Pseudorandom Number Generators*, 2014). It is a few lines long, and its seed is all that a
//! failed test has to print.

const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

pub struct Dice {
    state: u64,
}

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice { state: seed }
    }

    /// Returns a number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        let random = nth(self.state, 1);
        self.state = self.state.wrapping_add(GAMMA);
        usize::try_from(random % sides as u64).expect("less than `sides`")
    }
}

/// Returns the `n`th number of a seed.
pub fn nth(seed: u64, n: u64) -> u64 {
    let mut mixed = seed.wrapping_add(n.wrapping_mul(GAMMA));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
