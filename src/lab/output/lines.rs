//! Lines and points over two axes as inline SVG; lines are named at their ends.

use std::fmt::Write as _;

use super::axis::{self, Scale, apart};
use super::html::escape;
use super::style::{class, dash, mark, width};
use crate::lab::section::{Axis, LineChart, Point, Series};

const WIDTH: f64 = 920.0;
const LEFT: f64 = 74.0;
const HEIGHT: f64 = 330.0;
const LABEL: f64 = 15.0;

struct Plot<'a> {
    chart: &'a LineChart,
    x: Scale,
    y: Scale,
    top: f64,
    right: f64,
}

pub(super) fn svg(chart: &LineChart) -> String {
    let points = || chart.series.iter().flat_map(|series| &series.points);
    let marks = chart.marks.iter().map(|(value, _)| *value);
    let ticks = |axis: &Axis| -> Vec<f64> { axis.ticks.iter().map(|(value, _)| *value).collect() };
    let xs = points()
        .map(|point| point.x)
        .chain(marks)
        .chain(ticks(&chart.x));
    let ys = points().flat_map(|point| [point.y, point.low, point.high]);
    let joined = chart.series.iter().any(|series| series.joined);
    // Right of the lines stand their names.
    let names = chart.series.iter().map(|series| width(&series.name));
    let names = names.fold(60.0, f64::max).min(WIDTH / 3.0);
    let right = if joined {
        WIDTH - names - 42.0
    } else {
        WIDTH - 20.0
    };
    let legend = legend(chart, right);
    let head = if chart.marks.is_empty() { 12.0 } else { 26.0 };
    let plot = Plot {
        x: x_scale(&xs.collect::<Vec<f64>>(), chart.x.logarithmic),
        y: Scale::holding(ys.chain(ticks(&chart.y)), chart.y.logarithmic),
        chart,
        top: head + legend.1,
        right,
    };
    let bottom = plot.bottom();
    let mut svg = format!(
        "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">\n",
        bottom + 48.0,
        escape(&format!(
            "{}: {}, {}",
            chart.title, chart.y.label, chart.x.label
        ))
    );
    svg.push_str(&legend.0);
    svg.push_str(&plot.axes());
    for series in &chart.series {
        svg.push_str(&plot.series(series));
    }
    svg.push_str(&plot.names());
    svg.push_str("</svg>\n");
    svg
}

/// From left to right a linear axis need not begin at 0: time and shares do not.
fn x_scale(values: &[f64], logarithmic: bool) -> Scale {
    let mut scale = Scale::holding(values.iter().copied(), logarithmic);
    if !logarithmic {
        let least = values.iter().copied().fold(f64::MAX, f64::min);
        if least < 0.0 || least > scale.high * 0.5 && least < f64::MAX {
            scale.low = least - (scale.high - least) * 0.03;
        }
    }
    scale
}

/// Points that no line joins are named above the chart. Answers with what that
/// takes of its height, too.
fn legend(chart: &LineChart, right: f64) -> (String, f64) {
    let loose: Vec<&Series> = chart
        .series
        .iter()
        .filter(|series| !series.joined)
        .collect();
    let (mut svg, mut x, mut y) = (String::new(), LEFT, 12.0);
    if loose.is_empty() {
        return (svg, 0.0);
    }
    for series in loose {
        let wide = width(&series.name) + 34.0;
        if x + wide > right && x > LEFT {
            (x, y) = (LEFT, y + 18.0);
        }
        let _ = writeln!(
            svg,
            "{}<text class=\"legend\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            mark(series.colour, x + 5.0, y),
            x + 15.0,
            y + 4.0,
            escape(&series.name)
        );
        x += wide;
    }
    (svg, y + 8.0)
}

