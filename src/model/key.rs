//! [`ServiceKey`]: the name of a pod.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use super::error::{InvalidInput, Problem, Result, StoreError};
use super::limits::{check_name, check_service_name, problem_of_name, refuse, visible};

/// Checks that `key` reads `service:pod`.
#[inline]
pub(crate) fn check_key(field: &'static str, key: &str) -> Result<(), InvalidInput> {
    if is_plain(key.as_bytes()) {
        return Ok(());
    }
    check_key_of_any_kind(field, key)
}

/// Returns whether a key is like most: [`visible`], with a `:` that is neither its first nor its
/// last byte.
// Not inlined: a look-up that finds nothing has no registers to spare.
#[inline(never)]
fn is_plain(key: &[u8]) -> bool {
    visible(key).is_some_and(|has_colon| has_colon && key[0] != b':' && key[key.len() - 1] != b':')
}

#[cold]
fn check_key_of_any_kind(field: &'static str, key: &str) -> Result<(), InvalidInput> {
    let problem = match key.split_once(':') {
        None if key.is_empty() => Some(Problem::Empty),
        None => Some(Problem::NoColon),
        Some(("", _)) => Some(Problem::NoService),
        Some((_, "")) => Some(Problem::NoPod),
        Some((service, pod)) => problem_of_name(service).or_else(|| problem_of_name(pod)),
    };
    refuse(field, key, problem)
}

/// Checks the key of a subscriber.
pub(crate) fn check_subscriber(subscriber_key: &str) -> Result<()> {
    check_key("subscriber key", subscriber_key)?;
    Ok(())
}

/// Checks the two sides of a subscription.
pub(crate) fn check_subscription(subscriber_key: &str, service_group: &str) -> Result<()> {
    check_subscriber(subscriber_key)?;
    check_service_name("service group", service_group)?;
    Ok(())
}

/// Why there is nothing under `key`: it names nobody who is registered, or it cannot
/// be a key.
#[cold]
pub(crate) fn missing(key: &str) -> StoreError {
    match check_key("key", key) {
        Ok(()) => StoreError::NotFound(key.into()),
        Err(invalid) => invalid.into(),
    }
}

/// The answer where nothing is under `key`: `nothing`, or an error if it can be no key.
#[inline]
pub(crate) fn absent<T>(key: &str, nothing: T) -> Result<T> {
    check_key("key", key)?;
    Ok(nothing)
}

/// `service:pod`, the unique name of a registered pod.
///
/// The service name holds no `:`, so the first `:` splits the key; a pod name
/// may hold more. Cloning bumps a reference count. A key derefs to its text,
/// and equals, orders and hashes as its text, so that a map of keys can be
/// asked with a `&str`.
///
/// ```
/// use service_registry::ServiceKey;
///
/// let key = ServiceKey::new("user-service", "pod-1")?;
/// assert_eq!(key, "user-service:pod-1");
/// assert_eq!(key, "user-service:pod-1".parse::<ServiceKey>()?);
/// assert_eq!((key.service_name(), key.pod_name()), ("user-service", "pod-1"));
/// # Ok::<(), service_registry::StoreError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServiceKey(Arc<str>);

impl ServiceKey {
    /// Joins the names of a service and of one of its pods. O(length).
    ///
    /// # Errors
    ///
    /// [`Invalid`](StoreError::Invalid) where a name is empty, longer than
    /// [`MAX_NAME_LEN`](crate::MAX_NAME_LEN), holds a control character, or begins or
    /// ends with white space, or the service name holds a `:`.
    pub fn new(service_name: &str, pod_name: &str) -> Result<ServiceKey> {
        check_service_name("service_name", service_name)?;
        check_name("pod_name", pod_name)?;
        let mut text = String::with_capacity(service_name.len() + 1 + pod_name.len());
        text.push_str(service_name);
        text.push(':');
        text.push_str(pod_name);
        Ok(ServiceKey(text.into()))
    }

    /// What stands before the first `:`. O(length).
    pub fn service_name(&self) -> &str {
        self.split().0
    }

