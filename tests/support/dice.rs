//! Choices that are random, and the same each time.

use std::hash::{DefaultHasher, Hash, Hasher};

pub(crate) struct Dice {
    seed: u64,
    rolls: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice { seed, rolls: 0 }
    }

    /// A number below `sides`.
    pub(crate) fn roll(&mut self, sides: usize) -> usize {
        // Its keys are fixed, unlike those of a `RandomState`.
        let mut hasher = DefaultHasher::new();
        (self.seed, self.rolls).hash(&mut hasher);
        self.rolls += 1;
        let sides = sides as u64;
        usize::try_from(hasher.finish() % sides).expect("less than `sides`")
    }
}
