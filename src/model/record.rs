//! [`ServiceInfo`]: what the registry knows about a pod.

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

/// A validated, immutable record of one pod: its registration and what has been observed
/// since.
///
/// Cloning increments one reference count and copies a few words; the registration is shared
/// and never changes. So a value that a store returns belongs to the caller: nothing done with
/// it affects the store or another caller, and no later change of the store affects it.
///
/// Two records are equal if their registration, health, times and source are equal. Their
/// [`revision`](Self::revision) and [`incarnation`](Self::incarnation), which a store assigns,
/// are not compared.
///
/// With the feature `serde`, a record has the fields of its registration and, beside them,
/// `status`, `last_health_check`, `registered_at` and, if there is one, `source`. Times are
/// written as RFC 3339 texts, `2026-01-31T12:00:00.5Z`. This takes a format with field names,
/// such as JSON. A record that is read is validated as by [`new`](Self::new).
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

/// The part of a [`ServiceInfo`] that health checks do not change. Clones share it.
#[derive(Clone)]
struct Record {
    key: ServiceKey,
    registration: ServiceRegistration,
    registered_at: Moment,
    source: Option<Arc<str>>,
}

/// The effect that a health report would have on a record.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The record has a later check.
    Late,
    /// The record has this status and this time already.
    None,
    /// The record would change.
    Some,
}

