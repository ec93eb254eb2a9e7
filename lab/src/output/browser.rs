//! Tests the page in a browser: Debian's headless chromium, in frames as wide as a phone, a tablet,
//! a laptop and a desktop screen.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;
use crate::synthetic;

/// Measures each frame and writes the faults into the document, which chromium prints.
const MEASURE: &str = include_str!("templates/measure.html");

fn chromium() -> Option<PathBuf> {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let known = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
    named.into_iter().chain(known.map(PathBuf::from)).find(|path| path.exists())
}

fn run(chromium: &Path, folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(chromium)
        .args("--headless --no-sandbox --disable-gpu --disable-quic --no-first-run".split(' '))
        .args("--disable-background-networking --disable-component-update".split(' '))
        .args("--disable-sync --allow-file-access-from-files --window-size=2000,1200".split(' '))
        .arg("--virtual-time-budget=20000")
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .args(arguments)
        .output()
        .expect("chromium starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// No page is wider than its window, no parts of a chart overlap, the first screen holds the
/// answers and two charts, and every chart has a text for screen readers. For names that are one
/// long word, only the width of the page is checked.
#[test]
fn pages_fit_and_nothing_overlaps() {
    let Some(chromium) = chromium() else {
        eprintln!("SKIPPED: no chromium here; apt-get install chromium, or name it in CHROMIUM");
        return;
    };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/pages");
    let hostile =
        synthetic::with_texts(&synthetic::quick(), |text| format!("{text}<b>{}", "x".repeat(90)));
    let hostile = ("hostile", serde_json::from_value(hostile).unwrap());
    for (name, report) in tests::all().into_iter().chain([hostile]) {
        let folder = folder.join(name);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, bytes) in files(&report).unwrap() {
            std::fs::write(folder.join(name), bytes).unwrap();
        }
        std::fs::write(folder.join("measure.html"), MEASURE).unwrap();
        let page = folder.join("measure.html").canonicalize().unwrap();
        let measured =
            run(&chromium, &folder, &["--dump-dom", &format!("file://{}#{name}", page.display())]);
        let said =
            measured.split("<pre id=\"said\">").nth(1).and_then(|rest| rest.split("</pre>").next());
        assert_eq!(said.map(str::trim), Some("measured 4 frames"), "{name}: {measured}");
    }
}
