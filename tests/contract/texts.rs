//! What registrations and keys refuse; it needs no store.

use service_registry::{
    Host, MAX_METADATA, MAX_METADATA_KEY_LEN, MAX_METADATA_VALUE_LEN, MAX_NAME_LEN,
    MAX_PROTOCOL_LEN, MAX_PROVIDERS, MAX_SUBSCRIPTIONS, MAX_URL_LEN, Problem, Protocol, Provider,
    ServiceInfo, ServiceKey, ServiceRegistration, StoreError,
};

use crate::support::{assert_refused, registration};

#[test]
fn a_bad_registration_is_refused_and_says_which_field() {
    let new = ServiceInfo::new;
    let empty = Problem::Empty;
    assert_refused(new(registration("", "p", &[])), "service_name", "", &empty);
    assert_refused(new(registration("s", "", &[])), "pod_name", "", &empty);
    assert_refused(
        new(registration("s", "p", &["a", "b", ""])),
        "subscriptions[2]",
        "",
        &empty,
    );
    for (service, at) in [(":", 0), (":s", 0), ("s:", 1), ("s:p", 1), ("ü:p", 2)] {
        let colon = Problem::Colon { at };
        assert_refused(
            new(registration(service, "p", &[])),
            "service_name",
            service,
            &colon,
        );
        assert_refused(
            ServiceKey::new(service, "p"),
            "service_name",
            service,
            &colon,
        );
    }
    // Whatever else is wrong, the first field is named first.
    assert_refused(new(registration("", "", &[""])), "service_name", "", &empty);
    assert_refused(
        new(registration("s", "p", &["fine", "s:pod-1"])),
        "subscriptions[1]",
        "s:pod-1",
        &Problem::Colon { at: 1 },
    );
    for (name, problem) in [
        ("\0", Problem::Control { at: 0 }),
        ("aü\u{85}", Problem::Control { at: 3 }),
        ("a\nb", Problem::Control { at: 1 }),
        (" a", Problem::Padded),
        ("a ", Problem::Padded),
        ("\u{2003}a", Problem::Padded),
    ] {
        assert_refused(
            new(registration(name, "p", &[])),
            "service_name",
            name,
            &problem,
        );
        assert_refused(
            new(registration("s", name, &[])),
            "pod_name",
            name,
            &problem,
        );
        assert_refused(
            new(registration("s", "p", &[name])),
            "subscriptions[0]",
            name,
            &problem,
        );
        let zoned = registration("s", "p", &[]).with_zone(name);
        assert_refused(new(zoned), "zone", name, &problem);
        let sourced = new(registration("s", "p", &[])).unwrap().with_source(name);
        assert_refused(sourced, "source", name, &problem);
    }
}