impl ServiceInfo {
    /// Validates a registration and creates a record from it: status
    /// [`Unknown`](ServiceStatus::Unknown), never checked, registered now. O(size of the
    /// registration).
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid), naming the field, if a name, a zone or a
    /// subscription is malformed (see [`ServiceKey::new`]; a subscription is the name of a
    /// service), a host is neither an address nor a DNS name, something exceeds its limit
    /// ([`MAX_NAME_LEN`](crate::MAX_NAME_LEN) and the others), or the clock is before 1970.
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

    /// Returns the key, `service:pod`.
    pub fn key(&self) -> &ServiceKey {
        &self.record.key
    }

    /// Returns the name of the service that the pod belongs to.
    pub fn service_name(&self) -> &str {
        &self.record.registration.service_name
    }

    /// Returns the name of the pod.
    pub fn pod_name(&self) -> &str {
        &self.record.registration.pod_name
    }

    /// Returns the addresses of the pod.
    pub fn providers(&self) -> &[Provider] {
        &self.record.registration.providers
    }

    /// Returns the URL of its health check; empty if it has none.
    pub fn health_check_url(&self) -> &str {
        &self.record.registration.health_check_url
    }

    /// Returns the URL for notifications of changes; empty if it has none.
    pub fn notification_url(&self) -> &str {
        &self.record.registration.notification_url
    }

    /// Returns the groups that the pod subscribed to when it registered. The store knows its
    /// current subscriptions.
    pub fn subscriptions(&self) -> &[String] {
        &self.record.registration.subscriptions
    }

    /// Returns the zone that the pod runs in; empty if it is not known.
    pub fn zone(&self) -> &str {
        &self.record.registration.zone
    }

    /// Returns its share of the load, relative to the weights of other pods; 0 for none.
    pub fn weight(&self) -> u32 {
        self.record.registration.weight
    }

    /// Returns the metadata of the pod.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.record.registration.metadata
    }

    /// Returns the result of the last health check.
    #[inline]
    pub fn status(&self) -> ServiceStatus {
        self.status
    }

    /// Returns when its health was last checked; `None` if it never was.
    #[inline]
    pub fn last_health_check(&self) -> Option<SystemTime> {
        (self.checked_at != Moment::NEVER).then(|| self.checked_at.time())
    }

    /// Returns when the pod registered.
    #[inline]
    pub fn registered_at(&self) -> SystemTime {
        self.record.registered_at.time()
    }

    /// Returns the registration of the pod.
    pub fn registration(&self) -> &ServiceRegistration {
        &self.record.registration
    }

    /// Returns the source of the record, for stores that several sources feed: `etcd`,
    /// `kubernetes`, a file. `None` if none was given.
    pub fn source(&self) -> Option<&str> {
        self.record.source.as_deref()
    }

    /// Returns the revision of the last change to the record, except changes to only the time
    /// of the last check. [`Revision::ZERO`] before a store has it.
    #[inline]
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Returns the revision at which the key was last registered.
    /// [`Registry::register`](crate::Registry::register) and
    /// [`Batch::register_service`](crate::Batch::register_service) always begin a new
    /// incarnation, and so does a save that finds the key absent. Other saves and health
    /// checks keep it. [`Revision::ZERO`] before a store has it.
    #[inline]
    pub fn incarnation(&self) -> Revision {
        self.incarnation
    }

    /// Returns a copy with another health. Its revision and incarnation are
    /// [`Revision::ZERO`], because no store has it yet. O(1), allocates nothing.
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

    /// Returns the record with another time of registration. Its revision and incarnation are
    /// [`Revision::ZERO`], because no store has it yet. O(1) if it has no other clones; copies
    /// the registration otherwise.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) for a time before 1970 or after 9999.
    pub fn with_registered_at(self, registered_at: SystemTime) -> Result<ServiceInfo> {
        let registered_at = Moment::new("registered_at", registered_at)?;
        Ok(self.edit(|record| record.registered_at = registered_at))
    }

    /// Returns the record with another source. Its revision and incarnation are
    /// [`Revision::ZERO`], because no store has it yet. O(1) if it has no other clones; copies
    /// the registration otherwise.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::StoreError::Invalid) if the name is empty, is longer than
    /// [`MAX_NAME_LEN`](crate::MAX_NAME_LEN), contains a control character, or begins or ends
    /// with white space.
    pub fn with_source(self, source: &str) -> Result<ServiceInfo> {
        check_name("source", source)?;
        Ok(self.into_source(source.into()))
    }

    /// Returns the same pod, not checked yet.
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

    /// Returns the record with the given revision and incarnation. For stores outside this
    /// crate: `revision` is that of the last change, `incarnation` that of the registration.
    /// O(1), allocates nothing.
    ///
    /// The stores of this crate stamp each record that they take in, and ignore its previous
    /// stamps.
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

    /// Sets the revision and the incarnation.
    pub(crate) fn stamp(&mut self, revision: Revision, incarnation: Revision) {
        self.revision = revision;
        self.incarnation = incarnation;
    }

    /// Returns whether both share one copy of the registration. Then they differ in health,
    /// revision and incarnation at most.
    #[inline]
    pub(crate) fn shares_registration(&self, other: &ServiceInfo) -> bool {
        Arc::ptr_eq(&self.record, &other.record)
    }

    /// Returns whether both are equal except for the time of the last check.
    pub(crate) fn has_same_content(&self, other: &ServiceInfo) -> bool {
        let (one, two) = (&*self.record, &*other.record);
        self.status == other.status
            && (self.shares_registration(other)
                || one.registered_at == two.registered_at
                    && one.source == two.source
                    && one.registration == two.registration)
    }

    /// Copies `known`, which has the same content, except for the time of the last check. So both
    /// share one copy of the registration.
    pub(crate) fn copy_except_check_time(&mut self, known: &ServiceInfo) {
        if !self.shares_registration(known) {
            self.record = known.record.clone();
        }
        self.revision = known.revision;
        self.incarnation = known.incarnation;
    }

    /// Takes over from `known`, an earlier record of the same pod and source, what a list of the
    /// source does not contain: the health, if its check is later, and the time of registration,
    /// if the registration is the same.
    pub(crate) fn merge_known(&mut self, known: &ServiceInfo) {
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

    /// Returns the effect that a health report would have.
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

    /// Returns the answer to a health report with that effect.
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

    /// Sets the health in place. The revision changes only if the status does.
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

    /// Returns how many clones share the registration. Reading the counter brings it into the
    /// cache before a clone writes it.
    #[inline]
    pub(crate) fn touch(&self) -> usize {
        Arc::strong_count(&self.record)
    }

    /// Returns whether no other record shares this registration, in a store or elsewhere. Then
    /// none ever will, because there is nothing to clone it from.
    pub(crate) fn is_only_clone(&self) -> bool {
        Arc::strong_count(&self.record) == 1
    }
}

impl PartialEq for ServiceInfo {
    /// O(1) for clones and for records that differ in health;
    /// otherwise O(size of the registration).
    fn eq(&self, other: &ServiceInfo) -> bool {
        self.checked_at == other.checked_at && self.has_same_content(other)
    }
}

impl Eq for ServiceInfo {}

// The registration stands for the whole `Record`.
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
    //! A record is read through [`ServiceInfo::new`], so that untrusted input is validated.

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
                // The status may be known without the time of a check.
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
        // Another clone stays as it is.
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
