//! The templates, and what fills them.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{AutoEscape, Environment, Value};

use crate::fault::Fault;

/// Each with its name, whose ending says how values are escaped.
const ALL: [(&str, &str); 5] = [
    ("page.html", include_str!("templates/page.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("page.css", include_str!("templates/page.css")),
    ("report.md", include_str!("templates/report.md")),
    ("readme.md", include_str!("templates/readme.md")),
];

static TEMPLATES: LazyLock<Result<Environment<'static>, String>> = LazyLock::new(|| {
    let mut templates = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    templates.set_syntax(syntax.map_err(|error| format!("{error:#}"))?);
    templates.set_auto_escape_callback(|name| match name.rsplit_once('.') {
        Some((_, "html")) => AutoEscape::Html,
        _ => AutoEscape::None,
    });
    templates.add_filter("md", |text: &str| markdown(text));
    for (name, text) in ALL {
        templates.add_template(name, text).map_err(|error| format!("{error:#}"))?;
    }
    Ok(templates)
});

/// Fills a template.
pub(crate) fn render(name: &str, values: Value) -> Result<String, Fault> {
    let templates = TEMPLATES.as_ref().map_err(Fault::new)?;
    let template = templates.get_template(name);
    let text = template.and_then(|template| template.render(values));
    text.map_err(|error| Fault::new(format!("{error:#}")).at(name))
}

/// A text that means nothing else in Markdown than what it says.
fn markdown(text: &str) -> String {
    let mut safe = String::new();
    for letter in text.chars() {
        match letter {
            '<' => safe.push_str("&lt;"),
            '&' => safe.push_str("&amp;"),
            '|' | '*' | '`' | '[' | ']' | '\\' | '#' => {
                safe.push('\\');
                safe.push(letter);
            }
            // Between letters it means nothing.
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
    fn every_template_is_well_formed() {
        assert_eq!(TEMPLATES.as_ref().err(), None);
    }

    #[test]
    fn a_text_means_nothing_in_markdown() {
        assert_eq!(markdown("a|b <i> [x] *y*"), "a\\|b &lt;i> \\[x\\] \\*y\\*");
    }
}
