//! The data model: what a pod says of itself, and what the registry knows of it.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;
use std::time::SystemTime;

use crate::error::{InvalidInput, Problem, Result};

/// The longest service name, pod name or service group, in bytes.
///
/// Far beyond any DNS name (253); it is there so that a peer cannot make a
/// store hold names of any size.
pub const MAX_NAME_LEN: usize = 65_535;

fn check_name(field: &'static str, name: &str) -> Result<(), InvalidInput> {
    let problem = if name.is_empty() {
        Some(Problem::Empty)
    } else {
        too_long(name)
    };
    problem.map_or(Ok(()), |problem| {
        Err(InvalidInput::new(field, name, problem))
    })
}

fn too_long(name: &str) -> Option<Problem> {
    let (len, max) = (name.len(), MAX_NAME_LEN);
    (len > max).then_some(Problem::TooLong { len, max })
}

fn check_service_name(field: &'static str, name: &str) -> Result<(), InvalidInput> {
    check_name(field, name)?;
    match name.find(':') {
        Some(at) => Err(InvalidInput::new(field, name, Problem::Colon { at })),
        None => Ok(()),
    }
}

/// Checks that `key` reads `service:pod`.
pub(crate) fn check_key(field: &'static str, key: &str) -> Result<(), InvalidInput> {
    let problem = match key.split_once(':') {
        None if key.is_empty() => Some(Problem::Empty),
        None => Some(Problem::NoColon),
        Some(("", _)) => Some(Problem::NoService),
        Some((_, "")) => Some(Problem::NoPod),
        Some((service, pod)) => too_long(service).or_else(|| too_long(pod)),
    };
    problem.map_or(Ok(()), |problem| {
        Err(InvalidInput::new(field, key, problem))
    })
}

/// Checks that a service group has a usable name.
pub(crate) fn check_group(field: &'static str, group: &str) -> Result<(), InvalidInput> {
    check_name(field, group)
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
    /// [`Invalid`](crate::StoreError::Invalid) where a name is empty or longer
    /// than [`MAX_NAME_LEN`], or the service name holds a `:`.
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
    type Err = crate::StoreError;

    fn from_str(key: &str) -> Result<ServiceKey> {
        check_key("key", key)?;
        Ok(ServiceKey(key.into()))
    }
}

impl TryFrom<&str> for ServiceKey {
    type Error = crate::StoreError;

    fn try_from(key: &str) -> Result<ServiceKey> {
        key.parse()
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

/// The protocol that a [`Provider`] speaks.
///
/// A name that is not listed here is kept as it is. Two protocols are equal
/// when their [wire names](Protocol::as_str) are, so that
/// `Protocol::Other("http".into())` is `Protocol::Http`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Protocol {
    /// `http`
    Http,
    /// `tcp`
    Tcp,
    /// `pfcp`, the Packet Forwarding Control Protocol (3GPP TS 29.244)
    Pfcp,
    /// `gtp`, the GPRS Tunnelling Protocol (3GPP TS 29.281)
    Gtp,
    /// `udp`
    Udp,
    /// Any other name, as it came.
    Other(String),
}

impl Protocol {
    /// The name on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Protocol::Http => "http",
            Protocol::Tcp => "tcp",
            Protocol::Pfcp => "pfcp",
            Protocol::Gtp => "gtp",
            Protocol::Udp => "udp",
            Protocol::Other(name) => name,
        }
    }

    fn known(name: &str) -> Option<Protocol> {
        Some(match name {
            "http" => Protocol::Http,
            "tcp" => Protocol::Tcp,
            "pfcp" => Protocol::Pfcp,
            "gtp" => Protocol::Gtp,
            "udp" => Protocol::Udp,
            _ => return None,
        })
    }
}

impl From<&str> for Protocol {
    fn from(name: &str) -> Protocol {
        Protocol::known(name).unwrap_or_else(|| Protocol::Other(name.to_owned()))
    }
}

