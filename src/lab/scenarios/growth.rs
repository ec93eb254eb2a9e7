//! What scenarios share that ask how a cost grows with something: a chart on two
//! logarithmic axes, and its table.

use std::time::Duration;

use crate::lab::contender::About;
use crate::lab::model::{Cell, Report, SummaryRow};
use crate::lab::record::Sample;
use crate::lab::run::Scale;
use crate::lab::section::{
    Axis, Block, Colour, Entry, LineChart, Point, Quantity, Series, Table, TableRow, thousands,
};

/// What is shown, of whom, and over what.
pub(super) struct Growth<'a> {
    pub(super) report: &'a Report,
    /// The contenders that took part, with their places among all.
    pub(super) stores: &'a [(usize, About)],
    /// What the axis from left to right counts, and so the rows of the table.
    pub(super) over: &'static str,
    /// Where there may be something to show.
    pub(super) places: &'a [usize],
}

impl Growth<'_> {
    fn row(
        &self,
        about: &About,
        cell: impl Fn(&str, usize) -> Cell,
        x: usize,
    ) -> Option<&SummaryRow> {
        self.report.row(&cell(about.name, x))
    }

    /// The chart of a metric and the table that says the same; nothing where nobody
    /// has it.
    pub(super) fn blocks(
        &self,
        title: &str,
        note: &str,
        brief: bool,
        cell: impl Fn(&str, usize) -> Cell + Copy,
    ) -> Vec<Block> {
        let measured = |about: &About| {
            let mut places = self.places.iter();
            places.any(|&x| self.row(about, cell, x).is_some())
        };
        let stores = self.stores.iter().filter(|(_, about)| measured(about));
        let stores: Vec<&(usize, About)> = stores.collect();
        if stores.is_empty() {
            return Vec::new();
        }
        let series = stores.iter().map(|(place, about)| Series {
            name: about.name.into(),
            colour: colour(*place, about),
            joined: true,
            points: self
                .places
                .iter()
                .filter_map(|&x| {
                    let row = self.row(about, cell, x)?;
                    Some(Point {
                        x: number(x),
                        y: row.value,
                        low: row.value_low,
                        high: row.value_high,
                    })
                })
                .collect(),
        });
        let chart = LineChart {
            title: title.into(),
            x: Axis {
                label: self.over.into(),
                quantity: Quantity::Number,
                logarithmic: true,
                ticks: Vec::new(),
            },
            y: Axis {
                label: "time of one call, less is better".into(),
                quantity: Quantity::Time,
                logarithmic: true,
                ticks: Vec::new(),
            },
            marks: Vec::new(),
            series: series.collect(),
        };
        let rows = self.places.iter().map(|&x| TableRow {
            name: thousands(x as u64),
            entries: stores
                .iter()
                .map(|(_, about)| {
                    let row = self.row(about, cell, x);
                    row.map_or(Entry::Empty, SummaryRow::entry)
                })
                .collect(),
        });
        let table = Table {
            title: title.into(),
            note: note.into(),
            head: head(self.over, stores.iter().copied()),
            rows: rows.filter(TableRow::is_filled).collect(),
            brief,
            intervals: false,
        };
        vec![Block::Lines(chart), Block::Table(table)]
    }
}

/// The head of a table with a column a contender.
pub(super) fn head<'a>(
    first: &str,
    stores: impl Iterator<Item = &'a (usize, About)>,
) -> Vec<String> {
    std::iter::once(first.to_owned())
        .chain(stores.map(|(_, about)| about.id.to_owned()))
        .collect()
}

/// The colour of a contender.
pub(super) fn colour(place: usize, about: &About) -> Colour {
    if about.is_store() {
        Colour::Contender(place)
    } else {
        Colour::Neutral
    }
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
pub(super) fn number(n: usize) -> f64 {
    n as f64
}

/// How long a sample should take.
pub(super) fn sample_time(scale: Scale) -> Duration {
    match scale {
        Scale::Smoke => Duration::from_micros(50),
        Scale::Quick => Duration::from_micros(500),
        Scale::Default => Duration::from_millis(2),
        Scale::Full => Duration::from_millis(5),
    }
}

/// Finds out how many operations make a sample long enough, at most `most`, and
/// takes it. `sample` does so many operations, beginning at a place that is another
/// one every time.
pub(super) fn long_enough<E>(
    target: Duration,
    most: usize,
    mut sample: impl FnMut(usize) -> Result<Sample, E>,
) -> Result<Sample, E> {
    let mut count = most.min(4);
    for _ in 0..8 {
        let tried = sample(count)?;
        let fits = count as u128 * target.as_nanos() / tried.elapsed.as_nanos().max(1);
        let fits = usize::try_from(fits).unwrap_or(usize::MAX);
        count = fits.clamp(1, most.min(count.saturating_mul(32)));
        if tried.elapsed > target / 2 || count == most {
            break;
        }
    }
    sample(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_takes_as_long_as_it_should_or_all_that_there_is() {
        // A clock of its own: each operation takes a microsecond.
        let take = |count: usize| {
            let elapsed = Duration::from_micros(count as u64);
            Ok::<_, ()>(Sample::of(elapsed, count as u64))
        };
        let sample = |most| long_enough(Duration::from_millis(2), most, take).unwrap();
        assert_eq!(sample(1_000_000).operations, 2_000);
        assert_eq!(sample(100).operations, 100);
        assert_eq!(sample(1).operations, 1);
    }
}
