//! The page: three files, which are part of the program.

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

const HTML: &str = include_str!("../page/index.html");
const CSS: &str = include_str!("../page/page.css");
const JS: &str = include_str!("../page/page.js");
const ICON: &str = include_str!("../page/icon.svg");

/// Nothing from elsewhere, no script within the page, and nothing that makes elements from texts.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
    require-trusted-types-for 'script'; trusted-types 'none'";

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

pub(crate) async fn html() -> Response {
    file("text/html; charset=utf-8", HTML)
}

pub(crate) async fn css() -> Response {
    file("text/css; charset=utf-8", CSS)
}

pub(crate) async fn js() -> Response {
    file("text/javascript; charset=utf-8", JS)
}

pub(crate) async fn icon() -> Response {
    file("image/svg+xml", ICON)
}

/// What goes with every answer but those of pods.
pub(crate) async fn with_policy(mut response: Response) -> Response {
    let set = [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cache-control", "no-cache"),
    ];
    for (name, value) in set {
        let headers = response.headers_mut();
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
