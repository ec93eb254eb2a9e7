//! A chart of lines over a few named positions, from left to right; each line has its name at its
//! end.

use minijinja::{Value, context};

use super::scale::{Scale, apart};
use super::style::Style;
use crate::model::{Interval, Unit};
use crate::words;

/// The line of one contender.
#[derive(Clone, Debug)]
pub(crate) struct Series {
    /// Its short name.
    pub(crate) name: String,
    /// Its colour and mark.
    pub(crate) style: Style,
    /// Its value at each position, if there is one.
    pub(crate) points: Vec<Option<Interval>>,
}

/// The distance between the middles of two names.
const NAME: f64 = 14.0;
/// The room above the plot, for the label of the vertical axis.
const TOP: f64 = 24.0;
/// The room below the plot, for the ticks and the label of the horizontal axis.
const BELOW: f64 = 40.0;

/// Computes the chart of some contenders over the same positions, from left to right. Later items
/// of `series` are drawn above earlier ones. The plot is at least `height` pixels high.
pub(crate) fn lines(
    title: &str,
    across: &str,
    places: &[String],
    unit: Unit,
    series: &[Series],
    height: f64,
) -> Value {
    let values = series.iter().flat_map(|series| &series.points);
    let scale = Scale::holding(values.flatten().map(|point| point.value));
    let height = height.max(series.len() as f64 * NAME);
    let bottom = TOP + height;
    let y = |value: f64| bottom - scale.share(value) * height;
    // The middle of a position, in per cent of the width.
    let x = |place: usize| match places.len() {
        0 | 1 => 50.0,
        many => 3.0 + 94.0 * place as f64 / (many - 1) as f64,
    };
    let value = |value: f64| words::value(unit, value);
    let last = |series: &Series| Some(y(series.points.iter().rev().flatten().next()?.value));
    let wanted: Vec<f64> = series.iter().filter_map(last).collect();
    let mut ends = apart(&wanted, NAME, TOP, bottom).into_iter();
    let drawn = series.iter().map(|own| {
        let known = own.points.iter().zip(places).enumerate();
        let point = |(at, (point, place)): (usize, (&Option<Interval>, &String))| {
            let point = (*point)?;
            let (low, high) = (y(point.low), y(point.high));
            let text = value(point.value);
            Some(context! { x => x(at), y => y(point.value), low, high, text, place })
        };
        context! {
            name => &*own.name, ours => own.style.is_ours(),
            class => own.style.class(), mark => own.style.mark(),
            points => known.filter_map(point).collect::<Vec<_>>(),
            end => last(own).and_then(|_| ends.next()),
        }
    });
    let drawn: Vec<Value> = drawn.collect();
    let tick = |tick: f64| context! { y => y(tick), label => words::bare(&value(tick)) };
    let place = |(at, label): (usize, &String)| context! { x => x(at), label };
    let names = series.iter().map(|series| series.style.width(&series.name));
    let right = names.fold(30.0, f64::max) + 26.0;
    context! {
        title, across, series => drawn, bottom,
        measures => words::measures(unit),
        ticks => scale.ticks(6).into_iter().map(tick).collect::<Vec<_>>(),
        places => places.iter().enumerate().map(place).collect::<Vec<_>>(),
        log => scale.says_log(),
        height => bottom + BELOW,
        left => 58.0,
        right => [right, right],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::templates;

    #[test]
    fn what_has_no_figures_is_drawn_empty() {
        let named = |points: &Vec<Option<Interval>>| Series {
            name: "store".into(),
            style: Style::Outside(0),
            points: points.clone(),
        };
        let places = ["0 %", "5 %"].map(String::from);
        for points in [vec![], vec![vec![None; 2]]] {
            let series: Vec<Series> = points.iter().map(named).collect();
            let drawn = lines("rate", "writes", &places, Unit::NsPerOp, &series, 180.0);
            let svg = templates::svg(&drawn).unwrap();
            assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN") && !svg.contains("inf"));
        }
    }
}
