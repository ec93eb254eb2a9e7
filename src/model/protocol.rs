//! [`Protocol`]: the protocol of an address.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;

/// The protocol that a [`Provider`](crate::Provider) speaks.
///
/// Other names are kept as they are. Two protocols are equal if their [wire
/// names](Protocol::as_str) are, so `Protocol::Other("http".into())` equals `Protocol::Http`.
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
    /// Any other name, as it was given. [`ServiceInfo::new`](crate::ServiceInfo::new) refuses
    /// a name that is empty, is longer than [`MAX_PROTOCOL_LEN`](crate::MAX_PROTOCOL_LEN),
    /// contains a control character, or begins or ends with white space.
    Other(String),
}

impl Protocol {
    /// Returns the name on the wire.
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

    fn from_known_name(name: &str) -> Option<Protocol> {
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
        Protocol::from_known_name(name).unwrap_or_else(|| Protocol::Other(name.to_owned()))
    }
}

impl From<String> for Protocol {
    fn from(name: String) -> Protocol {
        Protocol::from_known_name(&name).unwrap_or(Protocol::Other(name))
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

#[cfg(feature = "serde")]
mod wire {
    use super::Protocol;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

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
}
