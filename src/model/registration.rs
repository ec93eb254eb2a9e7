//! [`ServiceRegistration`]: what a pod says about itself.

use std::collections::BTreeMap;

use super::error::{InvalidInput, Problem};
use super::excerpt::Excerpt;
use super::limits::{
    MAX_METADATA, MAX_METADATA_KEY_LEN, MAX_METADATA_VALUE_LEN, MAX_PROTOCOL_LEN, MAX_PROVIDERS,
    MAX_SUBSCRIPTIONS, MAX_URL_LEN, check_count, check_name, problem_of_length, problem_of_line,
    problem_of_service_name, problem_of_text, refuse,
};
use super::provider::Provider;

/// What a pod says about itself when it registers: plain data, not validated until a
/// [`ServiceInfo`](crate::ServiceInfo) is created from it.
///
/// With the feature `serde`, it is read and written with exactly these field names.
/// A missing field takes its [default](Self::default); an unknown field is ignored.
///
/// ```
/// use service_registry::{Protocol, Provider, ServiceRegistration};
///
/// let registration = ServiceRegistration::new("checkout", "pod-1")
///     .with_provider(Provider::new(Protocol::Http, [10, 0, 0, 7], 8080))
///     .with_subscription("payment")
///     .with_zone("eu-1a")
///     .with_metadata("version", "1.4.2");
/// assert_eq!(registration.weight, 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(default))]
pub struct ServiceRegistration {
    /// The name of the service, `user-service`. Contains no `:`.
    pub service_name: String,
    /// The name of this pod, unique within the service.
    pub pod_name: String,
    /// The addresses of the pod; at most [`MAX_PROVIDERS`].
    pub providers: Vec<Provider>,
    /// The URL of its health check; empty for none. At most [`MAX_URL_LEN`] bytes.
    pub health_check_url: String,
    /// The URL for notifications of changes; empty for none. At most [`MAX_URL_LEN`]
    /// bytes.
    pub notification_url: String,
    /// The service groups that the pod subscribes to; at most [`MAX_SUBSCRIPTIONS`].
    pub subscriptions: Vec<String>,
    /// The zone that the pod runs in, `eu-1a`; empty if it is not known.
    pub zone: String,
    /// Its share of the load, relative to the weights of other pods; 0 for none.
    pub weight: u32,
    /// Any other properties; at most [`MAX_METADATA`] entries.
    pub metadata: BTreeMap<String, String>,
}

/// All fields are empty, and the weight is 1.
impl Default for ServiceRegistration {
    fn default() -> ServiceRegistration {
        ServiceRegistration {
            service_name: String::new(),
            pod_name: String::new(),
            providers: Vec::new(),
            health_check_url: String::new(),
            notification_url: String::new(),
            subscriptions: Vec::new(),
            zone: String::new(),
            weight: 1,
            metadata: BTreeMap::new(),
        }
    }
}

impl ServiceRegistration {
    /// Creates the registration of a pod; all other fields are those of
    /// [`default`](Self::default).
    pub fn new(
        service_name: impl Into<String>,
        pod_name: impl Into<String>,
    ) -> ServiceRegistration {
        ServiceRegistration {
            service_name: service_name.into(),
            pod_name: pod_name.into(),
            ..ServiceRegistration::default()
        }
    }

    /// Adds an address.
    #[must_use]
    pub fn with_provider(mut self, provider: impl Into<Provider>) -> ServiceRegistration {
        self.providers.push(provider.into());
        self
    }

    /// Sets the URL of the health check.
    #[must_use]
    pub fn with_health_check_url(mut self, url: impl Into<String>) -> ServiceRegistration {
        self.health_check_url = url.into();
        self
    }

    /// Sets the URL for notifications of changes.
    #[must_use]
    pub fn with_notification_url(mut self, url: impl Into<String>) -> ServiceRegistration {
        self.notification_url = url.into();
        self
    }

    /// Adds a group to subscribe to.
    #[must_use]
    pub fn with_subscription(mut self, service_group: impl Into<String>) -> ServiceRegistration {
        self.subscriptions.push(service_group.into());
        self
    }

    /// Sets the zone.
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<String>) -> ServiceRegistration {
        self.zone = zone.into();
        self
    }

    /// Sets the weight.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> ServiceRegistration {
        self.weight = weight;
        self
    }

    /// Adds or replaces a metadata entry.
    #[must_use]
    pub fn with_metadata(
        mut self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> ServiceRegistration {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Checks all fields except the two names, which
    /// [`ServiceKey`](super::key::ServiceKey) checks.
    pub(super) fn check(&self) -> Result<(), InvalidInput> {
        check_count("providers", self.providers.len(), MAX_PROVIDERS)?;
        for (at, provider) in self.providers.iter().enumerate() {
            if let Some(problem) = provider.host.problem() {
                let field = format!("providers[{at}].host");
                let host = provider.host.to_string();
                return Err(InvalidInput::new(field, &host, problem));
            }
            let protocol = provider.protocol.as_str();
            if let Some(problem) = problem_of_text(protocol, MAX_PROTOCOL_LEN) {
                let field = format!("providers[{at}].protocol");
                return Err(InvalidInput::new(field, protocol, problem));
            }
        }
        for (field, url) in [
            ("health_check_url", &self.health_check_url),
            ("notification_url", &self.notification_url),
        ] {
            refuse(field, url, problem_of_line(url, MAX_URL_LEN))?;
        }
        check_count("subscriptions", self.subscriptions.len(), MAX_SUBSCRIPTIONS)?;
        for (at, group) in self.subscriptions.iter().enumerate() {
            if let Some(problem) = problem_of_service_name(group) {
                let field = format!("subscriptions[{at}]");
                return Err(InvalidInput::new(field, group, problem));
            }
        }
        if !self.zone.is_empty() {
            check_name("zone", &self.zone)?;
        }
        check_count("metadata", self.metadata.len(), MAX_METADATA)?;
        for (key, value) in &self.metadata {
            let empty = key.is_empty().then_some(Problem::Empty);
            let problem = empty.or_else(|| problem_of_line(key, MAX_METADATA_KEY_LEN));
            refuse("metadata key", key, problem)?;
            let problem = problem_of_length(value, MAX_METADATA_VALUE_LEN);
            if problem.is_some() {
                refuse(format!("metadata[{}]", Excerpt::new(key)), value, problem)?;
            }
        }
        Ok(())
    }
}
