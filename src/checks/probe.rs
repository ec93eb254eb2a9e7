//! [`Probe`]: how a pod is asked whether it is well; over TCP and HTTP.

use std::future::Future;
use std::io;
use std::task::Poll;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::model::host::Host;
use crate::model::record::ServiceInfo;

/// Asks a pod whether it is well.
///
/// ```
/// use service_registry::checks::Probe;
/// use service_registry::ServiceInfo;
///
/// /// Those are well that have a provider.
/// struct HasProvider;
///
/// impl Probe for HasProvider {
///     async fn probe(&self, service: &ServiceInfo) -> bool {
///         !service.providers().is_empty()
///     }
/// }
/// ```
pub trait Probe: Send + Sync + 'static {
    /// Whether the pod is well. It is dropped where it takes longer than
    /// [`CheckOptions::timeout`](super::CheckOptions::timeout), and one that panics has
    /// failed. It must not block its thread.
    fn probe(&self, service: &ServiceInfo) -> impl Future<Output = bool> + Send;
}

/// Well is a pod whose first provider accepts a TCP connection. One without providers is not.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TcpProbe;

impl TcpProbe {
    /// The probe.
    pub fn new() -> TcpProbe {
        TcpProbe
    }
}

impl Probe for TcpProbe {
    async fn probe(&self, service: &ServiceInfo) -> bool {
        let Some(provider) = service.providers().first() else {
            return false;
        };
        let connected = match &provider.host {
            Host::Ip(ip) => TcpStream::connect((*ip, provider.port)).await,
            Host::Name(name) => TcpStream::connect((&**name, provider.port)).await,
        };
        connected.is_ok()
    }
}

/// Well is a pod that answers a GET of its
/// [`health_check_url`](ServiceInfo::health_check_url) with a status from 200 to 299.
///
/// It speaks HTTP/1.1, without TLS, on a connection for each probe, follows no redirects and
/// reads no more than the head of an answer. Another URL than `http://host[:port][/path]` is a
/// failure.
///
/// A pod chooses its URL when it registers, and so what this sends a GET to. Where pods are not
/// trusted, write a [`Probe`] that checks the URL first and then asks this one.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HttpProbe;

impl HttpProbe {
    /// The probe.
    pub fn new() -> HttpProbe {
        HttpProbe
    }
}

impl Probe for HttpProbe {
    async fn probe(&self, service: &ServiceInfo) -> bool {
        match Target::parse(service.health_check_url()) {
            Some(target) => matches!(get(&target).await, Ok(200..=299)),
            None => false,
        }
    }
}

/// Where a URL leads.
#[derive(Debug, PartialEq)]
struct Target<'a> {
    /// As in the URL, for the head of the request.
    authority: &'a str,
    /// Without the brackets of an IPv6 address.
    host: &'a str,
    port: u16,
    /// With the query.
    path: &'a str,
}

impl<'a> Target<'a> {
    fn parse(url: &'a str) -> Option<Target<'a>> {
        let scheme = "http://";
        let (given, rest) = (url.get(..scheme.len())?, &url[scheme.len()..]);
        let is_sendable = |byte: u8| byte.is_ascii_graphic();
        if !given.eq_ignore_ascii_case(scheme) || !rest.bytes().all(is_sendable) {
            return None;
        }
        let rest = rest.split_once('#').map_or(rest, |(rest, _)| rest);
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let after_host = match authority.strip_prefix('[') {
            Some(literal) => 1 + literal.find(']')? + 1,
            None => authority.find(':').unwrap_or(authority.len()),
        };
        let (host, port) = authority.split_at(after_host);
        let host = host
            .strip_prefix('[')
            .map_or(host, |host| &host[..host.len() - 1]);
        if host.is_empty() || authority.contains('@') {
            return None;
        }
        let port = match port.strip_prefix(':') {
            None if !port.is_empty() => return None,
            None | Some("") => 80,
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok()?
            }
            Some(_) => return None,
        };
        Some(Target {
            authority,
            host,
            port,
            path,
        })
    }
}

/// More than any head needs that says how a pod is.
const LONGEST_HEAD: usize = 8 << 10;

