//! A demonstration gateway: proxies to live pods and serves a page that shows them.
//!
//! ```console
//! cargo run --release --example gateway
//! ```
//!
//! The program itself is the package in `examples/gateway/`: a server needs crates that neither
//! the library nor its other examples should have to build. This starter runs it, and passes
//! its arguments on; `-- --help` lists them.

use std::env;
use std::path::Path;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    if !root.join("examples/gateway/Cargo.toml").exists() {
        eprintln!(
            "the gateway is a package of its own in `examples/gateway`, which is not in {}: \
             start it from a clone of the repository",
            root.display()
        );
        return ExitCode::from(2);
    }
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo
        .args(["run", "--release", "--package", "service-registry-gateway"])
        .arg("--manifest-path")
        .arg(root.join("Cargo.toml"))
        .arg("--")
        .args(env::args_os().skip(1));
    run(cargo)
}

/// Replaces this process by Cargo, which replaces itself by the gateway, so that a signal to
/// this process ends the gateway.
#[cfg(unix)]
fn run(mut cargo: Command) -> ExitCode {
    use std::os::unix::process::CommandExt;

    eprintln!("cargo does not start: {}", cargo.exec());
    ExitCode::FAILURE
}

#[cfg(not(unix))]
fn run(mut cargo: Command) -> ExitCode {
    match cargo.status() {
        Ok(status) => status
            .code()
            .and_then(|code| u8::try_from(code).ok())
            .map_or(ExitCode::FAILURE, ExitCode::from),
        Err(error) => {
            eprintln!("cargo does not start: {error}");
            ExitCode::FAILURE
        }
    }
}
