//! `report.html`: one page that needs nothing else.

use std::fmt::Write as _;

use super::{chart, facts, targets, warnings};
use crate::lab::model::Report;
use crate::lab::section::{Block, Entry, Ratio, Section, Table, times};

pub(super) fn page(report: &Report, sections: &[Section]) -> String {
    let context = &report.context;
    let mut body = String::new();
    for warning in warnings(report) {
        let _ = writeln!(body, "<p class=\"warning\">{}</p>", escape(&warning));
    }
    body.push_str(&in_short(report, sections));
    for section in sections {
        let _ = write!(
            body,
            "<section id=\"{}\">\n<h2>{}</h2>\n<p>{}</p>\n",
            anchor(&section.title),
            escape(&section.title),
            escape(&section.intro)
        );
        let mut heading = section.title.as_str();
        for block in &section.blocks {
            match block {
                Block::Chart(shown) => {
                    heading = &shown.title;
                    let _ = write!(
                        body,
                        "<figure><figcaption>{}</figcaption>\n<div class=\"wide\">{}</div></figure>\n",
                        escape(&shown.title),
                        chart::svg(shown)
                    );
                }
                Block::Lines(shown) => heading = &shown.title,
                Block::Forest(shown) => heading = &shown.title,
                Block::Table(shown) => body.push_str(&table(shown, heading)),
            }
        }
        body.push_str("</section>\n");
    }
    if !report.targets.is_empty() {
        let _ = write!(
            body,
            "<section id=\"targets\"><h2>Targets</h2>\n{}</section>\n",
            table(&targets(report), "Targets")
        );
    }
    body.push_str(&closing(report));
    let links: Vec<String> = sections
        .iter()
        .map(|section| section.title.as_str())
        .chain(["Targets", "Machine", "Method", "Once more"])
        .map(|title| format!("<a href=\"#{}\">{}</a>", anchor(title), escape(title)))
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>service-registry: the comparison</title>\n<style>\n{}</style>\n</head>\n<body>\n\
         <header>\n<h1>service-registry <span>the comparison</span></h1>\n\
         <p class=\"meta\">{}</p>\n<nav>{}</nav>\n</header>\n<main>\n{body}</main>\n</body>\n</html>\n",
        include_str!("page.css"),
        escape(&format!(
            "{}, {} threads at once · {} · {} run, seed {} · {}",
            context.machine.cpu,
            context.machine.cores,
            context.toolchain.rustc,
            context.effort,
            context.seed,
            context.started_at,
        )),
        links.join(" "),
    )
}

fn in_short(report: &Report, sections: &[Section]) -> String {
    let mut html =
        String::from("<section class=\"short\" id=\"in-short\">\n<h2>In short</h2>\n<ul>\n");
    for finding in sections.iter().flat_map(|section| &section.findings) {
        let _ = writeln!(html, "<li>{}</li>", escape(finding));
    }
    if !report.targets.is_empty() {
        let met = report.targets.iter().filter(|target| target.met).count();
        let _ = writeln!(
            html,
            "<li>{met} of {} <a href=\"#targets\">targets</a> are met.</li>",
            report.targets.len()
        );
    }
    html.push_str("</ul>\n<dl class=\"stores\">\n");
    let took_part = |name: &str| report.summary.iter().any(|row| row.cell.store == name);
    for contender in &report.context.contenders {
        if took_part(&contender.name) {
            let _ = writeln!(
                html,
                "<div><dt>{} <code>{}</code></dt><dd>{}</dd></div>",
                escape(&contender.name),
                escape(&contender.id),
                escape(&contender.about)
            );
        }
    }
    html.push_str("</dl>\n</section>\n");
    html
}

fn closing(report: &Report) -> String {
    let mut html = String::from(
        "<section id=\"machine\">\n<h2>Machine</h2>\n<div class=\"wide\"><table class=\"facts\">\n",
    );
    for (name, fact) in facts(report) {
        let _ = writeln!(
            html,
            "<tr><th scope=\"row\">{}</th><td>{}</td></tr>",
            escape(name),
            escape(&fact)
        );
    }
    html.push_str("</table></div>\n</section>\n<section id=\"method\">\n<h2>Method</h2>\n<ul>\n");
    for line in &report.context.method {
        let _ = writeln!(html, "<li>{}</li>", escape(line));
    }
    let revision = report.context.git_revision.as_deref();
    let checkout = revision.map_or(String::new(), |r| format!("git checkout {r}\n"));
    let _ = write!(
        html,
        "</ul>\n</section>\n<section id=\"once-more\">\n<h2>Once more</h2>\n\
         <pre><code>{}</code></pre>\n\
         <p>The same seed gives the same keys, the same operations and the same order of \
         contenders. <code>report.json</code> beside this page holds every sample.</p>\n</section>\n",
        escape(&format!("{checkout}{}", report.context.command))
    );
    html
}

/// A table, with its title unless that has just been said.
fn table(table: &Table, heading: &str) -> String {
    let mut html = String::new();
    if table.title != heading {
        let _ = writeln!(html, "<h3>{}</h3>", escape(&table.title));
    }
    let long = table.rows.iter().any(|row| row.name.chars().count() > 34);
    let (class, first) = if long {
        (" class=\"names\"", 26)
    } else {
        ("", 13)
    };
    // Narrower than this it scrolls.
    let width = first + 8 * (table.head.len() - 1);
    let _ = write!(
        html,
        "<p class=\"note\">{}</p>\n<div class=\"wide\"><table{class} style=\"min-width: {width}rem\">\n<thead><tr>",
        escape(&table.note)
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
            let _ = write!(html, "<td>{}</td>", entry(cell));
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
        Entry::Text(text) => escape(text),
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
        Entry::Ratio(ratio) => comparison(*ratio, ratio.point()),
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
    }
}
