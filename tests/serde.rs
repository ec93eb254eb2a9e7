//! The form of the records on the wire.

#![cfg(feature = "serde")]

mod support;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use serde_json::{Value, from_str, from_value, json, to_string, to_value};
use service_registry::changes::{Cursor, Selection};
use service_registry::{
    MAX_NAME_LEN, MemoryStore, Protocol, Provider, Registry, RegistryStore, ServiceInfo,
    ServiceKey, ServiceRegistration, ServiceStatus,
};
use support::{at, registration};

/// Reads `value`, which must be refused, and answers why.
#[track_caller]
fn refused<T: serde::de::DeserializeOwned + std::fmt::Debug>(value: Value) -> String {
    from_value::<T>(value).unwrap_err().to_string()
}

fn full() -> ServiceRegistration {
    ServiceRegistration {
        service_name: "smf".into(),
        pod_name: "smf-0".into(),
        providers: vec![
            Provider {
                protocol: Protocol::Pfcp,
                host: "10.0.0.7".parse().unwrap(),
                port: 8805,
            },
            Provider {
                protocol: Protocol::Other("quic".into()),
                host: "2001:db8::1".parse().unwrap(),
                port: 0,
            },
            Provider {
                protocol: Protocol::Http,
                host: "smf-0.core.svc".parse().unwrap(),
                port: 80,
            },
        ],
        health_check_url: "http://smf-0/health".into(),
        notification_url: "http://smf-0/notify".into(),
        subscriptions: vec!["upf".into(), "amf".into()],
        zone: "eu-1a".into(),
        weight: 7,
        metadata: BTreeMap::from([("version".into(), "1.4.2".into())]),
    }
}

fn full_json() -> Value {
    json!({
        "service_name": "smf",
        "pod_name": "smf-0",
        "providers": [
            { "protocol": "pfcp", "host": "10.0.0.7", "port": 8805 },
            { "protocol": "quic", "host": "2001:db8::1", "port": 0 },
            { "protocol": "http", "host": "smf-0.core.svc", "port": 80 },
        ],
        "health_check_url": "http://smf-0/health",
        "notification_url": "http://smf-0/notify",
        "subscriptions": ["upf", "amf"],
        "zone": "eu-1a",
        "weight": 7,
        "metadata": { "version": "1.4.2" },
    })
}

// --- registrations

#[test]
fn a_registration_has_exactly_these_names() {
    assert_eq!(to_value(full()).unwrap(), full_json());
    assert_eq!(
        from_value::<ServiceRegistration>(full_json()).unwrap(),
        full()
    );
}

