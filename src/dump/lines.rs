//! Lines with a bound and a checksum.

use std::io::{self, BufRead, BufReader, Read, Write};

use super::{Error, Flaw};

/// The longest line that is read, in bytes. The longest record that the limits of a registration
/// allow takes less, with every character escaped.
const LONGEST: usize = 16 << 20;

/// A writer that sums what it writes.
pub(super) struct Checked<W> {
    writer: W,
    sum: crc32fast::Hasher,
}

impl<W> Checked<W> {
    pub(super) fn new(writer: W) -> Checked<W> {
        Checked {
            writer,
            sum: crc32fast::Hasher::new(),
        }
    }

    /// The writer, and the checksum of what it has written.
    pub(super) fn into_parts(self) -> (W, u32) {
        (self.writer, self.sum.finalize())
    }
}

impl<W: Write> Write for Checked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.writer.write(bytes)?;
        self.sum.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A reader that hands out one line after the other.
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    /// The last line, with its end.
    line: Vec<u8>,
    /// Its number, counted from 1.
    number: u64,
    sum: crc32fast::Hasher,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(reader: R) -> Lines<R> {
        Lines {
            reader: BufReader::with_capacity(64 << 10, reader),
            line: Vec::new(),
            number: 0,
            sum: crc32fast::Hasher::new(),
        }
    }

    /// The number of the last line.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// The number of lines so far, and the checksum of all of them.
    pub(super) fn sum(&self) -> (u64, u32) {
        (self.number, self.sum.clone().finalize())
    }

    /// The next line, with its end. Reads no more than the longest line has, whatever comes.
    pub(super) fn next(&mut self) -> Result<&[u8], Error> {
        self.number += 1;
        self.line.clear();
        let mut limited = (&mut self.reader).take(LONGEST as u64);
        limited.read_until(b'\n', &mut self.line)?;
        if !self.line.ends_with(b"\n") {
            return Err(self.refuse(if self.line.len() < LONGEST {
                Flaw::CutShort
            } else {
                Flaw::TooLong { max: LONGEST }
            }));
        }
        self.sum.update(&self.line);
        Ok(&self.line)
    }

    /// Whether nothing comes any more.
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
