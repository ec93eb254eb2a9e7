//! Writes a dump.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

use serde::Serialize;

use super::lines::ChecksumWriter;
use super::{DumpHeader, Error, FORMAT, SubscriptionLine, VERSION, trailer};
use crate::model::error::StoreError;
use crate::model::revision::Revision;
use crate::store::RegistryView;

/// Writes the state that a view shows, and returns its revision. With a snapshot, nobody waits
/// while it is written. O(*n*); memory for a buffer of 64 KiB and for the iterators of the view.
///
/// ```
/// # #[cfg(feature = "versioned")] {
/// use service_registry::{Registry, ServiceRegistration, VersionedStore, dump};
///
/// let registry = Registry::new(VersionedStore::new());
/// registry.register(ServiceRegistration::new("checkout", "pod-1"))?;
/// let snapshot = registry.store().snapshot();
/// registry.unregister("checkout", "pod-1")?;
///
/// let mut file = Vec::new();
/// dump::write(&snapshot, &mut file)?;
/// registry.restore(&file[..])?;
/// assert!(registry.contains_service("checkout:pod-1")?);
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`Io`](Error::Io) if the writer fails; [`read`](super::read()) refuses what was written until
/// then. [`Store`](Error::Store) if the view, of a store outside this crate, does not show as much
/// as it counts.
pub fn write<V: RegistryView + ?Sized>(view: &V, writer: impl Write) -> Result<Revision, Error> {
    let (stats, revision) = (view.stats(), view.revision());
    let mut lines = LineWriter {
        writer: BufWriter::with_capacity(64 << 10, ChecksumWriter::new(writer)),
        written: 0,
    };
    lines.write(&DumpHeader {
        format: FORMAT.into(),
        version: VERSION,
        revision: revision.as_u64(),
        services: stats.services as u64,
        subscriptions: stats.subscriptions as u64,
    })?;
    for service in view.services() {
        lines.write(service)?;
    }
    let services = lines.written - 1;
    for group in view.groups() {
        for subscriber in view.subscribers(group) {
            lines.write(&SubscriptionLine {
                subscriber: Cow::Borrowed(subscriber),
                group: Cow::Borrowed(group),
            })?;
        }
    }
    let subscriptions = lines.written - 1 - services;
    if (services, subscriptions) != (stats.services as u64, stats.subscriptions as u64) {
        return Err(StoreError::failed("the view does not show what it counts").into());
    }
    lines.finish()?;
    Ok(revision)
}

struct LineWriter<W: Write> {
    writer: BufWriter<ChecksumWriter<W>>,
    written: u64,
}

impl<W: Write> LineWriter<W> {
    fn write(&mut self, line: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.writer, line)?;
        self.writer.write_all(b"\n")?;
        self.written += 1;
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        let checked = self.writer.into_inner();
        let checked = checked.map_err(io::IntoInnerError::into_error)?;
        let (mut writer, checksum) = checked.into_parts();
        writer.write_all(trailer(self.written, checksum).as_bytes())?;
        writer.flush()
    }
}
