//! The word of a record. One store sets all of it:
//!
//! ```text
//!  63            40 39        24  23    22          0
//! |  pins so far   |  domain    | last |   depth     |
//! ```
//!
//! - *depth*: the number of nested pins. The thread is not pinned if it is 0.
//! - *last*: whether the last pin gives the record back.
//! - *domain*: the domain whose values the thread reads, or [`ALL`] if it reads several.
//! - *pins so far*: grows by one each time that the thread leaves. A writer that waits for a reader
//!   compares it, and so does not mistake the next pin for the one before. It wraps around after
//!   16,777,216 pins: a writer that looks just then waits on, which does no harm.

/// The number of nested pins.
const DEPTH: u64 = (1 << 23) - 1;
/// Whether the last pin gives the record back.
pub(super) const LAST: u64 = 1 << 23;
/// The domain whose values the thread reads.
const DOMAIN_SHIFT: u32 = 24;
const DOMAIN: u64 = 0xFFFF << DOMAIN_SHIFT;
/// The number that stands for several domains.
const ALL: u64 = DOMAIN;
/// How often the thread has left.
const LEFT: u64 = 1 << 40;
const TIMES: u64 = !(LEFT - 1);

/// Returns what the first pin adds to the word of a thread that is not pinned, for the domain of
/// this number. Domains may share a number: then a reader of one holds up the other.
pub(super) const fn first_pin(number: u64) -> u64 {
    ((number % (DOMAIN >> DOMAIN_SHIFT)) << DOMAIN_SHIFT) | 1
}

pub(super) const fn is_pinned(word: u64) -> bool {
    word & DEPTH != 0
}

/// Returns whether this is the only pin, and nothing is to be done after it.
pub(super) const fn is_simple(word: u64) -> bool {
    word & (DEPTH | LAST) == 1
}

/// Returns the word with one more pin inside the others.
///
/// # Panics
///
/// Panics if there are 8,388,607 already.
pub(super) const fn deeper(word: u64, first_pin: u64) -> u64 {
    assert!(word & DEPTH < DEPTH, "a thread is pinned too often");
    let is_same = (word ^ first_pin) & DOMAIN == 0;
    (if is_same { word } else { word | ALL }) + 1
}

/// Returns the word with one pin less, which was not the only one.
pub(super) const fn shallower(word: u64) -> u64 {
    word - 1
}

/// Returns the word after the last pin.
pub(super) const fn left(word: u64) -> u64 {
    (word & TIMES).wrapping_add(LEFT)
}

/// Returns whether the thread is pinned, and may read values of the domain.
pub(super) const fn may_read(word: u64, first_pin: u64) -> bool {
    is_pinned(word) && (word & DOMAIN == ALL || (word ^ first_pin) & DOMAIN == 0)
}

/// Returns whether the pin that was seen in `then` has ended.
pub(super) const fn has_left(then: u64, now: u64) -> bool {
    !is_pinned(now) || (then ^ now) & TIMES != 0
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const A: u64 = first_pin(1);
    const B: u64 = first_pin(2);

    #[test]
    fn a_pin_is_seen_by_its_domain_until_it_has_ended() {
        let before = 7 * LEFT;
        let pinned = before + A;
        assert!(is_simple(pinned) && may_read(pinned, A) && !may_read(pinned, B));
        let inside = deeper(pinned, A);
        assert!(!is_simple(inside) && may_read(inside, A) && !may_read(inside, B));
        assert!(!has_left(pinned, inside));
        assert_eq!(shallower(inside), pinned);
        assert!(has_left(pinned, left(pinned)) && has_left(pinned, left(pinned) + A));
        assert!(!may_read(left(pinned), A));
    }

    #[test]
    fn a_pin_inside_of_that_of_another_domain_is_seen_by_all() {
        let inside = deeper(A, B);
        assert!(may_read(inside, A) && may_read(inside, B) && may_read(inside, first_pin(3)));
        assert!(
            may_read(shallower(inside), B),
            "it does not know any more who left"
        );
    }

    #[test]
    fn no_domain_has_the_number_of_all() {
        for number in [0, 1, 0xFFFE, 0xFFFF, 0x1_0000, u64::MAX] {
            let pin = first_pin(number);
            assert!(is_simple(pin) && pin & DOMAIN != ALL, "{number}");
        }
    }

    #[test]
    fn what_is_given_back_afterwards_is_not_simple() {
        let pinned = left(0) | LAST;
        assert!(!is_pinned(pinned) && !is_simple(pinned + A) && is_pinned(pinned + A));
        assert!(is_simple(left(pinned + A) + A), "only once");
    }

    #[test]
    fn the_number_of_pins_begins_anew() {
        let last = TIMES + A;
        assert_eq!(left(last), 0);
        assert!(has_left(last, 0) && has_left(last, A));
    }

    #[test]
    #[should_panic(expected = "a thread is pinned too often")]
    fn a_pin_too_many_is_refused() {
        deeper(DEPTH, A);
    }
}
