//! [`PodProbe`]: how the gateway checks the health of a pod.

use std::net::SocketAddr;

use service_registry::checks::{HttpProbe, Probe, TcpProbe};
use service_registry::{Protocol, Provider, ServiceInfo, ServiceRegistration};

/// Checks a pod over HTTP if it has a URL for that, and otherwise by connecting.
pub(crate) struct PodProbe;

impl Probe for PodProbe {
    async fn probe(&self, pod: &ServiceInfo) -> bool {
        if pod.health_check_url().is_empty() {
            TcpProbe::new().probe(pod).await
        } else {
            is_own_url(pod.registration()) && HttpProbe::new().probe(pod).await
        }
    }
}

/// Whether a pod wants its health to be asked for at one of its own addresses, and not elsewhere:
/// who registers must not choose what this sends requests to.
pub(crate) fn is_own_url(pod: &ServiceRegistration) -> bool {
    let Some(rest) = pod.health_check_url.strip_prefix("http://") else {
        return pod.health_check_url.is_empty();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let address = authority.parse::<SocketAddr>().ok();
    let mut addresses = pod.providers.iter().map(Provider::socket_addr);
    address.is_some() && addresses.any(|own| own == address)
}

/// Where a pod answers HTTP.
pub(crate) fn http_address(pod: &ServiceInfo) -> Option<SocketAddr> {
    let mut providers = pod.providers().iter();
    providers.find_map(|provider| {
        let is_http = provider.protocol == Protocol::Http;
        provider.socket_addr().filter(|_| is_http)
    })
}
