//! What all charts are drawn with.

use std::fmt::Write as _;

use minijinja::HtmlEscape;

/// What tells a contender from the others: stores of this crate have colours, the rest are
/// grey; everybody has a mark, and everybody from outside dashes as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    /// The store of this crate at that place of the list.
    Ours(usize),
    /// The contender from outside, or the measure, at that place of the list.
    Outside(usize),
}

/// The marks, which `use` elements name: defined once in a document.
pub(crate) const MARKS: &str = include_str!("../templates/marks.svg");
/// What charts look like, in light and dark.
pub(crate) const STYLE: &str = include_str!("../templates/chart.css");

/// How many marks and how many colours there are.
const MARK_COUNT: usize = 6;

impl Look {
    /// The classes of a line and of a mark.
    pub(super) fn class(self) -> String {
        match self {
            Look::Ours(place) => format!("o{}", place % MARK_COUNT),
            Look::Outside(place) => format!("out d{}", place % 3),
        }
    }

    /// About how wide a name is: those of the stores of this crate are bold.
    pub(super) fn width(self, name: &str) -> f64 {
        match self {
            Look::Ours(_) => width(name) * 1.2,
            Look::Outside(_) => width(name),
        }
    }

    /// The mark in the middle of a place; `x` in per cent, `y` in pixels. Its colour is
    /// that of the group it stands in.
    pub(super) fn mark(self, x: f64, y: f64) -> String {
        let (Look::Ours(place) | Look::Outside(place)) = self;
        format!("<use href=\"#m{}\" x=\"{}%\" y=\"{}\"/>", place % MARK_COUNT, short(x), short(y))
    }
}

/// A drawn chart: what stands inside the plot, and how much room it needs around it.
#[derive(Clone, Debug)]
pub(crate) struct Drawing {
    /// What it shows.
    pub(crate) title: String,
    /// What is to be seen, for those who cannot see it.
    pub(crate) desc: String,
    pub(super) inner: String,
    pub(super) height: f64,
    pub(super) left: f64,
    /// Right of the plot, and right of it where room is short.
    pub(super) right: [f64; 2],
}

impl Drawing {
    /// The chart as part of a page, as wide as what it stands in.
    pub(crate) fn inline(&self, id: &str) -> String {
        let [wide, narrow] = self.right;
        format!(
            "<svg class=\"chart\" role=\"img\" aria-labelledby=\"{id}-t\" aria-describedby=\"{id}-d\" \
             height=\"{:.0}\" style=\"--l:{:.0}px;--r:{wide:.0}px;--n:{narrow:.0}px\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>{}</svg>",
            self.height,
            self.left,
            HtmlEscape(&self.title),
            HtmlEscape(&self.desc),
            self.inner
        )
    }

    /// The chart as a file of its own, which brings its marks, style and ground.
    pub(crate) fn file(&self) -> String {
        const WIDTH: f64 = 760.0;
        const MARGIN: f64 = 16.0;
        const HEAD: f64 = 34.0;
        let height = self.height + HEAD + MARGIN;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height:.0}\" width=\"{WIDTH}\" \
             height=\"{height:.0}\" role=\"img\" aria-labelledby=\"t d\" class=\"file\">\n\
             <title id=\"t\">{title}</title>\n<desc id=\"d\">{}</desc>\n<style>{STYLE}</style>\n{MARKS}\n\
             <rect class=\"ground\" width=\"100%\" height=\"100%\" rx=\"6\"/>\n\
             <text class=\"head\" x=\"{MARGIN}\" y=\"26\">{title}</text>\n\
             <svg class=\"plot\" x=\"{:.0}\" y=\"{HEAD}\" width=\"{:.0}\" height=\"{:.0}\">{}</svg>\n</svg>\n",
            HtmlEscape(&self.desc),
            self.left + MARGIN,
            WIDTH - self.left - self.right[0] - 2.0 * MARGIN,
            self.height,
            self.inner.replace("><", ">\n<"),
            title = HtmlEscape(&self.title),
        )
    }
}

/// What a browser shows beside the pointer.
pub(super) fn title(text: &str) -> String {
    format!("<title>{}</title>", HtmlEscape(text))
}

/// A text; `x` in per cent, moved by `dx` pixels.
pub(super) fn text(class: &str, x: f64, dx: f64, y: f64, words: &str) -> String {
    let mut svg = format!("<text class=\"{class}\" x=\"{}%\" y=\"{}\"", short(x), short(y));
    if dx != 0.0 {
        let _ = write!(svg, " dx=\"{}\"", short(dx));
    }
    let _ = write!(svg, ">{}</text>", HtmlEscape(words));
    svg
}

/// A straight line; `x` in per cent.
pub(super) fn line(class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) -> String {
    let class = match class {
        "" => String::new(),
        class => format!(" class=\"{class}\""),
    };
    format!(
        "<line{class} x1=\"{}%\" y1=\"{}\" x2=\"{}%\" y2=\"{}\"/>",
        short(x1),
        short(y1),
        short(x2),
        short(y2)
    )
}

/// A coordinate without digits that nobody sees.
pub(super) fn short(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// About how wide a text is in the letters of a chart.
pub(super) fn width(text: &str) -> f64 {
    text.chars().count() as f64 * 7.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn everybody_looks_different_without_colours() {
        // Stores of this crate by their marks, all solid; those from outside by marks, all
        // hollow, with dashes.
        let looks = |look: fn(usize) -> Look, many| -> usize {
            let look = |place| {
                let look = look(place);
                (
                    look.mark(0.0, 0.0),
                    look.class().replace(|own: char| own.is_ascii_digit(), ""),
                    look.class(),
                )
            };
            (0..many).map(look).collect::<HashSet<_>>().len()
        };
        assert_eq!([looks(Look::Ours, 6), looks(Look::Outside, 6)], [6, 6]);
    }
}
