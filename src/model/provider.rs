//! [`Provider`]: an address of a pod.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use super::error::{InvalidInput, Problem, Result, StoreError};
use super::host::Host;
use super::limits::{MAX_PROTOCOL_LEN, problem_of_text};
use super::protocol::Protocol;

/// An address of a pod: protocol, host and port.
///
/// It is parsed and displayed as `protocol://host:port`.
///
/// ```
/// use service_registry::{Protocol, Provider};
/// use std::net::SocketAddr;
///
/// let http: Provider = "http://10.0.0.7:8080".parse()?;
/// assert_eq!(http, Provider::new(Protocol::Http, [10, 0, 0, 7], 8080));
/// assert_eq!(SocketAddr::try_from(&http)?, "10.0.0.7:8080".parse().unwrap());
/// let named: Provider = "pfcp://smf-0.core.svc:8805".parse()?;
/// assert_eq!(named.to_string(), "pfcp://smf-0.core.svc:8805");
/// # Ok::<(), service_registry::StoreError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Provider {
    /// The protocol.
    pub protocol: Protocol,
    /// The address or the name. With the feature `serde`, it is also read from a
    /// field `ip`.
    #[cfg_attr(feature = "serde", serde(alias = "ip"))]
    pub host: Host,
    /// The port; 0 to 65535.
    pub port: u16,
}

impl Provider {
    /// Creates a provider from its three parts.
    pub fn new(protocol: Protocol, host: impl Into<Host>, port: u16) -> Provider {
        Provider {
            protocol,
            host: host.into(),
            port,
        }
    }

    /// Returns the socket address, or `None` if the host is a name, which has to be
    /// resolved first.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.host.ip()?, self.port))
    }
}

impl From<(Protocol, SocketAddr)> for Provider {
    fn from((protocol, address): (Protocol, SocketAddr)) -> Provider {
        Provider::new(protocol, address.ip(), address.port())
    }
}

/// Creates a provider that speaks [`Tcp`](Protocol::Tcp).
impl From<SocketAddr> for Provider {
    fn from(address: SocketAddr) -> Provider {
        (Protocol::Tcp, address).into()
    }
}

/// Fails with [`Invalid`](StoreError::Invalid) if the host is a name.
impl TryFrom<&Provider> for SocketAddr {
    type Error = StoreError;

    fn try_from(provider: &Provider) -> Result<SocketAddr> {
        provider.socket_addr().ok_or_else(|| {
            let host = provider.host.to_string();
            InvalidInput::new("host", &host, Problem::NoAddress).into()
        })
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Provider {
            protocol,
            host,
            port,
        } = self;
        match host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "{protocol}://[{ip}]:{port}"),
            host => write!(f, "{protocol}://{host}:{port}"),
        }
    }
}

impl FromStr for Provider {
    type Err = StoreError;

    fn from_str(text: &str) -> Result<Provider> {
        let expected = "`protocol://host:port`";
        let malformed = || InvalidInput::new("provider", text, Problem::Unknown { expected });
        let (protocol, address) = text.rsplit_once("://").ok_or_else(malformed)?;
        if let Some(problem) = problem_of_text(protocol, MAX_PROTOCOL_LEN) {
            return Err(InvalidInput::new("protocol", protocol, problem).into());
        }
        let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
        let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_port);
        Ok(Provider {
            protocol: protocol.into(),
            // Without brackets, the end of an IPv6 address is ambiguous.
            host: Some(host)
                .filter(|host| host.starts_with('[') || !host.contains(':'))
                .ok_or_else(malformed)?
                .parse()?,
            port: port.ok_or_else(malformed)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_reads_back() {
        for text in [
            "http://10.0.0.7:8080",
            "tcp://[2001:db8::1]:0",
            "quic://a-b.example:65535",
            "a://b://a.b:80",
        ] {
            let provider: Provider = text.parse().unwrap();
            assert_eq!(provider.to_string(), text);
        }
        let address: SocketAddr = "[::1]:80".parse().unwrap();
        assert_eq!(SocketAddr::try_from(&Provider::from(address)), Ok(address));
        let named: Provider = "http://localhost:80".parse().unwrap();
        let refused = SocketAddr::try_from(&named).unwrap_err().to_string();
        assert!(refused.contains("host") && refused.contains("localhost"));
        for bad in [
            "",
            "http",
            "http://a",
            "http://a:",
            "http://a:65536",
            "http://a:+1",
            "http://::1:80",
            "http://a b:1",
            "http://:1",
            "://a:1",
            "\u{1b}[31m://a:1",
        ] {
            assert!(bad.parse::<Provider>().is_err(), "{bad:?}");
        }
    }
}
