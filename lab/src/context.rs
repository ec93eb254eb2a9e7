//! The context of a run: machine, build and options.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};
use sysinfo::System;

use crate::machine::{CpuUsage, processors};
use crate::model::{ContenderInfo, Context, Machine, Toolchain};

/// The crates that measure, and those that contenders are built on.
const CRATES: [&str; 10] = [
    "arc-swap",
    "foldhash",
    "left-right",
    "mimalloc",
    "rand",
    "rand_distr",
    "rayon",
    "sdd",
    "seize",
    "service-registry",
];

const LOCK_FILE: &str = include_str!("../../Cargo.lock");

/// Collects everything that is known before the start. `effort` is the name of the effort, `rules`
/// are its fixed rules.
pub fn context(
    command: String,
    effort: &str,
    seed: u64,
    rules: Vec<String>,
    contenders: Vec<ContenderInfo>,
) -> Context {
    let compared = contenders.iter().filter_map(|info| info.crate_name.as_deref());
    let crates = versions(LOCK_FILE, &compared.chain(CRATES).collect::<Vec<_>>());
    let version = |name| crates.get(name).map_or("", String::as_str);
    let (hasher, allocator) = (version("foldhash"), version("mimalloc"));
    let git_revision = git(&["rev-parse", "HEAD"]);
    let git_modified = git_revision
        .as_ref()
        .and_then(|_| git(&["status", "--porcelain"]))
        .map(|changes| !changes.is_empty());
    Context {
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: now(),
        command,
        effort: effort.into(),
        seed,
        git_revision,
        git_modified,
        lock_file: lock_file(),
        machine: machine(),
        toolchain: toolchain(),
        allocator: format!("mimalloc {allocator}"),
        hasher: format!("foldhash {hasher} (fast), seeded anew in each life"),
        keys: "service:pod, ten pods a service, registered in random order; asked for uniformly \
               at random unless a scenario says otherwise, with texts that are never the store's \
               own"
        .into(),
        copies: "get_* clone a record (one reference count, a few words); with_service and \
                 views borrow it"
            .into(),
        rules,
        lacks: lacks(),
        crates,
        contenders,
        ..Context::default()
    }
}

/// Lists what this machine lacks.
fn lacks() -> Vec<String> {
    let mut lacks = Vec::new();
    if processors() == 1 {
        lacks.push(
            "There is one processor: threads take turns on it, and nothing shows what they do \
             to each other when they run at once."
                .into(),
        );
    }
    if CpuUsage::by(std::process::id()).is_none() {
        lacks.push(
            "The system does not tell how long threads waited for a processor \
             (/proc/PID/task/*/schedstat): no slice is dropped."
                .into(),
        );
    }
    lacks
}

/// Returns the SHA-256 of the lock file of this build.
fn lock_file() -> String {
    let digest = Sha256::digest(LOCK_FILE);
    digest.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    now.round(jiff::Unit::Second).unwrap_or(now).to_string()
}

fn machine() -> Machine {
    let mut system = System::new();
    system.refresh_cpu_all();
    system.refresh_memory();
    let cpu = system.cpus().first().map(|cpu| cpu.brand().trim());
    let load = load();
    Machine {
        cpu: known(cpu.map(String::from)),
        cores: processors(),
        memory_bytes: system.total_memory(),
        os: known(System::long_os_version()),
        kernel: known(System::kernel_version().map(|version| bare(&version).into())),
        load_before: load,
        load_after: load,
    }
}

/// Returns the load average of the last minute.
pub fn load() -> f64 {
    System::load_average().one
}

/// Returns a version without the suffix of its builder, which may name a machine.
fn bare(version: &str) -> &str {
    version.split('-').next().unwrap_or_default().trim()
}

fn known(text: Option<String>) -> String {
    let text = text.filter(|text| !text.is_empty());
    text.unwrap_or_else(|| "unknown".into())
}

fn toolchain() -> Toolchain {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    Toolchain {
        rustc: known(answer(Command::new(rustc).arg("-V"))),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        profile: profile.into(),
    }
}

/// Asks git about the source folder of this build.
fn git(arguments: &[&str]) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent()?;
    // Excludes the repository of a project that has vendored this crate.
    root.join(".git").exists().then_some(())?;
    answer(Command::new("git").arg("-C").arg(root).args(arguments))
}

fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// Reads the versions of some crates from a lock file; all versions if there are several.
fn versions(lock: &str, crates: &[&str]) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    for package in lock.split("[[package]]") {
        let value = |key: &str| package.lines().find_map(|line| line.strip_prefix(key));
        if let (Some(name), Some(version)) = (value("name = "), value("version = "))
            && let [name, version] = [name, version].map(|text| text.trim_matches('"'))
            && crates.contains(&name)
        {
            versions
                .entry(name.to_owned())
                .and_modify(|all: &mut String| *all = format!("{all}, {version}"))
                .or_insert_with(|| version.to_owned());
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_file_of_this_crate_names_what_measures() {
        let read = versions(LOCK_FILE, &CRATES);
        assert_eq!(read.len(), CRATES.len(), "{read:?}");
    }

    #[test]
    fn the_kernel_is_a_number_and_names_nobody() {
        for version in ["6.18.44-lts-of.some-host", "6.18.44-7", " 6.18.44 \n"] {
            assert_eq!(bare(version), "6.18.44");
        }
        assert_eq!(known(Some(bare("-some-host").into())), "unknown");
    }
}
