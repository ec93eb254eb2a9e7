//! [`Probe`]: checks whether a pod is healthy; over TCP and HTTP.

use std::future::Future;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::task::Poll;

use http::Uri;
use http::uri::{Authority, PathAndQuery, Scheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::model::host::Host;
use crate::model::record::ServiceInfo;

/// Checks whether a pod is healthy.
///
/// ```
/// use service_registry::checks::Probe;
/// use service_registry::ServiceInfo;
///
/// /// Succeeds for pods with a provider.
/// struct HasProvider;
///
/// impl Probe for HasProvider {
///     async fn probe(&self, service: &ServiceInfo) -> bool {
///         !service.providers().is_empty()
///     }
/// }
/// ```
pub trait Probe: Send + Sync + 'static {
    /// Returns whether the pod is healthy. The future is dropped if it takes longer than
    /// [`CheckOptions::timeout`](super::CheckOptions::timeout), and a panic counts as a failure. It
    /// must not block its thread.
    fn probe(&self, service: &ServiceInfo) -> impl Future<Output = bool> + Send;
}

/// Succeeds if the first provider of a pod accepts a TCP connection. Fails for a pod without
/// providers.
///
/// The system resolves names, on the runtime's threads for blocking work, at most 16 at once in the
/// process. A probe can stop waiting for a slow look-up, but cannot cancel it.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct TcpProbe;

impl TcpProbe {
    /// Creates the probe.
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
            Host::Name(name) => connect(name, provider.port).await,
        };
        connected.is_ok()
    }
}

/// Succeeds if a pod answers a GET of its [`health_check_url`](ServiceInfo::health_check_url) with
/// a status from 200 to 299.
///
/// It speaks HTTP/1.1 without TLS, opens a connection for each probe, follows no redirects, and
/// reads at most the head of a response. It fails for any URL that is not of the form
/// `http://host[:port][/path]`.
///
/// Names are resolved as by [`TcpProbe`].
///
/// A pod chooses its URL when it registers, and so chooses where this sends a GET. If pods are not
/// trusted, write a [`Probe`] that checks the URL first and then calls this one.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HttpProbe;

impl HttpProbe {
    /// Creates the probe.
    pub fn new() -> HttpProbe {
        HttpProbe
    }
}

impl Probe for HttpProbe {
    async fn probe(&self, service: &ServiceInfo) -> bool {
        match target(service.health_check_url()) {
            Some((uri, port)) => matches!(get(&uri, port).await, Ok(200..=299)),
            None => false,
        }
    }
}

/// Parses a URL; returns it and its port.
fn target(url: &str) -> Option<(Uri, u16)> {
    let uri: Uri = url.parse().ok()?;
    let authority = uri.authority()?;
    let (host, scheme) = (authority.host(), uri.scheme());
    // The authority begins with the host, unless it contains a user, which is refused.
    let port = match authority.as_str().strip_prefix(host)? {
        "" | ":" => 80,
        port => {
            let digits = port.strip_prefix(':')?;
            let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number)?
        }
    };
    let is_valid = scheme == Some(&Scheme::HTTP) && !plain(host).is_empty();
    is_valid.then_some((uri, port))
}

/// Removes the brackets of an IPv6 address.
fn plain(host: &str) -> &str {
    host.trim_matches(['[', ']'])
}

/// Each look-up blocks a thread until the system answers.
static LOOK_UPS: Semaphore = Semaphore::const_new(16);

async fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return TcpStream::connect((ip, port)).await;
    }
    let name = host.to_owned();
    let found = look_up(&LOOK_UPS, move || (&*name, port).to_socket_addrs()).await?;
    TcpStream::connect(&*found.collect::<Vec<_>>()).await
}

async fn look_up<T: Send + 'static>(
    look_ups: &'static Semaphore,
    resolve: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let permit = look_ups.acquire().await.map_err(io::Error::other)?;
    let found = spawn_blocking(move || {
        // The permit belongs to the look-up, which goes on after the probe was dropped.
        let _permit = permit;
        resolve()
    });
    found.await?
}