/// Answers with the status.
async fn get(target: &Target<'_>) -> io::Result<u16> {
    let mut stream = TcpStream::connect((target.host, target.port)).await?;
    // A path that is empty, or only a query, is that of the root.
    let slash = if target.path.starts_with('/') {
        ""
    } else {
        "/"
    };
    let Target {
        authority, path, ..
    } = target;
    let request = format!(
        "GET {slash}{path} HTTP/1.1\r\nHost: {authority}\r\nAccept: */*\r\n\
         User-Agent: service-registry\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::with_capacity(512);
    loop {
        match final_status(&head) {
            Poll::Ready(status) => return status.ok_or_else(|| io::ErrorKind::InvalidData.into()),
            Poll::Pending if head.len() > LONGEST_HEAD => {
                return Err(io::ErrorKind::InvalidData.into());
            }
            Poll::Pending => {}
        }
        if stream.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}

/// The status of an answer, behind those that are not final; pending while there is too little
/// of it, and `None` where it is no answer.
fn final_status(mut head: &[u8]) -> Poll<Option<u16>> {
    let find = |head: &[u8], text: &[u8]| head.windows(text.len()).position(|part| part == text);
    loop {
        let Some(end) = find(head, b"\r\n") else {
            return Poll::Pending;
        };
        let status = status(&head[..end]);
        if !matches!(status, Some(100..=199)) {
            return Poll::Ready(status);
        }
        let Some(end) = find(head, b"\r\n\r\n") else {
            return Poll::Pending;
        };
        head = &head[end + 4..];
    }
}

/// `HTTP/1.1 200 OK`
fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.")?;
    let ([minor, b' '], rest) = rest.split_first_chunk()? else {
        return None;
    };
    let (digits, reason) = rest.split_first_chunk::<3>()?;
    let is_status = minor.is_ascii_digit()
        && digits.iter().all(u8::is_ascii_digit)
        && matches!(reason.first(), None | Some(b' '));
    let status = std::str::from_utf8(digits).ok()?;
    is_status.then(|| status.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_lead_where_they_say() {
        for (url, host, port, authority, path) in [
            ("http://a", "a", 80, "a", ""),
            ("HTTP://a:/", "a", 80, "a:", "/"),
            ("http://a:8080/h?q=1#f", "a", 8080, "a:8080", "/h?q=1"),
            ("http://a?q", "a", 80, "a", "?q"),
            (
                "http://10.0.0.7:65535/",
                "10.0.0.7",
                65535,
                "10.0.0.7:65535",
                "/",
            ),
            ("http://[::1]:80/x", "::1", 80, "[::1]:80", "/x"),
            ("http://[::1]", "::1", 80, "[::1]", ""),
        ] {
            let target = Target {
                authority,
                host,
                port,
                path,
            };
            assert_eq!(Target::parse(url), Some(target), "{url}");
        }
        for url in [
            "",
            "http",
            "http://",
            "https://a",
            "a/b",
            "http:///x",
            "http://:80/",
            "http://a:b/",
            "http://a:+80/",
            "http://a:65536",
            "http://a b/",
            "http://a/ HTTP/1.1",
            "http://u@a/",
            "http://[::1",
            "http://[::1]x",
            "http://[]/",
            "http://ä/",
            "httpä://a",
        ] {
            assert_eq!(Target::parse(url), None, "{url}");
        }
    }

    #[test]
    fn a_status_is_read_when_it_is_there() {
        use Poll::{Pending, Ready};
        for (head, status) in [
            ("HTTP/1.1 200 OK\r\n", Ready(Some(200))),
            ("HTTP/1.0 503\r\nx", Ready(Some(503))),
            (
                "HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 204 No\r\n",
                Ready(Some(204)),
            ),
            ("HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 20", Pending),
            ("HTTP/1.1 100 Continue\r\n", Pending),
            ("", Pending),
            ("HTTP/1.1 200 OK", Pending),
            ("HTTP/2 200\r\n", Ready(None)),
            ("HTTP/1.1 2000\r\n", Ready(None)),
            ("HTTP/1.1 2x0 OK\r\n", Ready(None)),
            ("HTTP/1.1 20\r\n", Ready(None)),
            ("SSH-2.0-OpenSSH\r\n", Ready(None)),
        ] {
            assert_eq!(final_status(head.as_bytes()), status, "{head}");
        }
    }
}
