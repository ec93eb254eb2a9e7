//! The format of values in etcd: the JSON of a [`ServiceInfo`], with the version of the format.
//!
//! ```json
//! {"version": 1, "service_name": "web", "pod_name": "pod-1", "providers": [], ...,
//!  "status": "healthy", "last_health_check": "2026-01-31T12:00:00Z",
//!  "registered_at": "2026-01-31T11:00:00Z"}
//! ```
//!
//! `service_name`, `pod_name` and `registered_at` are required. Other missing fields take their
//! defaults; a missing version is 1. Unknown fields are ignored. A change that readers of version 1
//! would misread gets a new version.

use std::fmt;

use serde::{Deserialize, Serialize};
use service_registry::{ServiceInfo, ServiceKey};

use crate::keys::BadKey;

/// The version that this crate writes and reads.
pub const VERSION: u64 = 1;

/// Why a key or its value was set aside. `Display` shows no value.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unreadable {
    /// The key does not name a pod.
    Key(BadKey),
    /// The value has a version that this crate does not know.
    Version(u64),
    /// The value is not JSON, or not the JSON of a pod; the error is at this line and column.
    Value {
        /// Counted from 1; 0 if the error has no position in the text.
        line: usize,
        /// Counted from 1.
        column: usize,
    },
    /// The value names another pod than the key.
    OtherPod,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Key(bad) => bad.fmt(f),
            Unreadable::Version(version) => {
                write!(
                    f,
                    "the value is of version {version}, and {VERSION} is known"
                )
            }
            Unreadable::Value { line, column } => {
                write!(f, "the value is no pod, in line {line}, column {column}")
            }
            Unreadable::OtherPod => f.write_str("the value is that of another pod than the key"),
        }
    }
}

impl From<serde_json::Error> for Unreadable {
    fn from(error: serde_json::Error) -> Unreadable {
        Unreadable::Value {
            line: error.line(),
            column: error.column(),
        }
    }
}

#[derive(Serialize)]
struct ValueFields<'a> {
    version: u64,
    #[serde(flatten)]
    pod: &'a ServiceInfo,
}

/// The beginning of every value that this crate writes.
const CURRENT_VERSION_START: &[u8] = br#"{"version":1,"#;

/// The field that is read first, if a value does not start with `CURRENT_VERSION_START`.
#[derive(Deserialize)]
struct VersionField {
    #[serde(default = "version")]
    version: u64,
}

const fn version() -> u64 {
    VERSION
}

/// Encodes a pod as a value. Leaves out its source, which has a meaning only in one store.
#[allow(clippy::missing_panics_doc)] // Nothing in a record fails to serialize.
pub fn encode(pod: &ServiceInfo) -> Vec<u8> {
    let written = ValueFields {
        version: VERSION,
        pod,
    };
    let text = if pod.source().is_none() {
        serde_json::to_vec(&written)
    } else {
        serde_json::to_value(&written).and_then(|value| serde_json::to_vec(&without_source(value)))
    };
    text.expect("a record has texts for keys, and nothing in it fails to serialize")
}

/// The pod that a value is of, without a source.
///
/// # Errors
///
/// [`Unreadable`], saying why.
pub fn decode(key: &ServiceKey, value: &[u8]) -> Result<ServiceInfo, Unreadable> {
    if !value.starts_with(CURRENT_VERSION_START) {
        let field: VersionField = serde_json::from_slice(value)?;
        if field.version != VERSION {
            return Err(Unreadable::Version(field.version));
        }
    }
    let mut pod: ServiceInfo = serde_json::from_slice(value)?;
    if pod.source().is_some() {
        pod = serde_json::from_value(without_source(serde_json::from_slice(value)?))?;
    }
    if pod.key() != key {
        return Err(Unreadable::OtherPod);
    }
    Ok(pod)
}

fn without_source(mut value: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = value.as_object_mut() {
        fields.remove("source");
    }
    value
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use service_registry::{Protocol, Provider, ServiceRegistration, ServiceStatus};

    use super::*;

    fn pod() -> ServiceInfo {
        let registration = ServiceRegistration::new("web", "pod/1 ü")
            .with_provider(Provider::new(Protocol::Http, [10, 0, 0, 7], 80))
            .with_metadata("a", "b");
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let pod = ServiceInfo::new(registration).unwrap();
        let pod = pod.with_registered_at(at).unwrap();
        pod.with_health(ServiceStatus::Draining, at).unwrap()
    }

    #[test]
    fn a_pod_comes_back_without_its_source() {
        let owned = pod().with_source("file").unwrap();
        for value in [encode(&pod()), encode(&owned)] {
            assert!(!String::from_utf8_lossy(&value).contains("source"));
            assert_eq!(decode(pod().key(), &value).unwrap(), pod());
        }
        let named = serde_json::to_vec(&owned).unwrap();
        assert_eq!(decode(pod().key(), &named).unwrap(), pod());
    }

    #[test]
    fn the_format_is_as_it_is() {
        let value = String::from_utf8(encode(&pod())).unwrap();
        assert!(value.as_bytes().starts_with(CURRENT_VERSION_START));
        assert_eq!(
            value,
            concat!(
                r#"{"version":1,"service_name":"web","pod_name":"pod/1 ü","#,
                r#""providers":[{"protocol":"http","host":"10.0.0.7","port":80}],"health_check_url":"","#,
                r#""notification_url":"","subscriptions":[],"zone":"","weight":1,"#,
                r#""metadata":{"a":"b"},"status":"draining","#,
                r#""last_health_check":"2023-11-14T22:13:20Z","#,
                r#""registered_at":"2023-11-14T22:13:20Z"}"#,
            )
        );
    }

    #[test]
    fn what_cannot_be_read_says_why_and_shows_no_value() {
        let key = pod().key().clone();
        let of = |value: &[u8]| decode(&key, value).unwrap_err();
        let secret = br#"{"service_name": "hunter2", "pod_name": 7}"#;
        for value in [
            &b""[..],
            b"hunter2",
            b"[]",
            b"{\"a\":",
            b"\xff\xfe",
            secret,
            b"{}",
        ] {
            let unreadable = of(value);
            assert!(
                matches!(unreadable, Unreadable::Value { .. }),
                "{unreadable:?}"
            );
            assert!(!format!("{unreadable} {unreadable:?}").contains("hunter2"));
        }
        assert_eq!(of(br#"{"version": 2, "new": []}"#), Unreadable::Version(2));
        let other = ServiceInfo::new(ServiceRegistration::new("web", "2")).unwrap();
        assert_eq!(of(&encode(&other)), Unreadable::OtherPod);
        // As deep as one likes.
        let deep = "[".repeat(1_400_000);
        assert!(matches!(of(deep.as_bytes()), Unreadable::Value { .. }));
    }

    #[test]
    fn a_value_of_a_newer_writer_is_read() {
        let text = br#"{"service_name":"web","pod_name":"1","registered_at":"2023-11-14T22:13:20Z",
            "status":"resting","colour":["blue"]}"#;
        let read = decode(&ServiceKey::new("web", "1").unwrap(), text).unwrap();
        assert_eq!((read.status(), read.weight()), (ServiceStatus::Unknown, 1));
    }
}
