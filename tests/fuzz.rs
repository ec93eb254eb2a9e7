//! Arbitrary bytes into everything that parses, and arbitrary programs of
//! operations into every store.
//!
//! One harness, two ways to run it. `cargo test --test fuzz` replays the files of
//! `tests/__fuzz__` and then draws random bytes, for a few seconds; a failure is
//! printed with the `BOLERO_RANDOM_SEED` that repeats it. `.ci/fuzz` runs the same
//! targets under libFuzzer, which follows the coverage, for as long as one likes, and
//! says why it is not `cargo bolero` that does. `docs/verification.md` has the commands.

// A build with fewer stores uses less of this file.
#![cfg_attr(
    not(all(
        feature = "thread-safe",
        feature = "worker",
        feature = "evmap",
        feature = "snapshot",
        feature = "versioned"
    )),
    allow(dead_code, unused_macros)
)]

#[macro_use]
mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// How long a target draws random input under `cargo test`, and how often at
/// most. `BOLERO_RANDOM_TEST_TIME_MS` and `BOLERO_RANDOM_ITERATIONS` go further.
const SHORT: Duration = Duration::from_millis(2_500);
const MOST: usize = 100_000;

/// Defines a fuzz target: a test that feeds a property with input of a type.
macro_rules! target {
    ($name:ident, $input:ty, $property:expr) => {
        #[test]
        fn $name() {
            crate::watched(|| {
                bolero::check!(name = stringify!($name))
                    .with_iterations(crate::MOST)
                    .with_test_time(crate::SHORT)
                    .with_max_len(1_024)
                    .with_arbitrary::<$input>()
                    .for_each($property);
            });
        }
    };
}

/// Runs a target under the watchdog, unless a fuzzer watches it.
fn watched(target: impl FnOnce() + Send + 'static) {
    if cfg!(fuzzing) || std::env::var_os("CARGO_BOLERO_SELECT").is_some() {
        return target();
    }
    let asked = std::env::var("BOLERO_RANDOM_TEST_TIME_MS").ok();
    let longer = asked.and_then(|time| time.parse().ok()).unwrap_or(0);
    support::within(support::PATIENCE + Duration::from_millis(longer), target);
}

/// Draws input as a target does, from a seed, until a property fails, which it
/// must; answers after how many tries.
#[track_caller]
fn found<T: for<'a> arbitrary::Arbitrary<'a>>(tries: usize, property: impl Fn(&T)) -> usize {
    use proptest::prelude::Rng;
    use proptest::test_runner::{RngAlgorithm, TestRng};
    let mut random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    for n in 0..tries {
        let mut bytes = vec![0; random.next_u32() as usize % 1_024];
        random.fill_bytes(&mut bytes);
        let input = T::arbitrary(&mut arbitrary::Unstructured::new(&bytes)).unwrap();
        if catch_unwind(AssertUnwindSafe(|| property(&input))).is_err() {
            return n;
        }
    }
    panic!("the fault was not found in {tries} inputs");
}

/// Texts in which names, keys and their mistakes are likely.
mod text {
    use arbitrary::{Result, Unstructured};
    use service_registry::MAX_NAME_LEN;

    const WORDS: &[&str] = &[
        "", ":", "::", "a", "b", "a:1", "b:2", ":a", "a:", "a:1:x", " ", "\0", "\u{202e}", "ü",
        "🦀", "http", "HTTP", "healthy", "Healthy", "unknown", "memory", "snapshot", "worker",
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
}

/// Names, keys and the other words that are read from text.
mod words {
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
            Ok(Two(super::text::any(u)?, super::text::any(u)?))
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
}

/// Documents that are read with serde.
#[cfg(feature = "serde")]
mod documents {
    use std::fmt::{Debug, Write as _};

    use arbitrary::{Arbitrary, Result, Unstructured};
    use serde_json::{from_slice, from_value, to_string, to_value, to_vec};
    use service_registry::{
        MAX_NAME_LEN, MemoryStore, Protocol, Provider, Registry, RegistryStore, ServiceInfo,
        ServiceKey, ServiceRegistration, ServiceStatus,
    };

    /// A text that is JSON, or nearly.
    struct Document(Vec<u8>);

    impl Debug for Document {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            let start = &self.0[..self.0.len().min(4_000)];
            write!(f, "{} bytes: {}", self.0.len(), start.escape_ascii())
        }
    }

