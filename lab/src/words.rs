//! Formats numbers and names for people.

use indicatif::HumanCount;

use crate::model::{Interval, Unit};

/// A value in its unit, with three digits: `9.81 ns`, `1.46 µs`, `340 B`.
pub(crate) fn value(unit: Unit, value: f64) -> String {
    match unit {
        Unit::NsPerOp | Unit::Ns => {
            scaled(value, &[("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)])
        }
        Unit::BytesPerService => scaled(
            value,
            &[("B", 1.0), ("KiB", 1024.0), ("MiB", 1_048_576.0), ("GiB", 1_073_741_824.0)],
        ),
        Unit::OpsPerSecond => scaled(value, &[("/s", 1.0), ("k/s", 1e3), ("M/s", 1e6)]),
        Unit::InstructionsPerOp | Unit::AllocationsPerOp => significant(value),
    }
}

/// What a unit measures, for the label of an axis.
pub(crate) fn measures(unit: Unit) -> &'static str {
    match unit {
        Unit::NsPerOp => "time for an operation",
        Unit::Ns => "time",
        Unit::BytesPerService => "memory for a service",
        Unit::InstructionsPerOp => "instructions for an operation",
        Unit::AllocationsPerOp => "allocations for an operation",
        Unit::OpsPerSecond => "operations a second",
    }
}

fn scaled(value: f64, units: &[(&str, f64)]) -> String {
    let fits = |(_, size): &&(&str, f64)| value.abs() >= size * 0.9995;
    let (unit, size) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{} {unit}", significant(value / size))
}

/// A ratio: `1.05×`.
pub(crate) fn times(ratio: f64) -> String {
    format!("{}×", significant(ratio))
}

/// The ends of an interval: `1.58–1.66`.
pub(crate) fn ends(interval: Interval) -> String {
    format!("{}–{}", significant(interval.low), significant(interval.high))
}

/// A ratio with its interval: `1.62× (1.58–1.66)`.
pub(crate) fn ratio(interval: Interval) -> String {
    format!("{} ({})", times(interval.value), ends(interval))
}

/// Returns three significant digits, with separated thousands.
pub(crate) fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        v if v < 5e-4 => return "0".into(),
        v if v < 0.099_95 => 3,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        v if v < 999.5 => 0,
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // figures are counts
        v if v < 1e15 => return thousands(value.round() as u64),
        _ => return format!("{value:.2e}"),
    };
    format!("{value:.decimals$}")
}

/// The same without zeros at the end of a fraction, for the label of a tick.
pub(crate) fn bare(text: &str) -> String {
    let (number, unit) = text.split_once(' ').unwrap_or((text, ""));
    let number = if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    };
    format!("{number} {unit}").trim_end().into()
}

/// Returns a whole number with separated thousands: `100,000`.
pub(crate) fn thousands(number: u64) -> String {
    HumanCount(number).to_string()
}

/// Returns a round count in short form: `1k`, `100k`, `1M`.
pub(crate) fn count(number: usize) -> String {
    match number {
        n if n >= 1_000_000 && n.is_multiple_of(1_000_000) => format!("{}M", n / 1_000_000),
        n if n >= 1_000 && n.is_multiple_of(1_000) => format!("{}k", n / 1_000),
        n => thousands(n as u64),
    }
}

/// `1 cell`, `3 cells`.
pub(crate) fn plural(number: usize, word: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {word}{s}", thousands(number as u64))
}

/// `a`, `a and b`, `a, b and c`.
pub(crate) fn list(words: &[String], last: &str) -> String {
    match words {
        [] => String::new(),
        [one] => one.clone(),
        [most @ .., end] => format!("{} {last} {end}", most.join(", ")),
    }
}

/// Returns a text with a full stop at its end.
pub(crate) fn stopped(text: &str) -> String {
    let text = text.trim_end();
    if text.is_empty() || text.ends_with(['.', '!', '?', ':']) {
        return text.into();
    }
    format!("{text}.")
}

/// A name for an anchor or a file: lower-case letters, digits and hyphens.
pub(crate) fn slug(text: &str) -> String {
    let text: String = text.chars().take(120).collect();
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    if words.is_empty() { "x".into() } else { words.join("-").to_ascii_lowercase() }
}

/// Replaces by U+FFFD what controls a terminal or reverses text: control characters, and marks of
/// direction.
pub(crate) fn clean(text: &str) -> String {
    text.replace(is_hostile, "\u{FFFD}")
}

/// Returns whether [`clean`] replaces it.
pub(crate) fn is_hostile(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{FEFF}')
}

/// Truncates a text to this many letters, the last of them `…` if there were more.
pub(crate) fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.into();
    }
    let kept: String = text.chars().take(most.saturating_sub(1)).collect();
    kept.trim_end().to_owned() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        for (value, text) in [
            (0.0, "0"),
            (0.052, "0.052"),
            (1.0, "1.00"),
            (9.996, "10.0"),
            (15.16, "15.2"),
            (99.96, "100"),
            (585.4, "585"),
            (999.6, "1,000"),
            (12_345.6, "12,346"),
        ] {
            assert_eq!(significant(value), text);
        }
        assert_eq!(thousands(1_234_567), "1,234,567");
        assert_eq!([10, 1_000, 1_500, 2_000_000].map(count), ["10", "1k", "1,500", "2M"]);
        assert_eq!(["1.00 µs", "10.0", "100", "0"].map(bare), ["1 µs", "10", "100", "0"]);
    }

    #[test]
    fn values_have_the_unit_that_suits_them() {
        for (figure, text) in [
            (0.4, "0.40 ns"),
            (9.81, "9.81 ns"),
            (999.7, "1.00 µs"),
            (3_412_000.0, "3.41 ms"),
            (2.5e9, "2.50 s"),
        ] {
            assert_eq!(value(Unit::NsPerOp, figure), text);
        }
        assert_eq!(value(Unit::BytesPerService, 1_536.0), "1.50 KiB");
    }

    #[test]
    fn nothing_that_commands_a_terminal_is_left() {
        assert_eq!(clean("a\u{1b}[31m\u{9b}b\u{202e}\n"), "a\u{FFFD}[31m\u{FFFD}b\u{FFFD}\u{FFFD}");
        assert_eq!(clean("VersionedStore 1.05× – ünï"), "VersionedStore 1.05× – ünï");
        assert_eq!(slug("Many threads, <reads> & writes!"), "many-threads-reads-writes");
        assert_eq!(slug("\u{1b}"), "x");
        assert_eq!(short("abcdef", 4), "abc…");
    }
}
