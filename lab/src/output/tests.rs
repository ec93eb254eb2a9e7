//! Tests of the output, on reports with known figures.

use super::terminal::{TerminalOptions, changes, print};
use super::*;
use serde_json::{Value, json as value};

use crate::check::{check, read};
use crate::compare::compare;
use crate::judge::complete;
use crate::model::Answer;
use crate::synthetic;

const USUAL: TerminalOptions = TerminalOptions { verbose: false, width: 80, colour: false };
const README: &str = "# A\n\n<!-- figures:begin -->\nold\n<!-- figures:end -->\n\nB\n";

fn shown(report: &Report, width: usize, verbose: bool, colour: bool) -> String {
    let mut out = Vec::new();
    let options = TerminalOptions { verbose, width, colour };
    print(report, &mut out, options).unwrap();
    String::from_utf8(out).unwrap()
}

fn file(report: &Report, name: &str) -> String {
    let files = files(report).unwrap();
    let (_, bytes) = files.into_iter().find(|(own, _)| *own == name).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Returns one report of each kind.
pub(super) fn all() -> [(&'static str, Report); 6] {
    [
        ("quick", synthetic::quick()),
        ("full", synthetic::full()),
        ("interrupted", synthetic::interrupted()),
        ("undecided", synthetic::undecided()),
        ("busy", synthetic::beside_others(0.38)),
        ("empty", synthetic::empty()),
    ]
}

/// Returns a report whose texts all contain markup and control characters.
fn hostile() -> Value {
    synthetic::with_texts(&synthetic::quick(), |text| {
        format!("{text}\u{1b}[31m<script>alert(1)</script>|\u{202e}\u{9b}`]](x)\n# \u{E000}&\"'")
    })
}

#[test]
fn a_terminal_shows_every_answer_in_60_lines() {
    for (name, report) in all() {
        let text = shown(&report, 80, false, false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.len() <= 57, "{name}: {} lines\n{text}", lines.len());
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{name}:\n{text}");
        for answer in &report.answers {
            assert!(text.contains(&answer.question), "{name}: {}\n{text}", answer.question);
        }
        assert!(!text.contains('\u{1b}'));
    }
    let text = shown(&synthetic::quick(), 80, false, true);
    assert!(text.contains("\u{1b}[1mmemory\u{1b}[0m"), "{text}");
}

#[test]
fn a_narrow_terminal_has_no_longer_lines() {
    let report = synthetic::quick();
    for width in [0, 20, 40, 63, 64, 100] {
        for verbose in [false, true] {
            let text = shown(&report, width, verbose, false);
            let widest = text.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= width.max(20), "{width}: {widest}\n{text}");
            assert!(!verbose || text.lines().count() > report.rows.len(), "{width}");
        }
    }
}

#[test]
fn files_have_the_sizes_that_were_promised() {
    let (quick, full) = (synthetic::quick(), synthetic::full());
    let size = |report: &Report, name: &str| file(report, name).len();
    for (report, name, most) in [
        (&quick, "report.html", 400_000),
        (&full, "report.html", 1_000_000),
        (&full, "report.json", 1_000_000),
    ] {
        assert!(size(report, name) <= most, "{name}: {} bytes", size(report, name));
    }
    let docs = docs(&full, README).unwrap();
    let (_, benchmarks) = docs.iter().find(|(path, _)| path.ends_with("benchmarks.md")).unwrap();
    let text = String::from_utf8_lossy(benchmarks);
    assert!(text.lines().count() <= 300, "{} lines", text.lines().count());
    // The pages and the chart files name the same charts.
    let pages = format!("{text}{}", String::from_utf8_lossy(&docs[0].1));
    for (path, bytes) in &docs {
        let Some(name) = path.strip_prefix("docs/img").ok() else {
            continue;
        };
        assert!(pages.contains(&format!("img/{}", name.display())), "{path:?}");
        assert!(bytes.starts_with(b"<svg ") && bytes.len() < 40_000, "{path:?}");
    }
    let named = pages.matches("img/").count();
    assert!(named >= docs.len() - 3, "{named} of {}", docs.len());
}

#[test]
fn a_readme_has_one_chart_and_five_sentences() {
    for (name, report) in all() {
        let docs = docs(&report, README).unwrap();
        let text = String::from_utf8(docs[0].1.clone()).unwrap();
        assert!(
            text.starts_with("# A\n\n<!-- figures:begin -->\n")
                && text.ends_with("<!-- figures:end -->\n\nB\n")
        );
        assert!(!text.contains("old"));
        if ["quick", "full"].contains(&name) {
            assert_eq!(text.matches("\n- ").count(), 5, "{text}");
            assert_eq!(text.matches("![").count(), 1, "{text}");
            assert!(text.contains("MemoryStore costs least"), "{text}");
        }
    }
    assert!(docs(&synthetic::quick(), "nothing").is_err());
}

#[test]
fn a_sentence_claims_no_more_than_its_interval() {
    let page = file(&synthetic::undecided(), "report.html");
    assert!(!page.contains("costs least") && page.contains("This run does not decide it"));
    assert!(page.contains("not decided"));
}

/// If other programs took more than a fifth of the time of several threads, every output says so
/// beside the answers from these threads, and beside no others. The answers stay the same.
#[test]
fn what_holds_for_a_busy_machine_only_is_marked() {
    // The terminal, the page, the Markdown report, the README and the benchmarks.
    let said = |report: &Report| {
        let mut pages = vec![shown(report, 200, false, false)];
        pages.extend(["report.html", "report.md"].map(|name| file(report, name)));
        for (path, bytes) in docs(report, README).unwrap() {
            let is_text = path.extension().is_some_and(|own| own == "md");
            pages.extend(is_text.then(|| String::from_utf8(bytes).unwrap()));
        }
        let times = |page: &String| page.matches("often did not run at once").count();
        (pages.iter().map(times).collect::<Vec<_>>(), pages)
    };
    assert_eq!(said(&synthetic::beside_others(0.02)).0, [0; 5]);
    assert_eq!(said(&synthetic::beside_others(0.2)).0, [0; 5]);
    let (quiet, busy) = (synthetic::quick(), synthetic::beside_others(0.38));
    for (was, is) in quiet.answers.iter().zip(&busy.answers) {
        let ends = |end: &&str| is.question.ends_with(*end);
        let marked = ["few writes", "mixed", "mostly writes"].iter().any(ends);
        assert_eq!(is.busy, marked.then_some(0.38), "{}", is.question);
        assert_eq!(Answer { busy: None, ..is.clone() }, *was);
    }
    let (times, pages) = said(&busy);
    // The pages have three sentences and a warning, the HTML page a further line at its head, and
    // the README its sentences.
    assert_eq!(times, [1, 5, 4, 1, 4]);
    assert_eq!(pages[0].lines().filter(|line| line.ends_with(" *")).count(), 3, "{}", pages[0]);
    assert_eq!([" *</b>", " *</span>"].map(|mark| pages[1].matches(mark).count()), [3, 3]);
    assert_eq!(pages[2].matches(" \\* |").count(), 3);
    let mut silent = busy;
    silent.answers[1].busy = None;
    let faults = |report: &Report| check(&json::text(report).unwrap(), complete).unwrap_err();
    assert!(faults(&silent)[0].starts_with("/answers/1/busy: null stands there, 0.38 follows"));
    silent.rows.iter_mut().for_each(|row| row.lost = Some(1.5));
    assert!(faults(&silent)[0].contains("/cells/0/lost"));
}

#[test]
fn a_report_survives_its_file() {
    for (name, report) in all() {
        let text = file(&report, "report.json");
        let back = read(text.as_bytes()).unwrap();
        assert_eq!(file(&back, "report.json"), text, "{name}");
        // `check` refuses reports that were edited by hand, and those without a scenario.
        if !["undecided", "empty"].contains(&name) {
            assert_eq!(check(text.as_bytes(), complete).err(), None, "{name}");
        }
        // Each row is one line.
        let rows = text.lines().filter(|line| line.contains("\"samples\":[[")).count();
        assert_eq!(rows, report.rows.len(), "{name}");
    }
}

#[test]
fn the_schema_holds_for_what_is_written() {
    let report = synthetic::quick();
    let schema: Value = serde_json::from_str(&file(&report, "report.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut value: Value = serde_json::from_str(&file(&report, "report.json")).unwrap();
    assert_eq!(validator.iter_errors(&value).map(|error| error.to_string()).next(), None);
    value["cells"][0]["rows"][0]["parsecs"] = 1.into();
    assert!(!validator.is_valid(&value));
}

#[test]
fn what_contradicts_itself_is_named_with_its_place() {
    let whole: Value = serde_json::from_slice(&json::text(&synthetic::small()).unwrap()).unwrap();
    let more = whole["cells"][0]["rows"][1]["value"]["value"].as_f64().unwrap() * 1.002;
    // The expected message, the changed place, and its new value.
    let broken = include_str!("contradictions.json");
    let mut broken: Vec<(String, String, Value)> = serde_json::from_str(broken).unwrap();
    for (said, place, to) in [
        (
            "/context/contenders/1/id",
            "/context/contenders/1",
            whole["context"]["contenders"][0].clone(),
        ),
        ("/cells/0/rows/1/value/value", "/cells/0/rows/1/value/value", value!(more)),
        ("stands there twice", "/cells/0/rows/1", whole["cells"][0]["rows"][0].clone()),
    ] {
        broken.push((said.into(), place.into(), to));
    }
    for (said, place, to) in broken {
        let mut value = whole.clone();
        *value.pointer_mut(&place).unwrap() = to;
        let faults = check(value.to_string().as_bytes(), complete).expect_err(&place);
        let named = faults.iter().any(|fault| fault.contains(&said));
        assert!(named, "{place}, {said}: {faults:#?}");
    }
}

#[test]
fn what_is_no_report_is_refused_with_a_reason() {
    for (text, reason) in [
        ("", "not JSON"),
        ("{", "line 1"),
        ("[1, 2]", "schema_version"),
        ("{\"schema_version\": 1}", "form 1"),
        ("{\"schema_version\": 3}", "context"),
        ("\u{0}\u{1b}", "not JSON"),
    ] {
        let said = read(text.as_bytes()).unwrap_err();
        assert!(said.contains(reason), "{text}: {said}");
        let faults = check(text.as_bytes(), |_| {}).unwrap_err();
        assert!(faults[0].contains(reason), "{text}: {faults:?}");
        assert!(!faults.concat().contains(|own: char| own.is_control()));
    }
}

/// Whatever the texts of a file are, they send no commands to a terminal, and add no elements to a
/// page.
#[test]
fn no_text_of_a_file_does_more_than_be_read() {
    let bytes = hostile().to_string().into_bytes();
    let report = read(&bytes).unwrap();
    let commands = |text: &str| text.chars().filter(|own| own.is_control() && *own != '\n').count();
    for verbose in [false, true] {
        let text = shown(&report, 80, verbose, true);
        let own = text.matches("\u{1b}[1m").count() + text.matches("\u{1b}[0m").count();
        assert_eq!(commands(&text), own, "{text}");
    }
    // The same for a report that was not read from a file.
    let unread: Report = serde_json::from_value(hostile()).unwrap();
    assert_eq!(commands(&shown(&unread, 80, true, false)), 0);
    let mut out = Vec::new();
    let found = compare(&report, &unread);
    changes(&found, ["\u{1b}[31mold", "new"], &mut out, TerminalOptions { verbose: true, ..USUAL })
        .unwrap();
    assert_eq!(commands(&String::from_utf8(out).unwrap()), 0);
    for page in [file(&report, "report.html"), file(&unread, "report.html")] {
        assert!(page.contains("&lt;script&gt;") && !page.contains("<script"));
        assert!(!page.contains("\"'\""));
    }
    for (path, bytes) in docs(&report, README).unwrap() {
        let text = String::from_utf8(bytes).unwrap();
        assert!(!text.contains("<script") && !text.contains('\u{1b}'), "{path:?}");
    }
    let faults = check(&bytes, complete).unwrap_err();
    assert!(faults.iter().all(|fault| commands(fault) == 0) && faults.len() <= 41, "{faults:?}");
}

#[test]
fn a_page_has_its_parts_in_order_and_needs_nothing_else() {
    let page = file(&synthetic::quick(), "report.html");
    let parts = [
        "class=\"answers\"",
        "class=\"charts\"",
        "id=\"questions\"",
        "id=\"q-one-thread\"",
        "id=\"promises\"",
        "id=\"s-sustained\"",
        "id=\"method\"",
    ];
    let places: Vec<usize> =
        parts.iter().map(|part| page.find(part).unwrap_or_else(|| panic!("{part}"))).collect();
    assert!(places.is_sorted(), "{places:?}");
    assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("NaN"));
    let charts = page.matches("role=\"img\"").count();
    assert_eq!(page.matches("<desc ").count(), charts);
    assert!(charts > 20, "{charts}");
    // Each link has its target.
    for link in page.split("href=\"#").skip(1) {
        let id = link.split('"').next().unwrap();
        assert!(page.contains(&format!("id=\"{id}\"")), "{id}");
    }
    let ids: Vec<&str> =
        page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
    let unique: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
}

#[test]
fn a_comparison_fits_a_terminal() {
    let (old, mut new) = (synthetic::quick(), synthetic::quick());
    let rows = new.rows.iter_mut().filter(|row| row.contender == "versioned");
    rows.filter_map(|row| row.ratio.as_mut()).for_each(|ratio| synthetic::scale(ratio, 2.0));
    let found = compare(&old, &new);
    let mut out = Vec::new();
    changes(&found, ["old.json", "new.json"], &mut out, USUAL).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(
        text.lines().count() <= 60 && text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(text.contains("2.00×") && text.contains("versioned"), "{text}");
}
