//! Figures with their intervals, one contender a row, its name to the left and the figure
//! to the right.

use std::fmt::Write as _;

use super::scale::Scale;
use minijinja::HtmlEscape;

use super::drawing::{Drawing, Look, line, short, text, width};
use crate::model::{Interval, Unit};
use crate::output::words;

/// Some contenders next to each other.
#[derive(Clone, Debug)]
pub(crate) struct Dots {
    /// What it shows.
    pub(crate) title: String,
    /// The unit of the figures; `None` for ratios.
    pub(crate) unit: Option<Unit>,
    /// What the axis is, in words.
    pub(crate) axis: String,
    /// The rows from top to bottom.
    pub(crate) rows: Vec<Dot>,
    /// Between two rows, in pixels.
    pub(crate) step: f64,
}

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Dot {
    /// Its name, short.
    pub(crate) name: String,
    /// How it is told from the others.
    pub(crate) look: Look,
    /// Its figure.
    pub(crate) figure: Interval,
}

const TOP: f64 = 8.0;
const BELOW: f64 = 40.0;

impl Dots {
    /// Draws it.
    pub(crate) fn draw(&self) -> Drawing {
        let figures = self.rows.iter().map(|row| row.figure);
        let ends = figures.flat_map(|figure| [figure.low, figure.value, figure.high]);
        // Ratios lie around 1, and 3 % of it is what counts as equal.
        let around = self.unit.is_none().then_some([0.95, 1.1]);
        let scale = Scale::holding(ends.chain(around.into_iter().flatten()));
        let bottom = TOP + self.rows.len() as f64 * self.step;
        let mut inner = self.axis(&scale, bottom);
        for (at, row) in self.rows.iter().enumerate() {
            inner += &self.row(row, &scale, TOP + (at as f64 + 0.5) * self.step);
        }
        let widest = |texts: &mut dyn Iterator<Item = String>| {
            texts.map(|text| width(&text)).fold(30.0, f64::max)
        };
        let values = widest(&mut self.rows.iter().map(|row| self.text(row.figure.value)));
        let all = widest(&mut self.rows.iter().map(|row| self.figure(row.figure)));
        Drawing {
            title: self.title.clone(),
            desc: self.said(),
            inner,
            height: bottom + BELOW,
            left: self.left(),
            right: [all + 16.0, values + 14.0],
        }
    }

    /// How wide the names are, with what keeps them from the plot.
    fn left(&self) -> f64 {
        let names = self.rows.iter().map(|row| row.look.width(&row.name));
        names.fold(30.0, f64::max) + 14.0
    }

    fn text(&self, value: f64) -> String {
        self.unit.map_or_else(|| words::times(value), |unit| words::value(unit, value))
    }

    /// A tick, without zeros that say nothing.
    fn label(&self, tick: f64) -> String {
        match self.unit {
            None => words::bare(&words::significant(tick)) + "×",
            Some(unit) => words::bare(&words::value(unit, tick)),
        }
    }

    /// The interval, without saying the unit three times.
    fn interval(&self, figure: Interval) -> String {
        match self.unit {
            // What is 1 by its definition, or counted.
            _ if figure.low >= figure.high => String::new(),
            None => words::ends(figure),
            Some(unit) => {
                let [low, high] = [figure.low, figure.high].map(|end| words::value(unit, end));
                match (low.rsplit_once(' '), high.rsplit_once(' ')) {
                    (Some((low, one)), Some((high, other))) if one == other => {
                        format!("{low}–{high}")
                    }
                    _ => format!("{low}–{high}"),
                }
            }
        }
    }

    fn figure(&self, figure: Interval) -> String {
        format!("{} {}", self.text(figure.value), self.interval(figure)).trim_end().into()
    }

    fn axis(&self, scale: &Scale, bottom: f64) -> String {
        let mut svg = String::new();
        if self.unit.is_none() {
            let [low, high] = [0.97, 1.03].map(|end| scale.share(end) * 100.0);
            let _ = write!(
                svg,
                "<rect class=\"equal\" x=\"{low:.1}%\" y=\"{TOP}\" width=\"{:.1}%\" height=\"{:.1}\"/>",
                high - low,
                bottom - TOP
            );
        }
        // A label takes a third of the narrowest plot, and a sixth of a wide one.
        let [mut narrow, mut wide] = [f64::MIN; 2];
        for tick in scale.ticks(9) {
            let x = scale.share(tick) * 100.0;
            let class = match () {
                () if x - narrow >= 36.0 && x - wide >= 17.0 => "tick",
                () if x - wide >= 17.0 => "tick alt",
                () => continue,
            };
            wide = x;
            if class == "tick" {
                narrow = x;
            }
            svg += &line("grid", [x, TOP], [x, bottom]);
            svg += &text(class, x, 0.0, bottom + 17.0, &self.label(tick));
        }
        if self.unit.is_none() {
            let one = scale.share(1.0) * 100.0;
            svg += &line("one", [one, TOP], [one, bottom]);
        }
        let log = if scale.is_logarithmic() { " (log)" } else { "" };
        svg += &line("base", [0.0, bottom], [100.0, bottom]);
        svg + &text(
            "axis",
            0.0,
            12.0 - self.left(),
            bottom + 35.0,
            &format!("→ {}{log}", self.axis),
        )
    }

    fn row(&self, row: &Dot, scale: &Scale, y: f64) -> String {
        let [low, middle, high] = [row.figure.low, row.figure.value, row.figure.high]
            .map(|value| scale.share(value) * 100.0);
        let class = row.look.class();
        let mut svg = text(&format!("name {class}"), 0.0, -10.0, y + 4.0, &row.name);
        let _ = write!(svg, "<g class=\"range {class}\">");
        if high - low > 0.3 {
            svg += &line("", [low, y], [high, y]);
        }
        svg += &row.look.mark(middle, y);
        let _ = write!(
            svg,
            "</g><text class=\"figure\" x=\"100%\" dx=\"10\" y=\"{}\">{}<tspan class=\"wide\" dx=\"6\">{}</tspan></text>",
            short(y + 4.0),
            HtmlEscape(&self.text(row.figure.value)),
            HtmlEscape(&self.interval(row.figure))
        );
        svg
    }

    fn said(&self) -> String {
        let rows: Vec<String> = self
            .rows
            .iter()
            .map(|row| format!("{}: {}", row.name, self.figure(row.figure)))
            .collect();
        format!("{}. {}.", self.axis, rows.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_stands_with_its_figure() {
        let row = |place: usize, value: f64| Dot {
            name: format!("store {place}"),
            look: Look::Ours(place),
            figure: Interval { value, low: value * 0.9, high: value * 1.1 },
        };
        let dots = Dots {
            title: "Reads".into(),
            unit: None,
            axis: "cost next to the best".into(),
            rows: vec![row(0, 1.0), row(1, 2.0), row(2, 40.0)],
            step: 20.0,
        };
        let svg = dots.draw().inline("c");
        assert!(svg.contains("2.00×<tspan class=\"wide\" dx=\"6\">1.80–2.20</tspan>"), "{svg}");
        assert_eq!(svg.matches("class=\"name ").count(), 3);
        let empty = Dots { rows: Vec::new(), ..dots };
        assert!(!empty.draw().file().contains("NaN"));
    }
}
