//! Charts: what stands where, for the template `chart.svg`. Horizontal places are shares of
//! the plot's width, so that a chart takes whatever width there is, and its letters keep
//! their size: on a telephone as on a wall. Lines and rows are named where they are; there
//! are no legends.

mod dots;
mod lines;
mod scale;
mod style;

pub(crate) use dots::{DotChart, DotRow};
pub(crate) use lines::{Series, lines};
pub(crate) use style::Style;