    impl<'a> Arbitrary<'a> for Document {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Document> {
            let mut text = String::new();
            match u.int_in_range(0..=9)? {
                0 => return Ok(Document(u.bytes(u.len())?.to_vec())),
                1 => any(u, 4, &mut text)?,
                2 => text.push_str(
                    &u.choose(&["[", "{\"providers\":[", "{\"x\":"])?
                        .repeat(5_000),
                ),
                _ => record(u, &mut text)?,
            }
            let mut text = text.into_bytes();
            if u.ratio(1, 4)? {
                for _ in 0..u.int_in_range(1..=4)? {
                    damage(u, &mut text)?;
                }
            }
            Ok(Document(text))
        }
    }

    fn damage(u: &mut Unstructured<'_>, text: &mut Vec<u8>) -> Result<()> {
        let at = u.choose_index(text.len() + 1)?;
        match u.int_in_range(0..=3)? {
            0 => text.truncate(at),
            1 => text.insert(at, u.arbitrary()?),
            _ if at == text.len() => {}
            2 => text[at] = u.arbitrary()?,
            _ => drop(text.remove(at)),
        }
        Ok(())
    }

    const FIELDS: [&str; 13] = [
        "service_name",
        "pod_name",
        "providers",
        "health_check_url",
        "notification_url",
        "subscriptions",
        "status",
        "last_health_check",
        "registered_at",
        "source",
        "zone",
        "weight",
        "metadata",
    ];

    /// A record in which each field is mostly there and mostly right.
    fn record(u: &mut Unstructured<'_>, out: &mut String) -> Result<()> {
        out.push('{');
        for field in FIELDS {
            if u.ratio(1, 12)? {
                continue;
            }
            // Sometimes twice, or under a name that is not known.
            for _ in 0..=u8::from(u.ratio(1, 40)?) {
                let name = if u.ratio(1, 40)? { "other" } else { field };
                let _ = write!(out, "{}\"{name}\":", if out.len() > 1 { "," } else { "" });
                if u.ratio(1, 16)? {
                    any(u, 3, out)?;
                } else {
                    value(u, field, out)?;
                }
            }
        }
        out.push('}');
        Ok(())
    }

