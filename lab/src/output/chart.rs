//! Charts as SVG. Horizontal places are shares of the plot's width, so that a chart takes
//! whatever width there is, and its letters keep their size: on a telephone as on a wall.
//! Lines and rows are named where they are; there are no legends.

mod dots;
mod drawing;
mod lines;
mod scale;

pub(crate) use dots::{Dot, Dots};
pub(crate) use drawing::{Drawing, Look, MARKS, STYLE};
pub(crate) use lines::{Lines, Series};
