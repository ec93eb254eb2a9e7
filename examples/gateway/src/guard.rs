//! Keeps pages of others away: a browser runs their scripts on the machine on which this listens.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::refusal::Refusal;
use crate::shared::Shared;

/// Passes on what may pass.
///
/// - The host must be an IP address, `localhost`, or a name that was given: a page of `evil.example`
///   whose name leads to 127.0.0.1 would be of the same origin otherwise (DNS rebinding).
/// - What changes something must not come from a page of another origin. There is no CORS, so
///   such a page cannot read an answer either.
pub(crate) async fn guard(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let host = host(request.headers())?;
    if !is_own_host(host, &shared.options.hosts) {
        let error = "this host is not served here; start the gateway with `--host NAME`";
        return Err(Refusal::new(StatusCode::MISDIRECTED_REQUEST, error).at("host"));
    }
    if !request.method().is_safe() {
        refuse_cross_origin(request.headers(), host)?;
    }
    Ok(next.run(request).await)
}

/// With the port, if there is one.
fn host(headers: &HeaderMap) -> Result<&str, Refusal> {
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    host.ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "a host is missing").at("host"))
}

fn is_own_host(host: &str, names: &[String]) -> bool {
    let bare = match host.strip_prefix('[') {
        Some(literal) => literal.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    bare.parse::<IpAddr>().is_ok()
        || bare.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(bare))
}

/// Browsers say where a request comes from. Other programs need not.
fn refuse_cross_origin(headers: &HeaderMap, host: &str) -> Result<(), Refusal> {
    let is_other = |place: &'static str| {
        let error = "pages of other origins may change nothing here";
        Err(Refusal::new(StatusCode::FORBIDDEN, error).at(place))
    };
    if let Some(site) = headers.get("sec-fetch-site")
        && site != "same-origin"
        && site != "none"
    {
        return is_other("sec-fetch-site");
    }
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        if origin.strip_prefix("http://") != Some(host) {
            return is_other("origin");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        let names = ["gateway.example".to_owned()];
        for ours in [
            "127.0.0.1",
            "127.0.0.1:7070",
            "[::1]:7070",
            "LOCALHOST:1",
            "gateway.example",
        ] {
            assert!(is_own_host(ours, &names), "{ours}");
        }
        for other in [
            "",
            "evil.example",
            "evil.example:7070",
            "127.0.0.1.evil.example",
            "[evil]",
        ] {
            assert!(!is_own_host(other, &names), "{other}");
        }
    }

    #[test]
    fn origins() {
        let with = |name: &'static str, value: &'static str| {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            refuse_cross_origin(&headers, "127.0.0.1:7070").is_ok()
        };
        assert!(refuse_cross_origin(&HeaderMap::new(), "127.0.0.1:7070").is_ok());
        assert!(with("origin", "http://127.0.0.1:7070"));
        assert!(with("sec-fetch-site", "same-origin") && with("sec-fetch-site", "none"));
        for origin in [
            "null",
            "http://127.0.0.1:7071",
            "https://127.0.0.1:7070",
            "http://evil.example",
        ] {
            assert!(!with("origin", origin), "{origin}");
        }
        assert!(!with("sec-fetch-site", "cross-site") && !with("sec-fetch-site", "same-site"));
    }
}
