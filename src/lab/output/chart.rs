//! Bars as inline SVG: every bar is named where it stands, so that no colour has
//! to be looked up.

use std::fmt::Write as _;

use super::axis::{self, Scale, step_down};
use super::html::escape;
use super::style::class;
use crate::lab::section::{Bar, BarChart, Quantity, significant};

const WIDTH: f64 = 920.0;
/// Where bars begin: left of it stand their names.
const LEFT: f64 = 216.0;
/// Where the axis ends: right of it is room for the figure of the longest bar.
const RIGHT: f64 = WIDTH - 150.0;
const BAR: f64 = 14.0;
const STEP: f64 = 21.0;
const HEAD: f64 = 24.0;
const GAP: f64 = 16.0;
const TOP: f64 = 26.0;

/// Where bars lie.
struct Lengths {
    scale: Scale,
}

impl Lengths {
    /// Linear from zero, unless the bars could not be told apart on it.
    fn of(chart: &BarChart) -> Lengths {
        let bars = || chart.groups.iter().flat_map(|group| &group.bars);
        let line = chart.line.as_ref().map(|(value, _)| *value);
        let least = bars()
            .map(|bar| bar.low)
            .chain(line)
            .fold(f64::MAX, f64::min);
        let most = bars().map(|bar| bar.high).chain(line).fold(0.0, f64::max);
        let high = chart.limit.map_or(most, |limit| limit.min(most));
        let logarithmic = chart.limit.is_none() && least > 0.0 && most / least > 8.0;
        Lengths {
            scale: Scale {
                low: if logarithmic {
                    step_down(least * 0.9)
                } else {
                    0.0
                },
                high: if high > 0.0 { high } else { 1.0 },
                logarithmic,
                zero: false,
            },
        }
    }

    fn place(&self, value: f64) -> f64 {
        LEFT + self.scale.share(value) * (RIGHT - LEFT)
    }
}

pub(super) fn svg(chart: &BarChart) -> String {
    let lengths = Lengths::of(chart);
    let scale = lengths.scale;
    let bars: usize = chart.groups.iter().map(|group| group.bars.len()).sum();
    #[allow(clippy::cast_precision_loss)] // counts of bars
    let bottom = TOP + chart.groups.len() as f64 * (HEAD + GAP) + bars as f64 * STEP;
    let height = bottom + 46.0;
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-label=\"{}\">\n",
        escape(&format!("{}; {}", chart.title, chart.axis))
    );
    for tick in scale.ticks() {
        let x = lengths.place(tick);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            bottom + 17.0,
            escape(&axis::label(chart.quantity, tick))
        );
    }
    let kind = match chart.limit {
        _ if scale.logarithmic => "; logarithmic",
        Some(_) if bars_are_cut(chart, &scale) => "; longer bars are cut",
        _ => "",
    };
    let _ = writeln!(
        svg,
        "<text class=\"axis\" x=\"{LEFT}\" y=\"{:.1}\">{}{kind}</text>",
        bottom + 38.0,
        escape(&chart.axis),
    );
    let mut y = TOP;
    for group in &chart.groups {
        let _ = writeln!(
            svg,
            "<text class=\"group\" x=\"0\" y=\"{:.1}\">{}<tspan class=\"detail\" dx=\"8\">{}</tspan></text>",
            y + 16.0,
            escape(&group.label),
            escape(&group.detail),
        );
        y += HEAD;
        for bar in &group.bars {
            svg.push_str(&one(bar, &lengths, y, chart.quantity));
            y += STEP;
        }
        y += GAP;
    }
    if let Some((value, name)) = &chart.line {
        let x = lengths.place(*value);
        let _ = writeln!(
            svg,
            "<line class=\"line\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom:.1}\"/>\
             <text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
            TOP - 8.0,
            escape(name)
        );
    }
    svg.push_str("</svg>\n");
    svg
}