impl From<String> for Protocol {
    fn from(name: String) -> Protocol {
        Protocol::known(&name).unwrap_or(Protocol::Other(name))
    }
}

impl FromStr for Protocol {
    type Err = std::convert::Infallible;

    fn from_str(name: &str) -> Result<Protocol, Self::Err> {
        Ok(name.into())
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl PartialEq for Protocol {
    fn eq(&self, other: &Protocol) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Protocol {}

impl PartialOrd for Protocol {
    fn partial_cmp(&self, other: &Protocol) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Protocol {
    fn cmp(&self, other: &Protocol) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Protocol {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

/// One address under which a pod can be reached.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Provider {
    /// What it speaks there.
    pub protocol: Protocol,
    /// The address.
    pub ip: IpAddr,
    /// The port; 0 to 65535.
    pub port: u16,
}

/// What a pod says of itself when it registers: a plain record, not checked
/// until a [`ServiceInfo`] is made of it.
///
/// With the feature `serde` it reads and writes exactly these field names; a field
/// that is missing is empty, one that is not known here is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct ServiceRegistration {
    /// The name of the group of pods, `user-service`. Holds no `:`.
    pub service_name: String,
    /// The name of this instance, unique within the service.
    pub pod_name: String,
    /// Where it can be reached.
    pub providers: Vec<Provider>,
    /// Where to ask for its health; empty for none.
    pub health_check_url: String,
    /// Where it wants to be told of changes; empty for none.
    pub notification_url: String,
    /// The service groups of whose changes it wants to hear.
    pub subscriptions: Vec<String>,
    /// m
    pub metadata: std::collections::BTreeMap<String, String>,
}

/// What the last health check said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum ServiceStatus {
    /// `healthy`
    Healthy,
    /// `unhealthy`
    Unhealthy,
    /// `unknown`: not checked yet
    #[default]
    Unknown,
}

impl ServiceStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ServiceStatus::Healthy => "healthy",
            ServiceStatus::Unhealthy => "unhealthy",
            ServiceStatus::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ServiceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ServiceStatus {
    type Err = crate::StoreError;

    fn from_str(name: &str) -> Result<ServiceStatus> {
        let expected = "`healthy`, `unhealthy` or `unknown`";
        match name {
            "healthy" => Ok(ServiceStatus::Healthy),
            "unhealthy" => Ok(ServiceStatus::Unhealthy),
            "unknown" => Ok(ServiceStatus::Unknown),
            _ => {
                Err(InvalidInput::new("service status", name, Problem::Unknown { expected }).into())
            }
        }
    }
}

/// A checked, immutable record of one pod: its registration and what has been
/// seen of it since.
///
/// Cloning bumps one reference count and copies a few words; the registration
/// is shared and never changes. So a value that a store hands out is the
/// caller's own: nothing done with it reaches the store or another caller, and
/// no later change of the store reaches it.
///
/// With the feature `serde` it is the fields of its registration and, beside them,
/// `status`, `last_health_check` and `registered_at`. That takes a format which
/// names its fields, such as JSON. What is read is checked as by [`new`](Self::new).
///
/// ```
/// use service_registry::{ServiceInfo, ServiceRegistration, ServiceStatus};
/// use std::time::SystemTime;
///
/// let pod = ServiceInfo::new(ServiceRegistration {
///     service_name: "user-service".into(),
///     pod_name: "pod-1".into(),
///     ..Default::default()
/// })?;
/// assert_eq!(pod.key(), "user-service:pod-1");
/// assert_eq!(pod.status(), ServiceStatus::Unknown);
///
/// let checked = pod.with_health(ServiceStatus::Healthy, SystemTime::now());
/// assert_eq!(checked.status(), ServiceStatus::Healthy);
/// assert_eq!(pod.status(), ServiceStatus::Unknown);
/// # Ok::<(), service_registry::StoreError>(())
/// ```
#[derive(Clone)]
pub struct ServiceInfo {
    record: Arc<Record>,
    registered_at: SystemTime,
    last_health_check: Option<SystemTime>,
    status: ServiceStatus,
    revision: crate::Revision,
    incarnation: crate::Revision,
}

/// The part of a [`ServiceInfo`] that never changes, and is shared.
struct Record {
    key: ServiceKey,
    registration: ServiceRegistration,
}

impl ServiceInfo {
    /// r
    pub fn revision(&self) -> crate::Revision {
        self.revision
    }
    /// i
    pub fn incarnation(&self) -> crate::Revision {
        self.incarnation
    }
    pub(crate) fn stamped(
        mut self,
        revision: crate::Revision,
        incarnation: crate::Revision,
    ) -> Self {
        self.revision = revision;
        self.incarnation = incarnation;
        self
    }
    /// Checks a registration and makes it a record: status
    /// [`Unknown`](ServiceStatus::Unknown), never checked, registered now.
    /// O(size of the registration).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid), naming the field, where a name
    /// or a subscription is empty or longer than [`MAX_NAME_LEN`], or the
    /// service name holds a `:`.
    pub fn new(registration: ServiceRegistration) -> Result<ServiceInfo> {
        let key = ServiceKey::new(&registration.service_name, &registration.pod_name)?;
        for (index, group) in registration.subscriptions.iter().enumerate() {
            check_group("subscriptions", group).map_err(|invalid| {
                let field = format!("subscriptions[{index}]");
                InvalidInput::new(field, group, invalid.problem().clone())
            })?;
        }
        Ok(ServiceInfo {
            record: Arc::new(Record { key, registration }),
            registered_at: SystemTime::now(),
            last_health_check: None,
            status: ServiceStatus::Unknown,
            revision: Default::default(),
            incarnation: Default::default(),
        })
    }

    /// `service:pod`.
    pub fn key(&self) -> &ServiceKey {
        &self.record.key
    }

    /// The group that this pod belongs to.
    pub fn service_name(&self) -> &str {
        &self.record.registration.service_name
    }

    /// The name of this instance.
    pub fn pod_name(&self) -> &str {
        &self.record.registration.pod_name
    }

    /// Where it can be reached.
    pub fn providers(&self) -> &[Provider] {
        &self.record.registration.providers
    }

    /// Where to ask for its health; empty for none.
    pub fn health_check_url(&self) -> &str {
        &self.record.registration.health_check_url
    }

    /// Where it wants to be told of changes; empty for none.
    pub fn notification_url(&self) -> &str {
        &self.record.registration.notification_url
    }

    /// The groups that it asked to hear of when it registered. What it is
    /// subscribed to now is the store's to tell.
    pub fn subscriptions(&self) -> &[String] {
        &self.record.registration.subscriptions
    }

    /// What the last health check said.
    #[inline]
    pub fn status(&self) -> ServiceStatus {
        self.status
    }

    /// When its health was last checked; `None` for never.
    #[inline]
    pub fn last_health_check(&self) -> Option<SystemTime> {
        self.last_health_check
    }

    /// When it registered.
    #[inline]
    pub fn registered_at(&self) -> SystemTime {
        self.registered_at
    }

    /// What it said of itself.
    pub fn registration(&self) -> &ServiceRegistration {
        &self.record.registration
    }

    /// A copy with another health. O(1), allocates nothing.
    #[must_use]
    #[inline]
    pub fn with_health(&self, status: ServiceStatus, checked_at: SystemTime) -> ServiceInfo {
        ServiceInfo {
            status,
            last_health_check: Some(checked_at),
            ..self.clone()
        }
    }

    /// A copy with another time of registration. O(1), allocates nothing.
    #[must_use]
    pub fn with_registered_at(&self, registered_at: SystemTime) -> ServiceInfo {
        ServiceInfo {
            registered_at,
            ..self.clone()
        }
    }

    /// Sets the health in place, and tells whether that changed anything.
    #[inline]
    pub(crate) fn set_health(&mut self, status: ServiceStatus, checked_at: SystemTime) -> bool {
        let changed = self.status != status || self.last_health_check != Some(checked_at);
        self.status = status;
        self.last_health_check = Some(checked_at);
        changed
    }

    /// How many clones share the registration. Reading it brings the counter,
    /// which a clone is about to write, into the cache.
    #[inline]
    pub(crate) fn touch(&self) -> usize {
        Arc::strong_count(&self.record)
    }
}

impl PartialEq for ServiceInfo {
    /// O(1) for clones and for records that differ in health or time;
    /// otherwise O(size of the registration).
    fn eq(&self, other: &ServiceInfo) -> bool {
        self.status == other.status
            && self.registered_at == other.registered_at
            && self.last_health_check == other.last_health_check
            && (Arc::ptr_eq(&self.record, &other.record)
                || self.record.registration == other.record.registration)
    }
}

impl Eq for ServiceInfo {}

// The record is shown as the registration that it holds.
#[allow(clippy::missing_fields_in_debug)]
impl fmt::Debug for ServiceInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceInfo")
            .field("registration", self.registration())
            .field("status", &self.status)
            .field("last_health_check", &self.last_health_check)
            .field("registered_at", &self.registered_at)
            .finish()
    }
}

#[cfg(feature = "serde")]
mod wire {
    //! Texts for keys and protocols; a service info is read through
    //! [`ServiceInfo::new`], so that what came over the wire is checked, too.