#[test]
fn the_fields_stand_in_the_order_of_the_record() {
    let text = to_string(&full()).unwrap();
    let places: Vec<_> = [
        "service_name",
        "pod_name",
        "providers",
        "health_check_url",
        "notification_url",
        "subscriptions",
        "zone",
        "weight",
        "metadata",
    ]
    .map(|field| text.find(&format!("\"{field}\":")).unwrap())
    .into();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn a_missing_field_has_its_default() {
    let read: ServiceRegistration = from_str("{}").unwrap();
    assert_eq!(read, ServiceRegistration::default());
    for field in full_json().as_object().unwrap().keys() {
        let mut partial = full_json();
        partial.as_object_mut().unwrap().remove(field);
        let read: ServiceRegistration = from_value(partial).unwrap();
        let mut expected = full();
        match field.as_str() {
            "service_name" => expected.service_name.clear(),
            "pod_name" => expected.pod_name.clear(),
            "providers" => expected.providers.clear(),
            "health_check_url" => expected.health_check_url.clear(),
            "notification_url" => expected.notification_url.clear(),
            "subscriptions" => expected.subscriptions.clear(),
            "zone" => expected.zone.clear(),
            "weight" => expected.weight = 1,
            "metadata" => expected.metadata.clear(),
            other => panic!("a field that is not documented: {other}"),
        }
        assert_eq!(read, expected);
    }
}

#[test]
fn a_registration_of_the_wrong_shape_is_refused_and_says_why() {
    let message = refused::<ServiceRegistration>(json!({ "service_name": 7 }));
    assert!(message.contains("invalid type: integer `7`"), "{message}");
    let message = refused::<ServiceRegistration>(json!({ "subscriptions": "upf" }));
    assert!(message.contains("expected a sequence"), "{message}");
}

#[test]
fn names_that_are_spelt_otherwise_are_not_read() {
    // The names are snake_case and nothing else.
    for name in ["serviceName", "ServiceName", "service-name", "SERVICE_NAME"] {
        if let Ok(read) = from_value::<ServiceRegistration>(json!({ name: "smf" })) {
            assert_eq!(read, ServiceRegistration::default(), "{name}");
        }
    }
}

// --- providers

#[test]
fn a_provider_needs_all_its_fields() {
    let provider = json!({ "protocol": "udp", "host": "::1", "port": 65535 });
    let read: Provider = from_value(provider.clone()).unwrap();
    assert_eq!(read.port, 65535);
    for field in ["protocol", "host", "port"] {
        let mut partial = provider.clone();
        partial.as_object_mut().unwrap().remove(field);
        let message = refused::<Provider>(partial);
        assert!(
            message.contains(&format!("missing field `{field}`")),
            "{message}"
        );
    }
    let message = refused::<Provider>(json!({ "protocol": "udp", "host": "::1", "port": 65536 }));
    assert!(message.contains("65536"), "{message}");
    let message =
        refused::<Provider>(json!({ "protocol": "udp", "host": "10.0.0.256", "port": 1 }));
    assert!(message.contains("neither an IP address nor"), "{message}");
}

#[test]
fn protocols_have_these_names() {
    for (protocol, name) in [
        (Protocol::Http, "http"),
        (Protocol::Tcp, "tcp"),
        (Protocol::Pfcp, "pfcp"),
        (Protocol::Gtp, "gtp"),
        (Protocol::Udp, "udp"),
    ] {
        assert_eq!(to_value(&protocol).unwrap(), json!(name));
        let read: Protocol = from_value(json!(name)).unwrap();
        assert_eq!(read, protocol);
        assert!(!matches!(read, Protocol::Other(_)), "{name} is known");
    }
}

#[test]
fn an_unknown_protocol_is_kept_as_it_is() {
    for name in ["quic", "HTTP", "http/2", "", " http", "ü", "a\"b\\c\n"] {
        let read: Protocol = from_value(json!(name)).unwrap();
        assert!(matches!(&read, Protocol::Other(kept) if kept == name));
        assert_eq!(to_value(&read).unwrap(), json!(name));
    }
    let message = refused::<Protocol>(json!(7));
    assert!(message.contains("expected a string"), "{message}");
}

#[test]
fn a_protocol_equals_its_name_however_it_was_made() {
    use std::collections::hash_map::RandomState;
    use std::hash::BuildHasher;
    let (by_hand, known) = (Protocol::Other("http".into()), Protocol::Http);
    assert_eq!(by_hand, known);
    assert_eq!(by_hand.cmp(&known), std::cmp::Ordering::Equal);
    let hasher = RandomState::new();
    assert_eq!(hasher.hash_one(&by_hand), hasher.hash_one(&known));
    assert_eq!(to_value(&by_hand).unwrap(), to_value(&known).unwrap());
}

// --- status

#[test]
fn a_status_has_these_names() {
    for (status, name) in [
        (ServiceStatus::Healthy, "healthy"),
        (ServiceStatus::Unhealthy, "unhealthy"),
        (ServiceStatus::Unknown, "unknown"),
        (ServiceStatus::Draining, "draining"),
    ] {
        assert_eq!(to_value(status).unwrap(), json!(name));
        assert_eq!(from_value::<ServiceStatus>(json!(name)).unwrap(), status);
        assert_eq!(name.parse(), Ok(status));
        assert_eq!(status.to_string(), name);
    }
    // One that a newer version may know.
    for name in ["Healthy", "HEALTHY", "sick", ""] {
        let read = from_value::<ServiceStatus>(json!(name)).unwrap();
        assert_eq!(read, ServiceStatus::Unknown);
        let refused = support::refused(name.parse::<ServiceStatus>());
        assert!(refused.to_string().contains("draining"), "{refused}");
    }
    refused::<ServiceStatus>(json!(7));
}

// --- keys

#[test]
fn a_key_is_its_text() {
    let key = ServiceKey::new("smf", "smf-0:a").unwrap();
    assert_eq!(to_value(&key).unwrap(), json!("smf:smf-0:a"));
    assert_eq!(from_value::<ServiceKey>(json!("smf:smf-0:a")).unwrap(), key);
    // Also as the name of a field.
    let map = HashMap::from([(key.clone(), 1)]);
    assert_eq!(to_value(&map).unwrap(), json!({ "smf:smf-0:a": 1 }));
    let read: BTreeMap<ServiceKey, i32> = from_value(json!({ "smf:smf-0:a": 1 })).unwrap();
    assert_eq!(read[&key], 1);
}

#[test]
fn a_bad_key_is_refused_with_the_reason() {
    for (text, problem) in support::malformed_keys() {
        let message = refused::<ServiceKey>(json!(text));
        assert!(message.contains("key"), "{message}");
        assert!(message.contains(&problem.to_string()), "{message}");
    }
    assert!(refused::<ServiceKey>(json!(7)).contains("expected a string"));
}

// --- service infos

fn info() -> ServiceInfo {
    ServiceInfo::new(full())
        .unwrap()
        .with_registered_at(at(1))
        .unwrap()
        .with_health(ServiceStatus::Unhealthy, at(2))
        .unwrap()
}

#[test]
fn a_service_info_is_a_registration_with_the_runtime_fields() {
    let value = to_value(info()).unwrap();
    let fields = value.as_object().unwrap();
    for (name, expected) in full_json().as_object().unwrap() {
        assert_eq!(&fields[name], expected, "{name}");
    }
    assert_eq!(fields["status"], json!("unhealthy"));
    let mut others: Vec<_> = fields
        .keys()
        .filter(|name| full_json().get(name).is_none())
        .collect();
    others.sort_unstable();
    assert_eq!(others, ["last_health_check", "registered_at", "status"]);
    let read: ServiceInfo = from_value(value).unwrap();
    assert_eq!(read, info());
}

#[test]
fn what_was_never_checked_stays_so() {
    let new = ServiceInfo::new(registration("smf", "0", &[])).unwrap();
    let value = to_value(&new).unwrap();
    assert_eq!(value["last_health_check"], Value::Null);
    assert_eq!(value["status"], json!("unknown"));
    let read: ServiceInfo = from_value(value).unwrap();
    assert_eq!(read, new);
    assert_eq!(read.last_health_check(), None);
    assert_eq!(read.registered_at(), new.registered_at());
}

#[test]
fn status_and_health_check_may_be_missing() {
    let mut value = to_value(info()).unwrap();
    let fields = value.as_object_mut().unwrap();
    fields.remove("status");
    fields.remove("last_health_check");
    let read: ServiceInfo = from_value(value).unwrap();
    assert_eq!(read.status(), ServiceStatus::Unknown);
    assert_eq!(read.last_health_check(), None);
    assert_eq!(read.registered_at(), at(1));

    let mut value = to_value(info()).unwrap();
    value.as_object_mut().unwrap().remove("registered_at");
    assert!(refused::<ServiceInfo>(value).contains("registered_at"));
}

#[test]
fn a_service_info_is_checked_when_it_is_read() {
    let edit = |field: &str, to: Value| {
        let mut value = to_value(info()).unwrap();
        value[field] = to;
        refused::<ServiceInfo>(value)
    };
    let message = edit("service_name", json!(""));
    assert!(message.contains("service_name is empty"), "{message}");
    let message = edit("service_name", json!("a:b"));
    assert!(message.contains("service_name") && message.contains("holds `:` at byte 1"));
    let message = edit("pod_name", json!(""));
    assert!(message.contains("pod_name is empty"), "{message}");
    let message = edit("pod_name", json!("x".repeat(MAX_NAME_LEN + 1)));
    assert!(
        message.contains(&format!("{} bytes", MAX_NAME_LEN + 1)),
        "{message}"
    );
    let message = edit("subscriptions", json!(["upf", ""]));
    assert!(message.contains("subscriptions[1] is empty"), "{message}");
    let message = edit("weight", json!(-1));
    assert!(message.contains("-1"), "{message}");
    let message = edit("source", json!(""));
    assert!(message.contains("source is empty"), "{message}");
    for time in [
        json!("yesterday"),
        json!("2026-13-01T00:00:00Z"),
        json!("2026-01-31T12:00:00"),
        json!(7),
        json!({ "secs_since_epoch": -1, "nanos_since_epoch": 0 }),
    ] {
        let message = edit("registered_at", time.clone());
        assert!(message.contains("RFC 3339"), "{time}: {message}");
    }
    for time in [
        json!("1969-12-31T23:59:59Z"),
        json!("1970-01-01T00:00:00+01:00"),
        json!({ "secs_since_epoch": 253_402_300_800_u64, "nanos_since_epoch": 0 }),
    ] {
        for field in ["registered_at", "last_health_check"] {
            let message = edit(field, time.clone());
            assert!(message.contains("between 1970 and 9999"), "{message}");
        }
    }
    edit("registered_at", Value::Null);
}

#[test]
fn times_are_rfc_3339_texts_and_the_old_form_is_read() {
    let moment = SystemTime::UNIX_EPOCH + Duration::new(1_769_860_800, 500_000_000);
    let info = info()
        .with_registered_at(moment)
        .unwrap()
        .with_health(ServiceStatus::Healthy, moment)
        .unwrap();
    let mut value = to_value(&info).unwrap();
    assert_eq!(value["registered_at"], json!("2026-01-31T12:00:00.5Z"));
    assert_eq!(value["last_health_check"], json!("2026-01-31T12:00:00.5Z"));
    let old = json!({ "secs_since_epoch": 1_769_860_800, "nanos_since_epoch": 500_000_000 });
    for form in [
        old,
        json!("2026-01-31T13:00:00.500+01:00"),
        json!("2026-01-31t12:00:00.500000000z"),
    ] {
        value["registered_at"] = form.clone();
        value["last_health_check"] = form;
        assert_eq!(from_value::<ServiceInfo>(value.clone()).unwrap(), info);
    }
}

#[test]
fn json_from_before_still_reads() {
    let text = r#"{
        "service_name": "smf", "pod_name": "smf-0",
        "providers": [{ "protocol": "pfcp", "ip": "10.0.0.7", "port": 8805 }],
        "health_check_url": "", "notification_url": "", "subscriptions": ["upf"],
        "status": "healthy",
        "last_health_check": { "secs_since_epoch": 1000000002, "nanos_since_epoch": 0 },
        "registered_at": { "secs_since_epoch": 1000000001, "nanos_since_epoch": 0 }
    }"#;
    let read: ServiceInfo = from_str(text).unwrap();
    assert_eq!(read.providers()[0].to_string(), "pfcp://10.0.0.7:8805");
    assert_eq!((read.zone(), read.weight()), ("", 1));
    assert!(read.metadata().is_empty());
    assert_eq!(read.registered_at(), at(1));
    assert_eq!(read.last_health_check(), Some(at(2)));
    assert_eq!(read.source(), None);
}