fn bars_are_cut(chart: &BarChart, scale: &Scale) -> bool {
    let mut bars = chart.groups.iter().flat_map(|group| &group.bars);
    bars.any(|bar| bar.value > scale.high)
}

fn one(bar: &Bar, lengths: &Lengths, y: f64, quantity: Quantity) -> String {
    let [end, low, high] = [bar.value, bar.low, bar.high].map(|value| lengths.place(value));
    let middle = y + BAR / 2.0;
    let figure = quantity.text(bar.value);
    let mut svg = format!(
        "<g><title>{}</title><text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
        escape(&format!(
            "{}: {figure}, 95 % interval {} to {} {}",
            bar.series,
            significant(bar.low),
            significant(bar.high),
            bar.note
        )),
        LEFT - 10.0,
        middle + 4.0,
        escape(&bar.series),
    );
    let _ = write!(
        svg,
        "<rect class=\"bar {}\" x=\"{:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{BAR}\" rx=\"1.5\"/>",
        class(bar.colour),
        LEFT,
        (end - LEFT).max(1.0),
    );
    if bar.value > lengths.scale.high {
        // The bar goes on: two cuts near its end.
        let (top, bottom) = (y - 2.0, y + BAR + 2.0);
        for cut in [RIGHT - 22.0, RIGHT - 15.0] {
            let _ = write!(
                svg,
                "<path class=\"cut\" d=\"M{:.1} {bottom:.1}L{cut:.1} {top:.1}\"/>",
                cut - 5.0
            );
        }
    } else if high - low >= 2.0 {
        let _ = write!(
            svg,
            "<path class=\"whisker\" d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {:.1}v6M{high:.1} {:.1}v6\"/>",
            middle - 3.0,
            middle - 3.0,
        );
    }
    let _ = writeln!(
        svg,
        "<text class=\"figure\" x=\"{:.1}\" y=\"{:.1}\">{}<tspan class=\"detail\" dx=\"7\">{}</tspan></text></g>",
        end.max(high) + 7.0,
        middle + 4.0,
        escape(&figure),
        escape(&bar.note),
    );
    svg
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::section::{BarGroup, Colour};

    fn chart(values: &[f64]) -> BarChart {
        let bars = values.iter().map(|&value| Bar {
            series: "a < b".into(),
            colour: Colour::Contender(2),
            value,
            low: value * 0.9,
            high: value * 1.1,
            note: String::new(),
        });
        BarChart {
            title: "t".into(),
            axis: "time".into(),
            quantity: Quantity::Time,
            line: None,
            limit: None,
            groups: vec![BarGroup {
                label: "g".into(),
                detail: String::new(),
                bars: bars.collect(),
            }],
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (values, logarithmic) in [
            (&[10.0, 23.0][..], false),
            (&[10.0, 90.0], true),
            (&[1.0, 700.0], true),
            (&[0.3, 2.0e6], true),
        ] {
            let lengths = Lengths::of(&chart(values));
            let scale = lengths.scale;
            assert_eq!(scale.logarithmic, logarithmic, "{values:?}");
            let ticks = scale.ticks();
            assert!((3..=9).contains(&ticks.len()), "{values:?}: {ticks:?}");
            for tick in ticks {
                let x = lengths.place(tick);
                assert!((LEFT..=RIGHT).contains(&x), "{values:?}: {tick}");
            }
        }
    }

    #[test]
    fn a_bar_beyond_the_limit_is_cut_and_says_so() {
        let limited = BarChart {
            limit: Some(4.0),
            ..chart(&[1.0, 2.0, 700.0])
        };
        assert!(!Lengths::of(&limited).scale.logarithmic);
        let svg = svg(&limited);
        assert_eq!(svg.matches("class=\"cut\"").count(), 2);
        assert!(svg.contains("longer bars are cut") && svg.contains("700 ns"));
    }

    #[test]
    fn names_are_escaped() {
        let svg = svg(&chart(&[1.0, 2.0]));
        assert!(svg.contains("a &lt; b") && !svg.contains("a < b"));
    }
}
