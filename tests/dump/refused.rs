//! What is refused, with its line, and changes nothing.

use std::io::{self, BufReader, Read};

use service_registry::dump::{Error, Flaw};
use service_registry::{
    MAX_METADATA, MAX_METADATA_VALUE_LEN, MAX_NAME_LEN, MAX_PROVIDERS, MAX_SUBSCRIPTIONS,
    MAX_URL_LEN, MemoryStore, Problem, Provider, Registry, RegistryStore, ServiceInfo,
    ServiceRegistration,
};

use crate::files::{dumped, header, record, refused, sealed, side, something};
use crate::support::model::GROUPS;
use crate::support::{at, observe, pod};

/// The dump of another one.
fn another() -> Vec<u8> {
    let store = MemoryStore::new();
    for name in ["web", "api"] {
        let info = pod(name, "ü 1").with_source("etcd").unwrap();
        let info = info.with_health(service_registry::ServiceStatus::Healthy, at(3));
        store.save_service(info.unwrap()).unwrap();
    }
    store.add_subscription("web:1", "g").unwrap();
    store.add_subscription("web:2", "g").unwrap();
    dumped(&store)
}

fn line_of(file: &[u8], byte: usize) -> u64 {
    file[..byte].split(|byte| *byte == b'\n').count() as u64
}

#[test]
fn a_sealed_file_is_a_dump() {
    let (registry, _) = something();
    let file = sealed(&[&header(1, 1), &record("web", "1"), &side("x:1", "g")]);
    registry.restore(&file[..]).unwrap();
    assert_eq!(registry.get_subscribers("g").unwrap(), ["x:1"]);
}

#[test]
fn a_dump_that_is_cut_at_any_byte_is_refused() {
    let file = another();
    for end in 0..file.len() {
        let (line, flaw) = refused(&file[..end]);
        assert_eq!((line, flaw), (line_of(&file, end), Flaw::CutShort));
    }
}

/// At the line itself where it does not read any more; at the last line otherwise, which has the
/// checksum.
#[test]
fn a_dump_with_any_bit_flipped_is_refused() {
    let file = another();
    let last = line_of(&file, file.len() - 1);
    for at in 0..file.len() {
        let own = line_of(&file, at);
        for bit in 0..8 {
            let mut flipped = file.clone();
            flipped[at] ^= 1 << bit;
            let (line, flaw) = refused(&flipped[..]);
            assert!(
                (own..=last + 1).contains(&line),
                "byte {at} of line {own} is refused at {line}: {flaw:?}"
            );
        }
    }
}

#[test]
fn a_dump_with_any_byte_replaced_dropped_or_doubled_is_refused() {
    let file = another();
    for at in 0..file.len() {
        for byte in [b'\n', b'"', b'0', b' ', b'{', 0, 0xFF] {
            if file[at] != byte {
                let mut other = file.clone();
                other[at] = byte;
                refused(&other[..]);
            }
        }
        let mut less = file.clone();
        let byte = less.remove(at);
        refused(&less[..]);
        let mut more = file.clone();
        more.insert(at, byte);
        refused(&more[..]);
    }
}

#[test]
fn lines_that_are_swapped_dropped_or_doubled_are_refused() {
    let file = String::from_utf8(another()).unwrap();
    let lines: Vec<&str> = file.lines().collect();
    let join = |lines: &[&str]| lines.join("\n") + "\n";
    for at in 0..lines.len() {
        let mut less = lines.clone();
        less.remove(at);
        refused(join(&less).as_bytes());
        let mut more = lines.clone();
        more.insert(at, lines[at]);
        refused(join(&more).as_bytes());
        if at > 0 {
            let mut swapped = lines.clone();
            swapped.swap(at - 1, at);
            refused(join(&swapped).as_bytes());
        }
    }
}

#[test]
fn what_goes_on_behind_the_end_is_refused() {
    let file = another();
    let lines = line_of(&file, file.len());
    for more in ["\n", " ", "{}", "\0"] {
        let file = [&file[..], more.as_bytes()].concat();
        assert_eq!(refused(&file[..]), (lines, Flaw::GoesOn));
    }
    assert_eq!(refused(&file.repeat(2)[..]), (lines, Flaw::GoesOn));
}

#[test]
fn what_is_no_dump_is_refused_at_its_first_line() {
    assert_eq!(refused(io::empty()), (1, Flaw::CutShort));
    for text in ["\n", "hello\n", "{}\n", "[1]\n", "null\n", "\u{feff}{}\n"] {
        assert_eq!(refused(text.as_bytes()), (1, Flaw::NoDump), "{text:?}");
    }
    let other = br#"{"format":"another","version":1,"revision":0,"services":0,"subscriptions":0}"#;
    let other = [&other[..], b"\n"].concat();
    assert_eq!(refused(&other[..]), (1, Flaw::NoDump));
}

