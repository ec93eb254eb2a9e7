//! Writes files atomically: each file is complete, or unchanged.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The outcome of writing some files.
#[derive(Debug, Default)]
pub(crate) struct Saved {
    /// The files that were written.
    pub(crate) written: Vec<PathBuf>,
    /// The files that were not written, each with the reason.
    pub(crate) failed: Vec<(PathBuf, io::Error)>,
}

/// Creates a folder if needed, and checks before anything is measured that it is writable and that
/// no folder is in the place of a file.
pub(crate) fn prepare(folder: &Path, files: &[&str]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for name in files {
        if folder.join(name).is_dir() {
            return Err(io::Error::other(format!("{name} is a folder there")));
        }
    }
    let probe = beside(&folder.join("probe"));
    let written = fs::write(&probe, "a few bytes");
    // A full disk leaves an empty file.
    let removed = fs::remove_file(&probe);
    written.and(removed)
}

/// Writes each file beside its final place and then renames it, so that a file is never incomplete,
/// and an old one stays until the new one is complete.
pub(crate) fn save(folder: &Path, files: Vec<(impl AsRef<Path>, Vec<u8>)>) -> Saved {
    let mut saved = Saved::default();
    for (name, bytes) in files {
        let path = folder.join(name);
        match replace(&path, &bytes) {
            Ok(()) => saved.written.push(path),
            Err(error) => saved.failed.push((path, error)),
        }
    }
    saved
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let beside = beside(path);
    let written = fs::write(&beside, bytes)
        // A full disk may show only now.
        .and_then(|()| fs::File::open(&beside)?.sync_all())
        .and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written
}

/// Returns the path of a file in the same folder that only this process uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}