#[test]
fn a_source_is_written_where_there_is_one() {
    assert!(to_value(info()).unwrap().get("source").is_none());
    let sourced = info().with_source("etcd").unwrap();
    let value = to_value(&sourced).unwrap();
    assert_eq!(value["source"], json!("etcd"));
    assert_eq!(from_value::<ServiceInfo>(value).unwrap(), sourced);
}

#[test]
fn moments_keep_their_nanoseconds() {
    for moment in [
        SystemTime::UNIX_EPOCH,
        SystemTime::UNIX_EPOCH + Duration::from_nanos(1),
        SystemTime::UNIX_EPOCH + Duration::new(4_000_000_000, 999_999_999),
        SystemTime::UNIX_EPOCH + Duration::new(253_402_300_799, 999_999_999),
    ] {
        let info = info()
            .with_registered_at(moment)
            .unwrap()
            .with_health(ServiceStatus::Healthy, moment)
            .unwrap();
        let text = to_string(&info).unwrap();
        let read: ServiceInfo = from_str(&text).unwrap();
        assert_eq!(read.registered_at(), moment);
        assert_eq!(read.last_health_check(), Some(moment));
        assert_eq!(read, info);
    }
}

// --- round trips

#[test]
fn texts_of_every_kind_come_back() {
    for text in ["ü", "👩‍🚀", "\"", "\\", "a\u{2028}b", "a b", "x:y"] {
        let asked = ServiceRegistration {
            service_name: text.replace(':', "-"),
            pod_name: text.into(),
            health_check_url: text.into(),
            notification_url: text.into(),
            subscriptions: vec![text.replace(':', "-")],
            metadata: [(text.into(), "\0\n".into())].into(),
            ..full()
        };
        let written = to_string(&asked).unwrap();
        assert_eq!(from_str::<ServiceRegistration>(&written).unwrap(), asked);
        let info = ServiceInfo::new(asked).unwrap();
        let written = to_string(&info).unwrap();
        let read: ServiceInfo = from_str(&written).unwrap();
        assert_eq!(read, info);
        assert_eq!(read.key(), info.key());
    }
}

#[test]
fn a_cursor_is_its_text() {
    let cursor = MemoryStore::new().watch(Selection::All).unwrap().cursor();
    let written = to_value(cursor).unwrap();
    assert_eq!(written, json!(cursor.to_string()));
    assert_eq!(from_value::<Cursor>(written).unwrap(), cursor);
    let message = refused::<Cursor>(json!("00000000000000ff-x"));
    assert!(message.starts_with("cursor.revision \"x\""), "{message}");
    let message = refused::<Cursor>(json!(7));
    assert!(message.contains("expected a string"), "{message}");
}

#[test]
fn a_fleet_loads_into_a_registry_and_out_again() {
    let fleet = json!([full_json(), { "service_name": "upf", "pod_name": "upf-0" }]);
    let registry = Registry::new(MemoryStore::new());
    for registration in from_value::<Vec<ServiceRegistration>>(fleet).unwrap() {
        registry.register(registration).unwrap();
    }
    assert_eq!(registry.get_subscribers("upf").unwrap(), ["smf:smf-0"]);
    let all = registry.get_all_services().unwrap();
    let read: Vec<ServiceInfo> = from_value(to_value(&all).unwrap()).unwrap();
    assert_eq!(read, all);
}
