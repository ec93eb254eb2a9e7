//! `report.json`: a line for each row, and no digit that means nothing.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

use crate::fault::Fault;
use crate::model::Report;

/// The report as text.
pub(crate) fn text(report: &Report) -> Result<Vec<u8>, Fault> {
    let mut text = Vec::new();
    let mut writer = serde_json::Serializer::with_formatter(&mut text, Lines::default());
    let written = report.serialize(&mut writer);
    written.map_err(|error| Fault::new(format!("report.json: {error}")))?;
    text.push(b'\n');
    Ok(text)
}

/// The JSON Schema of the report.
pub(crate) fn schema() -> Result<Vec<u8>, Fault> {
    let schema = schemars::schema_for!(Report);
    let mut text = serde_json::to_vec_pretty(&schema)
        .map_err(|error| Fault::new(format!("report.schema.json: {error}")))?;
    text.push(b'\n');
    Ok(text)
}

/// To how many significant digits a figure is written.
const DIGITS: usize = 6;

/// A figure as it stands in the file.
pub(crate) fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    format!("{value:.*e}", DIGITS - 1).parse().unwrap_or(value)
}

/// The fields of the report, what stands right below it, and the rows of a cell are on
/// lines of their own.
#[derive(Debug, Default)]
struct Lines {
    /// Of each array and object that is open, whether it has lines.
    open: Vec<bool>,
    /// Whether anything stands in the innermost.
    filled: bool,
    /// Whether the last text was the name `rows`.
    rows: bool,
}

/// Down to which depth there are lines.
const DEEP: usize = 2;

impl Lines {
    fn open(&mut self, out: &mut (impl io::Write + ?Sized), bracket: &[u8]) -> io::Result<()> {
        self.open.push(self.open.len() < DEEP || self.rows);
        (self.filled, self.rows) = (false, false);
        out.write_all(bracket)
    }

    fn close(&mut self, out: &mut (impl io::Write + ?Sized), bracket: &[u8]) -> io::Result<()> {
        if self.open.pop() == Some(true) && self.filled {
            self.line(out)?;
        }
        self.filled = true;
        out.write_all(bracket)
    }

    fn next(&mut self, out: &mut (impl io::Write + ?Sized), first: bool) -> io::Result<()> {
        if !first {
            out.write_all(b",")?;
        }
        if self.open.last() == Some(&true) {
            self.line(out)?;
        }
        Ok(())
    }

    fn line(&self, out: &mut (impl io::Write + ?Sized)) -> io::Result<()> {
        let depth = self.open.iter().filter(|lines| **lines).count();
        write!(out, "\n{:depth$}", "")
    }
}

impl Formatter for Lines {
    fn write_f64<W: io::Write + ?Sized>(&mut self, out: &mut W, value: f64) -> io::Result<()> {
        let value = rounded(value);
        if value.fract() == 0.0 && value.abs() < 1e15 {
            return write!(out, "{value:.0}");
        }
        write!(out, "{value}")
    }

    fn write_string_fragment<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        text: &str,
    ) -> io::Result<()> {
        self.rows = text == "rows";
        out.write_all(text.as_bytes())
    }

    fn begin_array<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"[")
    }

    fn end_array<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"]")
    }

    fn begin_array_value<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(out, first)
    }

    fn end_array_value<W: io::Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn begin_object<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.open(out, b"{")
    }

    fn end_object<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        self.close(out, b"}")
    }

    fn begin_object_key<W: io::Write + ?Sized>(
        &mut self,
        out: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.next(out, first)
    }

    fn begin_object_value<W: io::Write + ?Sized>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b":")
    }

    fn end_object_value<W: io::Write + ?Sized>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }
}
