//! What a scenario has to show, before it is known on what.
//!
//! A scenario lays out a [`Section`]; `output` turns it into a page, into
//! Markdown, or into lines for a terminal. New scenarios need no new output, and
//! a new output needs to know nothing of scenarios.

use super::contender::About;
use super::model::{Report, SummaryRow};

/// The part of the report that a scenario fills.
#[derive(Clone, Debug, Default)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// What was asked and how, in a paragraph.
    pub intro: String,
    /// What came out, a sentence each.
    pub findings: Vec<String>,
    /// Charts, each followed by its table.
    pub blocks: Vec<Block>,
}

/// A part of a section.
#[derive(Clone, Debug)]
pub enum Block {
    /// Drawn on the page only; the table that follows says the same.
    Chart(BarChart),
    /// The same: lines or points over an axis of numbers.
    Lines(LineChart),
    /// The same: ratios with their intervals, around 1.
    Forest(Forest),
    /// Shown everywhere, unless it is too much for a terminal.
    Table(Table),
}

/// Bars in groups, from left to right, with whiskers.
#[derive(Clone, Debug)]
pub struct BarChart {
    /// What it shows.
    pub title: String,
    /// What the axis counts.
    pub axis: String,
    /// What the numbers of the axis are.
    pub quantity: Quantity,
    /// The value that bars are measured from by the eye: a line is drawn there.
    pub line: Option<(f64, String)>,
    /// Where the axis ends at the latest; bars that are longer are cut, and say
    /// so. Without it the axis is logarithmic where lengths differ too much.
    pub limit: Option<f64>,
    /// Bars that belong together.
    pub groups: Vec<BarGroup>,
}

/// Lines or points over two axes.
#[derive(Clone, Debug)]
pub struct LineChart {
    /// What it shows.
    pub title: String,
    /// From left to right.
    pub x: Axis,
    /// From bottom to top.
    pub y: Axis,
    /// Places on the axis from left to right that mean something, say the number
    /// of cores: a line is drawn there, with these words.
    pub marks: Vec<(f64, String)>,
    /// What is drawn.
    pub series: Vec<Series>,
}

/// An axis of numbers.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it counts, and which end of it is better.
    pub label: String,
    /// What the numbers are.
    pub quantity: Quantity,
    /// Whether equal distances are equal ratios. A 0 stands at the very start.
    pub logarithmic: bool,
    /// Where it is labelled, and how; chosen by the chart where there are none.
    pub ticks: Vec<(f64, String)>,
}

/// What belongs together in a chart with two axes.
#[derive(Clone, Debug)]
pub struct Series {
    /// Whose it is; written at the end of the line.
    pub name: String,
    /// Which of the colours.
    pub colour: Colour,
    /// Whether its points are joined, from left to right.
    pub joined: bool,
    /// Its points.
    pub points: Vec<Point>,
}

/// A point of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Where it stands from left to right.
    pub x: f64,
    /// And from bottom to top.
    pub y: f64,
    /// The lower end of its whisker; the same as `y` where it has none.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Ratios with their intervals on a logarithmic axis, around 1.
#[derive(Clone, Debug)]
pub struct Forest {
    /// What it shows.
    pub title: String,
    /// What is compared with what, and which side is better.
    pub axis: String,
    /// The noise floor, a factor of at least 1: a band around 1.
    pub noise: Option<f64>,
    /// From top to bottom.
    pub rows: Vec<ForestRow>,
}

/// One ratio.
#[derive(Clone, Debug)]
pub struct ForestRow {
    /// What is compared.
    pub label: String,
    /// Whose it is.
    pub colour: Colour,
    /// The ratio.
    pub ratio: Ratio,
}

/// What a number is, and so how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// Nanoseconds.
    Time,
    /// Times a reference.
    Ratio,
    /// A plain number.
    Number,
    /// Bytes.
    Bytes,
    /// Millions of operations a second.
    MillionsPerSecond,
    /// A share, from 0 to 1, written as a percentage.
    Share,
}

impl Quantity {
    /// A number as it is written.
    pub fn text(self, value: f64) -> String {
        match self {
            Quantity::Time => time(value),
            Quantity::Ratio => times(value),
            Quantity::Number => bare(value),
            Quantity::Bytes => bytes(value),
            Quantity::MillionsPerSecond => format!("{} M/s", significant(value)),
            Quantity::Share => format!("{} %", bare(value * 100.0)),
        }
    }
}

/// Bars that belong together.
#[derive(Clone, Debug)]
pub struct BarGroup {
    /// What they share.
    pub label: String,
    /// In which situation.
    pub detail: String,
    /// The bars.
    pub bars: Vec<Bar>,
}

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Whose it is; the same in every group, and what a legend lists.
    pub series: String,
    /// Which of the colours.
    pub colour: Colour,
    /// Its length.
    pub value: f64,
    /// The lower end of its whisker.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Written behind the value.
    pub note: String,
}

/// A colour of the palette, named after what it stands for, so that a store has
/// one colour in all charts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// References and measures.
    Neutral,
    /// The contender at this place of the list.
    Contender(usize),
    /// The same, in another way.
    Variant(usize),
}

/// Rows and columns.
#[derive(Clone, Debug)]
pub struct Table {
    /// What it shows.
    pub title: String,
    /// How to read it.
    pub note: String,
    /// The heads of the columns; the first is that of the rows' names.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<TableRow>,
    /// Whether a terminal shows it.
    pub brief: bool,
    /// Whether it shows intervals where room is short.
    pub intervals: bool,
}

/// One row.
#[derive(Clone, Debug)]
pub struct TableRow {
    /// What it is about.
    pub name: String,
    /// One entry a column after the first.
    pub entries: Vec<Entry>,
}

