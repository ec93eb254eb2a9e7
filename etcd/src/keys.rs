//! The layout of keys in etcd: `<prefix><service>/<pod>`.
//!
//! In both names `%` is encoded as `%25` and `/` as `%2F`; nothing else is encoded. Therefore a key
//! has exactly one `/` after the prefix, each pair of names has exactly one key, and the pods of
//! `web` are not among those of `web2` or `web/2`.

use std::borrow::Cow;
use std::fmt;

use service_registry::ServiceKey;

use crate::error::InvalidPrefix;

/// The prefix of the keys of pods. It ends with a `/`, so that `/pods/` and `/pods-2/` share no
/// key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(String);

/// What a key stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum KeyKind {
    /// The key of a pod.
    Pod(ServiceKey),
    /// The key that [`read_barrier`](crate::Replica::read_barrier) writes.
    Marker,
}

/// Why a key under the prefix does not name a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadKey {
    /// The key is not UTF-8.
    NotUtf8,
    /// The part after the prefix has this many `/` instead of one.
    Slashes(usize),
    /// The key has a `%` that begins neither `%25` nor `%2F`.
    Encoding,
    /// A name is not valid for a pod, for this reason.
    Name(String),
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadKey::NotUtf8 => f.write_str("the key is not UTF-8"),
            BadKey::Slashes(count) => {
                write!(f, "the key has {count} slashes behind the prefix, not one")
            }
            BadKey::Encoding => f.write_str("the key has a % that begins neither %25 nor %2F"),
            BadKey::Name(problem) => f.write_str(problem),
        }
    }
}

impl Prefix {
    /// Creates a prefix. Appends a `/` if it does not end with one.
    ///
    /// # Errors
    ///
    /// Returns [`InvalidPrefix`] if it is empty, or longer than 1,024 bytes.
    pub fn new(prefix: impl Into<String>) -> Result<Prefix, InvalidPrefix> {
        let mut prefix = prefix.into();
        if prefix.is_empty() || prefix.len() > 1_024 {
            return Err(InvalidPrefix);
        }
        if !prefix.ends_with('/') {
            prefix.push('/');
        }
        Ok(Prefix(prefix))
    }

    /// Returns the prefix, with the `/` at its end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the key of a pod.
    pub fn key(&self, pod: &ServiceKey) -> String {
        let (service, pod) = (encode(pod.service_name()), encode(pod.pod_name()));
        format!("{}{service}/{pod}", self.0)
    }

    /// Returns the common prefix of the keys of all pods of a service.
    pub fn service(&self, service_name: &str) -> String {
        format!("{}{}/", self.0, encode(service_name))
    }

    /// Returns a key that no pod can have: in a pod's key, `25` or `2F` always follows a `%`.
    pub(crate) fn marker(&self) -> String {
        format!("{}%/barrier", self.0)
    }

    /// Returns whether a key starts with this prefix.
    pub(crate) fn covers(&self, key: &[u8]) -> bool {
        key.starts_with(self.0.as_bytes())
    }

    /// Returns what `key` stands for. The key must begin with the prefix.
    pub(crate) fn parse(&self, key: &[u8]) -> Result<KeyKind, BadKey> {
        let rest = key.get(self.0.len()..).unwrap_or_default();
        let rest = std::str::from_utf8(rest).map_err(|_| BadKey::NotUtf8)?;
        if rest == "%/barrier" {
            return Ok(KeyKind::Marker);
        }
        let slashes = rest.bytes().filter(|byte| *byte == b'/').count();
        let (Some((service, pod)), 1) = (rest.split_once('/'), slashes) else {
            return Err(BadKey::Slashes(slashes));
        };
        let (service, pod) = (decode(service)?, decode(pod)?);
        let key = ServiceKey::new(&service, &pod);
        key.map(KeyKind::Pod)
            .map_err(|error| BadKey::Name(error.to_string()))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn encode(name: &str) -> Cow<'_, str> {
    if !name.contains(['%', '/']) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.replace('%', "%25").replace('/', "%2F"))
}

