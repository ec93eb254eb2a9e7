//! Limits on what a peer may send, and the rules for names.

use super::error::{InvalidInput, Problem};

/// The longest service name, pod name, service group, zone or source, in bytes.
///
/// Four times a DNS name. The limits keep a peer from making a store hold texts of
/// any size, or keys that other systems refuse.
pub const MAX_NAME_LEN: usize = 1_024;

/// The longest URL of a registration, in bytes.
pub const MAX_URL_LEN: usize = 8_192;

/// The maximum number of subscriptions of a registration.
pub const MAX_SUBSCRIPTIONS: usize = 4_096;

/// The maximum number of providers of a registration.
pub const MAX_PROVIDERS: usize = 256;

/// The longest name of a protocol, in bytes.
pub const MAX_PROTOCOL_LEN: usize = 64;

/// The longest DNS name of a provider's host, in bytes (RFC 1035).
pub const MAX_HOST_LEN: usize = 253;

/// The maximum number of metadata entries of a registration.
pub const MAX_METADATA: usize = 256;

/// The longest metadata key, in bytes.
pub const MAX_METADATA_KEY_LEN: usize = 256;

/// The longest metadata value, in bytes.
pub const MAX_METADATA_VALUE_LEN: usize = 4_096;

pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), InvalidInput> {
    refuse(field, name, problem_of_name(name))
}

/// Checks the name of a service. Groups of subscribers have such names, too.
pub(crate) fn check_service_name(field: &'static str, name: &str) -> Result<(), InvalidInput> {
    refuse(field, name, problem_of_service_name(name))
}

/// Returns whether a text holds a `:`, if it has 8 to [`MAX_NAME_LEN`] bytes and all of them are
/// visible ASCII; otherwise `None`. Looks at eight bytes at a time, so that a look-up that finds
/// nothing, which has to check its key, costs little more than one that finds a record.
#[inline]
pub(super) fn visible(text: &[u8]) -> Option<bool> {
    const ONES: u64 = u64::MAX / 0xFF;
    const HIGH: u64 = ONES * 0x80;
    let end = text.last_chunk().filter(|_| text.len() <= MAX_NAME_LEN)?;
    let (mut odd, mut others) = (0, HIGH);
    let mut look = |word: &[u8; 8]| {
        let word = u64::from_ne_bytes(*word);
        // The high bit of a byte tells that it is beyond `~`, or, by what it borrows, before
        // `!`. Only above such a byte may the bit be wrong.
        odd |= word | word.wrapping_add(ONES) | word.wrapping_sub(ONES * u64::from(b'!'));
        // Of ASCII, whose high bits are free: that it is no `:`.
        others &= (word ^ (ONES * u64::from(b':'))).wrapping_add(ONES * 0x7F);
    };
    let mut rest = text;
    while let Some((word, behind)) = rest.split_first_chunk() {
        look(word);
        rest = behind;
    }
    look(end);
    (odd & HIGH == 0).then_some(others & HIGH != HIGH)
}

pub(super) fn problem_of_service_name(name: &str) -> Option<Problem> {
    if visible(name.as_bytes()) == Some(false) {
        return None;
    }
    problem_of_name(name).or_else(|| name.find(':').map(|at| Problem::Colon { at }))
}

pub(super) fn problem_of_name(name: &str) -> Option<Problem> {
    problem_of_text(name, MAX_NAME_LEN)
}

/// Returns what is wrong with a name, or with another text that is displayed and
/// compared.
pub(super) fn problem_of_text(text: &str, max: usize) -> Option<Problem> {
    if text.is_empty() {
        return Some(Problem::Empty);
    }
    problem_of_length(text, max).or_else(|| problem_of_characters(text))
}

pub(super) fn problem_of_length(text: &str, max: usize) -> Option<Problem> {
    let len = text.len();
    (len > max).then_some(Problem::TooLong { len, max })
}

/// Returns what is wrong with a text for headers and logs, which may be empty.
pub(super) fn problem_of_line(text: &str, max: usize) -> Option<Problem> {
    problem_of_length(text, max).or_else(|| problem_of_control(text))
}

fn problem_of_control(text: &str) -> Option<Problem> {
    let control = text.char_indices().find(|(_, c)| c.is_control());
    control.map(|(at, _)| Problem::Control { at })
}

fn problem_of_characters(name: &str) -> Option<Problem> {
    // Most names are plain ASCII, which one pass over the bytes shows.
    if name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return None;
    }
    let is_padded = name.starts_with(char::is_whitespace) || name.ends_with(char::is_whitespace);
    problem_of_control(name).or_else(|| is_padded.then_some(Problem::Padded))
}

/// Checks the number of entries of a field.
pub(super) fn check_count(field: &'static str, len: usize, max: usize) -> Result<(), InvalidInput> {
    if len > max {
        let problem = Problem::TooMany { len, max };
        return Err(InvalidInput::new(field, &len.to_string(), problem));
    }
    Ok(())
}

pub(super) fn refuse(
    field: impl Into<std::borrow::Cow<'static, str>>,
    value: &str,
    problem: Option<Problem>,
) -> Result<(), InvalidInput> {
    problem.map_or(Ok(()), |problem| {
        Err(InvalidInput::new(field, value, problem))
    })
}