/// Whatever a later version has in its first line besides.
#[test]
fn a_later_version_is_refused_as_one() {
    for header in [
        r#"{"format":"service-registry","version":2}"#,
        r#"{"version":2,"format":"service-registry","services":"many","chunks":[{}]}"#,
    ] {
        let flaw = Flaw::Version { found: 2, known: 1 };
        assert_eq!(refused(&sealed(&[header])[..]), (1, flaw));
    }
    let old = sealed(&[r#"{"format":"service-registry","version":0}"#]);
    let flaw = Flaw::Version { found: 0, known: 1 };
    assert_eq!(refused(&old[..]), (1, flaw));
}

#[test]
fn a_million_levels_are_refused_at_their_line() {
    const LEVELS: usize = 1_000_000;
    let deep = "[".repeat(LEVELS) + &"]".repeat(LEVELS);
    let objects = r#"{"a":"#.repeat(LEVELS) + "1" + &"}".repeat(LEVELS);
    for deep in [deep, objects] {
        let record = record("web", "1").replacen('{', &format!("{{\"deep\":{deep},"), 1);
        let head = header(1, 1).replacen('{', &format!("{{\"deep\":{deep},"), 1);
        let sides = side("x:1", "g").replacen('{', &format!("{{\"deep\":{deep},"), 1);
        for (line, file) in [
            (1, sealed(&[&head])),
            (2, sealed(&[&header(1, 0), &record])),
            (2, sealed(&[&header(0, 1), &sides])),
            (2, sealed(&[&header(0, 0), &deep])),
        ] {
            let (found, _) = refused(&file[..]);
            assert_eq!(found, line);
        }
    }
}

/// The longest line that the limits allow reads back.
#[test]
fn the_largest_record_is_dumped_and_restored() {
    let name = |n: usize| format!("{n:-<4}{}", "\\".repeat(MAX_NAME_LEN - 4));
    let provider = |n: usize| {
        let protocol = "\"".repeat(64);
        let host = format!("{}.a{:0>59}", vec!["a".repeat(63); 3].join("."), n);
        Provider::new(
            protocol.into(),
            host.parse::<service_registry::Host>().unwrap(),
            65535,
        )
    };
    let metadata = (0..MAX_METADATA).map(|n| {
        // Control characters are six bytes each.
        (
            format!("{n:-<4}{}", "\\".repeat(252)),
            "\u{1}".repeat(MAX_METADATA_VALUE_LEN),
        )
    });
    let registration = ServiceRegistration {
        service_name: name(0),
        pod_name: name(1),
        providers: (0..MAX_PROVIDERS).map(provider).collect(),
        health_check_url: "\\".repeat(MAX_URL_LEN),
        notification_url: "\\".repeat(MAX_URL_LEN),
        subscriptions: (0..MAX_SUBSCRIPTIONS).map(name).collect(),
        zone: name(2),
        weight: u32::MAX,
        metadata: metadata.collect(),
    };
    let info = ServiceInfo::new(registration).unwrap();
    let info = info.with_source(&name(3)).unwrap();
    let store = MemoryStore::new();
    store.save_service(info.clone()).unwrap();
    let file = dumped(&store);
    assert!(file.len() > 14 << 20, "{} bytes", file.len());
    store.clear().unwrap();
    Registry::new(&store).restore(&file[..]).unwrap();
    assert_eq!(store.get_service(info.key()), Ok(info));
}

#[test]
fn what_no_store_can_hold_is_refused_at_its_line() {
    let twice = sealed(&[
        &header(3, 0),
        &record("a", "1"),
        &record("a", "2"),
        &record("a", "1"),
    ]);
    let (line, flaw) = refused(&twice[..]);
    assert_eq!(line, 4);
    let Flaw::Invalid(invalid) = flaw else {
        panic!("{flaw:?}");
    };
    assert_eq!(
        (invalid.value(), invalid.problem()),
        ("a:1", &Problem::Repeated)
    );
    for (subscriber, group, field) in [("nobody", "g", "key"), ("x:1", "g:h", "group")] {
        let file = sealed(&[&header(0, 2), &side("x:1", "g"), &side(subscriber, group)]);
        let (line, flaw) = refused(&file[..]);
        assert_eq!(line, 3);
        assert!(
            matches!(&flaw, Flaw::Invalid(invalid) if invalid.field() == field),
            "{flaw:?}"
        );
    }
    for (service, pod) in [
        ("a:b", "1"),
        ("", "1"),
        ("a", " 1"),
        ("a", &*"x".repeat(2_000)),
    ] {
        let file = sealed(&[&header(2, 0), &record("b", "1"), &record(service, pod)]);
        let (line, flaw) = refused(&file[..]);
        assert_eq!(line, 3);
        assert!(matches!(flaw, Flaw::Malformed { .. }), "{flaw:?}");
    }
}

#[test]
fn messages_show_little_of_what_came_from_outside() {
    let long = "\u{1b}[31m".repeat(100_000);
    for field in ["status", "weight", "providers", "metadata", "registered_at"] {
        let value = serde_json::to_string(&long).unwrap();
        let record = format!(r#"{{"service_name":"a","pod_name":"1","{field}":{value}}}"#);
        let (line, _) = refused(&sealed(&[&header(1, 0), &record])[..]);
        assert_eq!(line, 2);
    }
}

#[test]
fn a_reader_that_fails_is_told_and_one_that_dawdles_is_read() {
    struct Fails(Vec<u8>, usize);

    impl Read for Fails {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            match self.0.get(self.1) {
                // Interrupted before every byte, of which it hands out one at a time.
                Some(_) if self.1.is_multiple_of(2) && into[0] != b'!' => {
                    into[0] = b'!';
                    Err(io::ErrorKind::Interrupted.into())
                }
                Some(byte) => {
                    into[0] = *byte;
                    self.1 += 1;
                    Ok(1)
                }
                None => Err(io::Error::other("the disk is gone")),
            }
        }
    }

    let file = another();
    let (registry, before) = something();
    for cut in [0, 1, file.len() / 2, file.len()] {
        let error = registry.restore(Fails(file[..cut].into(), 0)).unwrap_err();
        assert!(matches!(error, Error::Io(_)), "{error}");
        assert_eq!(error.to_string(), "the disk is gone");
        assert_eq!(observe(registry.store(), GROUPS), before);
    }
    let dawdling = Fails(file.clone(), 0).take(file.len() as u64);
    registry.restore(dawdling).unwrap();
    registry.restore(BufReader::new(&file[..])).unwrap();
}
