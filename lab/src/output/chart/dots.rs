//! A chart of figures with their intervals: one row per contender, its name to the left and the
//! figure to the right.

use minijinja::{Value, context};

use super::scale::Scale;
use super::style::{Style, width};
use crate::model::{Interval, Unit};
use crate::words;

/// A chart of some contenders, one per row.
#[derive(Clone, Debug)]
pub(crate) struct DotChart {
    /// The title.
    pub(crate) title: String,
    /// The unit of the figures; `None` for ratios.
    pub(crate) unit: Option<Unit>,
    /// The label of the axis.
    pub(crate) axis: String,
    /// The rows from top to bottom.
    pub(crate) rows: Vec<DotRow>,
    /// The distance between two rows, in pixels.
    pub(crate) step: f64,
}

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct DotRow {
    /// Its short name.
    pub(crate) name: String,
    /// Its colour and mark.
    pub(crate) style: Style,
    /// Its figure.
    pub(crate) figure: Interval,
}

const TOP: f64 = 8.0;
const BELOW: f64 = 40.0;

impl DotChart {
    /// Computes the chart.
    pub(crate) fn draw(&self) -> Value {
        let figures = self.rows.iter().map(|row| row.figure);
        let ends = figures.flat_map(|figure| figure.map(|end| end));
        let ratios = self.unit.is_none();
        // A chart of ratios always shows 1, and the 3 % around it that count as equal.
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
            // The room to the right of the plot: in a wide chart, and in a narrow one.
            right => [all + 16.0, values + 14.0],
        }
    }

    /// Chooses the ticks so that labels do not overlap: a label takes a third of the narrowest
    /// plot, and a sixth of a wide one.
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

    /// Formats a tick without trailing zeros.
    fn label(&self, tick: f64) -> String {
        match self.unit {
            None => words::bare(&words::significant(tick)) + "×",
            Some(unit) => words::bare(&words::value(unit, tick)),
        }
    }

    /// Formats the interval without its unit, which the figure has.
    fn interval(&self, figure: Interval) -> String {
        match self.unit {
            // The reference, or a counted figure.
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
