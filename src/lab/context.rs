//! Where, with what and how a run was made.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use sha2::{Digest, Sha256};
use sysinfo::System;

use super::contender;
use super::model::{ContenderInfo, Context, Kind, Machine, Promises, Toolchain};
use super::run::Settings;
use super::section::thousands;
use super::stats::{FEWEST, MANY, RESAMPLES};

/// The crates that are compared, or that measure.
const CRATES: &[&str] = &[
    "arc-swap",
    "crossbeam-channel",
    "crossbeam-epoch",
    "crossbeam-skiplist",
    "dashmap",
    "evmap",
    "foldhash",
    "hashbrown",
    "im",
    "imbl",
    "left-right",
    "mimalloc",
    "papaya",
    "rand",
    "rand_distr",
    "rayon",
    "scc",
    "sdd",
    "seize",
    "service-registry",
];

/// Everything that can be said before the start.
pub(super) fn context(settings: &Settings) -> Context {
    let crates = versions(include_str!("../../Cargo.lock"), CRATES);
    let hasher = crates.get("foldhash").map_or("", String::as_str);
    let git_revision = git(&["rev-parse", "HEAD"]);
    let git_modified = git_revision
        .as_ref()
        .and_then(|_| git(&["status", "--porcelain"]))
        .map(|changes| !changes.is_empty());
    Context {
        version: env!("CARGO_PKG_VERSION").into(),
        started_at: now(),
        seconds: 0.0,
        partial: false,
        command: settings.command.clone(),
        effort: settings.scale.name().into(),
        seed: settings.seed,
        git_revision,
        git_modified,
        lock_file: lock_file(),
        machine: machine(),
        toolchain: toolchain(),
        features: features(),
        allocator: allocator(settings.allocator, &crates),
        hasher: format!("foldhash {hasher} (fast), seeded at random for each store"),
        keys: "service:pod, 19 bytes, ten pods a service, registered in random order; asked for \
               uniformly at random unless a scenario says otherwise, with texts that are never \
               the store's own"
            .into(),
        copies: "get_* clone a record (one reference count, a few words); with_service, \
                 reader handles and views borrow it"
            .into(),
        method: method(),
        contenders: contender::all()
            .into_iter()
            .map(|about| contender_info(&about))
            .collect(),
        scenarios: Vec::new(),
        crates,
    }
}

fn contender_info(about: &contender::About) -> ContenderInfo {
    let promises = about.promises;
    ContenderInfo {
        name: about.name.into(),
        id: about.id.into(),
        about: about.about.into(),
        kind: match about.kind {
            contender::Kind::Ours => Kind::Ours,
            contender::Kind::Outside => Kind::Outside,
            contender::Kind::Measure => Kind::Measure,
        },
        crate_name: about.crate_name.map(String::from),
        promises: about.is_store().then(|| Promises {
            readers: promises.readers.into(),
            writers: promises.writers.into(),
            batch: promises.batch.to_string(),
            scan: promises.scan.to_string(),
            indexes_agree: promises.indexes_agree,
            never_missing: promises.never_missing,
            snapshot: promises.snapshot.into(),
            linearizable: promises.linearizable,
            caveat: promises.caveat.into(),
        }),
    }
}

fn method() -> Vec<String> {
    [
        "Keys, values, batches and the order of operations are made from the seed before the \
         clock starts. Stores are dropped after it has stopped, unless dropping is what is \
         measured, and so are results of which the number is known beforehand. A loop that goes \
         on until its time is up may drop each result at once, inside the clock, for every \
         store alike.",
        "A block is one pass through a scenario: every contender runs once, in a process of its \
         own, one after the other in a random order, and the reference runs twice. All of a block \
         get the same keys and the same operations. A ratio is taken within a block, where both \
         sides met the same machine. The scenarios take turns, block by block.",
        "A value is the median over the blocks. A ratio is the geometric mean of the ratios of \
         the blocks, so that it need not be the ratio of two medians.",
        "The noise floor is how far the reference is from itself: the ratio of its two runs in \
         each block, with its interval.",
    ]
    .into_iter()
    .map(String::from)
    .chain([
        format!(
            "Intervals are of 95 %: of fewer than {MANY} blocks Student's t of the logarithms, of \
             more bootstrap percentiles ({} draws, seeded). Where the interval of a ratio holds 1, \
             or lies inside the noise floor, the two are equal as far as this run can tell: the \
             tables say \"=\", and neither wins. Of fewer than {FEWEST} blocks no time is told from \
             another, and what stands for an interval is the span of the blocks; bytes, \
             instructions and allocations are counted, so that fewer are enough.",
            thousands(RESAMPLES as u64)
        ),
        super::run::rule(),
        "Every sample of a block that counts is part of its value and of its ratios, however it \
         came out. Where the system tells how long a thread waited for a processor, the rows say in \
         how many samples none did."
            .into(),
        "Every sample counts the operations that did what they were to do, and where reads and \
         writes are mixed, how many were writes. One that is off ends the run: in a hundred \
         operations of a thread exactly as many are writes as the mix says, so that only the \
         hundreds in which a thread began and ended leave room."
            .into(),
    ])
    .collect()
}

