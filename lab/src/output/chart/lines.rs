//! Lines over a few named places, from left to right; each is named at its end.

use std::fmt::Write as _;

use minijinja::HtmlEscape;

use super::drawing::{Drawing, Look, line, short, text, title};
use super::scale::{Scale, apart};
use crate::model::{Interval, Unit};
use crate::output::words;

/// Some contenders over the same places.
#[derive(Clone, Debug)]
pub(crate) struct Lines {
    /// What it shows.
    pub(crate) title: String,
    /// What lies from left to right.
    pub(crate) across: String,
    /// The places from left to right.
    pub(crate) places: Vec<String>,
    /// The unit of the values, of which less is better.
    pub(crate) unit: Unit,
    /// Who is drawn, those from outside first: what comes later lies above.
    pub(crate) series: Vec<Series>,
    /// How high the plot is at least, in pixels.
    pub(crate) height: f64,
}

/// One contender.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// Its name, short.
    pub(crate) name: String,
    /// How it is told from the others.
    pub(crate) look: Look,
    /// Its value at each place, where there is one.
    pub(crate) points: Vec<Option<Interval>>,
}

/// Between the middles of two names.
const NAME: f64 = 14.0;
/// Above the plot: what lies upwards.
const TOP: f64 = 24.0;
/// Below it: the ticks, and what lies across.
const BELOW: f64 = 40.0;

impl Lines {
    /// Draws it.
    pub(crate) fn draw(&self) -> Drawing {
        let values = self.series.iter().flat_map(|series| &series.points);
        let scale = Scale::holding(values.flatten().map(|point| point.value));
        let plot =
            Plot { lines: self, height: self.height.max(self.series.len() as f64 * NAME), scale };
        let names = self.series.iter().map(|series| series.look.width(&series.name));
        let right = names.fold(30.0, f64::max) + 26.0;
        Drawing {
            title: self.title.clone(),
            desc: self.said(),
            inner: plot.axes() + &plot.curves() + &plot.names(),
            height: TOP + plot.height + BELOW,
            left: 58.0,
            right: [right, right],
        }
    }

    /// The figures at both ends, in words.
    fn said(&self) -> String {
        let mut said = format!("{} by {}.", words::measures(self.unit), self.across);
        for series in self.series.iter().rev() {
            let known = || {
                let points = self.places.iter().zip(&series.points);
                points.filter_map(|(place, point)| Some((place, (*point)?)))
            };
            let (Some(first), Some(last)) = (known().next(), known().next_back()) else {
                continue;
            };
            let _ = write!(said, " {}: ", series.name);
            for (at, (place, point)) in [first, last].into_iter().enumerate() {
                if at > 0 && first.0 == last.0 {
                    break;
                }
                let to = if at > 0 { ", " } else { "" };
                let value = words::value(self.unit, point.value);
                let _ = write!(said, "{to}{value} at {place}");
            }
            said.push('.');
        }
        said
    }
}

struct Plot<'a> {
    lines: &'a Lines,
    height: f64,
    scale: Scale,
}

