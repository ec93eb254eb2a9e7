//! Charts: computes the positions for the template `chart.svg`. Horizontal positions are shares of
//! the plot's width, so that a chart fits any width, and its letters keep their size. Lines and
//! rows have their names beside them; there are no legends.

mod dots;
mod lines;
mod scale;
mod style;

pub(crate) use dots::{DotChart, DotRow};
pub(crate) use lines::{Series, lines};
pub(crate) use style::Style;
