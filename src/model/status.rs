//! [`ServiceStatus`]: what a health check said, and [`HealthUpdate`]: what became of it.

use std::fmt;
use std::str::FromStr;

use super::error::{InvalidInput, Problem, Result, StoreError};

/// What the last health check said.
///
/// With the feature `serde`, a name that is not known here is read as
/// [`Unknown`](ServiceStatus::Unknown): it may come from a newer version of this
/// crate. [`from_str`](FromStr::from_str) refuses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ServiceStatus {
    /// `healthy`
    Healthy,
    /// `unhealthy`
    Unhealthy,
    /// `unknown`: not checked yet
    #[default]
    Unknown,
    /// `draining`: finishes what it has, and wants nothing new. Not healthy.
    Draining,
}

impl ServiceStatus {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ServiceStatus::Healthy => "healthy",
            ServiceStatus::Unhealthy => "unhealthy",
            ServiceStatus::Unknown => "unknown",
            ServiceStatus::Draining => "draining",
        }
    }

    fn known(name: &str) -> Option<ServiceStatus> {
        Some(match name {
            "healthy" => ServiceStatus::Healthy,
            "unhealthy" => ServiceStatus::Unhealthy,
            "unknown" => ServiceStatus::Unknown,
            "draining" => ServiceStatus::Draining,
            _ => return None,
        })
    }
}

impl fmt::Display for ServiceStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ServiceStatus {
    type Err = StoreError;

    fn from_str(name: &str) -> Result<ServiceStatus> {
        ServiceStatus::known(name).ok_or_else(|| {
            let expected = "`healthy`, `unhealthy`, `unknown` or `draining`";
            InvalidInput::new("service status", name, Problem::Unknown { expected }).into()
        })
    }
}

/// What became of a health report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthUpdate {
    /// The record says now what the report said.
    Applied {
        /// The status that was replaced.
        before: ServiceStatus,
    },
    /// The record is of a later check, and stays as it is.
    Late {
        /// The status that it has.
        current: ServiceStatus,
    },
}

impl HealthUpdate {
    /// Whether the report was taken over.
    pub const fn is_applied(self) -> bool {
        matches!(self, HealthUpdate::Applied { .. })
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::ServiceStatus;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl Serialize for ServiceStatus {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_str(self.as_str())
        }
    }

    impl<'de> Deserialize<'de> for ServiceStatus {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let name = String::deserialize(deserializer)?;
            Ok(ServiceStatus::known(&name).unwrap_or_default())
        }
    }
}