    /// What stands after the first `:`. O(length).
    pub fn pod_name(&self) -> &str {
        self.split().1
    }

    /// The whole key. O(1).
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn split(&self) -> (&str, &str) {
        self.0
            .split_once(':')
            .expect("every constructor checks that a key holds a `:`")
    }

    /// Whether both are clones of one key, which is quicker to tell than
    /// whether their texts agree.
    #[cfg(feature = "snapshot")]
    #[inline]
    pub(crate) fn same(&self, other: &ServiceKey) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl FromStr for ServiceKey {
    type Err = StoreError;

    fn from_str(key: &str) -> Result<ServiceKey> {
        check_key("key", key)?;
        Ok(ServiceKey(key.into()))
    }
}

impl TryFrom<&str> for ServiceKey {
    type Error = StoreError;

    fn try_from(key: &str) -> Result<ServiceKey> {
        key.parse()
    }
}

impl TryFrom<String> for ServiceKey {
    type Error = StoreError;

    fn try_from(key: String) -> Result<ServiceKey> {
        check_key("key", &key)?;
        Ok(ServiceKey(key.into()))
    }
}

/// O(1).
impl From<ServiceKey> for Arc<str> {
    fn from(key: ServiceKey) -> Arc<str> {
        key.0
    }
}

impl From<ServiceKey> for String {
    fn from(key: ServiceKey) -> String {
        (*key.0).into()
    }
}

impl Deref for ServiceKey {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for ServiceKey {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ServiceKey {
    #[inline]
    fn borrow(&self) -> &str {
        &self.0
    }
}

// By hand, to promise what `Borrow<str>` asks for: a key hashes as its text.
#[allow(clippy::derived_hash_with_manual_eq)]
impl Hash for ServiceKey {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        str::hash(self, state);
    }
}

impl PartialEq<str> for ServiceKey {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for ServiceKey {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl PartialEq<ServiceKey> for str {
    fn eq(&self, other: &ServiceKey) -> bool {
        self == &*other.0
    }
}

impl PartialEq<ServiceKey> for &str {
    fn eq(&self, other: &ServiceKey) -> bool {
        *self == &*other.0
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::ServiceKey;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl Serialize for ServiceKey {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self)
        }
    }

    impl<'de> Deserialize<'de> for ServiceKey {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            text.try_into().map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::MAX_NAME_LEN;
    use super::*;

    #[test]
    fn the_first_colon_splits_a_key() {
        let key: ServiceKey = "db:pod:7:x".parse().unwrap();
        assert_eq!((key.service_name(), key.pod_name()), ("db", "pod:7:x"));
    }

    /// Every odd character at every place of keys of many lengths.
    #[test]
    fn a_key_is_plain_if_it_is_long_visible_ascii_and_a_key() {
        let odd = [
            "",
            "a",
            "!",
            "~",
            ":",
            "::",
            " ",
            "\0",
            "\u{1f}",
            "\u{7f}",
            "\u{80}",
            "\u{ff}",
            "é",
            "\u{a0}",
            "\u{3000}",
            "\u{10ffff}",
        ];
        let mut plain = 0;
        for len in 0..40 {
            for (at, colon) in (0..=len).flat_map(|at| (0..=len).map(move |colon| (at, colon))) {
                for odd in odd {
                    let mut key: Vec<&str> = vec!["z"; len];
                    key.insert(at, odd);
                    key.insert(colon, ":");
                    let key = key.concat();
                    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
                    let is_key = check_key_of_any_kind("key", &key).is_ok();
                    // Only a pod may end with a colon, and takes the long way.
                    let wanted = key.len() >= 8 && visible && is_key && !key.ends_with(':');
                    assert_eq!(is_plain(key.as_bytes()), wanted, "{key:?}");
                    plain += usize::from(wanted);
                }
            }
        }
        assert!(plain > 10_000);
        let longest = format!("a:{}", "b".repeat(MAX_NAME_LEN - 2));
        assert!(is_plain(longest.as_bytes()) && !is_plain(format!("{longest}b").as_bytes()));
    }
}