/// Inverts `encode`. Refuses every other text, so no two texts decode to the same name.
fn decode(text: &str) -> Result<Cow<'_, str>, BadKey> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut parts = text.split('%');
    let mut name = String::with_capacity(text.len());
    name.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (encoded, rest) = part.split_at_checked(2).ok_or(BadKey::Encoding)?;
        name.push(match encoded {
            "25" => '%',
            "2F" => '/',
            _ => return Err(BadKey::Encoding),
        });
        name.push_str(rest);
    }
    Ok(Cow::Owned(name))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn prefix() -> Prefix {
        Prefix::new("/pods/").unwrap()
    }

    #[test]
    fn a_prefix_ends_with_a_slash_and_is_not_empty() {
        assert_eq!(Prefix::new("/pods").unwrap(), prefix());
        assert!(Prefix::new("").is_err());
        assert!(!prefix().covers(b"/pods-2/web/1"));
    }

    #[test]
    fn a_service_whose_name_begins_anothers_has_keys_of_its_own() {
        let keys = [
            ("web", "1"),
            ("web2", "1"),
            ("web/2", "1"),
            ("web", "2/1"),
            ("web%2F2", "1"),
        ];
        let keys = keys.map(|(service, pod)| prefix().key(&ServiceKey::new(service, pod).unwrap()));
        assert_eq!(keys[2], "/pods/web%2F2/1");
        assert_eq!(keys[4], "/pods/web%252F2/1");
        let web = prefix().service("web");
        let of_web: Vec<_> = keys.iter().filter(|key| key.starts_with(&web)).collect();
        assert_eq!(of_web, [&keys[0], &keys[3]]);
    }

    #[test]
    fn what_is_no_key_of_a_pod_says_why() {
        let parse = |rest: &[u8]| prefix().parse(&[b"/pods/", rest].concat());
        assert_eq!(parse(b"web"), Err(BadKey::Slashes(0)));
        assert_eq!(parse(b""), Err(BadKey::Slashes(0)));
        assert_eq!(parse(b"a/b/c"), Err(BadKey::Slashes(2)));
        assert_eq!(parse(b"web/\xff"), Err(BadKey::NotUtf8));
        // Accepting lower case would give one pod two keys.
        for encoded in ["a%2fb/1", "a%/1", "a%2/1", "%41/1", "%2é/1"] {
            assert_eq!(
                parse(encoded.as_bytes()),
                Err(BadKey::Encoding),
                "{encoded}"
            );
        }
        for name in ["/1", "web/", "a:b/1", " a/1", "a\n/1"] {
            assert!(
                matches!(parse(name.as_bytes()), Err(BadKey::Name(_))),
                "{name}"
            );
        }
        assert_eq!(parse(b"%/barrier"), Ok(KeyKind::Marker));
        assert_eq!(parse(b"%/other"), Err(BadKey::Encoding));
    }

    proptest! {
        #[test]
        fn every_name_comes_back(service in "\\PC{1,12}", pod in "\\PC{1,12}") {
            if let Ok(key) = ServiceKey::new(&service, &pod) {
                let text = prefix().key(&key);
                prop_assert_eq!(prefix().parse(text.as_bytes()), Ok(KeyKind::Pod(key.clone())));
                prop_assert!(text != prefix().marker());
            }
        }

        #[test]
        fn names_of_hard_characters_come_back(
            service in "[%/25Fa]{1,8}",
            pod in "[%/25F:a]{1,8}",
        ) {
            let key = ServiceKey::new(&service, &pod).unwrap();
            let text = prefix().key(&key);
            prop_assert_eq!(prefix().parse(text.as_bytes()), Ok(KeyKind::Pod(key)));
        }

        #[test]
        fn what_is_read_is_written_the_same(rest in "[%/25Fa:]{0,12}") {
            let key = format!("/pods/{rest}");
            if let Ok(KeyKind::Pod(pod)) = prefix().parse(key.as_bytes()) {
                prop_assert_eq!(prefix().key(&pod), key);
            }
        }
    }
}