impl TableRow {
    /// Whether anything stands in it.
    pub fn is_filled(&self) -> bool {
        self.entries.iter().any(|entry| *entry != Entry::Empty)
    }
}

/// What stands in a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Entry {
    /// Nothing to say.
    Empty,
    /// Words.
    Text(String),
    /// A measured value, with its ratio if it has one.
    Value {
        /// The value, written out.
        value: String,
        /// Its comparison.
        ratio: Option<Ratio>,
        /// How many of its operations hit, where that is not the same for all.
        hits: Option<String>,
    },
    /// A comparison alone.
    Ratio(Ratio),
    /// A ratio that is judged by itself, not by whether it is 1.
    Measured(Ratio),
    /// A comparison alone, with a colour behind it; less is better.
    Heat(Ratio),
    /// A promise that was kept or not.
    Verdict(bool),
}

/// A ratio and its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratio {
    /// The ratio.
    pub ratio: f64,
    /// The lower end of the interval.
    pub low: f64,
    /// The upper end.
    pub high: f64,
    /// Whether it cannot be told from 1: see
    /// [`Comparison::equal`](super::model::Comparison::equal).
    pub equal: bool,
}

impl Ratio {
    /// The ratio, or "=" where it cannot be told from 1.
    pub fn point(self) -> String {
        if self.equal {
            return "=".into();
        }
        times(self.ratio)
    }

    /// The interval, `1.58–1.66`.
    pub fn interval(self) -> String {
        range(self.low, self.high)
    }
}

impl SummaryRow {
    /// The comparison of a row, for a table.
    pub fn ratio(&self) -> Option<Ratio> {
        self.comparison.as_ref().map(|comparison| Ratio {
            ratio: comparison.ratio,
            low: comparison.ci_low,
            high: comparison.ci_high,
            equal: comparison.equal,
        })
    }

    /// The row as an entry of a table.
    pub fn entry(&self) -> Entry {
        let value = match self.unit.as_str() {
            "ns/op" | "ns" => time(self.value),
            "bytes" | "bytes/service" => bytes(self.value),
            "slope" | "count" => significant(self.value),
            _ => format!("{} {}", significant(self.value), self.unit),
        };
        let ratio = self.ratio();
        Entry::Value {
            value,
            ratio,
            hits: None,
        }
    }
}

/// A time in the unit that suits it, with three digits: `9.81 ns`, `1.46 µs`.
pub fn time(nanoseconds: f64) -> String {
    let units = [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)];
    let fits = |(_, size): &&(&str, f64)| nanoseconds >= size * 0.9995;
    let (unit, size) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{} {unit}", significant(nanoseconds / size))
}

/// So many bytes in the unit that suits them: `340 B`, `1.20 MiB`.
pub fn bytes(bytes: f64) -> String {
    let units = [
        ("B", 1.0),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
    ];
    let fits = |(_, size): &&(&str, f64)| bytes >= size * 0.9995;
    let (unit, size) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{} {unit}", significant(bytes / size))
}

/// A ratio, with three digits: `1.05×`.
pub fn times(ratio: f64) -> String {
    format!("{}×", significant(ratio))
}

/// From one value to another, `1.58–1.66`.
pub fn range(low: f64, high: f64) -> String {
    format!("{}–{}", significant(low), significant(high))
}

/// Three digits that mean something, and thousands kept apart.
pub fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        v if v < 0.099_95 => 3,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        v if v < 999.5 => 0,
        #[allow(clippy::cast_possible_truncation)] // rounded, and far from the end of i64
        v if v < 1e15 => return thousands(value.round() as i64),
        _ => return format!("{value:.2e}"),
    };
    format!("{value:.decimals$}")
}

/// A number that is round, without the zeros that say nothing.
pub fn bare(value: f64) -> String {
    let text = significant(value);
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').into()
}

/// A text that begins with a capital letter.
pub fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).collect()
}

/// The contenders that took part in a scenario, with their places among all.
pub fn took_part(report: &Report, scenario: &str, all: &[About]) -> Vec<(usize, About)> {
    let took_part = |about: &About| {
        let mut cells = report.summary.iter().map(|row| &row.cell);
        cells.any(|cell| cell.scenario == scenario && cell.store == about.name)
    };
    let all = all.iter().copied().enumerate();
    all.filter(|(_, about)| took_part(about)).collect()
}

/// A whole number with its thousands kept apart: `100,000`.
pub fn thousands(number: impl TryInto<i64>) -> String {
    let number: i64 = number.try_into().unwrap_or(i64::MAX);
    let digits = number.unsigned_abs().to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if number < 0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        for (value, text) in [
            (0.052, "0.052"),
            (1.0, "1.00"),
            (9.996, "10.0"),
            (15.16, "15.2"),
            (99.96, "100"),
            (585.4, "585"),
            (999.6, "1,000"),
            (12_345.6, "12,346"),
        ] {
            assert_eq!(significant(value), text);
        }
        assert_eq!(
            [1.2, 4.0, 60.0, 1_000.0, 0.4].map(bare),
            ["1.2", "4", "60", "1,000", "0.4"]
        );
        assert_eq!(thousands(-1_234_567), "-1,234,567");
        assert_eq!(thousands(100), "100");
    }

    #[test]
    fn times_have_the_unit_that_suits_them() {
        for (nanoseconds, text) in [
            (0.4, "0.40 ns"),
            (9.81, "9.81 ns"),
            (999.7, "1.00 µs"),
            (1_460.0, "1.46 µs"),
            (3_412_000.0, "3.41 ms"),
            (2.5e9, "2.50 s"),
        ] {
            assert_eq!(time(nanoseconds), text);
        }
    }
}
