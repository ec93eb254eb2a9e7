//! Documents that are read with serde.

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
            string(&crate::text::short(u)?, out);
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
        _ => string(&crate::text::short(u)?, out),
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
        3 => string(&crate::text::any(u)?, out),
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
            wire["registered_at"] = to_value(crate::support::at(0)).unwrap();
            let refused = from_value::<ServiceInfo>(wire).unwrap_err();
            assert_eq!(refused.to_string(), error.to_string());
        }
    }
}
