//! `report.html`: one page that needs nothing else.

use std::fmt::Write as _;

use super::{Document, chart, commands, facts, forest, lines, origin, targets, warnings};
use crate::lab::compare::Changes;
use crate::lab::model::Report;
use crate::lab::section::{Block, Entry, Ratio, Section, Table, times};
use crate::lab::stability;
use crate::lab::verdict::Verdict;

pub(super) fn page(document: &Document<'_>) -> String {
    let report = document.report;
    let context = &report.context;
    let mut body = verdict(document);
    body.push_str(&machine(document));
    body.push_str(&section(&document.who));
    body.push_str(&section(&document.glance));
    for shown in &document.scenarios {
        body.push_str(&section(shown));
    }
    body.push_str(&section(&document.strip));
    if !report.targets.is_empty() {
        let _ = write!(
            body,
            "<section id=\"targets\"><h2>Targets</h2>\n{}</section>\n",
            table(&targets(report), "Targets")
        );
    }
    if let Some(semantics) = &document.semantics {
        body.push_str(&section(semantics));
    }
    body.push_str(&once_more(report));
    let mut links = vec![
        ("verdict".to_owned(), "Verdict".to_owned()),
        ("machine".into(), "Machine and method".into()),
        ("noise-floor".into(), "Noise floor".into()),
    ];
    let targets = (!report.targets.is_empty()).then_some("Targets");
    let sections = [&document.who, &document.glance]
        .into_iter()
        .chain(&document.scenarios)
        .chain([&document.strip]);
    let titles = sections
        .map(|section| section.title.as_str())
        .chain(targets)
        .chain(
            document
                .semantics
                .as_ref()
                .map(|section| section.title.as_str()),
        )
        .chain(["Once more"]);
    links.extend(titles.map(|title| (anchor(title), title.to_owned())));
    let links: Vec<String> = links
        .iter()
        .map(|(anchor, title)| format!("<a href=\"#{anchor}\">{}</a>", escape(title)))
        .collect();
    let banner = document
        .unstable
        .banner()
        .map_or(String::new(), |(head, reasons)| {
            format!(
                "<p class=\"unstable\"><strong>{}</strong> {} <a href=\"#machine\">Why</a></p>\n",
                escape(&head),
                escape(&reasons)
            )
        });
    shell(
        "service-registry: the comparison",
        "the comparison",
        &format!(
            "{}, {} threads at once · {} · {} run, seed {} · {}",
            context.machine.cpu,
            context.machine.cores,
            context.toolchain.rustc,
            context.effort,
            context.seed,
            context.started_at,
        ),
        &format!(
            "{banner}<nav aria-label=\"Contents\">{}</nav>\n",
            links.join(" ")
        ),
        &body,
    )
}

/// What changed from one report to the next.
pub(super) fn changes(changes: &Changes, names: [&str; 2]) -> String {
    let mut head = String::new();
    for warning in &changes.warnings {
        let _ = writeln!(
            head,
            "<p class=\"unstable\"><strong>WARNING</strong> {}</p>",
            escape(warning)
        );
    }
    shell(
        "service-registry: what changed",
        "what changed",
        &format!("{} → {}", names[0], names[1]),
        &head,
        &section(&changes.section()),
    )
}

/// A page that needs nothing else. All but `head` and `body` is text.
fn shell(title: &str, subtitle: &str, meta: &str, head: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n\
         <header>\n<h1>service-registry <span>{}</span></h1>\n\
         <p class=\"meta\">{}</p>\n{head}</header>\n<main>\n{body}</main>\n</body>\n</html>\n",
        escape(title),
        include_str!("page.css"),
        escape(subtitle),
        escape(meta),
    )
}

fn verdict(document: &Document<'_>) -> String {
    let mut html = String::from(
        "<section id=\"verdict\">\n<h2>Which store should I use?</h2>\n\
         <p>From what you need to a store of this crate. Fixed rules decide, on the figures of this run: \
         the store that takes least over all cells that the question is about, in paired blocks; where \
         this run cannot tell stores apart (\u{201c}=\u{201d}), all of them are named. Ratios stand with \
         their 95 % intervals; above 1\u{d7} costs more than the store of the line.</p>\n\
         <table class=\"verdicts\">\n<thead><tr><th scope=\"col\">Need</th><th scope=\"col\">Store</th>\
         <th scope=\"col\">Evidence</th><th scope=\"col\">Mind</th></tr></thead>\n<tbody>\n",
    );
    for verdict in &document.verdicts {
        html.push_str(&one_verdict(verdict));
    }
    html.push_str("</tbody></table>\n</section>\n");
    html
}

