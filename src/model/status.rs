//! [`ServiceStatus`]: the result of a health check, and [`HealthUpdate`]: its effect on
//! a record.

use std::fmt;
use std::str::FromStr;

use super::error::{InvalidInput, Problem, Result, StoreError};

/// The result of the last health check.
///
/// With the feature `serde`, a name that is not known here is read as
/// [`Unknown`](ServiceStatus::Unknown), because it may come from a newer version of this
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
    /// `draining`: finishes its current work and takes no new work. Not healthy.
    Draining,
}

impl ServiceStatus {
    /// Returns the name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            ServiceStatus::Healthy => "healthy",
            ServiceStatus::Unhealthy => "unhealthy",
            ServiceStatus::Unknown => "unknown",
            ServiceStatus::Draining => "draining",
        }
    }

    fn from_known_name(name: &str) -> Option<ServiceStatus> {
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
        ServiceStatus::from_known_name(name).ok_or_else(|| {
            let expected = "`healthy`, `unhealthy`, `unknown` or `draining`";
            InvalidInput::new("service status", name, Problem::Unknown { expected }).into()
        })
    }
}

/// The effect of a health report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HealthUpdate {
    /// The record now has the reported status and time.
    Applied {
        /// The status before the report.
        before: ServiceStatus,
    },
    /// The record has a later check, and stays as it is.
    Late {
        /// The current status.
        current: ServiceStatus,
    },
}

impl HealthUpdate {
    /// Returns whether the report was applied.
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
            Ok(ServiceStatus::from_known_name(&name).unwrap_or_default())
        }
    }
}
