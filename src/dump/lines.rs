//! Reads and writes lines, with a maximum length and a checksum.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::{Error, Flaw};

/// The longest line that is read, in bytes. The longest record within the limits of a
/// registration is shorter, even with every character escaped.
const MAX_LINE: usize = 16 << 20;

/// A writer that computes the checksum of what it writes.
pub(super) struct ChecksumWriter<W> {
    writer: W,
    sum: crc32fast::Hasher,
}

impl<W> ChecksumWriter<W> {
    pub(super) fn new(writer: W) -> ChecksumWriter<W> {
        ChecksumWriter {
            writer,
            sum: crc32fast::Hasher::new(),
        }
    }

    /// Returns the writer, and the checksum of what it has written.
    pub(super) fn into_parts(self) -> (W, u32) {
        (self.writer, self.sum.finalize())
    }
}

impl<W: Write> Write for ChecksumWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A reader that returns one line after the other.
pub(super) struct LineReader<R> {
    reader: BufReader<R>,
    /// The last line, with its line feed.
    line: Vec<u8>,
    /// Its number, counted from 1.
    number: u64,
    sum: crc32fast::Hasher,
}

impl<R: Read> LineReader<R> {
    pub(super) fn new(reader: R) -> LineReader<R> {
        LineReader {
            reader: BufReader::with_capacity(64 << 10, reader),
            line: Vec::new(),
            number: 0,
            sum: crc32fast::Hasher::new(),
        }
    }

    /// Returns the number of the last line.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// Returns the number of lines so far, and their checksum.
    pub(super) fn sum(&self) -> (u64, u32) {
        (self.number, self.sum.clone().finalize())
    }

    /// Reads the next line, with its line feed. Reads at most [`MAX_LINE`] bytes, whatever the
    /// input.
    pub(super) fn next(&mut self) -> Result<&[u8], Error> {
        self.number += 1;
        self.line.clear();
        let mut limited = (&mut self.reader).take(MAX_LINE as u64);
        limited.read_until(b'\n', &mut self.line)?;
        if !self.line.ends_with(b"\n") {
            return Err(self.refuse(if self.line.len() < MAX_LINE {
                Flaw::CutShort
            } else {
                Flaw::TooLong { max: MAX_LINE }
            }));
        }
        self.sum.update(&self.line);
        Ok(&self.line)
    }

    /// Returns whether the input is at its end.
    pub(super) fn is_at_end(&mut self) -> Result<bool, Error> {
        loop {
            match self.reader.fill_buf() {
                Ok(rest) => return Ok(rest.is_empty()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Refuses the last line.
    pub(super) fn refuse(&self, flaw: Flaw) -> Error {
        Error::at(self.number, flaw)
    }
}