fn one_verdict(verdict: &Verdict) -> String {
    let class = if verdict.stores.is_empty() {
        " class=\"open\""
    } else {
        ""
    };
    let lines = |lines: &[String]| {
        let lines: Vec<String> = lines
            .iter()
            .map(|line| format!("<p>{}</p>", prose(line)))
            .collect();
        lines.concat()
    };
    let stores: Vec<String> = verdict
        .stores
        .iter()
        .map(|store| format!("<b>{}</b>", escape(store)))
        .collect();
    format!(
        "<tr{class}><th scope=\"row\">{}</th><td class=\"answer\">{}</td><td>{}</td><td>{}</td></tr>\n",
        escape(&verdict.need),
        if stores.is_empty() {
            "\u{2014}".into()
        } else {
            stores.join(verdict.between())
        },
        lines(&verdict.evidence),
        lines(&verdict.caveats),
    )
}

fn machine(document: &Document<'_>) -> String {
    let report = document.report;
    let mut html =
        String::from("<section id=\"machine\">\n<h2>Machine, method and noise floor</h2>\n");
    if let Some((head, _)) = document.unstable.banner() {
        let _ = write!(
            html,
            "<div class=\"unstable\"><strong>{}</strong><ul>",
            escape(&head)
        );
        for fault in document.unstable.reasons() {
            let _ = write!(html, "<li>{}</li>", escape(&fault));
        }
        html.push_str("</ul></div>\n");
    }
    for warning in warnings(report) {
        let _ = writeln!(html, "<p class=\"warning\">{}</p>", escape(&warning));
    }
    html.push_str(&pairs(&facts(report)));
    html.push_str("<div id=\"method\"><h3>Method</h3>\n<ul>\n");
    let rule = stability::rule();
    for line in report.context.method.iter().chain([&rule]) {
        let _ = writeln!(html, "<li>{}</li>", escape(line));
    }
    let _ = write!(
        html,
        "</ul></div>\n<div id=\"noise-floor\">{}</div>\n</section>\n",
        table(&document.noise, "")
    );
    html
}

fn pairs(facts: &[(&str, String)]) -> String {
    let mut html = String::from("<div class=\"wide\"><table class=\"facts\">\n");
    for (name, fact) in facts {
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
            escape(name),
            escape(fact)
        );
    }
    html.push_str("</table></div>\n");
    html
}

fn section(section: &Section) -> String {
    let mut html = format!(
        "<section id=\"{}\">\n<h2>{}</h2>\n<p>{}</p>\n",
        anchor(&section.title),
        escape(&section.title),
        escape(&section.intro)
    );
    if !section.findings.is_empty() {
        html.push_str("<ul class=\"findings\">\n");
        for finding in &section.findings {
            let _ = writeln!(html, "<li>{}</li>", escape(finding));
        }
        html.push_str("</ul>\n");
    }
    let mut heading = section.title.as_str();
    for block in &section.blocks {
        let (title, svg) = match block {
            Block::Chart(shown) => (&shown.title, chart::svg(shown)),
            Block::Lines(shown) => (&shown.title, lines::svg(shown)),
            Block::Forest(shown) => (&shown.title, forest::svg(shown)),
            Block::Table(shown) => {
                html.push_str(&table(shown, heading));
                continue;
            }
        };
        let caption = if title == heading {
            String::new()
        } else {
            format!("<figcaption>{}</figcaption>\n", escape(title))
        };
        heading = title;
        let _ = writeln!(
            html,
            "<figure>{caption}<div class=\"wide\">{svg}</div></figure>"
        );
    }
    html.push_str("</section>\n");
    html
}

fn once_more(report: &Report) -> String {
    format!(
        "<section id=\"once-more\">\n<h2>Once more</h2>\n{}<pre><code>{}</code></pre>\n\
         <p>The same seed gives the same keys, the same operations and the same order of \
         contenders. <code>report.json</code> beside this page holds every sample: \
         <code>cargo lab render</code> draws this page from it, and <code>cargo lab compare</code> \
         holds another one against it.</p>\n</section>\n",
        pairs(&origin(report)),
        escape(&commands(report))
    )
}