/// Each limit: what is as large as it is accepted, and what is larger by one is not.
#[test]
fn what_a_peer_sends_is_limited_and_the_field_is_named() {
    type Set = fn(&mut ServiceRegistration, usize);
    let limits: [(_, usize, Set); 8] = [
        ("health_check_url", MAX_URL_LEN, |of, len| {
            of.health_check_url = "u".repeat(len);
        }),
        ("notification_url", MAX_URL_LEN, |of, len| {
            of.notification_url = "u".repeat(len);
        }),
        ("subscriptions", MAX_SUBSCRIPTIONS, |of, len| {
            of.subscriptions = (0..len).map(|n| format!("g{n}")).collect();
        }),
        ("providers", MAX_PROVIDERS, |of, len| {
            of.providers = vec![Provider::new(Protocol::Tcp, [10, 0, 0, 1], 1); len];
        }),
        ("providers[0].protocol", MAX_PROTOCOL_LEN, |of, len| {
            of.providers[0].protocol = Protocol::Other("p".repeat(len));
        }),
        ("zone", MAX_NAME_LEN, |of, len| of.zone = "z".repeat(len)),
        ("metadata", MAX_METADATA, |of, len| {
            of.metadata = (0..len).map(|n| (n.to_string(), String::new())).collect();
        }),
        ("metadata[\"k\"]", MAX_METADATA_VALUE_LEN, |of, len| {
            of.metadata.insert("k".into(), "v".repeat(len));
        }),
    ];
    for (field, max, set) in limits {
        let with = |len| {
            let mut asked = registration("s", "p", &[]);
            set(&mut asked, len);
            asked
        };
        let kept = ServiceInfo::new(with(max)).unwrap();
        assert_eq!(kept.registration(), &with(max));
        let refused = crate::support::refused(ServiceInfo::new(with(max + 1)));
        assert_eq!(refused.field(), field);
        let len = max + 1;
        let problems = [Problem::TooLong { len, max }, Problem::TooMany { len, max }];
        assert!(problems.contains(refused.problem()), "{refused}");
        assert!(refused.to_string().len() < 300, "{refused}");
    }
    let with = |key: String| registration("s", "p", &[]).with_metadata(key, "v");
    assert!(ServiceInfo::new(with("k".repeat(MAX_METADATA_KEY_LEN))).is_ok());
    for key in [String::new(), "k".repeat(MAX_METADATA_KEY_LEN + 1)] {
        let refused = crate::support::refused(ServiceInfo::new(with(key)));
        assert_eq!(refused.field(), "metadata key");
    }
    for (protocol, problem) in [
        ("", Problem::Empty),
        ("a\u{1b}[31m", Problem::Control { at: 1 }),
        (" a", Problem::Padded),
    ] {
        let mut asked = registration("s", "p", &[]);
        asked.providers[0].protocol = Protocol::Other(protocol.into());
        let refused = ServiceInfo::new(asked);
        assert_refused(refused, "providers[0].protocol", protocol, &problem);
    }
    for host in ["", "a b", "10.0.0.256", "x\n"] {
        let mut asked = registration("s", "p", &[]);
        asked.providers[0].host = Host::Name(host.into());
        let refused = crate::support::refused(ServiceInfo::new(asked));
        assert_eq!(
            (refused.field(), refused.value()),
            ("providers[0].host", host)
        );
    }
}

#[test]
fn what_goes_into_a_line_holds_no_control_characters() {
    let ask = |change: fn(&mut ServiceRegistration)| {
        let mut asked = registration("s", "p", &[]);
        change(&mut asked);
        crate::support::refused(ServiceInfo::new(asked))
    };
    for (field, value, refused) in [
        (
            "health_check_url",
            "http://a/\r\nx: y",
            ask(|of| of.health_check_url = "http://a/\r\nx: y".into()),
        ),
        (
            "notification_url",
            "\u{85}",
            ask(|of| of.notification_url = "\u{85}".into()),
        ),
        (
            "metadata key",
            "a\nb",
            ask(|of| drop(of.metadata.insert("a\nb".into(), String::new()))),
        ),
    ] {
        assert_eq!((refused.field(), refused.value()), (field, value));
    }
    // A value may be a text of several lines.
    let asked = registration("s", "p", &[]).with_metadata("a", "b\nc");
    assert!(ServiceInfo::new(asked).is_ok());
}

#[test]
fn a_key_reads_back_from_its_text() {
    for (service, name) in [
        ("s", "p"),
        ("s", ":"),
        ("s", "p:q"),
        ("ü", "👩‍🚀"),
        ("a b", "\u{200b}"),
    ] {
        let key = ServiceKey::new(service, name).unwrap();
        assert_eq!(key.to_string(), format!("{service}:{name}"));
        let parsed: ServiceKey = key.as_str().parse().unwrap();
        assert_eq!(parsed, key);
        assert_eq!((parsed.service_name(), parsed.pod_name()), (service, name));
        assert_eq!(key.len(), service.len() + 1 + name.len());
    }
    for (text, problem) in crate::support::malformed_keys() {
        assert_refused(text.parse::<ServiceKey>(), "key", &text, &problem);
    }
}

#[test]
fn closed_reads_well() {
    assert_eq!(StoreError::Closed.to_string(), "the store is closed");
}