impl Plot<'_> {
    fn bottom(&self) -> f64 {
        self.top + HEIGHT
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + self.x.share(value) * (self.right - LEFT)
    }

    fn y(&self, value: f64) -> f64 {
        self.bottom() - self.y.share(value) * HEIGHT
    }

    fn axes(&self) -> String {
        let mut svg = String::new();
        let (top, bottom, right) = (self.top, self.bottom(), self.right);
        for (value, text) in labels(&self.chart.y, &self.y) {
            let y = self.y(value);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"tick left\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                escape(&text)
            );
        }
        let mut free = f64::MIN;
        for (value, text) in labels(&self.chart.x, &self.x) {
            let (x, half) = (self.x(value), width(&text) / 2.0);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>"
            );
            // A label that would cover the one before is left out; its line stays.
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
        let kind = |axis: &Axis, scale: &Scale| match (axis.logarithmic, scale.logarithmic) {
            (true, true) => "; logarithmic",
            _ => "",
        };
        let _ = writeln!(
            svg,
            "<line class=\"base\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{bottom:.1}\" y2=\"{bottom:.1}\"/>\
             <text class=\"axis\" x=\"{LEFT}\" y=\"{:.1}\">→ {}{}</text>\
             <text class=\"axis end\" x=\"{right}\" y=\"{:.1}\">↑ {}{}</text>",
            bottom + 39.0,
            escape(&self.chart.x.label),
            kind(&self.chart.x, &self.x),
            bottom + 39.0,
            escape(&self.chart.y.label),
            kind(&self.chart.y, &self.y),
        );
        let mut free = f64::MIN;
        for (value, text) in &self.chart.marks {
            let x = self.x(*value);
            let half = width(text) / 2.0;
            let middle = x
                .clamp(LEFT + half, (right - half).max(LEFT + half))
                .max(free + half);
            free = middle + half + 8.0;
            let _ = writeln!(
                svg,
                "<line class=\"line dashed\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{:.1}\" y2=\"{bottom:.1}\"/>\
                 <text class=\"tick\" x=\"{middle:.1}\" y=\"{:.1}\">{}</text>",
                top - 6.0,
                top - 11.0,
                escape(text)
            );
        }
        svg
    }

    fn series(&self, series: &Series) -> String {
        let mut svg = String::from("<g>");
        let colour = class(series.colour);
        let mut points = series.points.clone();
        if series.joined {
            points.sort_by(|a, b| a.x.total_cmp(&b.x));
            let path: Vec<String> = points
                .iter()
                .map(|point| format!("{:.1} {:.1}", self.x(point.x), self.y(point.y)))
                .collect();
            if path.len() > 1 {
                let _ = write!(
                    svg,
                    "<path class=\"trace {colour}\" stroke-dasharray=\"{}\" d=\"M{}\"/>",
                    dash(series.colour),
                    path.join("L")
                );
            }
        }
        for point in &points {
            svg.push_str(&self.point(series, point));
        }
        svg.push_str("</g>\n");
        svg
    }

    fn point(&self, series: &Series, point: &Point) -> String {
        let (x, y) = (self.x(point.x), self.y(point.y));
        let (low, high) = (self.y(point.low), self.y(point.high));
        let [across, up] = [&self.chart.x, &self.chart.y];
        let at = named(across, point.x);
        let value = up.quantity.text(point.y);
        let mut title = format!("{}, {at}: {value}", series.name);
        let mut svg = String::from("<g>");
        if point.low < point.high {
            let ends = [point.low, point.high].map(|end| up.quantity.text(end));
            let _ = write!(title, ", 95 % interval {} to {}", ends[0], ends[1]);
        }
        let _ = write!(svg, "<title>{}</title>", escape(&title));
        if low - high >= 2.0 {
            let _ = write!(
                svg,
                "<path class=\"whisker\" d=\"M{x:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h5M{:.1} {high:.1}h5\"/>",
                x - 2.5,
                x - 2.5
            );
        }
        svg.push_str(&mark(series.colour, x, y));
        svg.push_str("</g>");
        svg
    }

    /// The names of the lines at their ends, with a thread to those that had to
    /// move away.
    fn names(&self) -> String {
        let mut ends = Vec::new();
        for series in self.chart.series.iter().filter(|series| series.joined) {
            let last = series.points.iter().max_by(|a, b| a.x.total_cmp(&b.x));
            ends.extend(last.map(|last| (series, self.x(last.x), self.y(last.y))));
        }
        let wanted: Vec<f64> = ends.iter().map(|(.., y)| *y).collect();
        let places = apart(&wanted, LABEL, self.top, self.bottom());
        let mut svg = String::new();
        for ((series, x, y), place) in ends.into_iter().zip(places) {
            let start = self.right + 22.0;
            let _ = writeln!(
                svg,
                "<path class=\"thread {}\" d=\"M{:.1} {y:.1}L{:.1} {place:.1}H{:.1}\"/>{}\
                 <text class=\"end-name\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                class(series.colour),
                x + 6.0,
                self.right + 12.0,
                start,
                mark(series.colour, start + 5.0, place),
                start + 14.0,
                place + 4.0,
                escape(&series.name)
            );
        }
        svg
    }
}