/// A table, with its title unless that has just been said.
fn table(table: &Table, heading: &str) -> String {
    let mut html = String::new();
    if table.title != heading {
        let _ = writeln!(html, "<h3>{}</h3>", escape(&table.title));
    }
    if !table.note.is_empty() {
        let _ = writeln!(html, "<p class=\"note\">{}</p>", escape(&table.note));
    }
    let mut classes = Vec::new();
    let long = table.rows.iter().any(|row| row.name.chars().count() > 34);
    if long {
        classes.push("names");
    }
    let texts = |entry: &Entry| matches!(entry, Entry::Text(text) if text.chars().count() > 24);
    let wordy = table.rows.iter().any(|row| row.entries.iter().any(texts));
    let heat = |entry: &Entry| matches!(entry, Entry::Heat(_));
    let heated =
        |row: &&crate::lab::section::TableRow| row.entries.iter().filter(|e| heat(e)).count() > 1;
    if wordy {
        classes.push("words");
    }
    if table.rows.iter().any(|row| heated(&row)) {
        classes.push("heatmap");
    }
    // Narrower than this it scrolls.
    let heatmap = classes.contains(&"heatmap");
    let first = if long { 26 } else { 13 };
    #[allow(clippy::cast_precision_loss)] // a number of columns
    let columns = (table.head.len() - 1) as f64;
    let each = match (wordy, heatmap) {
        (true, _) => 0.0,
        (_, true) => 5.2,
        _ => 8.4,
    };
    let width = f64::from(first) + each * columns;
    let _ = write!(
        html,
        "<div class=\"wide\"><table class=\"{}\" style=\"min-width: {width}rem\">\n<thead><tr>",
        classes.join(" ")
    );
    for head in &table.head {
        let _ = write!(html, "<th scope=\"col\">{}</th>", escape(head));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &table.rows {
        let (class, name) = match row.name.strip_prefix("  ") {
            Some(name) => (" class=\"sub\"", name),
            None => ("", row.name.as_str()),
        };
        let _ = write!(html, "<tr><th scope=\"row\"{class}>{}</th>", escape(name));
        for cell in &row.entries {
            let class = match cell {
                Entry::Heat(ratio) => format!(" class=\"heat {}\"", super::overview::heat(*ratio)),
                _ => String::new(),
            };
            let _ = write!(html, "<td{class}>{}</td>", entry(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody></table></div>\n");
    html
}

fn entry(entry: &Entry) -> String {
    let comparison = |ratio: Ratio, point: String| {
        format!(
            "<b>{}</b> <small>{}</small>",
            escape(&point),
            escape(&ratio.interval())
        )
    };
    match entry {
        Entry::Empty => "<span class=\"none\">·</span>".into(),
        Entry::Text(text) => prose(text),
        Entry::Value { value, ratio, hits } => {
            let mut html = escape(value);
            if let Some(ratio) = ratio {
                let shown = comparison(*ratio, ratio.point());
                let _ = write!(html, "<span class=\"ratio\">{shown}</span>");
            }
            if let Some(hits) = hits {
                let _ = write!(html, "<span class=\"ratio\">hits {}</span>", escape(hits));
            }
            html
        }
        Entry::Ratio(ratio) | Entry::Heat(ratio) => comparison(*ratio, ratio.point()),
        Entry::Measured(ratio) => comparison(*ratio, times(ratio.ratio)),
        Entry::Verdict(true) => "<span class=\"met\">✓ met</span>".into(),
        Entry::Verdict(false) => "<span class=\"missed\">✗ missed</span>".into(),
    }
}

fn anchor(title: &str) -> String {
    let kept = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    title.chars().map(kept).collect()
}

/// A text for an element, with what stands between backticks as code.
fn prose(text: &str) -> String {
    let escaped = escape(text);
    let parts: Vec<&str> = escaped.split('`').collect();
    if parts.len().is_multiple_of(2) {
        return escaped;
    }
    let code = |(at, part): (usize, &&str)| {
        if at % 2 == 1 {
            format!("<code>{part}</code>")
        } else {
            (*part).into()
        }
    };
    parts.iter().enumerate().map(code).collect()
}

/// A text for an element or an attribute.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_was_measured_can_write_the_page() {
        assert_eq!(
            escape("<script>\"&'</script>"),
            "&lt;script&gt;&quot;&amp;&#39;&lt;/script&gt;"
        );
        assert_eq!(entry(&Entry::Text("a<b".into())), "a&lt;b");
        assert_eq!(prose("no `<b>` and `x"), "no `&lt;b&gt;` and `x");
        assert_eq!(prose("a `<b>` c"), "a <code>&lt;b&gt;</code> c");
    }
}
