//! [`Host`]: the address or the name of a pod.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::error::{InvalidInput, Problem, Result, StoreError};
use super::limits::{MAX_HOST_LEN, problem_of_length};

/// The host of a [`Provider`](crate::Provider): an IP address, or a DNS name.
///
/// Parsing distinguishes the two, and refuses anything else. A [`Name`](Host::Name)
/// that is built by hand is validated when a [`ServiceInfo`](crate::ServiceInfo) is
/// created from it. Names are kept and compared as they are, without normalization.
///
/// ```
/// use service_registry::Host;
///
/// assert_eq!("10.0.0.7".parse::<Host>()?, Host::from([10, 0, 0, 7]));
/// assert_eq!("smf-0.core.svc".parse::<Host>()?, Host::Name("smf-0.core.svc".into()));
/// assert!("10.0.0.700".parse::<Host>().is_err());
/// # Ok::<(), service_registry::StoreError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// An IP address.
    Ip(IpAddr),
    /// A DNS name: labels of letters, digits, `-` and `_`, separated by dots, at most
    /// [`MAX_HOST_LEN`] bytes.
    Name(String),
}

impl Host {
    /// Returns the address, or `None` for a name.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Host::Ip(ip) => Some(*ip),
            Host::Name(_) => None,
        }
    }

    pub(super) fn problem(&self) -> Option<Problem> {
        match self {
            Host::Ip(_) => None,
            Host::Name(name) => problem_of_name(name),
        }
    }
}

fn problem_of_name(name: &str) -> Option<Problem> {
    if name.is_empty() {
        return Some(Problem::Empty);
    }
    if let Some(too_long) = problem_of_length(name, MAX_HOST_LEN) {
        return Some(too_long);
    }
    let mut labels = name.strip_suffix('.').unwrap_or(name).split('.');
    let is_label = |label: &str| {
        let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_part)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // No top-level domain is a number, so this is a malformed address.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = labels.clone().all(is_label) && !labels.next_back().is_some_and(is_number);
    (!is_name).then_some(Problem::NoHost)
}

impl FromStr for Host {
    type Err = StoreError;

    /// Parses an address or a name. An IPv6 address may be in brackets.
    fn from_str(text: &str) -> Result<Host> {
        let bare = text
            .strip_prefix('[')
            .and_then(|text| text.strip_suffix(']'));
        let ip = match bare {
            Some(bare) => bare.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => text.parse().ok(),
        };
        if let Some(ip) = ip {
            return Ok(Host::Ip(ip));
        }
        match problem_of_name(text) {
            None => Ok(Host::Name(text.into())),
            Some(problem) => Err(InvalidInput::new("host", text, problem).into()),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(ip) => fmt::Display::fmt(ip, f),
            Host::Name(name) => f.pad(name),
        }
    }
}

macro_rules! from_address {
    ($($address:ty),+) => {$(
        impl From<$address> for Host {
            fn from(address: $address) -> Host {
                Host::Ip(address.into())
            }
        }
    )+};
}

from_address!(IpAddr, Ipv4Addr, Ipv6Addr, [u8; 4], [u8; 16], [u16; 8]);

impl TryFrom<&str> for Host {
    type Error = StoreError;

    fn try_from(text: &str) -> Result<Host> {
        text.parse()
    }
}

#[cfg(feature = "serde")]
mod wire {
    use super::Host;
    use serde::de::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    impl Serialize for Host {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Host {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = String::deserialize(deserializer)?;
            text.parse().map_err(D::Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_distinguished() {
        for name in [
            "localhost",
            "a",
            "a-b.c",
            "_grpc._tcp.x",
            "3com.com",
            "a.b.",
            "xn--bcher-kva.de",
        ] {
            assert_eq!(name.parse(), Ok(Host::Name(name.into())));
        }
        for ip in ["10.0.0.7", "::1", "[2001:db8::1]"] {
            assert!(ip.parse::<Host>().unwrap().ip().is_some(), "{ip}");
        }
        let long = ["a"; 127].join(".");
        assert!(long.parse::<Host>().is_ok(), "{} bytes", long.len());
        let label = "a".repeat(64);
        for bad in [
            "",
            ".",
            "a..b",
            "-a",
            "a-",
            "a b",
            "a:1",
            "ü",
            "1.2.3",
            "10.0.0.256",
            "[::1",
            "[10.0.0.7]",
            "[a]",
            "http://a",
            &label,
            &format!("{long}a"),
            "a\n",
        ] {
            assert!(bad.parse::<Host>().is_err(), "{bad:?}");
        }
    }
}
