//! A hash that is the same on every machine, in every process and version: clients that have to
//! agree on a pod each compute it. It is no defense against chosen keys: a caller who can choose
//! keys can choose ones that all belong to one pod.

const ROUNDS: [u64; 3] = [
    0x9e37_79b9_7f4a_7c15,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
];

/// Combines both halves of a product. Each depends on every bit of both factors.
#[inline]
#[allow(clippy::cast_possible_truncation)] // the halves
fn fold(one: u64, two: u64) -> u64 {
    let product = u128::from(one) * u128::from(two);
    product as u64 ^ (product >> 64) as u64
}

/// A sequence of pseudorandom numbers, each in a handful of instructions: a multiplicative
/// congruential generator (Steele, Vigna: *Computationally easy, spectrally good multipliers*,
/// 2022). Its high bits are the good ones. The seed is mixed, so it may come from a counter.
pub(super) struct RandomNumbers(u64);

impl RandomNumbers {
    #[inline]
    pub(super) fn new(first: u64) -> RandomNumbers {
        // An even state would end in zeros after enough steps.
        RandomNumbers(mix(first) | 1)
    }

    #[inline]
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_mul(0xf135_7aea_2e62_a9c5);
        self.0
    }
}

/// Mixes a number, so that each bit of the result depends on every bit of the input: the finalizer
/// of `SplitMix64` (Steele, Lea, Flood: *Fast Splittable Pseudorandom Number Generators*, 2014).
#[inline]
pub(super) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(ROUNDS[1]);
    let number = (number ^ (number >> 27)).wrapping_mul(ROUNDS[2]);
    number ^ (number >> 31)
}

/// Maps a random number to one below `count`.
#[inline]
#[allow(clippy::cast_possible_truncation)] // less than `count`
pub(super) fn below(random: u64, count: u64) -> u64 {
    ((u128::from(random) * u128::from(count)) >> 64) as u64
}

/// Returns the hash of a text.
pub(super) fn text(text: &str) -> u64 {
    with(0, text)
}

/// Returns the hash of a text combined with an earlier hash. Takes sixteen bytes at a time, as
/// wyhash (Wang Yi) does. The last sixteen may overlap those before.
#[inline]
pub(super) fn with(before: u64, text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut state = before ^ (bytes.len() as u64).wrapping_mul(ROUNDS[0]);
    let mut rest = bytes;
    while rest.len() > 16
        && let Some((sixteen, behind)) = rest.split_first_chunk::<16>()
    {
        let [one, two] = halves(u128::from_le_bytes(*sixteen));
        state = fold(one ^ ROUNDS[1] ^ state, two ^ ROUNDS[2]);
        rest = behind;
    }
    let [one, two] = last(bytes);
    state = fold(one ^ ROUNDS[1] ^ state, two ^ ROUNDS[2]);
    fold(state ^ ROUNDS[1], ROUNDS[0])
}

/// Returns the last sixteen bytes. Of a shorter text, it returns all bytes, some of them twice.
#[inline]
fn last(bytes: &[u8]) -> [u64; 2] {
    if let Some(sixteen) = bytes.last_chunk::<16>() {
        return halves(u128::from_le_bytes(*sixteen));
    }
    if let (Some(one), Some(two)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        return [u64::from_le_bytes(*one), u64::from_le_bytes(*two)];
    }
    if let (Some(one), Some(two)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        return [one, two].map(|four| u64::from(u32::from_le_bytes(*four)));
    }
    let three = bytes
        .iter()
        .fold(0, |all, byte| all << 8 | u64::from(*byte));
    [three, 0]
}

#[inline]
#[allow(clippy::cast_possible_truncation)] // the halves
fn halves(sixteen: u128) -> [u64; 2] {
    [sixteen as u64, (sixteen >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients of different versions have to agree.
    #[test]
    fn the_hash_of_a_text_never_changes() {
        let texts = [
            "",
            "a",
            "abcd",
            "12345678",
            "checkout:pod-1",
            "ünïcode:checkout",
            "checkout:checkout-7d4b9c-0001",
        ];
        assert_eq!(texts.map(text), VECTORS);
        assert_ne!(with(1, "a"), with(2, "a"));
        assert_ne!(text("a"), text("a\0"));
    }

    const VECTORS: [u64; 7] = [
        0x0006_57df_d89f_0fee,
        0x01b9_5117_20f2_39f3,
        0x6ffa_d1b2_5830_8926,
        0xfa6e_11c8_9960_a39b,
        0xbe5a_a406_c2ad_d527,
        0xb2c5_3cc5_dd86_a7ad,
        0xb426_b2b7_78e6_5fd3,
    ];

    /// Every bit of the result depends on every bit of the text: flipping one changes about half of
    /// them.
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
