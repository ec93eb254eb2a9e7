//! What tells the contenders apart: a colour, and because no palette has a dozen
//! that everybody can tell apart, a mark and a dash as well.

use std::fmt::Write as _;

use crate::lab::section::Colour;

/// How many colours the palette has; after the last comes the first again, with
/// other marks and dashed lines.
const COLOURS: usize = 6;

/// The class of what is filled or drawn in a colour.
pub(super) fn class(colour: Colour) -> String {
    match colour {
        Colour::Neutral => "c-neutral".into(),
        Colour::Contender(place) => format!("c-{}", place % COLOURS),
        Colour::Variant(place) => format!("c-{} variant", place % COLOURS),
    }
}

/// The dashes of a line.
pub(super) fn dash(colour: Colour) -> &'static str {
    const DASHES: [&str; 3] = ["", "7 4", "2 3"];
    match colour {
        Colour::Neutral => "1 4",
        Colour::Contender(place) => DASHES[place / COLOURS % DASHES.len()],
        Colour::Variant(_) => "10 3 2 3",
    }
}

/// A mark in the middle of a point: its shape says which of the colours, being
/// hollow which round of them.
pub(super) fn mark(colour: Colour, x: f64, y: f64) -> String {
    let (shape, hollow) = match colour {
        Colour::Neutral => (0, true),
        Colour::Contender(place) => (place % COLOURS, place / COLOURS % 2 == 1),
        Colour::Variant(place) => (place % COLOURS, true),
    };
    let path = match shape {
        0 => "M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0z",
        1 => "M-3.2 -3.2h6.4v6.4h-6.4z",
        2 => "M0 -4.4L4.4 0L0 4.4L-4.4 0z",
        3 => "M0 -4.2L4.1 3.2H-4.1z",
        4 => "M0 4.2L4.1 -3.2H-4.1z",
        _ => "M-1.4 -4h2.8v2.6h2.6v2.8h-2.6v2.6h-2.8v-2.6h-2.6v-2.8h2.6z",
    };
    let hollow = if hollow { " hollow" } else { "" };
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<path class=\"mark {}{hollow}\" transform=\"translate({x:.1} {y:.1})\" d=\"{path}\"/>",
        class(colour)
    );
    svg
}

/// About how wide a text is, at a size of 12.
#[allow(clippy::cast_precision_loss)] // a short text
pub(super) fn width(text: &str) -> f64 {
    text.chars().count() as f64 * 7.3
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn a_dozen_contenders_look_different_without_colours() {
        let looks = |place| {
            let colour = Colour::Contender(place);
            let mark = mark(colour, 0.0, 0.0);
            let shape = mark.split(" d=").nth(1).unwrap().to_owned();
            (shape, mark.contains("hollow"), dash(colour))
        };
        let all: HashSet<_> = (0..12).map(looks).collect();
        assert_eq!(all.len(), 12);
    }
}