impl Plot<'_> {
    /// The middle of a place, in per cent.
    fn x(&self, place: usize) -> f64 {
        match self.lines.places.len() {
            0 | 1 => 50.0,
            many => 3.0 + 94.0 * place as f64 / (many - 1) as f64,
        }
    }

    fn y(&self, value: f64) -> f64 {
        TOP + (1.0 - self.scale.share(value)) * self.height
    }

    fn axes(&self) -> String {
        let bottom = TOP + self.height;
        let mut svg = String::new();
        for tick in self.scale.ticks(6) {
            let y = self.y(tick);
            let label = words::bare(&words::value(self.lines.unit, tick));
            svg += &line("grid", [0.0, y], [100.0, y]);
            svg += &text("tick e", 0.0, -8.0, y + 4.0, &label);
        }
        let count = self.lines.places.len();
        for (at, place) in self.lines.places.iter().enumerate() {
            // Where room is short, every second label is left out.
            let class = if count > 4 && at % 2 == 1 { "tick alt" } else { "tick" };
            svg += &line("grid", [self.x(at), bottom], [self.x(at), bottom + 4.0]);
            svg += &text(class, self.x(at), 0.0, bottom + 18.0, place);
        }
        let log = if self.scale.is_logarithmic() { " (log)" } else { "" };
        svg += &line("base", [0.0, bottom], [100.0, bottom]);
        svg += &text(
            "axis",
            0.0,
            -50.0,
            11.0,
            &format!("↑ {}{log}", words::measures(self.lines.unit)),
        );
        svg += &text("axis", 0.0, 0.0, bottom + 36.0, &format!("→ {}", self.lines.across));
        svg
    }

    /// A path for each, in a plot that is stretched to the width there is; and marks,
    /// which are not. Those from outside are lines alone.
    fn curves(&self) -> String {
        let mut svg = String::new();
        for series in &self.lines.series {
            let known: Vec<(usize, Interval)> = series
                .points
                .iter()
                .enumerate()
                .filter_map(|(at, point)| Some((at, (*point)?)))
                .collect();
            let path: Vec<String> = known
                .iter()
                .map(|(at, point)| format!("{} {}", short(self.x(*at)), short(self.y(point.value))))
                .collect();
            let is_ours = matches!(series.look, Look::Ours(_));
            let _ = write!(
                svg,
                "<g class=\"l {}\">{}<svg class=\"plot\" viewBox=\"0 0 100 {height}\" height=\"{height}\" \
                 preserveAspectRatio=\"none\"><path d=\"M{}\"/></svg>",
                series.look.class(),
                if is_ours { self.says(series, &known) } else { String::new() },
                path.join("L"),
                height = short(TOP + self.height),
            );
            for (at, point) in &known {
                let [low, high] = [point.low, point.high]
                    .map(|end| [self.x(*at), self.y(end).clamp(TOP, TOP + self.height)]);
                if is_ours && low[1] - high[1] >= 9.0 {
                    svg += &line("whisker", low, high);
                }
                if is_ours || known.len() == 1 {
                    svg += &series.look.mark(self.x(*at), self.y(point.value));
                }
            }
            svg += "</g>";
        }
        svg
    }

    /// The figures of a line, for a pointer that rests on it.
    fn says(&self, series: &Series, known: &[(usize, Interval)]) -> String {
        let says = known.iter().map(|(at, point)| {
            let value = words::value(self.lines.unit, point.value);
            format!("{value} at {}", self.lines.places[*at])
        });
        let says: Vec<String> = says.collect();
        title(&format!("{}: {}", series.name, says.join(", ")))
    }

    /// The names of the lines at their ends, with a thread to those that had to move.
    fn names(&self) -> String {
        let ends: Vec<(&Series, f64)> = self
            .lines
            .series
            .iter()
            .filter_map(|series| Some((series, series.points.iter().rev().flatten().next()?)))
            .map(|(series, point)| (series, self.y(point.value)))
            .collect();
        let wanted: Vec<f64> = ends.iter().map(|(_, y)| *y).collect();
        let places = apart(&wanted, NAME, TOP, TOP + self.height);
        let mut svg = String::from("<svg x=\"100%\" class=\"plot\">");
        for ((series, y), place) in ends.into_iter().zip(places) {
            let _ = write!(
                svg,
                "<g class=\"end {}\"><path d=\"M0 {}L12 {}h5\"/><text x=\"21\" y=\"{}\">{}</text></g>",
                series.look.class(),
                short(y),
                short(place),
                short(place + 4.0),
                HtmlEscape(&series.name)
            );
        }
        svg + "</svg>"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(series: usize) -> Lines {
        let points = [50.0, 51.0, 150.0]
            .map(|value| Some(Interval { value, low: value * 0.5, high: value * 1.5 }));
        Lines {
            title: "p99.9 & rate".into(),
            across: "share of writes".into(),
            places: ["0 %", "5 %", "<100> %"].map(String::from).into(),
            unit: Unit::NsPerOp,
            series: (0..series)
                .map(|place| Series {
                    name: format!("store <{place}>"),
                    look: Look::Outside(place),
                    points: points.into(),
                })
                .collect(),
            height: 180.0,
        }
    }

    #[test]
    fn every_line_is_named_at_its_end_and_no_name_covers_another() {
        let svg = chart(15).draw().inline("c");
        let mut heights: Vec<f64> = svg
            .split("class=\"end ")
            .skip(1)
            .map(|part| {
                let y = part.split("y=\"").nth(1).unwrap();
                y.split('"').next().unwrap().parse().unwrap()
            })
            .collect();
        heights.sort_by(f64::total_cmp);
        assert_eq!(heights.len(), 15);
        assert!(heights.windows(2).all(|pair| pair[1] - pair[0] > NAME - 0.2), "{heights:?}");
        assert!(svg.contains("p99.9 &amp; rate") && svg.contains("store &lt;3&gt;"));
        assert!(svg.contains("50.0 ns at 0 %, 150 ns at &lt;100&gt; %"));
    }

    #[test]
    fn what_has_no_figures_is_drawn_empty() {
        let mut empty = chart(1);
        empty.series[0].points = vec![None; 3];
        for chart in [chart(0), empty] {
            let svg = chart.draw().file();
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
        }
    }
}