    use super::{
        Protocol, ServiceInfo, ServiceKey, ServiceRegistration, ServiceStatus, SystemTime,
    };
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
            text.parse().map_err(D::Error::custom)
        }
    }

    impl Serialize for Protocol {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.as_str())
        }
    }

    impl<'de> Deserialize<'de> for Protocol {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            String::deserialize(deserializer).map(Protocol::from)
        }
    }

    #[derive(Serialize)]
    #[serde(rename = "ServiceInfo")]
    struct InfoRef<'a> {
        #[serde(flatten)]
        registration: &'a ServiceRegistration,
        status: ServiceStatus,
        last_health_check: Option<SystemTime>,
        registered_at: SystemTime,
    }

    #[derive(Deserialize)]
    #[serde(rename = "ServiceInfo")]
    struct InfoOwned {
        #[serde(flatten)]
        registration: ServiceRegistration,
        #[serde(default)]
        status: ServiceStatus,
        #[serde(default)]
        last_health_check: Option<SystemTime>,
        registered_at: SystemTime,
    }

    impl Serialize for ServiceInfo {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            InfoRef {
                registration: self.registration(),
                status: self.status,
                last_health_check: self.last_health_check,
                registered_at: self.registered_at,
            }
            .serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for ServiceInfo {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let read = InfoOwned::deserialize(deserializer)?;
            let checked = ServiceInfo::new(read.registration).map_err(D::Error::custom)?;
            Ok(ServiceInfo {
                status: read.status,
                last_health_check: read.last_health_check,
                registered_at: read.registered_at,
                ..checked
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(service: &str, pod: &str) -> ServiceInfo {
        ServiceInfo::new(ServiceRegistration {
            service_name: service.into(),
            pod_name: pod.into(),
            ..Default::default()
        })
        .unwrap()
    }

    #[test]
    fn a_clone_shares_the_registration() {
        let pod = info("user-service", "pod-1");
        let copy = pod.with_health(ServiceStatus::Healthy, SystemTime::now());
        assert!(std::ptr::eq(pod.registration(), copy.registration()));
        assert_eq!(pod.touch(), 2);
    }

    #[test]
    fn the_first_colon_splits_a_key() {
        let key: ServiceKey = "db:pod:7:x".parse().unwrap();
        assert_eq!((key.service_name(), key.pod_name()), ("db", "pod:7:x"));
    }

    #[test]
    fn a_service_info_is_a_few_words() {
        assert!(size_of::<ServiceInfo>() <= 48);
    }
}
