//! Ratios with their intervals around 1, as inline SVG.

use std::fmt::Write as _;

use super::axis::{self, Scale};
use super::html::escape;
use super::style::{class, mark};
use crate::lab::section::{Forest, ForestRow, Quantity, times};

const WIDTH: f64 = 920.0;
const LEFT: f64 = 216.0;
/// Right of it stand the figures.
const RIGHT: f64 = WIDTH - 190.0;
const STEP: f64 = 22.0;
const TOP: f64 = 30.0;

#[allow(clippy::cast_precision_loss)] // a number of rows
pub(super) fn svg(forest: &Forest) -> String {
    let noise = forest
        .noise
        .filter(|noise| noise.is_finite())
        .map_or(1.0, |noise| noise.max(1.0));
    let rows = forest.rows.iter();
    let ends = rows.flat_map(|row| [row.ratio.low, row.ratio.ratio, row.ratio.high]);
    let scale = Scale::holding(ends.chain([1.0 / 1.1, 1.1, noise, noise.recip()]), true);
    let place = |value: f64| LEFT + scale.share(value) * (RIGHT - LEFT);
    let bottom = TOP + forest.rows.len() as f64 * STEP + 6.0;
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">\n",
        bottom + 46.0,
        escape(&format!("{}; {}", forest.title, forest.axis))
    );
    if noise > 1.0 {
        let (low, high) = (place(noise.recip()), place(noise));
        let _ = writeln!(
            svg,
            "<g><title>noise floor: {} to {}</title><rect class=\"noise\" x=\"{low:.1}\" y=\"{TOP}\" \
             width=\"{:.1}\" height=\"{:.1}\"/></g>",
            times(noise.recip()),
            times(noise),
            high - low,
            bottom - TOP
        );
    }
    let mut free = f64::MIN;
    for tick in scale.ticks() {
        let x = place(tick);
        let text = axis::label(Quantity::Ratio, tick);
        let half = super::style::width(&text) / 2.0;
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>"
        );
        if x - half >= free {
            free = x + half + 6.0;
            let _ = writeln!(
                svg,
                "<text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                bottom + 17.0,
                escape(&text)
            );
        }
    }
    let one = place(1.0);
    let _ = writeln!(
        svg,
        "<line class=\"line\" x1=\"{one:.1}\" x2=\"{one:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/>\
         <text class=\"axis\" x=\"{LEFT}\" y=\"{:.1}\">{}; logarithmic{}</text>",
        TOP - 6.0,
        bottom + 39.0,
        escape(&forest.axis),
        if noise > 1.0 {
            "; the band is the noise floor"
        } else {
            ""
        }
    );
    for (at, row) in forest.rows.iter().enumerate() {
        svg.push_str(&one_row(
            row,
            &place,
            TOP + at as f64 * STEP + STEP / 2.0 + 3.0,
        ));
    }
    svg.push_str("</svg>\n");
    svg
}

fn one_row(row: &ForestRow, place: &dyn Fn(f64) -> f64, y: f64) -> String {
    let ratio = row.ratio;
    let [low, middle, high] = [ratio.low, ratio.ratio, ratio.high].map(place);
    let said = if ratio.equal {
        " (=: cannot be told from 1)"
    } else {
        ""
    };
    let mut svg = format!(
        "<g><title>{}</title><text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        escape(&format!(
            "{}: {}, 95 % interval {}{said}",
            row.label,
            times(ratio.ratio),
            ratio.interval()
        )),
        LEFT - 10.0,
        y + 4.0,
        escape(&row.label)
    );
    let _ = write!(
        svg,
        "<path class=\"trace {}\" d=\"M{low:.1} {y:.1}H{high:.1}M{low:.1} {:.1}v8M{high:.1} {:.1}v8\"/>{}",
        class(row.colour),
        y - 4.0,
        y - 4.0,
        mark(row.colour, middle, y)
    );
    let _ = writeln!(
        svg,
        "<text class=\"figure\" x=\"{:.1}\" y=\"{:.1}\">{}<tspan class=\"detail\" dx=\"7\">{}</tspan></text></g>",
        RIGHT + 14.0,
        y + 4.0,
        if ratio.equal {
            "=".into()
        } else {
            times(ratio.ratio)
        },
        escape(&ratio.interval())
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::section::{Colour, Ratio};

    fn forest(noise: Option<f64>) -> Forest {
        let row = |label: &str, ratio: f64, equal| ForestRow {
            label: label.into(),
            colour: Colour::Contender(3),
            ratio: Ratio {
                ratio,
                low: ratio * 0.9,
                high: ratio * 1.1,
                equal,
            },
        };
        Forest {
            title: "t".into(),
            axis: "time".into(),
            noise,
            rows: vec![
                row("a<b", 0.3, false),
                row("c", 1.01, true),
                row("d", 40.0, false),
            ],
        }
    }

    #[test]
    fn what_is_equal_is_shown_as_such() {
        let svg = svg(&forest(Some(1.05)));
        assert!(
            svg.contains(">=<tspan") && svg.contains("class=\"noise\""),
            "{svg}"
        );
        assert!(svg.contains("a&lt;b") && svg.contains("40.0×"));
        assert_eq!(svg.matches(">=<tspan").count(), 1);
    }

    #[test]
    fn without_noise_there_is_no_band() {
        for noise in [None, Some(f64::NAN), Some(1.0)] {
            let svg = svg(&forest(noise));
            assert!(!svg.contains("class=\"noise\"") && !svg.contains("NaN"));
        }
    }
}
