//! [`Input`] and [`PathParams`]: a body of JSON, and the names in a path,
//! or a refusal that says what is wrong.

use std::time::Duration;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::refusal::Refusal;

/// The longest body of a request to the registry, in bytes. A registration is a fraction of it.
pub(crate) const MAX_BODY: usize = 16 << 10;
/// How long its sender may take.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) struct Input<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Input<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Input<T>, Refusal> {
        let body = Json::from_request(request, state);
        match tokio::time::timeout(PATIENCE, body).await {
            Ok(Ok(Json(input))) => Ok(Input(input)),
            Ok(Err(rejection)) => Err(refuse(&rejection)),
            Err(_) => Err(Refusal::new(
                StatusCode::REQUEST_TIMEOUT,
                "the body did not come in time",
            )),
        }
    }
}

/// The names in a path, which may be no text when they are decoded.
pub(crate) struct PathParams<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathParams<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<PathParams<T>, Refusal> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(names)) => Ok(PathParams(names)),
            Err(rejection) => {
                Err(Refusal::new(rejection.status(), rejection.body_text()).at("path"))
            }
        }
    }
}

fn refuse(rejection: &JsonRejection) -> Refusal {
    use std::error::Error as _;

    // The cause has the field, the line and the column.
    let cause = match rejection {
        JsonRejection::JsonDataError(error) => error.source(),
        JsonRejection::JsonSyntaxError(error) => error.source(),
        _ => None,
    };
    let status = rejection.status();
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        let error = format!("the body is longer than {MAX_BODY} bytes");
        return Refusal::new(status, error).at("body");
    }
    let refusal = match cause {
        Some(cause) => Refusal::new(status, cause),
        None => Refusal::new(status, rejection.body_text()),
    };
    let place = match rejection {
        JsonRejection::MissingJsonContentType(_) => "content-type",
        _ => "body",
    };
    refusal.at(place)
}
