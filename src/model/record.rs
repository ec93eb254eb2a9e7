//! [`ServiceInfo`]: what the registry knows of a pod.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use super::error::Result;
use super::key::ServiceKey;
use super::limits::check_name;
use super::provider::Provider;
use super::registration::ServiceRegistration;
use super::revision::Revision;
use super::status::{HealthUpdate, ServiceStatus};
use super::time::Moment;

/// A checked, immutable record of one pod: its registration and what has been
/// seen of it since.
///
/// Cloning bumps one reference count and copies a few words; the registration
/// is shared and never changes. So a value that a store hands out is the
/// caller's own: nothing done with it reaches the store or another caller, and
/// no later change of the store reaches it.
///
/// Two of them are equal where they say the same: registration, health, times and
/// source. When a store took them in, their [`revision`](Self::revision) and
/// [`incarnation`](Self::incarnation), is no part of that.
///
/// With the feature `serde` it is the fields of its registration and, beside them,
/// `status`, `last_health_check`, `registered_at` and, where there is one, `source`.
/// Times are written as RFC 3339 texts, `2026-01-31T12:00:00.5Z`. That takes a format
/// which names its fields, such as JSON. What is read is checked as by
/// [`new`](Self::new).
///
/// ```
/// use service_registry::{ServiceInfo, ServiceRegistration, ServiceStatus};
/// use std::time::SystemTime;
///
/// let pod = ServiceInfo::new(ServiceRegistration::new("user-service", "pod-1"))?;
/// assert_eq!(pod.key(), "user-service:pod-1");
/// assert_eq!(pod.status(), ServiceStatus::Unknown);
///
/// let checked = pod.with_health(ServiceStatus::Healthy, SystemTime::now())?;
/// assert_eq!(checked.status(), ServiceStatus::Healthy);
/// assert_eq!(pod.status(), ServiceStatus::Unknown);
/// # Ok::<(), service_registry::StoreError>(())
/// ```
#[derive(Clone)]
pub struct ServiceInfo {
    record: Arc<Record>,
    revision: Revision,
    incarnation: Revision,
    checked_at: Moment,
    status: ServiceStatus,
}

const _: () = assert!(size_of::<ServiceInfo>() <= 40);

/// The part of a [`ServiceInfo`] that no health check changes, and that is shared.
#[derive(Clone)]
struct Record {
    key: ServiceKey,
    registration: ServiceRegistration,
    registered_at: Moment,
    source: Option<Arc<str>>,
}

/// What a health report would do to a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The record is of a later check.
    Late,
    /// It says so already.
    None,
    /// It would be another.
    Some,
}

