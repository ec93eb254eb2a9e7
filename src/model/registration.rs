//! [`ServiceRegistration`]: what a pod says of itself.

use std::collections::BTreeMap;

use super::error::{InvalidInput, Problem};
use super::excerpt::Excerpt;
use super::limits::{
    MAX_METADATA, MAX_METADATA_KEY_LEN, MAX_METADATA_VALUE_LEN, MAX_PROTOCOL_LEN, MAX_PROVIDERS,
    MAX_SUBSCRIPTIONS, MAX_URL_LEN, check_count, check_name, problem_of_length, problem_of_line,
    problem_of_service_name, problem_of_text, refuse,
};
use super::provider::Provider;

/// What a pod says of itself when it registers: a plain record, not checked
/// until a [`ServiceInfo`](crate::ServiceInfo) is made of it.
///
/// With the feature `serde` it reads and writes exactly these field names; a field
/// that is missing has its [default](Self::default), one that is not known here is
/// passed over.
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
    /// The name of the group of pods, `user-service`. Holds no `:`.
    pub service_name: String,
    /// The name of this instance, unique within the service.
    pub pod_name: String,
    /// Where it can be reached; at most [`MAX_PROVIDERS`].
    pub providers: Vec<Provider>,
    /// Where to ask for its health; empty for none. At most [`MAX_URL_LEN`] bytes.
    pub health_check_url: String,
    /// Where it wants to be told of changes; empty for none. At most [`MAX_URL_LEN`]
    /// bytes.
    pub notification_url: String,
    /// The service groups of whose changes it wants to hear; at most
    /// [`MAX_SUBSCRIPTIONS`].
    pub subscriptions: Vec<String>,
    /// Where it runs, `eu-1a`; empty where that is not known.
    pub zone: String,
    /// How much it should get, in proportion to the others; 0 for nothing.
    pub weight: u32,
    /// What else is to be known of it; at most [`MAX_METADATA`] entries.
    pub metadata: BTreeMap<String, String>,
}

/// Everything empty, and a weight of 1.
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
    /// A pod of a service, with everything else as by [`default`](Self::default).
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

    /// Adds a way to reach it.
    #[must_use]
    pub fn with_provider(mut self, provider: impl Into<Provider>) -> ServiceRegistration {
        self.providers.push(provider.into());
        self
    }

    /// Says where to ask for its health.
    #[must_use]
    pub fn with_health_check_url(mut self, url: impl Into<String>) -> ServiceRegistration {
        self.health_check_url = url.into();
        self
    }

    /// Says where it wants to be told of changes.
    #[must_use]
    pub fn with_notification_url(mut self, url: impl Into<String>) -> ServiceRegistration {
        self.notification_url = url.into();
        self
    }

    /// Adds a group of whose changes it wants to hear.
    #[must_use]
    pub fn with_subscription(mut self, service_group: impl Into<String>) -> ServiceRegistration {
        self.subscriptions.push(service_group.into());
        self
    }

    /// Says where it runs.
    #[must_use]
    pub fn with_zone(mut self, zone: impl Into<String>) -> ServiceRegistration {
        self.zone = zone.into();
        self
    }

    /// Says how much it should get.
    #[must_use]
    pub fn with_weight(mut self, weight: u32) -> ServiceRegistration {
        self.weight = weight;
        self
    }

    /// Adds an entry to the metadata, or replaces one.
    #[must_use]
    pub fn with_metadata(
        mut self,
        key: impl Into<String>,
        value: impl Into<String>,
    ) -> ServiceRegistration {
        self.metadata.insert(key.into(), value.into());
        self
    }

    /// Checks all fields but the two names, which are those of the key.
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
