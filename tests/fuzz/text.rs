//! Texts in which names, keys and their mistakes are likely.

use arbitrary::{Result, Unstructured};
use service_registry::MAX_NAME_LEN;

const WORDS: &[&str] = &[
    "", ":", "::", "a", "b", "a:1", "b:2", ":a", "a:", "a:1:x", " ", "\0", "\u{202e}", "ü", "🦀",
    "http", "HTTP", "healthy", "Healthy", "unknown", "memory", "snapshot", "worker",
];

/// Mostly short; now and then as long as a name may be, give or take some
/// bytes, of characters of one to four bytes.
pub(crate) fn any(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(match u.int_in_range(0..=9)? {
        0..=2 => (*u.choose(WORDS)?).into(),
        3 => format!("{}{}", u.choose(WORDS)?, u.choose(WORDS)?),
        4 | 5 => format!("{}:{}", u.choose(WORDS)?, u.choose(WORDS)?),
        6 => long(u)?,
        7 => format!("{}:{}", long(u)?, u.choose(WORDS)?),
        8 => format!("{}:{}", u.choose(WORDS)?, long(u)?),
        _ => {
            let len = u.int_in_range(0..=20)?;
            (0..len)
                .map(|_| u.arbitrary::<char>())
                .collect::<Result<_>>()?
        }
    })
}

fn long(u: &mut Unstructured<'_>) -> Result<String> {
    let letter = *u.choose(&["x", "ü", "€", "🦀"])?;
    let len = MAX_NAME_LEN - 4 + u.int_in_range(0..=8)?;
    let mut text = letter.repeat(len / letter.len());
    text.push_str(&"y".repeat(len % letter.len()));
    Ok(text)
}

/// Short texts, so that the same ones meet again.
pub(crate) fn short(u: &mut Unstructured<'_>) -> Result<String> {
    Ok(if u.ratio(1, 40)? {
        any(u)?
    } else {
        (*u.choose(&[
            "a", "b", "a:1", "a:2", "b:1", "", ":", "::", ":a", "a:", "::a",
        ])?)
        .into()
    })
}
