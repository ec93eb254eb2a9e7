//! Figures with their intervals, one contender a row, its name to the left and the figure
//! to the right.

use minijinja::{Value, context};

use super::scale::Scale;
use super::style::{Style, width};
use crate::model::{Interval, Unit};
use crate::words;

/// Some contenders next to each other.
#[derive(Clone, Debug)]
pub(crate) struct DotChart {
    /// What it shows.
    pub(crate) title: String,
    /// The unit of the figures; `None` for ratios.
    pub(crate) unit: Option<Unit>,
    /// What the axis is, in words.
    pub(crate) axis: String,
    /// The rows from top to bottom.
    pub(crate) rows: Vec<DotRow>,
    /// Between two rows, in pixels.
    pub(crate) step: f64,
}

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct DotRow {
    /// Its name, short.
    pub(crate) name: String,
    /// How it is told from the others.
    pub(crate) style: Style,
    /// Its figure.
    pub(crate) figure: Interval,
}

const TOP: f64 = 8.0;
const BELOW: f64 = 40.0;

impl DotChart {
    /// Draws it.
    pub(crate) fn draw(&self) -> Value {
        let figures = self.rows.iter().map(|row| row.figure);
        let ends = figures.flat_map(|figure| figure.map(|end| end));
        let ratios = self.unit.is_none();
        // Ratios lie around 1, and 3 % of it is what counts as equal.
        let around = ratios.then_some([0.95, 1.1]);
        let scale = Scale::holding(ends.chain(around.into_iter().flatten()));
        let x = |value: f64| scale.share(value) * 100.0;
        let (mut rows, [mut left, mut values, mut all]) = (Vec::new(), [30.0_f64; 3]);
        for (at, DotRow { name, style, figure }) in self.rows.iter().enumerate() {
            let (text, interval) = (self.text(figure.value), self.interval(*figure));
            left = left.max(style.width(name));
            values = values.max(width(&text));
            all = all.max(width(&text) + width(&interval) + 7.0);
            rows.push(context! {
                name, text, interval, class => style.class(), mark => style.mark(),
                low => x(figure.low), middle => x(figure.value), high => x(figure.high),
                y => TOP + (at as f64 + 0.5) * self.step,
            });
        }
        let bottom = TOP + self.rows.len() as f64 * self.step;
        context! {
            title => &*self.title, axis => &*self.axis, ratios, rows, bottom, top => TOP,
            ticks => self.ticks(&scale),
            equal => [x(0.97), x(1.03)],
            one => x(1.0),
            log => scale.says_log(),
            height => bottom + BELOW,
            left => left + 14.0,
            // Right of the plot, and right of it where room is short.
            right => [all + 16.0, values + 14.0],
        }
    }

    /// A label takes a third of the narrowest plot, and a sixth of a wide one.
    fn ticks(&self, scale: &Scale) -> Vec<Value> {
        let [mut narrow, mut wide] = [f64::MIN; 2];
        let mut ticks = Vec::new();
        for tick in scale.ticks(9) {
            let x = scale.share(tick) * 100.0;
            if x - wide < 17.0 {
                continue;
            }
            wide = x;
            let class = if x - narrow < 36.0 { "tick alt" } else { "tick" };
            if class == "tick" {
                narrow = x;
            }
            ticks.push(context! { class, x, label => self.label(tick) });
        }
        ticks
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
                    (Some((low, one)), Some((high, two))) if one == two => format!("{low}–{high}"),
                    _ => format!("{low}–{high}"),
                }
            }
        }
    }
}
