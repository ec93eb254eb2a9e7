//! The colours, dashes and marks that tell contenders apart.

/// Stores of this crate have colours; the others are grey and dashed. Every contender has a mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// The store of this crate with this index in the list.
    Ours(usize),
    /// The contender from outside, or the measure, with this index in the list.
    Outside(usize),
}

/// The number of marks, and of colours.
const MARKS: usize = 6;

impl Style {
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Style::Ours(_))
    }

    /// Returns the CSS classes of its line and its mark.
    pub(super) fn class(self) -> String {
        match self {
            Style::Ours(place) => format!("o{}", place % MARKS),
            Style::Outside(place) => format!("out d{}", place % 3),
        }
    }

    /// Returns the index of its mark.
    pub(super) fn mark(self) -> usize {
        let (Style::Ours(place) | Style::Outside(place)) = self;
        place % MARKS
    }

    /// Estimates the width of a name: those of the stores of this crate are bold.
    pub(super) fn width(self, name: &str) -> f64 {
        width(name) * if self.is_ours() { 1.2 } else { 1.0 }
    }
}

/// Estimates the width of a text in a chart, in pixels.
pub(super) fn width(text: &str) -> f64 {
    text.chars().count() as f64 * 7.0
}
