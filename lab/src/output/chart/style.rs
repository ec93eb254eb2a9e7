//! What tells contenders from each other.

/// Stores of this crate have colours, the rest are grey; everybody has a mark, and everybody
/// from outside dashes as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// The store of this crate at that place of the list.
    Ours(usize),
    /// The contender from outside, or the measure, at that place of the list.
    Outside(usize),
}

/// How many marks and how many colours there are.
const MARKS: usize = 6;

impl Style {
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Style::Ours(_))
    }

    /// The classes of a line and of a mark.
    pub(super) fn class(self) -> String {
        match self {
            Style::Ours(place) => format!("o{}", place % MARKS),
            Style::Outside(place) => format!("out d{}", place % 3),
        }
    }

    /// Which of the marks.
    pub(super) fn mark(self) -> usize {
        let (Style::Ours(place) | Style::Outside(place)) = self;
        place % MARKS
    }

    /// About how wide a name is: those of the stores of this crate are bold.
    pub(super) fn width(self, name: &str) -> f64 {
        width(name) * if self.is_ours() { 1.2 } else { 1.0 }
    }
}

/// About how wide a text is in the letters of a chart.
pub(super) fn width(text: &str) -> f64 {
    text.chars().count() as f64 * 7.0
}