/// The SHA-256 of the lock file that this was built with.
fn lock_file() -> String {
    let digest = Sha256::digest(include_bytes!("../../Cargo.lock"));
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
        cores: cores(),
        memory_bytes: system.total_memory(),
        os: known(System::long_os_version()),
        kernel: known(System::kernel_version().map(|version| bare(&version).into())),
        load_before: load,
        load_after: load,
    }
}

/// Threads that can run at once.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How many processes wanted to run in the last minute.
pub(super) fn load() -> f64 {
    System::load_average().one
}

/// A version without what whoever built it has appended: that may name a machine.
fn bare(version: &str) -> &str {
    version.split('-').next().unwrap_or_default().trim()
}

fn known(text: Option<String>) -> String {
    let text = text.filter(|text| !text.is_empty());
    text.unwrap_or_else(|| "unknown".into())
}

fn toolchain() -> Toolchain {
    Toolchain {
        rustc: known(answer(
            Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-V"),
        )),
        target: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        profile: if cfg!(debug_assertions) {
            "debug"
        } else {
            "release"
        }
        .into(),
    }
}

fn allocator(name: &str, crates: &BTreeMap<String, String>) -> String {
    match crates.get(name) {
        Some(version) => format!("{name} {version}"),
        None => name.into(),
    }
}

fn features() -> Vec<String> {
    [
        ("thread-safe", cfg!(feature = "thread-safe")),
        ("worker", cfg!(feature = "worker")),
        ("snapshot", cfg!(feature = "snapshot")),
        ("versioned", cfg!(feature = "versioned")),
        ("evmap", cfg!(feature = "evmap")),
        ("serde", cfg!(feature = "serde")),
        ("lab", cfg!(feature = "lab")),
    ]
    .into_iter()
    .filter(|(_, on)| *on)
    .map(|(name, _)| name.into())
    .collect()
}

/// Asks git about the folder that this was built from.
fn git(arguments: &[&str]) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Not the repository of somebody who has vendored this crate.
    root.join(".git").exists().then_some(())?;
    answer(Command::new("git").arg("-C").arg(root).args(arguments))
}

fn answer(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// The versions of some crates from a lock file. Where there are several, all.
fn versions(lock: &str, crates: &[&str]) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let mut name = "";
    for line in lock.lines() {
        let value = |key: &str| line.strip_prefix(key)?.trim().strip_prefix("= ");
        if let Some(text) = value("name ") {
            name = text.trim_matches('"');
        } else if let Some(version) = value("version ")
            && crates.contains(&name)
        {
            let version = version.trim_matches('"');
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
    fn versions_are_read_from_a_lock_file() {
        let lock = "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.2\"\n\n\
                    [[package]]\nname = \"b\"\nversion = \"0.1.0\"\ndependencies = [\n \"a\",\n]\n\n\
                    [[package]]\nname = \"a\"\nversion = \"2.0.0\"\n";
        let read = versions(lock, &["a", "c"]);
        assert_eq!(read.len(), 1);
        assert_eq!(read["a"], "1.0.2, 2.0.0");
    }

    #[test]
    fn the_lock_file_of_this_crate_names_what_is_compared() {
        let read = versions(include_str!("../../Cargo.lock"), CRATES);
        assert_eq!(read.len(), CRATES.len(), "{read:?}");
    }

    #[test]
    fn the_kernel_is_a_number_and_names_nobody() {
        for version in [
            "6.18.44-lts-of.some-host",
            "6.18.44-7",
            "6.18.44",
            " 6.18.44 \n",
        ] {
            assert_eq!(bare(version), "6.18.44");
        }
        assert_eq!(known(Some(bare("-some-host").into())), "unknown");
    }

    #[test]
    fn the_version_of_what_a_contender_stands_for_is_in_the_context() {
        for about in contender::all() {
            if let Some(name) = about.crate_name {
                assert!(CRATES.contains(&name), "{name}, of {}", about.name);
            }
        }
    }
}
