//! Names, keys and the other words that are read from text.

use std::borrow::Borrow;
use std::collections::hash_map::RandomState;
use std::fmt::Display;
use std::hash::BuildHasher;
use std::str::FromStr;

use arbitrary::{Arbitrary, Result, Unstructured};
use service_registry::{
    MAX_NAME_LEN, Problem, Protocol, ServiceKey, ServiceStatus, StoreError, StoreKind,
};

#[derive(Debug)]
struct Two(String, String);

impl<'a> Arbitrary<'a> for Two {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Two> {
        Ok(Two(crate::text::any(u)?, crate::text::any(u)?))
    }
}

target!(words_are_read_as_they_are_written, Two, |two| {
    a_key_is_read(&two.0, str::parse);
    a_key_is_joined(&two.0, &two.1);
    keys_compare_as_their_texts(&two.0, &two.1);
    a_protocol_is_kept(&two.0, &two.1);
    is_one_of(
        &two.0,
        &[
            ServiceStatus::Healthy,
            ServiceStatus::Unhealthy,
            ServiceStatus::Unknown,
            ServiceStatus::Draining,
        ],
    );
    is_one_of(&two.0, StoreKind::ALL);
});

fn problem_of_a_name(name: &str) -> Option<Problem> {
    let (len, max) = (name.len(), MAX_NAME_LEN);
    if len > max {
        return Some(Problem::TooLong { len, max });
    }
    if let Some(at) = name.find(char::is_control) {
        return Some(Problem::Control { at });
    }
    (name.trim() != name).then_some(Problem::Padded)
}

/// What the documentation says of a key, the other way round.
fn problem_of_a_key(text: &str) -> Option<Problem> {
    if text.is_empty() {
        return Some(Problem::Empty);
    }
    let Some(colon) = text.bytes().position(|byte| byte == b':') else {
        return Some(Problem::NoColon);
    };
    if colon == 0 {
        Some(Problem::NoService)
    } else if colon + 1 == text.len() {
        Some(Problem::NoPod)
    } else {
        let pod = || problem_of_a_name(&text[colon + 1..]);
        problem_of_a_name(&text[..colon]).or_else(pod)
    }
}

/// Checks that an input was refused for this reason, and that the message
/// says so in a line that can go to a log.
#[track_caller]
fn refused(error: &StoreError, field: &str, value: &str, problem: &Problem) {
    let StoreError::Invalid(invalid) = error else {
        panic!("not refused as invalid: {error:?}");
    };
    assert_eq!((invalid.field(), invalid.problem()), (field, problem));
    let told: String = value.chars().take(64).collect();
    assert!(invalid.value() == told, "the error tells of another value");
    let message = error.to_string();
    assert!(message.contains(field), "{message}");
    assert!(message.contains(&problem.to_string()), "{message}");
    assert!(!message.contains(char::is_control), "{message:?}");
    // 64 characters of the value, each escaped, and some words.
    assert!(message.len() < 64 * 12 + 400, "{} bytes", message.len());
}

type Parse = fn(&str) -> std::result::Result<ServiceKey, StoreError>;

fn a_key_is_read(text: &str, parse: Parse) {
    match (parse(text), problem_of_a_key(text)) {
        (Ok(key), None) => {
            assert_eq!((&*key, key.as_str()), (text, text));
            assert_eq!(key.to_string(), text);
            let (service, pod) = (key.service_name(), key.pod_name());
            assert!(!service.contains(':'));
            assert_eq!(format!("{service}:{pod}"), text);
            assert_eq!(ServiceKey::new(service, pod), Ok(key.clone()));
            assert_eq!(ServiceKey::try_from(text), Ok(key));
        }
        (Err(error), Some(problem)) => refused(&error, "key", text, &problem),
        (read, expected) => panic!("{read:?} where {expected:?} was expected"),
    }
}

fn a_key_is_joined(service: &str, pod: &str) {
    let (field, value, problem) = if service.is_empty() {
        ("service_name", service, Some(Problem::Empty))
    } else if let Some(problem) = problem_of_a_name(service) {
        ("service_name", service, Some(problem))
    } else if let Some(at) = service.find(':') {
        ("service_name", service, Some(Problem::Colon { at }))
    } else if pod.is_empty() {
        ("pod_name", pod, Some(Problem::Empty))
    } else {
        ("pod_name", pod, problem_of_a_name(pod))
    };
    match (ServiceKey::new(service, pod), problem) {
        (Ok(key), None) => {
            assert_eq!((key.service_name(), key.pod_name()), (service, pod));
            assert_eq!(key.parse(), Ok(key));
        }
        (Err(error), Some(problem)) => refused(&error, field, value, &problem),
        (read, expected) => panic!("{read:?} where {expected:?} was expected"),
    }
}

fn keys_compare_as_their_texts(one: &str, other: &str) {
    let (Ok(a), Ok(b)) = (one.parse::<ServiceKey>(), other.parse::<ServiceKey>()) else {
        return;
    };
    assert_eq!(a == b, one == other);
    assert_eq!(a.cmp(&b), one.cmp(other));
    let hasher = RandomState::new();
    assert_eq!(hasher.hash_one(&a), hasher.hash_one(one));
    assert_eq!(Borrow::<str>::borrow(&b), other);
}

fn a_protocol_is_kept(one: &str, other: &str) {
    let read = Protocol::from(one);
    assert_eq!((read.as_str(), &*read.to_string()), (one, one));
    assert_eq!(read, Protocol::from(one.to_owned()));
    assert_eq!(Ok(&read), one.parse().as_ref());
    assert_eq!(read == Protocol::from(other), one == other);
    assert_eq!(read.cmp(&Protocol::from(other)), one.cmp(other));
    let by_hand = Protocol::Other(one.into());
    let hasher = RandomState::new();
    assert_eq!(hasher.hash_one(&read), hasher.hash_one(&by_hand));
    let known = ["http", "tcp", "pfcp", "gtp", "udp"].contains(&one);
    assert_eq!(!matches!(read, Protocol::Other(_)), known);
}

#[test]
fn a_parser_with_a_fault_is_found() {
    let trims: Parse = |text| text.trim().parse();
    let stops_at_the_second_colon: Parse = |text| {
        let end = text.match_indices(':').nth(1).filter(|&(at, _)| at > 2);
        text[..end.map_or(text.len(), |(at, _)| at)].parse()
    };
    let one_byte_short: Parse = |text| match text.split_once(':') {
        Some((_, pod)) if pod.len() == MAX_NAME_LEN => format!("{text}x").parse(),
        _ => text.parse(),
    };
    for parse in [trims, stops_at_the_second_colon, one_byte_short] {
        crate::found::<Two>(2_000, |two| a_key_is_read(&two.0, parse));
    }
}

/// A text is read as the value that is written so, or refused.
fn is_one_of<T>(text: &str, all: &[T])
where
    T: FromStr<Err = StoreError> + Display + Copy + PartialEq + std::fmt::Debug,
{
    let expected = all.iter().find(|value| value.to_string() == text);
    match text.parse::<T>() {
        Ok(read) => assert_eq!(Some(&read), expected),
        Err(error) => {
            assert_eq!(expected, None, "{text:?} was refused");
            let StoreError::Invalid(invalid) = &error else {
                panic!("not refused as invalid: {error:?}");
            };
            refused(&error, invalid.field(), text, invalid.problem());
        }
    }
}
