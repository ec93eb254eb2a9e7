//! Renders the templates.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, Value, context};

use crate::fault::Fault;
use crate::words;

/// The templates by name; the ending of the name decides how values are escaped.
const ALL: [(&str, &str); 11] = [
    ("page.html", include_str!("templates/page.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("page.css", include_str!("templates/page.css")),
    ("chart.css", include_str!("templates/chart.css")),
    ("chart.svg", include_str!("templates/chart.svg")),
    ("file.svg", include_str!("templates/file.svg")),
    ("marks.svg", include_str!("templates/marks.svg")),
    ("report.md", include_str!("templates/report.md")),
    ("tables.txt", include_str!("templates/tables.txt")),
    ("rules.txt", include_str!("templates/rules.txt")),
    ("readme.md", include_str!("templates/readme.md")),
];

static TEMPLATES: LazyLock<Result<Environment<'static>, String>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    templates.set_syntax(syntax.map_err(|error| format!("{error:#}"))?);
    templates.set_auto_escape_callback(|name| match name.rsplit_once('.') {
        Some((_, "html" | "svg")) => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    templates.add_filter("md", |text: &str| plain(text));
    // Formats a value in a table.
    templates.add_filter("said", |value: Value| match bool::try_from(value.clone()) {
        Ok(kept) if value.kind() == ValueKind::Bool => if kept { "yes" } else { "no" }.into(),
        _ if value.is_none() || value.is_undefined() => String::new(),
        _ => value.to_string(),
    });
    templates.add_filter("plural", words::plural);
    templates.add_filter("thousands", words::thousands);
    // Formats a coordinate without digits that nobody sees.
    templates.add_filter("short", |at: f64| format!("{at:.1}").trim_end_matches(".0").to_owned());
    for (name, text) in ALL {
        templates.add_template(name, text).map_err(|error| format!("{error:#}"))?;
    }
    Ok(templates)
});

/// Renders a template.
pub(crate) fn render(name: &str, values: Value) -> Result<String, Fault> {
    let templates = TEMPLATES.as_ref().map_err(Fault::new)?;
    let template = templates.get_template(name);
    let text = template.and_then(|template| template.render(values));
    text.map_err(|error| Fault::new(format!("{error:#}")).at(name))
}

/// Renders `report.html`: one file without a script, which loads nothing else.
pub(crate) fn html(page: &Value) -> Result<String, Fault> {
    render("page.html", context! { page })
}

/// Renders a chart as a file of its own.
pub(crate) fn svg(chart: &Value) -> Result<String, Fault> {
    Ok(render("file.svg", context! { chart })? + "\n")
}

/// Renders `report.md`, with all tables; if `brief`, `docs/benchmarks.md`, with charts instead.
pub(crate) fn markdown(page: &Value, brief: bool) -> Result<String, Fault> {
    Ok(tidy(&render("report.md", context! { page, brief })?))
}

/// The lines of the README around the figures.
const MARKS: [&str; 2] = ["<!-- figures:begin -->", "<!-- figures:end -->"];

/// Inserts one chart and five sentences of the report into the README.
pub(crate) fn readme(page: &Value, readme: &str) -> Result<String, Fault> {
    let [begin, end] = MARKS;
    let parts = readme.split_once(begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(end)?;
        Some((before, after))
    });
    let Some((before, after)) = parts else {
        return Err(Fault::new(format!("README.md has no lines {begin} and {end}, in this order")));
    };
    let figures = tidy(&render("readme.md", context! { page })?);
    Ok(format!("{before}{begin}\n{figures}{end}{after}"))
}

/// Removes repeated empty lines, and spaces at the ends of lines.
fn tidy(text: &str) -> String {
    let mut tidy = String::new();
    let mut empty = true;
    for line in text.lines().map(str::trim_end) {
        if line.is_empty() && empty {
            continue;
        }
        empty = line.is_empty();
        tidy.push_str(line);
        tidy.push('\n');
    }
    tidy.truncate(tidy.trim_end().len());
    tidy + "\n"
}

/// Escapes a text for Markdown.
fn plain(text: &str) -> String {
    let mut safe = String::new();
    for letter in text.chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '*' | '`' | '[' | ']' | '\\' | '#' => {
                safe.push('\\');
                safe.push(letter);
            }
            // Has a meaning only at the edge of a word, so escaping it everywhere is safe.
            '_' => safe.push_str("\\_"),
            letter => safe.push(letter),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_means_nothing_in_markdown() {
        assert_eq!(plain("a|b <i> [x] *y*"), "a\\|b &lt;i> \\[x\\] \\*y\\*");
    }
}
