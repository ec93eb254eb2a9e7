//! The registry as a file, over a restart.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

use service_registry::dump::{self, Health};
use service_registry::leases::Leases;
use service_registry::{Revision, VersionedSnapshot};

use crate::options::Options;
use crate::shared::Shared;
use crate::store::Store;

/// Takes in the file, if it is there. Pods keep their health, so that requests find somebody at once
/// and who was draining still is; each gets a lease, within which it has to register again.
pub(crate) fn restore(options: &Options, leases: &Leases<Store>) -> Result<(), String> {
    let Some(path) = &options.dump else {
        return Ok(());
    };
    let message = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    // To open a pipe would wait for who writes to it.
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return Err(message(&"is no file"));
    }
    let file = match File::open(path) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(message(&error)),
    };
    let registry = leases.registry();
    let restored = registry.restore_with(file, Health::Keep);
    restored.map_err(|error| message(&error))?;
    for pod in registry
        .get_all_services()
        .map_err(|error| message(&error))?
    {
        let lease = leases.grant(&pod, options.tuning.restored_ttl);
        // The pod does not know it: it registers again.
        let _ = lease.map_err(|error| message(&error))?;
    }
    Ok(())
}

/// Writes the dump repeatedly, if something has changed.
pub(crate) async fn save_periodically(shared: Arc<Shared>) {
    let mut written = None;
    loop {
        tokio::time::sleep(shared.options.dump_every).await;
        match save(&shared, written).await {
            Ok(revision) => written = Some(revision),
            // A full disk may have room again.
            Err(error) => eprintln!("{error}"),
        }
    }
}

/// Writes, unless `written` is the present revision.
pub(crate) async fn save(shared: &Shared, written: Option<Revision>) -> Result<Revision, String> {
    let revision = shared.registry.revision();
    let Some(path) = shared
        .options
        .dump
        .clone()
        .filter(|_| written != Some(revision))
    else {
        return Ok(revision);
    };
    // The file beside the old one has one name. Who has it keeps it to the end, also where nobody
    // waits for that any more.
    let turn = shared.dumping.clone().lock_owned().await;
    // Taken in the turn, so that no older state is written over a newer one.
    let snapshot = shared.registry.store().snapshot();
    let writing = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        write(&snapshot, &path).map_err(|error| format!("{}: {error}", path.display()))
    });
    writing.await.map_err(|error| error.to_string())?
}

/// Beside the old file, and then in its place, so that one of them is always whole.
fn write(snapshot: &VersionedSnapshot, path: &Path) -> Result<Revision, dump::Error> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let mut file = BufWriter::new(File::create(&new)?);
    let revision = dump::write(snapshot, &mut file)?;
    file.flush()?;
    file.get_ref().sync_all()?;
    fs::rename(&new, path)?;
    // So that the new name outlasts a power failure. Not every system can do that to a folder.
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if let Ok(folder) = File::open(folder.unwrap_or(Path::new("."))) {
        let _ = folder.sync_all();
    }
    Ok(revision)
}
