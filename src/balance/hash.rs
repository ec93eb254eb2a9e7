//! A hash that is the same on every machine, in every process and version: clients that have to
//! agree on a pod compute it each for themselves. Nobody is kept out by it: who can choose keys
//! can choose those that meet one pod.

const ROUNDS: [u64; 3] = [
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
];

/// Both halves of a product, which each bit of both factors has changed.
#[inline]
#[allow(clippy::cast_possible_truncation)] // the halves
fn fold(one: u64, two: u64) -> u64 {
    let product = u128::from(one) * u128::from(two);
    product as u64 ^ (product >> 64) as u64
}

/// Numbers that follow from one, in a handful of instructions each: a multiplicative congruential
/// generator (Steele, Vigna: *Computationally easy, spectrally good multipliers*, 2022), whose
/// high bits count. The first one is mixed, so that it may be of a counter.
pub(super) struct Numbers(u64);

impl Numbers {
    #[inline]
    pub(super) fn new(first: u64) -> Numbers {
        // Odd, so that it never ends in zeros.
        Numbers(mix(first) | 1)
    }

    #[inline]
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0xf135_7aea_2e62_a9c5);
        self.0
    }
}

/// A number that each bit of another has changed: the end of `SplitMix64` (Steele, Lea, Flood:
/// *Fast Splittable Pseudorandom Number Generators*, 2014).
#[inline]
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(ROUNDS[1]);
    let number = (number ^ (number >> 27)).wrapping_mul(ROUNDS[2]);
    number ^ (number >> 31)
}

/// A number below `count`.
#[inline]
#[allow(clippy::cast_possible_truncation)] // less than `count`
pub(super) fn below(random: u64, count: u64) -> u64 {
    ((u128::from(random) * u128::from(count)) >> 64) as u64
}

/// The hash of a text.
pub(super) fn text(text: &str) -> u64 {
    with(0, text)
}

/// The hash of a text and what came before it.
#[inline]
pub(super) fn with(before: u64, text: &str) -> u64 {
    let mut state = before ^ fold(text.len() as u64 ^ ROUNDS[0], ROUNDS[1]);
    let (words, rest) = text.as_bytes().as_chunks();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), ROUNDS[2]);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    state = fold(state ^ u64::from_le_bytes(last), ROUNDS[2]);
    fold(state ^ ROUNDS[1], ROUNDS[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients of different versions must agree.
    #[test]
    fn the_hash_of_a_text_never_changes() {
        let texts = ["", "a", "12345678", "checkout:pod-1", "ünïcode:ü"];
        assert_eq!(texts.map(text), VECTORS);
        assert_ne!(with(1, "a"), with(2, "a"));
        assert_ne!(text("a"), text("a\0"));
    }

    const VECTORS: [u64; 5] = [
        0x1de2_74f8_e3fe_7b5d,
        0x3138_f09f_37e4_c386,
        0x795c_b9aa_2e00_df62,
        0x49e1_8c93_9972_0f54,
        0x4780_1398_7b47_2d98,
    ];

    /// Every bit of the result depends on every bit of the text: about half of them change.
    #[test]
    fn a_bit_of_the_text_changes_half_of_the_hash() {
        let keys = (0..200).map(|n| format!("service-{n}:pod-{}", n * 7));
        let mut changed = [0_u32; 64];
        let mut flips = 0;
        for key in keys {
            let hash = text(&key);
            for at in 0..key.len() {
                let mut other = key.clone().into_bytes();
                other[at] ^= 1;
                let other = String::from_utf8(other).unwrap();
                let differs = hash ^ text(&other);
                flips += 1;
                for (bit, count) in changed.iter_mut().enumerate() {
                    *count += u32::from(differs >> bit & 1 == 1);
                }
            }
        }
        for (bit, count) in changed.into_iter().enumerate() {
            let part = f64::from(count) / f64::from(flips);
            assert!((0.45..0.55).contains(&part), "bit {bit}: {part}");
        }
    }
}