fn labels(axis: &Axis, scale: &Scale) -> Vec<(f64, String)> {
    if !axis.ticks.is_empty() {
        return axis.ticks.clone();
    }
    let ticks = scale.ticks().into_iter();
    ticks
        .map(|value| (value, axis::label(axis.quantity, value)))
        .collect()
}

/// A value as the axis labels it, if it does.
fn named(axis: &Axis, value: f64) -> String {
    let mut ticks = axis.ticks.iter();
    let tick = ticks.find(|(at, _)| (at - value).abs() <= 1e-9 * value.abs());
    tick.map_or_else(|| axis.quantity.text(value), |(_, text)| text.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::section::{Colour, Quantity};

    fn axis(label: &str, quantity: Quantity, logarithmic: bool) -> Axis {
        Axis {
            label: label.into(),
            quantity,
            logarithmic,
            ticks: Vec::new(),
        }
    }

    fn chart(joined: bool) -> LineChart {
        let series = (0..13).map(|place| Series {
            name: format!("store <{place}>"),
            colour: Colour::Contender(place),
            joined,
            points: [0.0, 1_000.0, 100_000.0]
                .map(|x| Point {
                    x,
                    y: 50.0 + x / 1_000.0,
                    low: 40.0,
                    high: 60.0 + x / 900.0,
                })
                .into(),
        });
        LineChart {
            title: "p99.9 & rate".into(),
            x: axis("writes a second", Quantity::Number, true),
            y: axis("time, less is better", Quantity::Time, true),
            marks: vec![(1_000.0, "2 cores".into())],
            series: series.collect(),
        }
    }

    #[test]
    fn every_line_is_named_at_its_end_and_no_name_covers_another() {
        let svg = svg(&chart(true));
        let mut heights: Vec<f64> = svg
            .split("class=\"end-name\"")
            .skip(1)
            .map(|part| {
                let y = part.split("y=\"").nth(1).unwrap();
                y.split('"').next().unwrap().parse().unwrap()
            })
            .collect();
        heights.sort_by(f64::total_cmp);
        assert_eq!(heights.len(), 13);
        assert!(
            heights
                .windows(2)
                .all(|pair| pair[1] - pair[0] > LABEL - 0.2),
            "{heights:?}"
        );
        assert!(svg.contains("2 cores") && svg.contains("store &lt;3&gt;"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn points_without_a_line_are_named_above() {
        let svg = svg(&chart(false));
        assert_eq!(svg.matches("class=\"legend\"").count(), 13);
        assert_eq!(svg.matches("class=\"trace").count(), 0);
    }

    #[test]
    fn an_empty_chart_is_drawn() {
        let empty = LineChart {
            series: Vec::new(),
            ..chart(true)
        };
        assert!(svg(&empty).ends_with("</svg>\n"));
    }
}