/// The longest head that is read: more than a health check needs.
const LONGEST_HEAD: usize = 8 << 10;

/// Sends a GET, and returns the status of the response.
async fn get(uri: &Uri, port: u16) -> io::Result<u16> {
    let [host, authority] = [uri.host(), uri.authority().map(Authority::as_str)];
    let mut stream = connect(plain(host.unwrap_or_default()), port).await?;
    let path = uri.path_and_query().map(PathAndQuery::to_string);
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\n\
         User-Agent: service-registry\r\nConnection: close\r\n\r\n",
        path.unwrap_or_default(),
        authority.unwrap_or_default()
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

/// Returns the status of a response, after any informational ones; pending while too little has
/// been read, and `None` if it is not a response.
fn final_status(mut head: &[u8]) -> Poll<Option<u16>> {
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        let parsed = answer.parse(head);
        // Anything after the status line of a final response is irrelevant.
        match (answer.code.filter(|_| answer.reason.is_some()), parsed) {
            (Some(100..=199), Ok(httparse::Status::Complete(end))) => head = &head[end..],
            (None | Some(100..=199), Ok(_)) => return Poll::Pending,
            (None | Some(100..=199), Err(_)) => return Poll::Ready(None),
            (status, _) => return Poll::Ready(status),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    /// As if a name server did not answer: probes give up, look-ups do not.
    #[test]
    fn look_ups_that_nobody_waits_for_are_bounded() {
        static TWO: Semaphore = Semaphore::const_new(2);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let begun = Arc::new(AtomicUsize::new(0));
        let (answer, answers) = channel::<()>();
        let answers = Arc::new(std::sync::Mutex::new(answers));
        runtime.block_on(async {
            for _ in 0..20 {
                let (begun, answers) = (begun.clone(), answers.clone());
                let looked_up = look_up(&TWO, move || {
                    begun.fetch_add(1, SeqCst);
                    let _ = answers.lock().unwrap().recv();
                    Ok(())
                });
                let given_up = timeout(Duration::from_millis(5), looked_up).await;
                assert!(given_up.is_err());
            }
            // Now the system answers.
            drop(answer);
            let found = look_up(&TWO, || Ok(7)).await;
            assert_eq!(found.unwrap(), 7);
        });
        drop(runtime);
        assert_eq!(begun.load(SeqCst), 2);
        assert_eq!(TWO.available_permits(), 2);
    }

    #[test]
    fn urls_are_parsed() {
        for (url, host, port, authority, path) in [
            ("http://a", "a", 80, "a", "/"),
            ("HTTP://a:/", "a", 80, "a:", "/"),
            ("http://a:8080/h?q=1#f", "a", 8080, "a:8080", "/h?q=1"),
            ("http://a?q", "a", 80, "a", "/?q"),
            (
                "http://10.0.0.7:65535/",
                "10.0.0.7",
                65535,
                "10.0.0.7:65535",
                "/",
            ),
            ("http://[::1]:80/x", "::1", 80, "[::1]:80", "/x"),
            ("http://[::1]", "::1", 80, "[::1]", "/"),
        ] {
            let (found, at) = target(url).unwrap();
            let found = (
                plain(found.host().unwrap()),
                at,
                found.authority().unwrap().as_str(),
                &*found.path_and_query().unwrap().to_string(),
            );
            assert_eq!(found, (host, port, authority, path), "{url}");
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
            assert_eq!(target(url), None, "{url}");
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
            ("HTTP/1.1 200", Pending),
            ("HTTP/1.1 099 No\r\n\r\n", Ready(Some(99))),
            ("HTTP/1.1 200 OK\r\nno header\r\n", Ready(Some(200))),
            ("HTTP/1.1 103 Early\r\nno header\r\n", Ready(None)),
            ("HTTP/1.1 2x0 OK\r\n", Ready(None)),
            ("HTTP/1.1 20\r\n", Ready(None)),
            ("SSH-2.0-OpenSSH\r\n", Ready(None)),
        ] {
            assert_eq!(final_status(head.as_bytes()), status, "{head}");
        }
    }
}
