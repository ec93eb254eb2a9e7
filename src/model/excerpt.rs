//! Shows untrusted input in errors and logs.

use std::fmt;

/// The maximum number of characters of an input that are shown, or kept in an
/// error.
const SHOWN: usize = 64;

/// The first 64 characters of an input, escaped.
pub(crate) struct Excerpt<'a> {
    text: &'a str,
    is_cut: bool,
}

impl<'a> Excerpt<'a> {
    pub(crate) fn new(text: &'a str) -> Excerpt<'a> {
        let end = text.char_indices().nth(SHOWN);
        Excerpt {
            text: end.map_or(text, |(end, _)| &text[..end]),
            is_cut: end.is_some(),
        }
    }

    /// Creates an excerpt from the text that another excerpt kept.
    pub(crate) fn from_parts(text: &'a str, is_cut: bool) -> Excerpt<'a> {
        Excerpt { text, is_cut }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    pub(crate) fn is_cut(&self) -> bool {
        self.is_cut
    }
}

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dots = if self.is_cut { "..." } else { "" };
        write!(f, "{:?}{dots}", self.text)
    }
}

/// Same as `Display`.
impl fmt::Debug for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