impl ServiceInfo {
    /// Checks a registration and makes it a record: status
    /// [`Unknown`](ServiceStatus::Unknown), never checked, registered now.
    /// O(size of the registration).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid), naming the field, where a name, a zone
    /// or a subscription is none (see [`ServiceKey::new`]; a subscription is the name of
    /// a service), a host is neither an address nor a DNS name, something exceeds its
    /// limit ([`MAX_NAME_LEN`](crate::MAX_NAME_LEN) and the others), or the clock stands
    /// before 1970.
    pub fn new(registration: ServiceRegistration) -> Result<ServiceInfo> {
        let key = ServiceKey::new(&registration.service_name, &registration.pod_name)?;
        registration.check()?;
        let registered_at = Moment::new("registered_at", SystemTime::now())?;
        let record = Record {
            key,
            registration,
            registered_at,
            source: None,
        };
        Ok(ServiceInfo {
            record: Arc::new(record),
            revision: Revision::ZERO,
            incarnation: Revision::ZERO,
            checked_at: Moment::NEVER,
            status: ServiceStatus::Unknown,
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

    /// Where it runs; empty where that is not known.
    pub fn zone(&self) -> &str {
        &self.record.registration.zone
    }

    /// How much it should get, in proportion to the others; 0 for nothing.
    pub fn weight(&self) -> u32 {
        self.record.registration.weight
    }

    /// What else is to be known of it.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.record.registration.metadata
    }

    /// What the last health check said.
    #[inline]
    pub fn status(&self) -> ServiceStatus {
        self.status
    }

    /// When its health was last checked; `None` for never.
    #[inline]
    pub fn last_health_check(&self) -> Option<SystemTime> {
        (self.checked_at != Moment::NEVER).then(|| self.checked_at.time())
    }

    /// When it registered.
    #[inline]
    pub fn registered_at(&self) -> SystemTime {
        self.record.registered_at.time()
    }

    /// What it said of itself.
    pub fn registration(&self) -> &ServiceRegistration {
        &self.record.registration
    }

    /// Who it comes from, where several feed one store: `etcd`, `kubernetes`, a file.
    /// `None` where nobody said.
    pub fn source(&self) -> Option<&str> {
        self.record.source.as_deref()
    }

    /// The revision of its last change in anything but the time of the last check.
    /// [`Revision::ZERO`] before a store has it.
    #[inline]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The revision at which its key was last registered: by
    /// [`Registry::register`](crate::Registry::register) or
    /// [`Batch::register_service`](crate::Batch::register_service), which always begin a
    /// new incarnation, or by a save that found the key absent. Other saves and health
    /// checks keep it. [`Revision::ZERO`] before a store has it.
    #[inline]
    pub fn incarnation(&self) -> Revision {
        self.incarnation
    }

    /// A copy with another health, which no store has yet. O(1), allocates nothing.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) for a time before 1970 or after 9999.
    #[inline]
    pub fn with_health(
        &self,
        status: ServiceStatus,
        checked_at: SystemTime,
    ) -> Result<ServiceInfo> {
        let checked_at = Moment::new("checked_at", checked_at)?;
        Ok(ServiceInfo {
            record: self.record.clone(),
            revision: Revision::ZERO,
            incarnation: Revision::ZERO,
            checked_at,
            status,
        })
    }

    /// The same record with another time of registration, which no store has yet. O(1)
    /// where this is its only clone, and a copy of the registration otherwise.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) for a time before 1970 or after 9999.
    pub fn with_registered_at(self, registered_at: SystemTime) -> Result<ServiceInfo> {
        let registered_at = Moment::new("registered_at", registered_at)?;
        Ok(self.edit(|record| record.registered_at = registered_at))
    }

    /// The same record from another source, which no store has yet. O(1) where this is
    /// its only clone, and a copy of the registration otherwise.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) where the name is empty, longer than
    /// [`MAX_NAME_LEN`](crate::MAX_NAME_LEN), holds a control character, or begins or
    /// ends with white space.
    pub fn with_source(self, source: &str) -> Result<ServiceInfo> {
        check_name("source", source)?;
        Ok(self.into_source(source.into()))
    }

    /// The same pod, not checked yet.
    #[cfg(feature = "dump")]
    pub(crate) fn without_health(mut self) -> ServiceInfo {
        self.checked_at = Moment::NEVER;
        self.status = ServiceStatus::Unknown;
        self
    }

    pub(crate) fn into_source(self, source: Arc<str>) -> ServiceInfo {
        self.edit(|record| record.source = Some(source))
    }

    fn edit(mut self, edit: impl FnOnce(&mut Record)) -> ServiceInfo {
        edit(Arc::make_mut(&mut self.record));
        self.stamped(Revision::ZERO, Revision::ZERO)
    }

    /// For stores from elsewhere: the same record as a store has it that changed it last at
    /// `revision`, and registered it at `incarnation`. O(1), allocates nothing.
    ///
    /// A store of this crate stamps what it takes in itself, whatever was there before.
    ///
    /// ```
    /// use service_registry::{ServiceInfo, ServiceRegistration};
    ///
    /// let pod = ServiceInfo::new(ServiceRegistration::new("web", "pod-1"))?;
    /// let kept = pod.stamped(7.into(), 3.into());
    /// assert_eq!((kept.revision(), kept.incarnation()), (7.into(), 3.into()));
    /// # Ok::<(), service_registry::StoreError>(())
    /// ```
    #[must_use]
    pub fn stamped(mut self, revision: Revision, incarnation: Revision) -> ServiceInfo {
        self.stamp(revision, incarnation);
        self
    }

    /// Notes when it was last changed, and when registered.
    pub(crate) fn stamp(&mut self, revision: Revision, incarnation: Revision) {
        self.revision = revision;
        self.incarnation = incarnation;
    }

    /// Whether both are equal, but for the time of the last check.
    pub(crate) fn says_the_same(&self, other: &ServiceInfo) -> bool {
        let (one, two) = (&*self.record, &*other.record);
        self.status == other.status
            && (std::ptr::eq(one, two)
                || one.registered_at == two.registered_at
                    && one.source == two.source
                    && one.registration == two.registration)
    }

    /// Becomes the record `known`, which says the same, but for the time of the last check. So
    /// there is one copy of what both say.
    pub(crate) fn become_known(&mut self, known: &ServiceInfo) {
        *self = ServiceInfo {
            checked_at: self.checked_at,
            ..known.clone()
        };
    }

    /// Takes over from an earlier record of the same pod and source what a list of the source
    /// does not know: the health, if that is of a later check; and where the registration is
    /// the same, the time at which it registered.
    pub(crate) fn keep_what_is_known(&mut self, known: &ServiceInfo) {
        if self.registration() == known.registration() {
            self.record = known.record.clone();
        }
        let is_later = known.checked_at != Moment::NEVER
            && (self.checked_at == Moment::NEVER || known.checked_at > self.checked_at);
        if is_later {
            self.checked_at = known.checked_at;
            self.status = known.status;
        }
    }

    /// What a health report would do.
    #[inline]
    pub(crate) fn effect(&self, status: ServiceStatus, checked_at: Moment) -> Effect {
        if self.checked_at != Moment::NEVER && checked_at < self.checked_at {
            Effect::Late
        } else if self.status == status && self.checked_at == checked_at {
            Effect::None
        } else {
            Effect::Some
        }
    }

    /// What to tell whoever made a health report with that effect.
    #[inline]
    pub(crate) fn answer(&self, effect: Effect) -> HealthUpdate {
        match effect {
            Effect::Late => HealthUpdate::Late {
                current: self.status,
            },
            Effect::None | Effect::Some => HealthUpdate::Applied {
                before: self.status,
            },
        }
    }

    /// Sets the health in place. A newer time by itself keeps the record's revision.
    #[inline]
    pub(crate) fn set_health(
        &mut self,
        status: ServiceStatus,
        checked_at: Moment,
        revision: Revision,
    ) {
        if self.status != status {
            self.status = status;
            self.revision = revision;
        }
        self.checked_at = checked_at;
    }

    /// How many clones share the registration. Reading it brings the counter,
    /// which a clone is about to write, into the cache.
    #[inline]
    pub(crate) fn touch(&self) -> usize {
        Arc::strong_count(&self.record)
    }

    /// Whether no other record has this registration, in a store or elsewhere. Then there will
    /// be none, since there is nothing to clone it from.
    pub(crate) fn is_of_nobody_else(&self) -> bool {
        Arc::strong_count(&self.record) == 1
    }
}

impl PartialEq for ServiceInfo {
    /// O(1) for clones and for records that differ in health;
    /// otherwise O(size of the registration).
    fn eq(&self, other: &ServiceInfo) -> bool {
        self.checked_at == other.checked_at && self.says_the_same(other)
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
            .field("last_health_check", &self.last_health_check())
            .field("registered_at", &self.registered_at())
            .field("source", &self.source())
            .field("revision", &self.revision)
            .field("incarnation", &self.incarnation)
            .finish()
    }
}

#[cfg(feature = "serde")]
mod wire {
    //! A record is read through [`ServiceInfo::new`], so that what came over the wire
    //! is checked, too.

    use super::super::time::wire::{read, read_some, write, write_some};
    use super::{ServiceInfo, ServiceRegistration, ServiceStatus, SystemTime};
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize)]
    #[serde(rename = "ServiceInfo")]
    struct InfoRef<'a> {
        #[serde(flatten)]
        registration: &'a ServiceRegistration,
        status: ServiceStatus,
        #[serde(serialize_with = "write_some")]
        last_health_check: Option<SystemTime>,
        #[serde(serialize_with = "write")]
        registered_at: SystemTime,
        #[serde(skip_serializing_if = "Option::is_none")]
        source: Option<&'a str>,
    }

    #[derive(Deserialize)]
    #[serde(rename = "ServiceInfo")]
    struct InfoOwned {
        #[serde(flatten)]
        registration: ServiceRegistration,
        #[serde(default)]
        status: ServiceStatus,
        #[serde(default, deserialize_with = "read_some")]
        last_health_check: Option<SystemTime>,
        #[serde(deserialize_with = "read")]
        registered_at: SystemTime,
        #[serde(default)]
        source: Option<String>,
    }

    impl Serialize for ServiceInfo {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            InfoRef {
                registration: self.registration(),
                status: self.status,
                last_health_check: self.last_health_check(),
                registered_at: self.registered_at(),
                source: self.source(),
            }
            .serialize(serializer)
        }
    }

    impl<'de> Deserialize<'de> for ServiceInfo {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let read = InfoOwned::deserialize(deserializer)?;
            let checked = || {
                let mut info =
                    ServiceInfo::new(read.registration)?.with_registered_at(read.registered_at)?;
                if let Some(source) = read.source {
                    info = info.with_source(&source)?;
                }
                if let Some(checked_at) = read.last_health_check {
                    info = info.with_health(read.status, checked_at)?;
                }
                // A status may be known without a time.
                info.status = read.status;
                Ok::<_, crate::StoreError>(info)
            };
            checked().map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(service: &str, pod: &str) -> ServiceInfo {
        ServiceInfo::new(ServiceRegistration::new(service, pod)).unwrap()
    }

    #[test]
    fn a_clone_shares_the_registration() {
        let pod = info("user-service", "pod-1");
        let copy = pod.with_health(ServiceStatus::Healthy, SystemTime::now());
        let copy = copy.unwrap();
        assert!(std::ptr::eq(pod.registration(), copy.registration()));
        assert_eq!(pod.touch(), 2);
    }

    #[test]
    fn editing_the_only_clone_moves_nothing() {
        let pod = info("user-service", "pod-1");
        let stood = std::ptr::from_ref(pod.registration());
        let pod = pod.with_registered_at(SystemTime::UNIX_EPOCH).unwrap();
        let pod = pod.with_source("etcd").unwrap();
        assert!(std::ptr::eq(pod.registration(), stood));
        assert_eq!(pod.source(), Some("etcd"));
        // With another clone around, that one stays as it is.
        let kept = pod.clone();
        let moved = pod.with_source("file").unwrap();
        assert_eq!(
            (kept.source(), moved.source()),
            (Some("etcd"), Some("file"))
        );
        assert_ne!(kept, moved);
    }

    #[test]
    fn equality_looks_at_neither_revision_nor_incarnation() {
        let pod = info("user-service", "pod-1");
        let stamped = pod.clone().stamped(3.into(), 2.into());
        assert_eq!(stamped, pod);
        assert_eq!(stamped.revision(), Revision::from(3));
        assert_eq!(stamped.incarnation(), Revision::from(2));
        let copy = stamped.with_health(ServiceStatus::Healthy, SystemTime::now());
        assert_eq!(copy.unwrap().revision(), Revision::ZERO);
    }
}