    fn value(u: &mut Unstructured<'_>, field: &str, out: &mut String) -> Result<()> {
        match field {
            "service_name" => string(u.choose(&["a", "ü", "a b", "", "a:b"])?, out),
            "pod_name" => string(u.choose(&["1", "2:x", "\0", ""])?, out),
            "zone" | "source" => string(u.choose(&["a", "etcd", " ", ""])?, out),
            "weight" => out.push_str(u.choose(&["0", "1", "4294967295", "-1"])?),
            "metadata" => {
                let value = u.choose(&["\"1\"", "\"\"", "1", "null"])?;
                let _ = write!(out, r#"{{"a":{value}}}"#);
            }
            "providers" => list(u, out, |u, out| {
                let host = *u.choose(&[
                    "10.0.0.1",
                    "::1",
                    "::ffff:1.2.3.4",
                    "1.2.3",
                    "fe80::1%1",
                    "smf-0.core.svc",
                    "a b",
                ])?;
                let name = *u.choose(&["host", "ip"])?;
                let port = *u.choose(&["0", "65535", "65536", "-1", "8e1", "80"])?;
                let protocol = *u.choose(&["http", "quic", "", "HTTP"])?;
                let _ = write!(
                    out,
                    r#"{{"protocol":"{protocol}","{name}":"{host}","port":{port}}}"#
                );
                Ok(())
            })?,
            "subscriptions" => list(u, out, |u, out| {
                string(&super::text::short(u)?, out);
                Ok(())
            })?,
            "status" => string(
                u.choose(&["healthy", "draining", "unknown", "Healthy"])?,
                out,
            ),
            "last_health_check" | "registered_at" if u.ratio(1, 2)? => string(
                u.choose(&[
                    "2026-01-31T12:00:00.5Z",
                    "1970-01-01T00:00:00Z",
                    "9999-12-31T23:59:59.999999999Z",
                    "9999-12-31T23:59:59-23:59",
                    "1969-12-31T23:59:59Z",
                    "2026-02-30T12:00:00Z",
                ])?,
                out,
            ),
            "last_health_check" | "registered_at" => {
                let seconds = *u.choose(&["0", "1700000000", "9223372036854775807", "-1"])?;
                let nanos = *u.choose(&["0", "999999999", "1000000000", "4294967295"])?;
                let _ = write!(
                    out,
                    r#"{{"secs_since_epoch":{seconds},"nanos_since_epoch":{nanos}}}"#
                );
            }
            _ => string(&super::text::short(u)?, out),
        }
        Ok(())
    }

    fn list(
        u: &mut Unstructured<'_>,
        out: &mut String,
        mut item: impl FnMut(&mut Unstructured<'_>, &mut String) -> Result<()>,
    ) -> Result<()> {
        out.push('[');
        for n in 0..u.int_in_range(0..=3)? {
            if n > 0 {
                out.push(',');
            }
            item(u, out)?;
        }
        out.push(']');
        Ok(())
    }

    fn string(text: &str, out: &mut String) {
        out.push_str(&to_string(text).unwrap());
    }

    /// Any JSON: fields twice, numbers of any size, escapes.
    fn any(u: &mut Unstructured<'_>, depth: u32, out: &mut String) -> Result<()> {
        const LITERALS: &[&str] = &[
            "null",
            "true",
            "0",
            "-0",
            "-1",
            "65535",
            "65536",
            "1.0",
            "1e400",
            "-1e-400",
            "1e999999999",
            "18446744073709551615",
            "18446744073709551616",
            "340282366920938463463374607431768211456",
            r#""\ud800""#,
            r#""\ud83e\udd80""#,
            r#""\u0000""#,
            r#""\x""#,
            "\"\n\"",
            "NaN",
            "[]",
            "{}",
        ];
        match u.int_in_range(0..=7)? {
            0..=2 => out.push_str(u.choose(LITERALS)?),
            3 => string(&super::text::any(u)?, out),
            _ if depth == 0 => out.push_str("[{}]"),
            4 => list(u, out, |u, out| any(u, depth - 1, out))?,
            5 => record(u, out)?,
            _ => {
                out.push('{');
                for n in 0..u.int_in_range(0..=4)? {
                    let comma = if n > 0 { "," } else { "" };
                    let _ = write!(out, "{comma}\"{}\":", u.choose(&FIELDS)?);
                    any(u, depth - 1, out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }

    target!(
        what_serde_reads_is_valid_and_comes_back,
        Document,
        |document| {
            let text = &document.0;
            round_trip::<ServiceStatus>(text);
            round_trip::<Protocol>(text);
            round_trip::<Provider>(text);
            if let Some(key) = round_trip::<ServiceKey>(text) {
                assert_eq!(key.parse(), Ok(key));
            }
            for registration in [
                round_trip::<ServiceRegistration>(text),
                round_trip::<Vec<ServiceRegistration>>(text).and_then(|mut all| all.pop()),
            ] {
                registration.iter().for_each(a_registration_is_checked);
            }
            if let Some(info) = round_trip::<ServiceInfo>(text) {
                is_valid(&info);
            }
        }
    );

    /// What was read is written and read again without a change, the second time
    /// as the first.
    fn round_trip<T>(text: &[u8]) -> Option<T>
    where
        T: serde::de::DeserializeOwned + serde::Serialize + PartialEq + Debug,
    {
        let read = match from_slice::<T>(text) {
            Ok(read) => read,
            Err(error) => {
                assert!(!error.to_string().is_empty());
                return None;
            }
        };
        let written = to_vec(&read).unwrap();
        let again: T = from_slice(&written).unwrap();
        assert_eq!(again, read);
        assert_eq!(to_vec(&again).unwrap(), written);
        assert_eq!(from_value::<T>(to_value(&read).unwrap()).unwrap(), read);
        Some(read)
    }

    #[test]
    fn a_field_that_is_lost_on_the_way_is_found() {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Forgetful {
            #[serde(default, skip_serializing)]
            health_check_url: String,
            status: ServiceStatus,
        }
        crate::found::<Document>(2_000, |document| {
            round_trip::<Forgetful>(&document.0);
        });
    }

    fn is_valid(info: &ServiceInfo) {
        let (service, pod) = (info.service_name(), info.pod_name());
        assert!(!service.is_empty() && service.len() <= MAX_NAME_LEN && !service.contains(':'));
        assert!(!pod.is_empty() && pod.len() <= MAX_NAME_LEN);
        for group in info.subscriptions() {
            assert!(!group.is_empty() && group.len() <= MAX_NAME_LEN);
        }
        assert_eq!(info.key(), &*format!("{service}:{pod}"));
        assert_eq!(info.key().parse(), Ok(info.key().clone()));
        let store = MemoryStore::new();
        store.save_service(info.clone()).unwrap();
        assert_eq!(store.get_service(info.key()).as_ref(), Ok(info));
    }

    fn a_registration_is_checked(registration: &ServiceRegistration) {
        let registry = Registry::new(MemoryStore::new());
        let registered = registry.register(registration.clone());
        match ServiceInfo::new(registration.clone()) {
            Ok(info) => {
                is_valid(&info);
                assert_eq!(info.registration(), registration);
                assert_eq!(registered.unwrap().registration(), registration);
                let read = round_trip::<ServiceInfo>(&to_vec(&info).unwrap());
                assert_eq!(read, Some(info));
            }
            Err(error) => {
                assert_eq!(registered, Err(error.clone()));
                assert!(registry.get_all_services().unwrap().is_empty());
                // And it is refused on the wire for the same reason.
                let mut wire = to_value(registration).unwrap();
                wire["registered_at"] = to_value(super::support::at(0)).unwrap();
                let refused = from_value::<ServiceInfo>(wire).unwrap_err();
                assert_eq!(refused.to_string(), error.to_string());
            }
        }
    }
}

/// Programs of operations.
mod programs {
    use arbitrary::{Arbitrary, Result, Unstructured};
    use service_registry::{
        Cause, Change, Expected, MemoryStore, OnForeign, RegistryStore, ServiceInfo, ServiceKey,
        ServiceStatus, StoreError,
    };

    use crate::support::model::{
        Answer, Failure, GROUPS, Model, Operation, PODS, SERVICES, ask, expect,
    };
    use crate::support::stores::Required;
    use crate::support::{State, at, observe, version};

    /// The operations of a program, and where in between the store is closed.
    #[derive(Debug)]
    pub(crate) struct Program {
        operations: Vec<Operation>,
        close_at: Option<usize>,
    }

    /// How many operations a program has at most.
    const LONGEST: usize = 48;

    impl<'a> Arbitrary<'a> for Program {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Program> {
            let close_at = u
                .ratio(1, 8)?
                .then(|| u.choose_index(LONGEST))
                .transpose()?;
            Ok(Program {
                operations: operations(u, Names::Few)?,
                close_at,
            })
        }
    }

    /// Which names the operations are about.
    #[derive(Clone, Copy)]
    pub(crate) enum Names {
        /// Those of the model, so that operations meet.
        Few,
        /// Texts that are as odd as can be.
        Odd,
    }

    pub(crate) fn operations(u: &mut Unstructured<'_>, names: Names) -> Result<Vec<Operation>> {
        let mut operations = Vec::new();
        while !u.is_empty() && operations.len() < LONGEST {
            operations.push(names.operation(u)?);
        }
        Ok(operations)
    }

    impl Names {
        fn service(self, u: &mut Unstructured<'_>) -> Result<String> {
            match self {
                Names::Few => Ok((*u.choose(&SERVICES)?).into()),
                Names::Odd => super::text::short(u),
            }
        }

        fn pod(self, u: &mut Unstructured<'_>) -> Result<String> {
            match self {
                Names::Few => Ok((*u.choose(&PODS)?).into()),
                Names::Odd => super::text::short(u),
            }
        }

        fn key(self, u: &mut Unstructured<'_>) -> Result<String> {
            match self {
                Names::Few if u.ratio(1, 20)? => {
                    Ok((*u.choose(&["", "a", ":1", "a:", ":", "c:1"])?).into())
                }
                Names::Few => Ok(format!("{}:{}", self.service(u)?, self.pod(u)?)),
                Names::Odd => super::text::short(u),
            }
        }

        fn group(self, u: &mut Unstructured<'_>) -> Result<String> {
            match self {
                Names::Few if u.ratio(1, 20)? => Ok(String::new()),
                Names::Few => Ok((*u.choose(GROUPS)?).into()),
                Names::Odd => super::text::short(u),
            }
        }

        fn record(self, u: &mut Unstructured<'_>) -> Result<ServiceInfo> {
            let (service, pod) = match self {
                Names::Few => (self.service(u)?, self.pod(u)?),
                Names::Odd => {
                    let (service, pod) = (self.service(u)?, self.pod(u)?);
                    // Whether that is a name is asked elsewhere.
                    match ServiceKey::new(&service, &pod) {
                        Ok(_) => (service, pod),
                        Err(_) => ("a".into(), "1".into()),
                    }
                }
            };
            let record = version(&service, &pod, u.int_in_range(0..=1)?);
            Ok(if u.arbitrary()? {
                record.with_health(status(u)?, moment(u)?).unwrap()
            } else {
                record
            })
        }

        fn change(self, u: &mut Unstructured<'_>) -> Result<Change> {
            Ok(match u.int_in_range(0..=14)? {
                0..=3 => Change::SaveService(self.record(u)?),
                4 | 5 => Change::DeleteService {
                    key: self.key(u)?.into(),
                },
                6 | 7 => Change::UpdateHealthStatus {
                    key: self.key(u)?.into(),
                    status: status(u)?,
                    checked_at: moment(u)?,
                },
                8..=11 => Change::AddSubscription {
                    subscriber_key: self.key(u)?.into(),
                    service_group: self.group(u)?.into(),
                },
                12 | 13 => Change::RemoveSubscription {
                    subscriber_key: self.key(u)?.into(),
                    service_group: self.group(u)?.into(),
                },
                _ => Change::RemoveAllSubscriptions {
                    subscriber_key: self.key(u)?.into(),
                },
            })
        }

        fn expected(u: &mut Unstructured<'_>) -> Result<Expected> {
            Ok(match u.int_in_range(0..=7)? {
                0 => Expected::Absent,
                1 | 2 => Expected::Present,
                3..=5 => Expected::Incarnation(u.int_in_range(0..=20)?.into()),
                _ => Expected::Revision(u.int_in_range(0..=20)?.into()),
            })
        }

        fn source(self, u: &mut Unstructured<'_>) -> Result<String> {
            match self {
                Names::Few => Ok((*u.choose(&["etcd", "file"])?).into()),
                Names::Odd => super::text::short(u),
            }
        }

        /// A change, a condition, or what a source has.
        fn change_of_batch(self, u: &mut Unstructured<'_>) -> Result<Change> {
            Ok(match u.int_in_range(0..=19)? {
                0..=10 => self.change(u)?,
                11 => Change::RegisterService(self.record(u)?),
                12 | 13 => Change::RemoveIf {
                    key: self.key(u)?.into(),
                    expected: Names::expected(u)?,
                    cause: Cause::Expired,
                },
                14 | 15 => Change::UpdateHealthIf {
                    key: self.key(u)?.into(),
                    expected: Names::expected(u)?,
                    status: status(u)?,
                    checked_at: moment(u)?,
                },
                16 => Change::Require {
                    key: self.key(u)?.into(),
                    expected: Names::expected(u)?,
                },
                17 => Change::RequireUnchangedSince {
                    revision: u.int_in_range(0..=20)?.into(),
                },
                _ => {
                    let len = u.int_in_range(0..=4)?;
                    let mut services: Vec<ServiceInfo> = Vec::new();
                    for _ in 0..len {
                        let record = self.record(u)?;
                        if services.iter().all(|other| other.key() != record.key()) {
                            services.push(record);
                        }
                    }
                    Change::ReplaceSource {
                        source: self.source(u)?.into(),
                        services,
                        on_foreign: *u.choose(&[OnForeign::Reject, OnForeign::Skip])?,
                    }
                }
            })
        }

        fn operation(self, u: &mut Unstructured<'_>) -> Result<Operation> {
            Ok(match u.int_in_range(0..=49)? {
                0..=21 => Operation::Change(self.change(u)?),
                22..=28 => {
                    let len = u.int_in_range(0..=7)?;
                    let changes = (0..len).map(|_| self.change_of_batch(u));
                    Operation::Commit(changes.collect::<Result<_>>()?)
                }
                29 | 30 => Operation::Swap(self.key(u)?, status(u)?, u.int_in_range(0..=2)?),
                31 | 32 => Operation::Take(self.key(u)?),
                33 => Operation::Get(self.key(u)?),
                34 => Operation::With(self.key(u)?),
                35 => Operation::Visit(self.key(u)?),
                36 => Operation::ByName(match self {
                    Names::Few => (*u.choose(&["a", "b", "c", "", "a:1"])?).into(),
                    Names::Odd => self.service(u)?,
                }),
                37 => Operation::All,
                38 => Operation::Subscribers(self.group(u)?),
                39 => Operation::SubscriberServices(self.group(u)?),
                40 => match u.int_in_range(0..=3)? {
                    0 => Operation::Stats,
                    1 => Operation::Revision,
                    2 => Operation::Ping,
                    _ => Operation::Clear,
                },
                41..=44 => {
                    let (service, pod) = (self.service(u)?, self.pod(u)?);
                    let len = u.int_in_range(0..=3)?;
                    let groups = (0..len).map(|_| match self {
                        Names::Few => Ok((*u.choose(GROUPS)?).into()),
                        Names::Odd => self.group(u),
                    });
                    Operation::Register(service, pod, groups.collect::<Result<_>>()?)
                }
                45..=47 => Operation::Unregister(self.service(u)?, self.pod(u)?),
                _ => Operation::Report(self.key(u)?, status(u)?),
            })
        }
    }

    fn status(u: &mut Unstructured<'_>) -> Result<ServiceStatus> {
        Ok(*u.choose(&[
            ServiceStatus::Healthy,
            ServiceStatus::Unhealthy,
            ServiceStatus::Unknown,
        ])?)
    }

    fn moment(u: &mut Unstructured<'_>) -> Result<std::time::SystemTime> {
        Ok(at(u.int_in_range(0..=2)?))
    }

    /// A question to this store is a round trip to another thread. On a busy
    /// machine it would leave the others time for hardly any program, so that it
    /// has targets of its own.
    const WORKER: &str = "WorkerStore";

    /// Whether everything is looked at after operation `n`.
    fn is_looked_at(store: &str, n: usize, operations: usize) -> bool {
        store != WORKER || n + 1 == operations
    }

    // --- against the model

    /// Runs a program on a store and on the model, and compares every answer and,
    /// after an operation, everything that can be asked. `watch` is shown the
    /// store and the state that the model expects.
    pub(crate) fn run<S: RegistryStore>(
        name: &str,
        store: &S,
        program: &Program,
        mut watch: impl FnMut(&S, &State),
    ) {
        let mut model = Model::default();
        for (n, operation) in program.operations.iter().enumerate() {
            if program.close_at == Some(n) {
                store.close().unwrap();
                model.closed = true;
            }
            let answer = ask(store, operation);
            let checked_at = |key: &str| store.get_service(key).ok()?.last_health_check();
            let expected = expect(&mut model, operation, &answer, checked_at);
            assert_eq!(answer, expected, "operation {n}, {operation:?}");
            assert_eq!(
                store.revision().as_u64(),
                model.revision,
                "the revision after operation {n}, {operation:?}"
            );
            if !model.closed && is_looked_at(name, n, program.operations.len()) {
                let state = model.state();
                assert_eq!(
                    observe(store, GROUPS),
                    state,
                    "after operation {n}, {operation:?}"
                );
                holds_nothing_else(store, &state);
                watch(store, &state);
            }
        }
    }

    fn holds_nothing_else(store: &impl RegistryStore, state: &State) {
        for service in SERVICES {
            for pod in PODS {
                let key = format!("{service}:{pod}");
                if !state.services.contains_key(&key) {
                    let expected = Err(StoreError::NotFound(key.as_str().into()));
                    assert_eq!(store.get_service(&key), expected);
                }
            }
            let held = store.get_services_by_name(service).unwrap().len();
            let expected = state.services.values();
            let expected = expected.filter(|info| info.service_name() == service);
            assert_eq!(held, expected.count(), "by the name {service}");
        }
    }

    fn run_on_one(name: &str, run: &dyn Fn()) {
        // The name goes before what the panic says.
        let _named = Named(name);
        run();
    }

    fn run_on_every_store(program: &Program) {
        run_on_one("MemoryStore", &|| {
            run("MemoryStore", &MemoryStore::new(), program, |_, _| ());
        });
        run_on_one("Required", &|| {
            run("Required", &Required::new(), program, |_, _| ());
        });
        macro_rules! run_on {
            ($feature:literal $module:ident $kind:ident $store:ident) => {
                #[cfg(feature = $feature)]
                if stringify!($store) != WORKER {
                    let name = stringify!($store);
                    run_on_one(name, &|| {
                        run(name, &service_registry::$store::new(), program, |_, _| ());
                    });
                }
            };
        }
        shared_stores!(run_on);
        #[cfg(any(feature = "snapshot", feature = "versioned"))]
        views::run_on_every_viewed_store(program);
    }

    /// Says on which store a program failed.
    struct Named<'a>(&'a str);

    impl Drop for Named<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!("on {}:", self.0);
            }
        }
    }

    target!(every_store_is_the_model, Program, run_on_every_store);

    #[cfg(feature = "worker")]
    mod worker {
        use service_registry::WorkerStore;

        use super::*;

        target!(a_worker_is_the_model, Program, |program| {
            run(WORKER, &WorkerStore::new(), program, |_, _| ());
        });

        target!(a_worker_answers_alike, Odd, |program| {
            answer_alike(WORKER, &MemoryStore::new(), &WorkerStore::new(), &program.0);
        });
    }

    #[cfg(any(feature = "snapshot", feature = "versioned"))]
    mod views {
        use super::*;
        use crate::support::observe_view;
        use crate::support::views::Views;

        /// Every view shows the state that it was taken of, now and later, also
        /// when the store has been closed.
        fn agree<S: Views>(
            program: &Program,
            name: &str,
            store: &S,
            snapshot: impl Fn(&S) -> S::View,
        ) {
            let mut reader = store.reader();
            let mut kept = vec![(snapshot(store), Model::default().state())];
            let mut commits = 0_usize;
            run(name, store, program, |store, state| {
                assert_eq!(observe_view(S::view(&mut reader), GROUPS), *state);
                // Others go, so that some of what has been replaced may be freed.
                commits += 1;
                if commits.is_multiple_of(3) {
                    kept.swap_remove(commits / 2 % kept.len());
                }
                kept.push((snapshot(store), state.clone()));
            });
            for (snapshot, state) in &kept {
                assert_eq!(observe_view(snapshot, GROUPS), *state);
            }
        }

        pub(super) fn run_on_every_viewed_store(program: &Program) {
            macro_rules! run_on {
                ($feature:literal $module:ident $store:ident $snapshot:ident $reader:ident) => {
                    #[cfg(feature = $feature)]
                    run_on_one(concat!("the views of ", stringify!($store)), &|| {
                        let store = service_registry::$store::new();
                        agree(program, stringify!($store), &store, Views::snapshot);
                    });
                };
            }
            viewed_stores!(run_on);
        }

        #[cfg(feature = "snapshot")]
        #[test]
        fn a_snapshot_of_another_state_is_found() {
            use service_registry::SnapshotStore;

            crate::found::<Program>(200, |program| {
                let store = SnapshotStore::new();
                agree(program, "SnapshotStore", &store, |store| {
                    match store.stats().unwrap().subscriptions {
                        2 => SnapshotStore::new().snapshot(),
                        _ => store.snapshot(),
                    }
                });
            });
        }
    }

    // --- against each other

    /// Operations on odd texts, which the model is not asked about.
    #[derive(Debug)]
    struct Odd(Vec<Operation>);

    impl<'a> Arbitrary<'a> for Odd {
        fn arbitrary(u: &mut Unstructured<'a>) -> Result<Odd> {
            operations(u, Names::Odd).map(Odd)
        }
    }

    /// What a store answers, with the moments that it took from the clock put in
    /// order, in the answer and in the store.
    fn ask_without_clock(
        store: &impl RegistryStore,
        operation: &Operation,
    ) -> std::result::Result<Answer, Failure> {
        let mut answer = ask(store, operation)?;
        if let (Operation::Register(..), Answer::Service(info)) = (operation, &mut answer) {
            *info = info.clone().with_registered_at(at(0)).unwrap();
            store.save_service(info.clone()).unwrap();
        }
        if let Operation::Report(key, status) = operation {
            // A report of that time would be late.
            let reported = store.get_service(key).unwrap();
            let reported = reported.with_health(*status, at(0)).unwrap();
            store.save_service(reported).unwrap();
        }
        Ok(answer)
    }

    fn every_group(operations: &[Operation]) -> Vec<&str> {
        fn of_change(change: &Change) -> Option<&str> {
            match change {
                Change::AddSubscription { service_group, .. }
                | Change::RemoveSubscription { service_group, .. } => Some(service_group),
                _ => None,
            }
        }
        let mut groups: Vec<&str> = Vec::new();
        for operation in operations {
            match operation {
                Operation::Change(change) => groups.extend(of_change(change)),
                Operation::Commit(changes) => groups.extend(changes.iter().filter_map(of_change)),
                Operation::Register(_, _, of) => groups.extend(of.iter().map(String::as_str)),
                Operation::Subscribers(of) | Operation::SubscriberServices(of) => groups.push(of),
                _ => {}
            }
        }
        groups.sort_unstable();
        groups.dedup();
        groups
    }

    pub(crate) fn answer_alike(
        name: &str,
        one: &impl RegistryStore,
        other: &impl RegistryStore,
        operations: &[Operation],
    ) {
        let groups = every_group(operations);
        for (n, operation) in operations.iter().enumerate() {
            let answers = (
                ask_without_clock(one, operation),
                ask_without_clock(other, operation),
            );
            assert_eq!(answers.0, answers.1, "operation {n}, {operation:?}");
            if is_looked_at(name, n, operations.len()) {
                let states = (observe(one, &groups), observe(other, &groups));
                assert_eq!(states.0, states.1, "after operation {n}, {operation:?}");
            }
        }
    }

    target!(stores_answer_alike, Odd, |program| {
        macro_rules! alike {
            ($feature:literal $module:ident $kind:ident $store:ident) => {
                #[cfg(feature = $feature)]
                if stringify!($store) != WORKER {
                    let name = stringify!($store);
                    let _named = Named(name);
                    let other = service_registry::$store::new();
                    answer_alike(name, &MemoryStore::new(), &other, &program.0);
                }
            };
        }
        shared_stores!(alike);
        answer_alike(
            "Required",
            &MemoryStore::new(),
            &Required::new(),
            &program.0,
        );
    });

    // --- stores with a fault

    mod faults {
        use std::cell::Cell;
        use std::time::SystemTime;

        use service_registry::{
            Batch, MemoryStore, RegistryStore, Result, Revision, ServiceInfo, ServiceKey,
            ServiceStatus, StoreStats,
        };

        use super::{Odd, Program, answer_alike, run};

        #[derive(Clone, Copy, Debug, PartialEq)]
        enum Fault {
            /// The last subscriber of a group cannot leave it.
            LastStays,
            /// A subscription is lost if it is made right after the subscriber was
            /// deleted, which came right after an update of its health.
            RareSequence,
            /// A batch that is rejected for its third change applies the first.
            HalfABatch,
        }

        /// A `MemoryStore` with a fault.
        struct Faulty {
            inner: MemoryStore,
            fault: Fault,
            /// How far the rare sequence has come.
            sequence: Cell<u8>,
        }

        impl Faulty {
            fn new(fault: Fault) -> Faulty {
                Faulty {
                    inner: MemoryStore::new(),
                    fault,
                    sequence: Cell::new(0),
                }
            }

            /// Notes a step of the sequence, and tells whether this completes it.
            fn comes(&self, step: u8) -> bool {
                let follows = step == 1 || self.sequence.get() + 1 == step;
                self.sequence.set(if follows { step } else { 0 });
                self.fault == Fault::RareSequence && follows && step == 3
            }
        }

        impl RegistryStore for Faulty {
            forward_required!(reads self => self.inner);
            fn revision(&self) -> Revision {
                self.inner.revision()
            }
            fn commit(&self, batch: Batch) -> Result<Revision> {
                let first = batch.changes().first().cloned();
                let committed = self.inner.commit(batch);
                if let Err(service_registry::StoreError::BatchRejected { index: 2, .. }) =
                    &committed
                    && self.fault == Fault::HalfABatch
                {
                    let half: Batch = first.into_iter().collect();
                    let _ = self.inner.commit(half);
                }
                committed
            }
            fn save_service(&self, service: ServiceInfo) -> Result<()> {
                self.comes(0);
                self.inner.save_service(service)
            }
            fn delete_service(&self, key: &str) -> Result<()> {
                let deleted = self.inner.delete_service(key);
                self.comes(if deleted.is_ok() { 2 } else { 0 });
                deleted
            }
            fn update_health_status(
                &self,
                key: &str,
                status: ServiceStatus,
                checked_at: SystemTime,
            ) -> Result<service_registry::HealthUpdate> {
                let updated = self.inner.update_health_status(key, status, checked_at);
                self.comes(u8::from(updated.is_ok()));
                updated
            }
            fn take_service(&self, key: &str) -> Result<ServiceInfo> {
                self.inner.take_service(key)
            }
            fn add_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
                if self.comes(3) {
                    return Ok(());
                }
                self.inner.add_subscription(subscriber_key, service_group)
            }
            fn remove_subscription(&self, subscriber_key: &str, service_group: &str) -> Result<()> {
                self.comes(0);
                if self.fault == Fault::LastStays
                    && self.inner.get_subscribers(service_group)?.len() == 1
                {
                    return Ok(());
                }
                self.inner
                    .remove_subscription(subscriber_key, service_group)
            }
            fn remove_all_subscriptions(&self, subscriber_key: &str) -> Result<()> {
                self.comes(0);
                self.inner.remove_all_subscriptions(subscriber_key)
            }
            fn clear(&self) -> Result<()> {
                self.inner.clear()
            }
            fn close(&self) -> Result<()> {
                self.inner.close()
            }
        }

        #[test]
        fn a_store_with_a_fault_is_found_by_the_model() {
            for fault in [Fault::LastStays, Fault::RareSequence, Fault::HalfABatch] {
                let tries = crate::found::<Program>(5_000, |program| {
                    run("Faulty", &Faulty::new(fault), program, |_, _| ());
                });
                println!("{fault:?}: program {tries}");
            }
        }

        #[test]
        fn a_store_with_a_fault_is_found_by_another_store() {
            // The rare sequence takes four names in a row that are accepted, and odd ones
            // seldom are.
            for fault in [Fault::LastStays, Fault::HalfABatch] {
                let tries = crate::found::<Odd>(5_000, |program| {
                    let faulty = Faulty::new(fault);
                    answer_alike("Faulty", &MemoryStore::new(), &faulty, &program.0);
                });
                println!("{fault:?}: program {tries}");
            }
        }
    }
}
