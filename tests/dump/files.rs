//! Dumps that are made by hand, and what becomes of them.

use std::io::Read;

use service_registry::dump::{Error, Flaw};
use service_registry::{MemoryStore, Registry, RegistryStore};

use crate::support::model::GROUPS;
use crate::support::{ObservedState, fill_store, observe};

/// The text of a dump.
pub(crate) fn dumped(store: &impl RegistryStore) -> Vec<u8> {
    let mut file = Vec::new();
    Registry::new(store).dump(&mut file).unwrap();
    file
}

/// A store with something in it, and what that is.
pub(crate) fn something() -> (Registry<MemoryStore>, ObservedState) {
    let store = MemoryStore::new();
    fill_store(&store);
    let state = observe(&store, GROUPS);
    (Registry::new(store), state)
}

/// Restores, which must be refused and change nothing; answers with the line, and why.
#[track_caller]
pub(crate) fn refused(reader: impl Read) -> (u64, Flaw) {
    let (registry, before) = something();
    let error = registry.restore(reader).unwrap_err();
    assert_eq!(observe(registry.store(), GROUPS), before);
    assert_is_short(&error);
    let line = error.line();
    match error {
        Error::Refused { line: at, flaw } => {
            assert_eq!(line, Some(at));
            (at, flaw)
        }
        other => panic!("{other}"),
    }
}

/// What came from outside does not get into a log as it is.
fn assert_is_short(error: &Error) {
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(shown.len() < 700, "{shown}");
        assert!(!shown.contains(char::is_control), "{shown}");
    }
    assert!(error.to_string().starts_with("line "), "{error}");
}

/// Lines with a last line that fits them.
pub(crate) fn sealed(lines: &[&str]) -> Vec<u8> {
    let mut file = String::new();
    for line in lines {
        file.push_str(line);
        file.push('\n');
    }
    let sum = crc32fast::hash(file.as_bytes());
    let count = lines.len();
    format!("{file}{{\"lines\":{count},\"crc32\":\"{sum:08x}\"}}\n").into_bytes()
}

pub(crate) fn header(services: u64, subscriptions: u64) -> String {
    format!(
        "{{\"format\":\"service-registry\",\"version\":1,\"revision\":9,\
         \"services\":{services},\"subscriptions\":{subscriptions}}}"
    )
}

pub(crate) fn record(service: &str, pod: &str) -> String {
    format!(
        r#"{{"service_name":"{service}","pod_name":"{pod}","registered_at":"2026-01-31T12:00:00Z"}}"#
    )
}

pub(crate) fn side(subscriber: &str, group: &str) -> String {
    format!(r#"{{"subscriber":"{subscriber}","group":"{group}"}}"#)
}
